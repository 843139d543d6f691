"""Read the input rows of a campaign, map each row to its line, and print the rows that are invalid.

Algorithm:
    A result knows its row number; a user needs the line number. The two differ by the header, blank lines and cells
    with line breaks. Only the rows at which the difference changes are stored, at most the latest 10,000 of them.
Invariants:
    - `InputRows` reads the first row when it is created. A file that cannot be read therefore costs no token and does
      not overwrite an older results file.
    - The main reading starts at the position given to `InputRows`. `rows()` with that position returns it once; any
      other call reads the source again.
Failure modes:
    - Standard input may block while the process ends. `standard_input` therefore opens a duplicate descriptor, because
      a thread that is blocked in the interpreter's own `sys.stdin` would abort the process.
"""

from __future__ import annotations

import io
import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from itertools import chain
from typing import IO

from truecaller_async.cli.formatting import counted, printable
from truecaller_async.clock import Clock
from truecaller_async.models import Outcome, Problem, RecordResult, Row
from truecaller_async.models.journal_entries import SourceDescriptor, SourcePosition
from truecaller_async.sources import FileSource
from truecaller_async.validation.record_rules import preflight

LINE_OFFSETS_MAX = 10_000
PRINTED_ROWS_MAX = 20


class InputRows(FileSource):
    """A file source that has read its first row, `first`, and knows the line of each row.

    Args:
        source: The file source.
        after: Start behind this position; None starts at the beginning.

    Raises:
        SourceError: The file cannot be read.
        ConfigError: `after` was given, and the source is a file object, which cannot be read from a position.
    """

    def __init__(self, source: FileSource, after: SourcePosition | None = None) -> None:
        super().__init__(source.origin, source.defaults, source.chosen)
        self.kind = source.kind
        self._source = source
        self._descriptor = source.descriptor()
        self._line_offsets: deque[tuple[int, int]] = deque(maxlen=LINE_OFFSETS_MAX)
        self._highest_row = 0
        self._rows_before = 0 if after is None else after.row
        self._main_reading: Generator[Row, None, None] | None = source.rows(after)
        self.first = next(self._main_reading, None)

    def descriptor(self) -> SourceDescriptor | None:
        """Return how to reopen the file, with its size and time before the first row was read."""
        return self._descriptor

    def line_of(self, number: int) -> int | None:
        """Return the first line of a row; None if the row was not read here or its offset is no longer stored."""
        offsets = reversed(tuple(self._line_offsets))
        return next((number + offset for first_row, offset in offsets if first_row <= number), None)

    def _rows(self, after: SourcePosition | None) -> Generator[Row, None, None]:
        main_reading = self._main_reading
        if main_reading is None or self._rows_before != (0 if after is None else after.row):
            return self._recorded((), self._source.rows(after))
        self._main_reading = None
        return self._recorded(() if self.first is None else (self.first,), main_reading)

    def _recorded(self, first: tuple[Row, ...], rest: Generator[Row, None, None]) -> Generator[Row, None, None]:
        with closing(rest):
            for row in chain(first, rest):
                self._record_line(row)
                yield row

    def _record_line(self, row: Row) -> None:
        # The offsets are in row order, so a row that is read a second time adds nothing.
        if row.line is None or row.number <= self._highest_row:
            return
        self._highest_row = row.number
        offset = row.line - row.number
        if not self._line_offsets or self._line_offsets[-1][1] != offset:
            self._line_offsets.append((row.number, offset))


def standard_input() -> IO[bytes]:
    """Open standard input as a separate file object, which may be read while the process exits."""
    try:
        raw = io.FileIO(os.dup(sys.stdin.fileno()))
    except (OSError, ValueError):  # standard input is not a file descriptor
        return sys.stdin.buffer
    raw.name = "standard input"
    return io.BufferedReader(raw)


class InvalidRowPrinter:
    """Print each problem of the first 20 invalid rows on its own line, and the number of the other ones.

    A printed problem looks like this:

        campaign.csv:48213 (row 48211): receiver '*******E+11' is not a phone number: ...
            it looks like a spreadsheet turned it into scientific notation; format the column as text and export again

    Args:
        name: Name of the input in messages.
        line_of: Returns the line number of a row; None if unknown.
        note: Shows one message.
    """

    def __init__(self, name: str, line_of: Callable[[int], int | None], note: Callable[[str], None]) -> None:
        self._name = name
        self._line_of = line_of
        self._note = note
        self._clock = Clock()
        self._invalid_count = 0

    def record(self, result: RecordResult) -> None:
        """Print the problems of one result if its outcome is `invalid`."""
        if result.outcome is not Outcome.INVALID:
            return
        self._invalid_count += 1
        if self._invalid_count <= PRINTED_ROWS_MAX:
            line = self._line_of(result.row)
            place = f"{self._name}:{line} (row {result.row})" if line is not None else f"{self._name} row {result.row}"
            self._note("\n".join(f"{place}: {problem}" for problem in self._problems(result)))

    def finish(self) -> None:
        """Print how many invalid rows were not printed."""
        if self._invalid_count > PRINTED_ROWS_MAX:
            self._note(f"... and {counted(self._invalid_count - PRINTED_ROWS_MAX, 'more invalid row')}")

    def _problems(self, result: RecordResult) -> Iterator[str]:
        # A result joins all its problems in one text, so the record is validated again to get them one by one.
        if result.record is not None:
            problems = preflight(result.record, int(self._clock.wall() * 1000))[1]
            if problems:
                yield from map(_problem_text, problems)
                return
        yield printable(result.reason or "is not valid")


def _problem_text(problem: Problem) -> str:
    value = f" {problem.value!r}" if problem.value else ""
    hint = f"\n    {problem.hint}" if problem.hint else ""
    return f"{problem.field}{value} {problem.message}{hint}"
