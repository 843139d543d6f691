"""Prepare lists of numbers for listing and delisting, and merge the answers.

Algorithm:
    - Each number is checked by the rules of `record_rules`, as if it were the caller of a record, and converted to
      canonical form. Repeated numbers are removed.
    - A long list is split into requests of 10,000 numbers, and each request gets its own answer. In the merged answer
      each bucket has the numbers of all answers in their order, and the status is the worst status of all answers.

Failure modes:
    - All invalid numbers of a list are reported in one `ValidationError`. The first 20 have a problem each, with the
      index in the list. One more problem counts the others, because a list of a million numbers may be all invalid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from truecaller_async.errors import ValidationError
from truecaller_async.models import CallRecord, NumberJob, Problem
from truecaller_async.models.numbers import BUCKETS, NUMBERS_PER_REQUEST_MAX
from truecaller_async.validation.field_predicates import is_number
from truecaller_async.validation.record_rules import preflight
from truecaller_async.validation.timestamps import TIME_MIN_MS
from truecaller_async.validation.untrusted_values import masked_number

PROBLEMS_MAX = 20
"""Invalid numbers that are reported one by one."""

WORST_FIRST = ("failed", "pending")

FACTS = ("phone_type", "client_account_id", "created_by_email")

_SAMPLE = CallRecord("", "10000000", TIME_MIN_MS, TIME_MIN_MS + 1)
"""A record that is valid except for its caller."""


def clean_numbers(numbers: object) -> tuple[str, ...]:
    """Return the numbers as digits with country code, each once, in the given order.

    Args:
        numbers: an iterable of phone numbers of any type.

    Raises:
        ValidationError: The value is not an iterable of numbers, it is empty, or numbers are invalid. The field of a
            problem is such as `numbers[3]`, counted from 0.
    """
    if isinstance(numbers, str | bytes | Mapping) or not isinstance(numbers, Iterable):
        hint = "put the numbers into a list, even if there is only one"
        shown = masked_number(numbers) if isinstance(numbers, str) else ""
        message = f"is one value of type {type(numbers).__name__}, not a list of numbers"
        raise ValidationError([Problem("numbers", "numbers.type", message, shown, hint)])
    found: dict[str, None] = {}
    problems: list[Problem] = []
    bad_count = 0
    for index, value in enumerate(numbers):
        number, problem = _checked(value)
        if problem is None:
            found[number] = None
            continue
        bad_count += 1
        if bad_count <= PROBLEMS_MAX:
            problems.append(attrs.evolve(problem, field=f"numbers[{index}]"))
    if bad_count > PROBLEMS_MAX:
        problems.append(Problem("numbers", "numbers.more", f"has {bad_count - PROBLEMS_MAX} more that are not valid"))
    if not bad_count and not found:
        problems.append(Problem("numbers", "numbers.size", "is empty", hint="give at least one number"))
    if problems:
        raise ValidationError(problems)
    return tuple(found)


def split_numbers(numbers: Sequence[str]) -> Iterator[Sequence[str]]:
    """Return the numbers in parts of at most 10,000, the size of one request, in their order."""
    return (
        numbers[start : start + NUMBERS_PER_REQUEST_MAX] for start in range(0, len(numbers), NUMBERS_PER_REQUEST_MAX)
    )


def merge_jobs(jobs: Sequence[NumberJob]) -> NumberJob:
    """Return one answer for the answers to the parts, of which there must be at least one."""
    if len(jobs) == 1:
        return jobs[0]
    merged: dict[str, Any] = {name: tuple(number for job in jobs for number in getattr(job, name)) for name in BUCKETS}
    merged |= {name: _first([getattr(job, name) for job in jobs]) for name in FACTS}
    return NumberJob(status=_worst_status([job.status for job in jobs]), **merged)


def _checked(value: Any) -> tuple[str, Problem | None]:
    if isinstance(value, str) and is_number(value):
        return value, None
    record, problems = preflight(attrs.evolve(_SAMPLE, caller=value), TIME_MIN_MS)
    return record.caller, next((problem for problem in problems if problem.field == "caller"), None)


def _worst_status(statuses: Sequence[str | None]) -> str | None:
    """Return the worst known status, spelled as the server wrote it; the first status if none is known."""
    for worst in WORST_FIRST:
        for status in statuses:
            if status is not None and status.casefold() == worst:
                return status
    return _first(statuses)


def _first(values: Sequence[str | None]) -> str | None:
    return next((value for value in values if value), None)
