"""Numbers to list or delist: from what a person gave to requests of ten thousand, and from many answers to one.

Numbers are cleaned by the rules and in the words of the pre-flight, as if each were the caller of a record. What is
wrong with any of them is told at once, with its place in the list, because a person mends a list once; but only the
first few are spelled out, because a list of a million may be all wrong. A number that comes twice is sent once.

Many numbers need many requests, and each is answered alone. Merged, the answers say what one answer for all would say:
each bucket holds the numbers of all answers in their order, and the status is the worst word that any of them has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from truecaller_async.errors import ValidationError
from truecaller_async.models import CallRecord, NumberJob, Problem
from truecaller_async.models.numbers import BUCKETS, NUMBERS_PER_REQUEST_MAX
from truecaller_async.validation.preflight import NUMBER, preflight
from truecaller_async.validation.timestamps import EARLIEST
from truecaller_async.validation.untrusted_values import masked_number

SPELLED_OUT = 20
"""Bad numbers that are told one by one."""

WORST_FIRST = ("failed", "pending")

FACTS = ("phone_type", "client_account_id", "created_by_email")

_WITNESS = CallRecord("", "10000000", EARLIEST, EARLIEST + 1)
"""A record with which nothing is wrong but its caller."""


def clean_numbers(numbers: object) -> tuple[str, ...]:
    """The numbers as digits with country code, each once, in the order given.

    Raises `ValidationError` for anything but an iterable of numbers, for an empty one, and for numbers that the
    pre-flight would refuse; a problem's field is such as `numbers[3]`, counted from 0.
    """
    if isinstance(numbers, str | bytes | Mapping) or not isinstance(numbers, Iterable):
        hint = "put the numbers into a list, also where it is only one"
        shown = masked_number(numbers) if isinstance(numbers, str) else ""
        message = f"is one value of type {type(numbers).__name__}, not a list of numbers"
        raise ValidationError([Problem("numbers", "numbers.type", message, shown, hint)])
    found: dict[str, None] = {}
    problems: list[Problem] = []
    bad = 0
    for index, value in enumerate(numbers):
        form, problem = _judged(value)
        if problem is None:
            found[form] = None
            continue
        bad += 1
        if bad <= SPELLED_OUT:
            problems.append(attrs.evolve(problem, field=f"numbers[{index}]"))
    if bad > SPELLED_OUT:
        problems.append(Problem("numbers", "numbers.more", f"has {bad - SPELLED_OUT} more that are not valid"))
    if not bad and not found:
        problems.append(Problem("numbers", "numbers.size", "is empty", hint="give at least one number"))
    if problems:
        raise ValidationError(problems)
    return tuple(found)


def split_numbers(numbers: Sequence[str]) -> Iterator[Sequence[str]]:
    """The numbers in parts that one request can carry, in their order."""
    return (
        numbers[start : start + NUMBERS_PER_REQUEST_MAX] for start in range(0, len(numbers), NUMBERS_PER_REQUEST_MAX)
    )


def merge_jobs(jobs: Sequence[NumberJob]) -> NumberJob:
    """The answers to the parts as one. There is at least one."""
    if len(jobs) == 1:
        return jobs[0]
    merged: dict[str, Any] = {name: tuple(number for job in jobs for number in getattr(job, name)) for name in BUCKETS}
    merged |= {name: _first([getattr(job, name) for job in jobs]) for name in FACTS}
    return NumberJob(status=_status([job.status for job in jobs]), **merged)


def _judged(value: Any) -> tuple[str, Problem | None]:
    """The number in canonical form, and what is wrong with it."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return value, None
    record, problems = preflight(attrs.evolve(_WITNESS, caller=value), EARLIEST)
    return record.caller, next((problem for problem in problems if problem.field == "caller"), None)


def _status(words: Sequence[str | None]) -> str | None:
    """The worst word of the answers, as the server wrote it; where it is not known which is worse, the first."""
    for worst in WORST_FIRST:
        for word in words:
            if word is not None and word.casefold() == worst:
                return word
    return _first(words)


def _first(values: Sequence[str | None]) -> str | None:
    return next((value for value in values if value), None)
