"""CSV: commas, double quotes, a header line.

The one hard case is a quote that is not closed, for it swallows every row up to the next quote without a word. So the
lines of the row at hand are kept. When the quote closes at a place where none may close, only the line on which the
row began is bad, and the lines after it are read again as rows of their own. When it never closes, or not within
`LINE_MAX` characters, nobody can say where the next row begins, and reading ends.

A row is read without regard to the rows before it. So who goes on behind a row reads what he would have read anyway;
only the header is read from the beginning of the file. And so a file on disk can be read in `CsvBlocks`, which take
many rows at once where they are plain, and are read row by row only where they are not.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from itertools import islice
from typing import TextIO

import attrs

from truecaller_async.errors import SourceError
from truecaller_async.models import Problem, Row, Rows, SourcePosition
from truecaller_async.sources.column_mapping import FIELDS, ColumnDefaults, RowShape, comma_separated, find_columns
from truecaller_async.sources.csv_blocks import ReadAhead, parse_columns
from truecaller_async.sources.text_files import (
    LINE_MAX_CHARS,
    READ_ERRORS,
    FileSource,
    Origin,
    TextLines,
    byte_size,
    line_problem,
    open_text,
)
from truecaller_async.validation.untrusted_values import masked

REQUIRED_FIELDS = ("caller", "receiver", "starts_at", "ends_at")
OTHER_DELIMITERS = (";", "\t", "|")
HEADER_SHOWN_COLUMNS = 12


def read_csv(file: Origin, /, *, defaults: ColumnDefaults | None = None, **columns: str) -> CsvSource:
    """A CSV file (path, text file or binary file; `.gz` is unpacked) as rows.

    The first line names the columns: `caller, receiver, label_id, label_name, reason, starts_at, ends_at, key`, or
    the names of the API. `columns` chooses others: `read_csv("x.csv", receiver="Phone")`. Reading raises
    `SourceError`; a wrong name in `columns` is a `ConfigError` at once.
    """
    return CsvSource(file, defaults, columns)


class CsvSource(FileSource):
    """Rows of a CSV file; see `read_csv`."""

    kind = "csv"

    def blocks(self, after: SourcePosition | None = None) -> CsvBlocks | None:
        """The rows of a file on disk, many at a time; None for a subclass too, which may give other rows."""
        return CsvBlocks(self, after) if type(self) is CsvSource and self.is_seekable else None

    def _rows(self, after: SourcePosition | None) -> Generator[Row, None, None]:
        with open_text(self.origin, self.name) as file:
            feeder = _LineFeeder(TextLines(file, self.name))
            reader = csv.reader(feeder, strict=True)
            header, _ = self._parse_header(feeder, reader)
            if not header:
                return
            if after is None:
                yield from self._parse_rows(feeder, reader, header, 0)
            else:
                yield from self.rows_after(after, file, header)

    def read_header(self, file: TextIO) -> tuple[list[str], SourcePosition]:
        """The header of the opened file, and where it ends."""
        feeder = _LineFeeder(TextLines(file, self.name))
        return self._parse_header(feeder, csv.reader(feeder, strict=True))

    def rows_after(self, after: SourcePosition, file: TextIO, header: list[str]) -> Generator[Row, None, None]:
        """The rows of the opened file behind that place."""
        with self.text_after(after, file) as rest:
            feeder = _LineFeeder(TextLines(rest, self.name, after.offset), after.line)
            yield from self._parse_rows(feeder, csv.reader(feeder, strict=True), header, after.row)

    def _parse_header(self, feeder: _LineFeeder, reader: Iterator[list[str]]) -> tuple[list[str], SourcePosition]:
        try:
            header = next(filter(None, reader), [])
        except csv.Error as error:
            raise SourceError(f"{self.name}: the header line cannot be read: {error}") from error
        except READ_ERRORS as error:
            raise self.read_error(0, error) from error
        if feeder.problem:
            raise SourceError(f"{self.name}: the header {feeder.problem.message} ({feeder.problem.hint})")
        _, end = feeder.finish_row()
        return header, SourcePosition(0, *end)

    def _parse_rows(
        self, feeder: _LineFeeder, reader: Iterator[list[str]], header: list[str], number: int
    ) -> Generator[Row, None, None]:
        shape = self.shape(header)
        width, has_position = len(header), self.path is not None
        while True:
            try:
                cells = next(reader, None)
                problem = feeder.problem
            except csv.Error as error:
                cells, problem = [], self._recover(feeder, number, error)
            except READ_ERRORS as error:
                raise self.read_error(number, error) from error
            if cells is None:
                return
            line, end = feeder.finish_row()
            if problem is None and (not cells or not cells[0].strip()) and _is_blank(cells):
                continue
            number += 1
            if problem is None and len(cells) == width:
                yield Row(number, line, shape.record(cells), (), end if has_position else None)
            else:
                problem = problem or _wrong_width(len(cells), width)
                yield Row(number, line, None, (problem,), end if has_position else None)

    def _recover(self, feeder: _LineFeeder, row: int, error: csv.Error) -> Problem:
        if feeder.ended or isinstance(error, _RowTooLong):
            line = feeder.first_line + _quote_index(feeder.row_lines)
            raise SourceError(
                f"{self.name}: the quote opened on line {line} is never closed, so no row after row {row} can be told "
                "from another; close it, or double a quote that belongs to a text",
                row=row,
            ) from error
        feeder.push_back()
        hint = "close every quote, and double a quote that belongs to a text"
        return Problem("row", "row.quote", f"has a misplaced quote or line end ({error})", hint=hint)

    def shape(self, header: list[str]) -> RowShape:
        """How the cells below that header make records. Raises `SourceError` where they cannot."""
        indexes, conflict = find_columns(header, self.chosen)
        if conflict:
            raise SourceError(f"{self.name}: {conflict}; rename or remove one of them")
        chosen = [f"{name!r} (chosen for {field})" for field, name in self.chosen.items() if field not in indexes]
        absent = [field for field in REQUIRED_FIELDS if field not in indexes and field not in self.defaults.fields]
        if chosen or absent:
            missing = comma_separated(chosen or absent)
            raise SourceError(
                f"{self.name}: there is no column {missing}. {_header_summary(header)}. {_header_advice(header)}"
            )
        return RowShape(indexes, len(header), self.defaults)


class CsvBlocks:
    """The rows of a file that can be sought in, from its beginning or behind a place; it is opened when first read."""

    def __init__(self, source: CsvSource, after: SourcePosition | None) -> None:
        self._source = source
        self._after = after
        self._exit_stack = ExitStack()
        self._open_csv: _OpenCsv | None = None

    def read_block(self, limit: int) -> Rows | None:
        """The next rows, at most so many; None where each has to be looked at (`rows`), and at the end.

        The first rows of all are looked at: that is where the file is opened.
        """
        opened = self._open_csv
        if opened is None or opened.shape is None:
            return None
        try:
            lines = opened.ahead.peek(limit)
        except READ_ERRORS:
            return None
        columns = parse_columns(lines, len(opened.header)) if lines else None
        if columns is None or not opened.shape.has_no_blank(columns):
            return None
        first, count = opened.position.row + 1, len(lines)
        size = opened.ahead.skip(count)
        opened.position = SourcePosition(
            opened.position.row + count, opened.position.line + count, opened.position.offset + size
        )
        return Rows(first, [*opened.shape.records(columns)], end=(opened.position.line, opened.position.offset))

    def rows(self, limit: int) -> Iterator[Row]:
        """The next rows, at most so many, each looked at. Raises `SourceError`."""
        opened = self._opened_csv()
        if opened.shape is None:
            return
        with closing(self._source.rows_after(opened.position, opened.file, opened.header)) as rows:
            for row in islice(rows, limit):
                if row.end is not None:
                    opened.position = SourcePosition(row.number, *row.end)
                yield row
        opened.ahead.seek(opened.position.offset)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._exit_stack.close()

    def _opened_csv(self) -> _OpenCsv:
        if self._open_csv is None:
            source = self._source
            file = self._exit_stack.enter_context(open_text(source.origin, source.name))
            header, end = source.read_header(file)
            position = self._after if self._after is not None and self._after.row else end
            shape = source.shape(header) if header else None
            self._open_csv = _OpenCsv(file, header, shape, position, ReadAhead(file.buffer, position.offset))
        return self._open_csv


@attrs.define
class _OpenCsv:
    """An opened file: `shape` is None where nothing is in it, `place` is the end of the last row that was read."""

    file: TextIO
    header: list[str]
    shape: RowShape | None
    position: SourcePosition
    ahead: ReadAhead


class _RowTooLong(csv.Error):
    """A row of several lines grew past every measure."""


class _LineFeeder:
    """Hands lines to the CSV reader, and keeps those of the row at hand so that they can be read again.

    `number` is how many lines of the file come before.
    """

    def __init__(self, lines: TextLines, number: int = 0) -> None:
        self._lines = lines
        self._source = iter(lines)
        self._pushed_back: deque[str] = deque()
        self._pushed_back_bytes = 0
        self._number = number
        self.row_lines: list[str] = []
        self.problem: Problem | None = None
        self.ended = False

    @property
    def first_line(self) -> int:
        """The line on which the row at hand began."""
        return self._number - len(self.row_lines) + 1

    def finish_row(self) -> tuple[int, tuple[int, int]]:
        """The row at hand is done with: its first line, and the lines and bytes of the file up to its end."""
        first = self._number - len(self.row_lines) + 1
        self.row_lines.clear()
        self.problem = None
        return first, (self._number, self._lines.offset - self._pushed_back_bytes)

    def push_back(self) -> None:
        """Take back all lines of the row at hand but its first."""
        pushed = self.row_lines[1:]
        del self.row_lines[1:]
        self._pushed_back.extendleft(reversed(pushed))
        self._pushed_back_bytes += sum(map(byte_size, pushed))
        self._number -= len(pushed)

    def __iter__(self) -> Iterator[str]:
        row_lines, size = self.row_lines, 0
        while line := self._next_pushed_back() if self._pushed_back else next(self._source, ""):
            size = len(line) if not row_lines else size + len(line)
            row_lines.append(line)
            self._number += 1
            if size >= LINE_MAX_CHARS or not line.isascii():
                self.problem = self.problem or line_problem(line, self._number)
            if size < LINE_MAX_CHARS:
                yield line
            elif len(row_lines) == 1:
                yield "\n"
            else:
                raise _RowTooLong
        self.ended = True

    def _next_pushed_back(self) -> str:
        line = self._pushed_back.popleft()
        self._pushed_back_bytes -= byte_size(line)
        return line


def _quote_index(row_lines: list[str]) -> int:
    """Which of these lines opened the quote that is open after them, counted from 0: the last with an unpaired mark."""
    return max((index for index, line in enumerate(row_lines) if '"' in line.replace('""', "")), default=0)


def _is_blank(cells: list[str]) -> bool:
    return not any(cell.strip() for cell in cells)


def _wrong_width(cells: int, width: int) -> Problem:
    hint = "put quotes around a text that has a comma" if cells > width else "look for a missing comma or a line break"
    return Problem("row", "row.columns", f"has {cells} cells, and the header has {width}", hint=hint)


def _header_summary(header: list[str]) -> str:
    shown = comma_separated(repr(masked(name)) for name in header[:HEADER_SHOWN_COLUMNS])
    more = f" and {len(header) - HEADER_SHOWN_COLUMNS} more" if len(header) > HEADER_SHOWN_COLUMNS else ""
    return f"The first line has {len(header)} column{'s' if len(header) > 1 else ''}: {shown}{more}"


def _header_advice(header: list[str]) -> str:
    delimiter = next((delimiter for delimiter in OTHER_DELIMITERS if len(header) == 1 and delimiter in header[0]), None)
    if header[0].lower().startswith("sep="):
        return "The line 'sep=' is a note for Excel: remove it, and save the file with commas"
    if delimiter:
        return f"The first line has 1 column and contains {delimiter!r}: save the file with commas"
    if any(sum(char.isdigit() for char in name) >= 7 for name in header):
        return "It looks like data: put a line with the names of the columns above it"
    return f"Columns are {comma_separated(FIELDS)}; rename one, or choose it, such as receiver='Phone'"
