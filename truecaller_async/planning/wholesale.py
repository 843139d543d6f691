"""A whole batch judged at once: is every record canonical, and is every record good?

The rules are those of `planning.preflight`, which judges records one by one and says what is wrong. Here the answer is
yes or "look at each": whatever is not seen to be good at a glance is no. So a yes means just what it means there, and
a no means nothing.

The columns make it quick. Most of a batch is the same from record to record, so each text is looked at once however
often it comes; only the receivers differ, and they are matched together, in one line of numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from itertools import chain
from operator import eq

from truecaller_async.models import Columns
from truecaller_async.planning.preflight import (
    AHEAD_MAX,
    DIGITS,
    NO_COUNTRY,
    WINDOW_MAX,
    is_canonical_key,
    is_canonical_label,
    is_canonical_text,
    is_plain_name,
    is_plain_reason,
)
from truecaller_async.planning.times import EARLIEST

BETWEEN = "\n"
NUMBERS = re.compile("(?:(?!" + NO_COUNTRY.format(end=BETWEEN) + ")" + DIGITS + BETWEEN + ")*+")

TIME = frozenset({int})
TEXT = frozenset({str})
TEXT_OR_NONE = frozenset({str, type(None)})
"""Types, to the letter: what is equal to a text is not always one, and would be taken for it in a set."""


def all_canonical(columns: Columns) -> bool:
    """Whether all these records are surely in canonical form."""
    return (
        _are_plain(columns)
        and _are_numbers(columns.receiver)
        and _are_numbers(set(columns.caller))
        and _each(columns.label_id, is_canonical_label)
        and _each(columns.label_name, is_canonical_text)
        and _each(columns.reason, is_canonical_text)
        and _each(columns.key, is_canonical_key)
    )


def all_good(columns: Columns, now_ms: int) -> bool:
    """Whether all these records are canonical and break no rule at `now_ms`."""
    if not _are_plain(columns):
        return False
    callers = set(columns.caller)
    return (
        _are_windows(columns, now_ms)
        and _are_numbers(columns.receiver)
        and _are_numbers(callers)
        and (callers.isdisjoint(columns.receiver) or True not in map(eq, columns.caller, columns.receiver))
        and _each(columns.label_id, is_canonical_label)
        and _each(columns.label_name, _is_good_name)
        and _each(columns.reason, _is_good_reason)
        and _each(columns.key, is_canonical_key)
    )


def _are_plain(columns: Columns) -> bool:
    """Whether every value is of the type that it has in canonical form."""
    numbers = chain(columns.caller, columns.receiver)
    times = chain(columns.starts_at, columns.ends_at)
    texts = chain(columns.label_id, columns.label_name, columns.reason, columns.key)
    return (
        TEXT.issuperset(map(type, numbers))
        and TIME.issuperset(map(type, times))
        and TEXT_OR_NONE.issuperset(map(type, texts))
    )


def _are_windows(columns: Columns, now_ms: int) -> bool:
    return all(
        EARLIEST <= starts < ends <= starts + WINDOW_MAX and starts - AHEAD_MAX <= now_ms < ends
        for starts, ends in set(zip(columns.starts_at, columns.ends_at, strict=True))
    )


def _are_numbers(values: Collection[str]) -> bool:
    """One match for all; what stands between them must not stand in them."""
    line = BETWEEN.join(values) + BETWEEN
    return NUMBERS.fullmatch(line) is not None and line.count(BETWEEN) == len(values)


def _each(values: Collection[str | None], is_so: Callable[[str], bool]) -> bool:
    """Whether all the different texts among these are so."""
    return all(value is None or is_so(value) for value in set(values))


def _is_good_name(text: str) -> bool:
    return is_plain_name(text) is not None and is_canonical_text(text)


def _is_good_reason(text: str) -> bool:
    return is_plain_reason(text) is not None and is_canonical_text(text)
