"""Parse many plain lines of a CSV file together.

Most files are uniform: each line is one row with as many cells as the header. Such lines are parsed a few hundred at a
time with a few calls.

Invariants:
    - `csv_source` defines the rules. A block has exactly the rows that it would read one by one.
    - If any line may be something else than one such row, the answer is None. `csv_source` then reads these rows one by
      one from the same position.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import IO

from truecaller_async.sources.text_files import LINE_MAX_CHARS

READ_SIZE_BYTES = 128 * 1024
"""How much is read ahead."""


class ReadAhead:
    """The complete lines of a binary file, some of them read ahead. Raises as reading the file does."""

    def __init__(self, file: IO[bytes], offset: int) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._next = 0
        self._partial = b""
        self._offset: int | None = offset

    def peek(self, limit: int) -> list[bytes]:
        """Return up to `limit` of the next lines, without line ends. Empty if no complete line was found."""
        if self._offset is not None:
            self._file.seek(self._offset)
            self._offset = None
        if len(self._lines) - self._next < limit:
            *complete, self._partial = (self._partial + self._file.read(READ_SIZE_BYTES)).split(b"\n")
            self._lines = self._lines[self._next :] + complete
            self._next = 0
        return self._lines[self._next : self._next + limit]

    def skip(self, count: int) -> int:
        """Remove the next `count` lines. Return their length in bytes, with line ends."""
        start = self._next
        self._next += count
        return sum(map(len, self._lines[start : self._next])) + count

    def seek(self, offset: int) -> None:
        """Continue at this offset. Required after other code has moved the position of the file."""
        self._lines, self._next, self._partial, self._offset = [], 0, b"", offset


def parse_columns(lines: Sequence[bytes], width: int) -> Sequence[Sequence[str]] | None:
    """Return the cells of these lines by column. None if a line may not be one row of `width` cells."""
    if max(map(len, lines)) >= LINE_MAX_CHARS - 1:
        return None
    try:
        text = b"\n".join(lines).decode()
    except UnicodeDecodeError:
        return None
    if "\r" in text:
        text = (text + "\n").replace("\r\n", "\n")[:-1]
        if "\r" in text:
            return None
    if '"' in text:
        return _parse_quoted(text.split("\n"), width)
    return _split_unquoted(text, len(lines), width)


def _split_unquoted(text: str, count: int, width: int) -> Sequence[Sequence[str]] | None:
    """Split lines without quotes.

    Each line end becomes a cell. The positions of these cells show whether all lines have the same width.
    """
    cells, stride = text.replace("\n", ",\n,").split(","), width + 1
    if len(cells) != count * stride - 1 or cells[width::stride] != ["\n"] * (count - 1):
        return None
    return [cells[index::stride] for index in range(width)]


def _parse_quoted(lines: list[str], width: int) -> Sequence[Sequence[str]] | None:
    """Parse lines with quotes. None unless each line is one row."""
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error:
        return None
    if len(rows) < len(lines) or not {width}.issuperset(map(len, rows)):
        return None
    return list(zip(*rows, strict=True))
