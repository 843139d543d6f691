"""The rows of a file, with the line of each.

A result knows its row, a person looks for the line. They differ by the header, by blank lines and by texts of several
lines, so only the places where the difference changes are remembered, and of those the latest. The first row is read
before anything else is done: a file that cannot be read at all must neither cost a token nor empty an older file of
results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from truecaller_async.models import Row
from truecaller_async.sources import FileSource

SHIFTS_KEPT = 10_000


class Rows:
    """Reads a source once. Making it reads the first row; raises `SourceError`."""

    def __init__(self, source: FileSource) -> None:
        self._rows = source.rows()
        self._shifts: deque[tuple[int, int]] = deque(maxlen=SHIFTS_KEPT)
        self.first = next(self._rows, None)

    def __iter__(self) -> Iterator[Row]:
        if self.first is None:
            return
        self._remember(self.first)
        yield self.first
        for row in self._rows:
            self._remember(row)
            yield row

    def line_of(self, number: int) -> int | None:
        """The line on which that row begins, where it is still known."""
        return next((number + shift for first, shift in reversed(self._shifts) if first <= number), None)

    def _remember(self, row: Row) -> None:
        if row.line is None:
            return
        shift = row.line - row.number
        if not self._shifts or self._shifts[-1][1] != shift:
            self._shifts.append((row.number, shift))
