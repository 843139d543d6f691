"""Recognise rows with the content of an earlier row, so that they are sent once.

Algorithm:
    - Two rows are equal if all fields are equal in canonical form, including the key of the caller.
    - A 64-bit hash of the fields is stored: "window" for at least the last 100,000 rows, "exact" for the whole run
      (about 100 bytes per row).
    - The window drops hashes in groups of up to 1/200 of its size, or as large as the block that was added.
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
"""Number of groups in a window; each group is dropped at once."""

_fields_but_receiver = attrgetter(*(field.name for field in attrs.fields(CallRecord) if field.name != "receiver"))


class Dedupe:
    """Store hashes of rows and recognise equal rows.

    Args:
        mode: "window", "exact" or "off".
        window: Minimum number of rows that mode "window" remembers.
    """

    def __init__(self, mode: Literal["window", "exact", "off"], window: int = WINDOW_ROWS) -> None:
        self._mode = mode
        self._window = window
        self._seen: set[int] = set()
        self._group_max = window // WINDOW_PARTS_COUNT
        self._groups: deque[list[int]] = deque()
        self._kept_rows = 0

    def is_repeat(self, record: CallRecord) -> bool:
        """Return whether an equal row was added before; add this one otherwise."""
        if self._mode == "off":
            return False
        row_hash = hash((record.receiver, hash(_fields_but_receiver(record))))
        if row_hash in self._seen:
            return True
        self._seen.add(row_hash)
        self._remember([row_hash])
        return False

    def add_if_all_new(self, columns: RecordColumns) -> bool:
        """Add the rows if none was added before and none occurs twice; return whether they were added."""
        if self._mode == "off":
            return True
        hashes = _hashes(columns)
        seen = self._seen
        if not seen.isdisjoint(hashes):
            return False
        before = len(seen)
        seen.update(hashes)
        if len(seen) - before < len(hashes):
            seen.difference_update(hashes)
            return False
        self._remember(hashes)
        return True

    def _remember(self, hashes: list[int]) -> None:
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
    # If only the receivers differ, the other fields are hashed once for all rows.
    rest = [values for values in columns.content if values is not columns.receiver]
    if all(values.count(values[0]) == len(values) for values in rest):
        rest_hashes: Iterable[int] = repeat(hash(tuple(values[0] for values in rest)), len(columns))
    else:
        rest_hashes = map(hash, zip(*rest, strict=True))
    return list(map(hash, zip(columns.receiver, rest_hashes, strict=True)))
