"""Rows that say the same thing twice are sent once.

Two rows are the same when everything in them is the same, the caller's own key included, after numbers and times
were brought into one form. A 64-bit hash of that is remembered for the last 100,000 rows ("window") or for the whole
run ("exact", about 100 bytes a row).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from operator import attrgetter
from typing import Literal

import attrs

from truecaller_async.models import CallRecord, Columns

WINDOW = 100_000

content = attrgetter(*(field.name for field in attrs.fields(CallRecord)))


class Dedupe:
    """Remembers rows and recognises them."""

    def __init__(self, mode: Literal["window", "exact", "off"], window: int = WINDOW) -> None:
        self._mode = mode
        self._window = window
        self._seen: set[int] = set()
        self._order: deque[int] = deque()

    def is_repeat(self, record: CallRecord) -> bool:
        """Whether an equal row was seen; remembers this one."""
        if self._mode == "off":
            return False
        mark = hash(content(record))
        if mark in self._seen:
            return True
        self._seen.add(mark)
        self._note((mark,))
        return False

    def are_new(self, columns: Columns) -> bool:
        """Whether none of these rows was seen and none is here twice; only then they are remembered."""
        if self._mode == "off":
            return True
        marks = list(map(hash, zip(*columns.content, strict=True)))
        seen = self._seen
        if not seen.isdisjoint(marks):
            return False
        before = len(seen)
        seen.update(marks)
        if len(seen) - before < len(marks):
            seen.difference_update(marks)
            return False
        self._note(marks)
        return True

    def _note(self, marks: Collection[int]) -> None:
        """These were put in; those that are out of the window are forgotten."""
        if self._mode == "exact":
            return
        self._order.extend(marks)
        over = len(self._order) - self._window
        if over > 0:
            self._seen.difference_update([self._order.popleft() for _ in range(over)])
