"""Read CSV files: commas, double quotes, a header line.

Algorithm:
    - An unclosed quote would silently swallow all rows up to the next quote. So the lines of the current row are kept.
      If the quote is closed at an invalid position, only the first line of the row is bad, and the other lines are read
      again as separate rows.
    - A regular file is read in blocks (`CsvBlocks`), and row by row only where a block has unusual lines.
Invariants:
    - A row is parsed independently of earlier rows. Reading from the end of a row gives the same rows as reading from
      the beginning; only the header is read from the beginning of the file.
Failure modes:
    - If a quote is never closed, or not within `LINE_MAX_CHARS` characters, the start of the next row is unknown.
      Reading ends with a `SourceError`.
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
from truecaller_async.models import Problem, Row, Rows
from truecaller_async.models.journal_entries import SourcePosition
from truecaller_async.redaction import masked
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

REQUIRED_FIELDS = ("caller", "receiver", "starts_at", "ends_at")
OTHER_DELIMITERS = (";", "\t", "|")
HEADER_SHOWN_COLUMNS = 12
"""Columns that an error message lists."""


def read_csv(file: Origin, /, *, defaults: ColumnDefaults | None = None, **columns: str) -> CsvSource:
    """Read a CSV file as rows. `.gz` is decompressed.

    The first line has the column names: `caller, receiver, label_id, label_name, reason, starts_at, ends_at, key`, or
    the API names.

    Args:
        file: Path, text file or binary file.
        defaults: Values for columns that the file does not have.
        columns: Other column names: `read_csv("x.csv", receiver="Phone")`.

    Returns:
        The source. Reading it raises `SourceError`.

    Raises:
        ConfigError: A name in `columns` is not a field.
    """
    return CsvSource(file, defaults, columns)


class CsvSource(FileSource):
    """Rows of a CSV file; see `read_csv`."""

    kind = "csv"
    """The format."""

    def blocks(self, after: SourcePosition | None = None) -> CsvBlocks | None:
        """Return a block reader if the file is seekable. None for a subclass, because it may give other rows."""
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
        """Return the header of an open file, and the position of its end."""
        feeder = _LineFeeder(TextLines(file, self.name))
        return self._parse_header(feeder, csv.reader(feeder, strict=True))

    def rows_after(self, after: SourcePosition, file: TextIO, header: list[str]) -> Generator[Row, None, None]:
        """Yield the rows of an open file after a position."""
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
                f"{self.name}: the quote opened on line {line} is never closed, so the rows after row {row} cannot be "
                "separated. Close it, or double a quote that belongs to a text",
                row=row,
            ) from error
        feeder.push_back()
        hint = "close every quote, and double a quote that belongs to a text"
        return Problem("row", "row.quote", f"has a misplaced quote or line end ({error})", hint=hint)

    def shape(self, header: list[str]) -> RowShape:
        """Return how cells below this header make records.

        Raise `SourceError` if a required column is missing, or two columns have the same field.
        """
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
    """Reads a seekable file in blocks, from its beginning or from a position.

    The first call of `rows` opens the file.
    """

    def __init__(self, source: CsvSource, after: SourcePosition | None) -> None:
        self._source = source
        self._after = after
        self._exit_stack = ExitStack()
        self._open_csv: _OpenCsv | None = None

    def read_block(self, limit: int) -> Rows | None:
        """Return the next rows, at most `limit`. None if they must be read with `rows`, and at the end.

        None also before the first call of `rows`, which opens the file.
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
        """Yield the next rows, at most `limit`, parsed one by one. Raise `SourceError`."""
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
    """An open file and the position of the reading."""

    file: TextIO
    header: list[str]
    shape: RowShape | None
    """None if the file is empty."""
    position: SourcePosition
    """End of the last row that was read."""
    ahead: ReadAhead


class _RowTooLong(csv.Error):
    """A row of several lines is longer than `LINE_MAX_CHARS`."""


class _LineFeeder:
    """Gives lines to the CSV reader, and keeps those of the current row so that they can be read again.

    `number` is the number of lines before the first.
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
        """Return the line number on which the current row began."""
        return self._number - len(self.row_lines) + 1

    def finish_row(self) -> tuple[int, tuple[int, int]]:
        """End the current row. Return its first line, and the lines and bytes of the file up to its end."""
        first = self._number - len(self.row_lines) + 1
        self.row_lines.clear()
        self.problem = None
        return first, (self._number, self._lines.offset - self._pushed_back_bytes)

    def push_back(self) -> None:
        """Push back all lines of the current row but the first."""
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
    """Return the index of the line that opened the unclosed quote: the last line with an unpaired quote."""
    return max((index for index, line in enumerate(row_lines) if '"' in line.replace('""', "")), default=0)


def _is_blank(cells: list[str]) -> bool:
    return not any(cell.strip() for cell in cells)


def _wrong_width(cells: int, width: int) -> Problem:
    hint = (
        "put quotes around a text that contains a comma"
        if cells > width
        else "look for a missing comma or a line break"
    )
    return Problem("row", "row.columns", f"has {cells} cells, and the header has {width}", hint=hint)


def _header_summary(header: list[str]) -> str:
    shown = comma_separated(repr(masked(name)) for name in header[:HEADER_SHOWN_COLUMNS])
    more = f" and {len(header) - HEADER_SHOWN_COLUMNS} more" if len(header) > HEADER_SHOWN_COLUMNS else ""
    return f"The first line has {len(header)} column{'s' if len(header) > 1 else ''}: {shown}{more}"


def _header_advice(header: list[str]) -> str:
    delimiter = next((delimiter for delimiter in OTHER_DELIMITERS if len(header) == 1 and delimiter in header[0]), None)
    if header[0].lower().startswith("sep="):
        return "The line 'sep=' is for Excel only: remove it, and save the file with commas"
    if delimiter:
        return f"The first line has 1 column and contains {delimiter!r}: save the file with commas"
    if any(sum(char.isdigit() for char in name) >= 7 for name in header):
        return "It looks like data: add a first line with the column names"
    return f"Columns are {comma_separated(FIELDS)}; rename a column, or choose one, such as receiver='Phone'"
