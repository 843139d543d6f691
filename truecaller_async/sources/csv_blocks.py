"""Many lines of a CSV file at a time, where nothing in them is odd.

Most files are the same from the first line to the last: each row is a line, and each line has as many cells as the
header. What `delimited` does for one row after the other is done here for some hundred in a few calls. Its rules are
the law, and it says what is wrong with a row. Here the answer is the cells, or "look at each": lines that are not seen
at a glance to be one whole row each are read there, from the same place.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from typing import IO

from truecaller_async.sources.text_files import LINE_MAX_CHARS

READ_SIZE_BYTES = 128 * 1024
"""Bytes that are read ahead."""


class ReadAhead:
    """The whole lines of a binary file, some of them read ahead. Raises what reading from the file raises."""

    def __init__(self, file: IO[bytes], offset: int) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self._next = 0
        self._partial = b""
        self._offset: int | None = offset

    def peek(self, limit: int) -> list[bytes]:
        """Up to so many of the next lines, without their ends; none where no line of bearable length ends."""
        if self._offset is not None:
            self._file.seek(self._offset)
            self._offset = None
        if len(self._lines) - self._next < limit:
            *complete, self._partial = (self._partial + self._file.read(READ_SIZE_BYTES)).split(b"\n")
            self._lines = self._lines[self._next :] + complete
            self._next = 0
        return self._lines[self._next : self._next + limit]

    def skip(self, count: int) -> int:
        """So many of them are done with; how many bytes they were."""
        start = self._next
        self._next += count
        return sum(map(len, self._lines[start : self._next])) + count

    def seek(self, offset: int) -> None:
        """Read on from there, wherever somebody else has read in the file meanwhile."""
        self._lines, self._next, self._partial, self._offset = [], 0, b"", offset


def parse_columns(lines: Sequence[bytes], width: int) -> Sequence[Sequence[str]] | None:
    """The cells of these lines by column; None where one may be something else than a row of so many cells."""
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
    """Each line end as a cell of its own: they show whether all lines have the same width."""
    cells, stride = text.replace("\n", ",\n,").split(","), width + 1
    if len(cells) != count * stride - 1 or cells[width::stride] != ["\n"] * (count - 1):
        return None
    return [cells[index::stride] for index in range(width)]


def _parse_quoted(lines: list[str], width: int) -> Sequence[Sequence[str]] | None:
    """As many rows as lines: then each line is one."""
    try:
        rows = list(csv.reader(lines, strict=True))
    except csv.Error:
        return None
    if len(rows) < len(lines) or not {width}.issuperset(map(len, rows)):
        return None
    return list(zip(*rows, strict=True))
