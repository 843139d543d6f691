"""Rows that say the same thing twice are sent once.

Two rows are the same when everything in them is the same, the caller's own key included, after numbers and times
were brought into one form. A 64-bit hash of that is remembered for the last 100,000 rows ("window") or for the whole
run ("exact", about 100 bytes a row).
"""

from __future__ import annotations

from collections import deque
from typing import Literal

from truecaller_async.models import CallRecord

WINDOW = 100_000


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
        mark = hash(record)
        if mark in self._seen:
            return True
        self._seen.add(mark)
        if self._mode == "window":
            self._order.append(mark)
            if len(self._order) > self._window:
                self._seen.discard(self._order.popleft())
        return False
