"""A whole batch judged at once: is every record canonical, and is every record good?

The rules are those of `validation.preflight`, which judges records one by one and says what is wrong. Here the answer is
yes or "look at each": whatever is not seen to be good at a glance is no. So a yes means just what it means there, and
a no means nothing. One liberty is taken: a text of somebody's own kind that is equal to a plain text beside it (an
enumeration's member, say) passes for that one, and is written as such.

The columns make it quick. Most of a batch is the same from record to record, so each value is looked at once however
often it comes; only the receivers differ, and they are matched together, in one line of numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from operator import eq
from typing import Any

from truecaller_async.models import RecordColumns
from truecaller_async.validation.preflight import (
    DIGITS,
    NO_COUNTRY,
    is_canonical_key,
    is_canonical_label,
    is_canonical_text,
    is_plain_name,
    is_plain_reason,
    is_window,
)

BETWEEN = "\n"
NUMBERS = re.compile("(?:(?!" + NO_COUNTRY.format(end=BETWEEN) + ")" + DIGITS + BETWEEN + ")*+")

TIME = frozenset({int})
TEXT = frozenset({str})
TEXT_OR_NONE = frozenset({str, type(None)})


def all_canonical(columns: RecordColumns) -> bool:
    """Whether all these records are surely in canonical form."""
    return (
        _are_times(columns)
        and _are_numbers(columns.receiver)
        and _are_numbers(_different(columns.caller))
        and _each(columns.label_id, is_canonical_label)
        and _each(columns.label_name, is_canonical_text)
        and _each(columns.reason, is_canonical_text)
        and _each(columns.key, is_canonical_key)
    )


def all_valid(columns: RecordColumns, now_ms: int) -> bool:
    """Whether all these records are canonical and break no rule at `now_ms`."""
    callers = _different(columns.caller)
    return (
        _are_times(columns)
        and _are_windows(columns, now_ms)
        and _are_numbers(columns.receiver)
        and _are_numbers(callers)
        and not _calls_itself(callers, columns)
        and _each(columns.label_id, is_canonical_label)
        and _each(columns.label_name, _is_good_name)
        and _each(columns.reason, _is_good_reason)
        and _each(columns.key, is_canonical_key)
    )


def _different(values: list[Any]) -> Collection[Any]:
    """Each value once; of those that are not all texts, some may come more often."""
    if values.count(values[0]) == len(values):
        return values[:1]
    return set(values) if TEXT_OR_NONE.issuperset(map(type, values)) else values


def _are_times(columns: RecordColumns) -> bool:
    return TIME.issuperset(map(type, columns.starts_at)) and TIME.issuperset(map(type, columns.ends_at))


def _are_windows(columns: RecordColumns, now_ms: int) -> bool:
    starts, ends = columns.starts_at, columns.ends_at
    same = starts.count(starts[0]) == ends.count(ends[0]) == len(columns)
    windows = [(starts[0], ends[0])] if same else set(zip(starts, ends, strict=True))
    return all(is_window(start, end, now_ms) for start, end in windows)


def _are_numbers(values: Collection[Any]) -> bool:
    """One match for all; what stands between them must not stand in them."""
    if not TEXT.issuperset(map(type, values)):
        return False
    line = BETWEEN.join(values) + BETWEEN
    return NUMBERS.fullmatch(line) is not None and line.count(BETWEEN) == len(values)


def _calls_itself(callers: Collection[str], columns: RecordColumns) -> bool:
    """Whether a caller is called by itself."""
    are_apart = len(callers) == 1 and columns.caller[0] not in columns.receiver
    return not are_apart and True in map(eq, columns.caller, columns.receiver)


def _each(values: list[Any], is_so: Callable[[str], bool]) -> bool:
    """Whether all these are texts that are so, or None."""
    return all(value is None or (type(value) is str and is_so(value)) for value in _different(values))


def _is_good_name(text: str) -> bool:
    return is_plain_name(text) is not None and is_canonical_text(text)


def _is_good_reason(text: str) -> bool:
    return is_plain_reason(text) is not None and is_canonical_text(text)
