"""Rows that say the same thing twice are sent once.

Two rows are the same when everything in them is the same, the caller's own key included, after numbers and times
were brought into one form. A 64-bit hash of that is remembered for the last 100,000 rows at least ("window") or for the
whole run ("exact", about 100 bytes a row). Rows that came together are forgotten together.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import repeat
from operator import attrgetter
from typing import Literal

import attrs

from truecaller_async.models import CallRecord, RecordColumns

WINDOW_ROWS = 100_000
WINDOW_PARTS_COUNT = 200
"""Of a window, at least; single rows are forgotten in parts as well."""

_fields_but_receiver = attrgetter(*(field.name for field in attrs.fields(CallRecord) if field.name != "receiver"))


class Dedupe:
    """Remembers rows and recognises them."""

    def __init__(self, mode: Literal["window", "exact", "off"], window: int = WINDOW_ROWS) -> None:
        self._mode = mode
        self._window = window
        self._seen: set[int] = set()
        self._group_max = window // WINDOW_PARTS_COUNT
        self._groups: deque[list[int]] = deque()
        self._kept_rows = 0

    def is_repeat(self, record: CallRecord) -> bool:
        """Whether an equal row was seen; remembers this one."""
        if self._mode == "off":
            return False
        mark = hash((record.receiver, hash(_fields_but_receiver(record))))
        if mark in self._seen:
            return True
        self._seen.add(mark)
        self._remember([mark])
        return False

    def add_if_all_new(self, columns: RecordColumns) -> bool:
        """Whether none of these rows was seen and none is here twice; only then they are remembered."""
        if self._mode == "off":
            return True
        marks = _hashes(columns)
        seen = self._seen
        if not seen.isdisjoint(marks):
            return False
        before = len(seen)
        seen.update(marks)
        if len(seen) - before < len(marks):
            seen.difference_update(marks)
            return False
        self._remember(marks)
        return True

    def _remember(self, hashes: list[int]) -> None:
        """These were put in; what is out of the window is forgotten, as it came."""
        if self._mode == "exact":
            return
        if self._groups and len(self._groups[-1]) + len(hashes) <= self._group_max:
            self._groups[-1].extend(hashes)
        else:
            self._groups.append(hashes)
        self._kept_rows += len(hashes)
        while self._kept_rows - len(self._groups[0]) >= self._window:
            oldest = self._groups.popleft()
            self._kept_rows -= len(oldest)
            self._seen.difference_update(oldest)


def _hashes(columns: RecordColumns) -> list[int]:
    """The marks of these rows; where only the receivers differ, the rest has one mark for all."""
    rest = [values for values in columns.content if values is not columns.receiver]
    if all(values.count(values[0]) == len(values) for values in rest):
        marks: Iterable[int] = repeat(hash(tuple(values[0] for values in rest)), len(columns))
    else:
        marks = map(hash, zip(*rest, strict=True))
    return list(map(hash, zip(columns.receiver, marks, strict=True)))
