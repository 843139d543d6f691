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
from truecaller_async.redaction import masked
from truecaller_async.sources.column_mapping import FIELDS, ColumnDefaults, RowShape, find_columns, listed
from truecaller_async.sources.csv_blocks import ReadAhead, columns_of
from truecaller_async.sources.text_files import (
    LINE_MAX,
    READ_FAULTS,
    FileSource,
    Origin,
    TextLines,
    byte_size,
    fault,
    open_text,
)

NEEDED = ("caller", "receiver", "starts_at", "ends_at")
OTHER_DELIMITERS = (";", "\t", "|")
HEADER_SHOWN = 12


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
        return CsvBlocks(self, after) if type(self) is CsvSource and self.is_on_disk else None

    def _rows(self, after: SourcePosition | None) -> Generator[Row, None, None]:
        with open_text(self.origin, self.name) as file:
            feed = _Feed(TextLines(file, self.name))
            reader = csv.reader(feed, strict=True)
            header, _ = self._header(feed, reader)
            if not header:
                return
            if after is None:
                yield from self._data(feed, reader, header, 0)
            else:
                yield from self.data_behind(after, file, header)

    def head(self, file: TextIO) -> tuple[list[str], SourcePosition]:
        """The header of the opened file, and where it ends."""
        feed = _Feed(TextLines(file, self.name))
        return self._header(feed, csv.reader(feed, strict=True))

    def data_behind(self, after: SourcePosition, file: TextIO, header: list[str]) -> Generator[Row, None, None]:
        """The rows of the opened file behind that place."""
        with self.text_behind(after, file) as rest:
            feed = _Feed(TextLines(rest, self.name, after.offset), after.line)
            yield from self._data(feed, csv.reader(feed, strict=True), header, after.row)

    def _header(self, feed: _Feed, reader: Iterator[list[str]]) -> tuple[list[str], SourcePosition]:
        try:
            header = next(filter(None, reader), [])
        except csv.Error as error:
            raise SourceError(f"{self.name}: the header line cannot be read: {error}") from error
        except READ_FAULTS as error:
            raise self.broken(0, error) from error
        if feed.fault:
            raise SourceError(f"{self.name}: the header {feed.fault.message} ({feed.fault.hint})")
        _, end = feed.next_row()
        return header, SourcePosition(0, *end)

    def _data(
        self, feed: _Feed, reader: Iterator[list[str]], header: list[str], number: int
    ) -> Generator[Row, None, None]:
        shape = self.shape(header)
        width, has_places = len(header), self.path is not None
        while True:
            try:
                cells = next(reader, None)
                problem = feed.fault
            except csv.Error as error:
                cells, problem = [], self._misread(feed, number, error)
            except READ_FAULTS as error:
                raise self.broken(number, error) from error
            if cells is None:
                return
            line, end = feed.next_row()
            if problem is None and (not cells or not cells[0].strip()) and _is_blank(cells):
                continue
            number += 1
            if problem is None and len(cells) == width:
                yield Row(number, line, shape.record(cells), (), end if has_places else None)
            else:
                problem = problem or _wrong_width(len(cells), width)
                yield Row(number, line, None, (problem,), end if has_places else None)

    def _misread(self, feed: _Feed, row: int, error: csv.Error) -> Problem:
        if feed.ended or isinstance(error, _TooLong):
            line = feed.first_line + _opening(feed.held)
            raise SourceError(
                f"{self.name}: the quote opened on line {line} is never closed, so no row after row {row} can be told "
                "from another; close it, or double a quote that belongs to a text",
                row=row,
            ) from error
        feed.read_again()
        hint = "close every quote, and double a quote that belongs to a text"
        return Problem("row", "row.quote", f"has a misplaced quote or line end ({error})", hint=hint)

    def shape(self, header: list[str]) -> RowShape:
        """How the cells below that header make records. Raises `SourceError` where they cannot."""
        places, clash = find_columns(header, self.chosen)
        if clash:
            raise SourceError(f"{self.name}: {clash}; rename or remove one of them")
        chosen = [f"{name!r} (chosen for {field})" for field, name in self.chosen.items() if field not in places]
        needed = [field for field in NEEDED if field not in places and field not in self.defaults.fields]
        if chosen or needed:
            missing = listed(chosen or needed)
            raise SourceError(f"{self.name}: there is no column {missing}. {_found(header)}. {_advice(header)}")
        return RowShape(places, len(header), self.defaults)


class CsvBlocks:
    """The rows of a file that can be sought in, from its beginning or behind a place; it is opened when first read."""

    def __init__(self, source: CsvSource, after: SourcePosition | None) -> None:
        self._source = source
        self._after = after
        self._opened = ExitStack()
        self._begun: _Begun | None = None

    def plain(self, limit: int) -> Rows | None:
        """The next rows, at most so many; None where each has to be looked at (`rows`), and at the end.

        The first rows of all are looked at: that is where the file is opened.
        """
        begun = self._begun
        if begun is None or begun.shape is None:
            return None
        try:
            lines = begun.ahead.peek(limit)
        except READ_FAULTS:
            return None
        columns = columns_of(lines, len(begun.header)) if lines else None
        if columns is None or not begun.shape.has_no_blank(columns):
            return None
        first, count = begun.place.row + 1, len(lines)
        size = begun.ahead.skip(count)
        begun.place = SourcePosition(begun.place.row + count, begun.place.line + count, begun.place.offset + size)
        return Rows(first, [*begun.shape.records(columns)], end=(begun.place.line, begun.place.offset))

    def rows(self, limit: int) -> Iterator[Row]:
        """The next rows, at most so many, each looked at. Raises `SourceError`."""
        begun = self._begin()
        if begun.shape is None:
            return
        with closing(self._source.data_behind(begun.place, begun.file, begun.header)) as rows:
            for row in islice(rows, limit):
                if row.end is not None:
                    begun.place = SourcePosition(row.number, *row.end)
                yield row
        begun.ahead.seek(begun.place.offset)

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._opened.close()

    def _begin(self) -> _Begun:
        if self._begun is None:
            source = self._source
            file = self._opened.enter_context(open_text(source.origin, source.name))
            header, end = source.head(file)
            place = self._after if self._after is not None and self._after.row else end
            shape = source.shape(header) if header else None
            self._begun = _Begun(file, header, shape, place, ReadAhead(file.buffer, place.offset))
        return self._begun


@attrs.define
class _Begun:
    """An opened file: `shape` is None where nothing is in it, `place` is the end of the last row that was read."""

    file: TextIO
    header: list[str]
    shape: RowShape | None
    place: SourcePosition
    ahead: ReadAhead


class _TooLong(csv.Error):
    """A row of several lines grew past every measure."""


class _Feed:
    """Hands lines to the CSV reader, and keeps those of the row at hand so that they can be read again.

    `number` is how many lines of the file come before.
    """

    def __init__(self, lines: TextLines, number: int = 0) -> None:
        self._lines = lines
        self._source = iter(lines)
        self._again: deque[str] = deque()
        self._bytes_again = 0
        self._number = number
        self.held: list[str] = []
        self.fault: Problem | None = None
        self.ended = False

    @property
    def first_line(self) -> int:
        """The line on which the row at hand began."""
        return self._number - len(self.held) + 1

    def next_row(self) -> tuple[int, tuple[int, int]]:
        """The row at hand is done with: its first line, and the lines and bytes of the file up to its end."""
        first = self._number - len(self.held) + 1
        self.held.clear()
        self.fault = None
        return first, (self._number, self._lines.offset - self._bytes_again)

    def read_again(self) -> None:
        """Take back all lines of the row at hand but its first."""
        again = self.held[1:]
        del self.held[1:]
        self._again.extendleft(reversed(again))
        self._bytes_again += sum(map(byte_size, again))
        self._number -= len(again)

    def __iter__(self) -> Iterator[str]:
        held, size = self.held, 0
        while line := self._next_again() if self._again else next(self._source, ""):
            size = len(line) if not held else size + len(line)
            held.append(line)
            self._number += 1
            if size >= LINE_MAX or not line.isascii():
                self.fault = self.fault or fault(line, self._number)
            if size < LINE_MAX:
                yield line
            elif len(held) == 1:
                yield "\n"
            else:
                raise _TooLong
        self.ended = True

    def _next_again(self) -> str:
        line = self._again.popleft()
        self._bytes_again -= byte_size(line)
        return line


def _opening(held: list[str]) -> int:
    """Which of these lines opened the quote that is open after them, counted from 0: the last with an unpaired mark."""
    return max((place for place, line in enumerate(held) if '"' in line.replace('""', "")), default=0)


def _is_blank(cells: list[str]) -> bool:
    return not any(cell.strip() for cell in cells)


def _wrong_width(cells: int, width: int) -> Problem:
    hint = "put quotes around a text that has a comma" if cells > width else "look for a missing comma or a line break"
    return Problem("row", "row.columns", f"has {cells} cells, and the header has {width}", hint=hint)


def _found(header: list[str]) -> str:
    shown = listed(repr(masked(name)) for name in header[:HEADER_SHOWN])
    more = f" and {len(header) - HEADER_SHOWN} more" if len(header) > HEADER_SHOWN else ""
    return f"The first line has {len(header)} column{'s' if len(header) > 1 else ''}: {shown}{more}"


def _advice(header: list[str]) -> str:
    delimiter = next((mark for mark in OTHER_DELIMITERS if len(header) == 1 and mark in header[0]), None)
    if header[0].lower().startswith("sep="):
        return "The line 'sep=' is a note for Excel: remove it, and save the file with commas"
    if delimiter:
        return f"The first line has 1 column and contains {delimiter!r}: save the file with commas"
    if any(sum(char.isdigit() for char in name) >= 7 for name in header):
        return "It looks like data: put a line with the names of the columns above it"
    return f"Columns are {listed(FIELDS)}; rename one, or choose it, such as receiver='Phone'"
