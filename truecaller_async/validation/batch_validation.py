"""Validate all records of a batch at once, by column.

Purpose:
    Vectorised form of `field_predicates.is_canonical` and `is_valid`, with the same table of predicates. True: all
    records are canonical (and valid). False: unknown; examine each record with `record_rules.preflight`.

Algorithm:
    Most columns have few distinct values, and each distinct value is examined once. The receivers are all different:
    they are joined to one text with a line break after each number, and one regular expression matches the text.

Invariants:
    - True is never wrong, with one exception that has no effect on the wire: a `str` subclass that is equal to a plain
      `str` in the same column is accepted as that string.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from operator import eq
from typing import Any

from truecaller_async.models import RecordColumns
from truecaller_async.validation.field_predicates import (
    INTERNATIONAL_NUMBER,
    NATIONAL_NUMBER,
    OPTIONAL_TEXTS,
    is_valid_window,
)

SEPARATOR = "\n"
NUMBERS = re.compile("(?:(?!" + NATIONAL_NUMBER.format(end=SEPARATOR) + ")" + INTERNATIONAL_NUMBER + SEPARATOR + ")*+")

INT_TYPE = frozenset({int})
TEXT_TYPE = frozenset({str})
TEXT_OR_NONE_TYPES = frozenset({str, type(None)})


def all_canonical(columns: RecordColumns) -> bool:
    """Return whether all these records are surely in canonical form."""
    return (
        _are_times(columns)
        and _are_numbers(columns.receiver)
        and _are_numbers(_distinct(columns.caller))
        and all(_all_hold(getattr(columns, field.name), field.is_canonical) for field in OPTIONAL_TEXTS)
    )


def all_valid(columns: RecordColumns, now_ms: int) -> bool:
    """Return whether all these records are canonical and surely break no rule.

    Args:
        columns: the records.
        now_ms: present time in milliseconds since the epoch.
    """
    callers = _distinct(columns.caller)
    return (
        _are_times(columns)
        and _are_valid_windows(columns, now_ms)
        and _are_numbers(columns.receiver)
        and _are_numbers(callers)
        and not _has_self_call(callers, columns)
        and all(_all_hold(getattr(columns, field.name), field.is_valid) for field in OPTIONAL_TEXTS)
    )


def _distinct(values: list[Any]) -> Collection[Any]:
    """Return each value once; values of other types, which may be unhashable, can be repeated."""
    if values.count(values[0]) == len(values):
        return values[:1]
    return set(values) if TEXT_OR_NONE_TYPES.issuperset(map(type, values)) else values


def _are_times(columns: RecordColumns) -> bool:
    return INT_TYPE.issuperset(map(type, columns.starts_at)) and INT_TYPE.issuperset(map(type, columns.ends_at))


def _are_valid_windows(columns: RecordColumns, now_ms: int) -> bool:
    starts, ends = columns.starts_at, columns.ends_at
    is_same = starts.count(starts[0]) == ends.count(ends[0]) == len(columns)
    windows = [(starts[0], ends[0])] if is_same else set(zip(starts, ends, strict=True))
    return all(is_valid_window(start, end, now_ms) for start, end in windows)


def _are_numbers(values: Collection[Any]) -> bool:
    if not TEXT_TYPE.issuperset(map(type, values)):
        return False
    joined = SEPARATOR.join(values) + SEPARATOR
    # A value that contains the separator would pass as two numbers, so the separators are counted too.
    return NUMBERS.fullmatch(joined) is not None and joined.count(SEPARATOR) == len(values)


def _has_self_call(callers: Collection[str], columns: RecordColumns) -> bool:
    are_apart = len(callers) == 1 and columns.caller[0] not in columns.receiver
    return not are_apart and True in map(eq, columns.caller, columns.receiver)


def _all_hold(values: list[Any], holds: Callable[[str], bool]) -> bool:
    return all(value is None or (type(value) is str and holds(value)) for value in _distinct(values))
