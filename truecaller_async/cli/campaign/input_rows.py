"""The rows of a file, with the line of each.

A result knows its row, a person looks for the line. They differ by the header, by blank lines and by texts of several
lines, so only the places where the difference changes are remembered, and of those the latest. The first row is read
before anything else is done: a file that cannot be read at all must neither cost a token nor empty an older file of
results.

So the main reading has begun when this is made, and whoever asks for the rows from the same place gets it. Any other
reading, of old rows once more, is one of its own.

Standard input is opened here (`standard_input`), because it may be waited for when the process shall end.
"""

from __future__ import annotations

import io
import os
import sys
from collections import deque
from collections.abc import Generator
from contextlib import closing
from itertools import chain
from typing import IO

from truecaller_async.models import Row, SourceDescriptor, SourcePosition
from truecaller_async.sources import FileSource

SHIFTS_KEPT = 10_000


class InputRows(FileSource):
    """The rows of `source` from its beginning, or behind the place `after`.

    Making it reads the first row there, `first`. Raises `SourceError`, and `ConfigError` where the source is a file
    object and cannot be read from a place.
    """

    def __init__(self, source: FileSource, after: SourcePosition | None = None) -> None:
        super().__init__(source.origin, source.defaults, source.chosen)
        self.kind = source.kind
        self._source = source
        self._note = source.descriptor()
        self._shifts: deque[tuple[int, int]] = deque(maxlen=SHIFTS_KEPT)
        self._furthest = 0
        self._rows_before = 0 if after is None else after.row
        self._begun: Generator[Row, None, None] | None = source.rows(after)
        self.first = next(self._begun, None)

    def descriptor(self) -> SourceDescriptor | None:
        """What it takes to open the file again later: the file as it was before its first row was read."""
        return self._note

    def line_of(self, number: int) -> int | None:
        """The line on which that row begins, where it was read here and is still known."""
        return next((number + shift for first, shift in reversed(tuple(self._shifts)) if first <= number), None)

    def _rows(self, after: SourcePosition | None) -> Generator[Row, None, None]:
        begun = self._begun
        if begun is None or self._rows_before != (0 if after is None else after.row):
            return self._remembered((), self._source.rows(after))
        self._begun = None
        return self._remembered(() if self.first is None else (self.first,), begun)

    def _remembered(self, first: tuple[Row, ...], rest: Generator[Row, None, None]) -> Generator[Row, None, None]:
        with closing(rest):
            for row in chain(first, rest):
                self._remember(row)
                yield row

    def _remember(self, row: Row) -> None:
        """The places stand in order, so of rows that are read once more nothing new is noted."""
        if row.line is None or row.number <= self._furthest:
            return
        self._furthest = row.number
        shift = row.line - row.number
        if not self._shifts or self._shifts[-1][1] != shift:
            self._shifts.append((row.number, shift))


def standard_input() -> IO[bytes]:
    """Standard input as a file of our own.

    A thread that still waits for it when the process ends must not hold the interpreter's own: that would abort it.
    """
    try:
        raw = io.FileIO(os.dup(sys.stdin.fileno()))
    except (OSError, ValueError):  # not a file at all
        return sys.stdin.buffer
    raw.name = "standard input"
    return io.BufferedReader(raw)
