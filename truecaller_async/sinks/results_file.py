"""Repair the results file of an earlier run, however that run ended.

A killed run leaves a file that may end inside a line, inside a cell of several lines, or inside the gzip stream. A row
that was final may be open again, because an operator decided so since. After the repair the file contains complete
records only, each row once, and final rows only. The rows in the file are returned as a set with one bit per row, so
that the missing ones are known.

Algorithm:
    - A plain file whose only fault is an incomplete end is truncated after its last complete record. In all other cases
      a new file replaces the old one.
Failure modes:
    - A file that does not start like a results file is refused and not changed.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from truecaller_async.errors import ConfigError
from truecaller_async.sinks.result_sink import COLUMNS, atomic_replacement, is_gzip, results_format

READ_BLOCK_BYTES = 256 * 1024
RECORD_MAX_BYTES = 4 * 1024 * 1024
"""This library writes no longer record."""
ROW_MAX_DIGITS = 12
HEADER = ",".join(COLUMNS).encode()
JSON_START = b'{"row":'
JSON_ROW = re.compile(rb'\{"row": ?([0-9]{1,12}),')
NUL_BYTES = b"\0"
"""File systems may leave NUL bytes at the end of a file after a power failure."""
GZIP_WINDOW_BITS = zlib.MAX_WBITS | 16
"""Tells zlib to expect the gzip format."""


class RowSet:
    """A set of row numbers with one bit for each: ten million rows take 1.3 MB."""

    def __init__(self, rows: Iterable[int] = ()) -> None:
        self._bits = bytearray()
        self._count = 0
        for row in rows:
            self.add(row)

    def add(self, row: int) -> bool:
        """Add a row. Return whether it is new."""
        index, bit = row >> 3, 1 << (row & 7)
        bits = self._bits
        if index >= len(bits):
            bits.extend(bytes(max(index + 1 - len(bits), len(bits))))
        if bits[index] & bit:
            return False
        bits[index] |= bit
        self._count += 1
        return True

    def __contains__(self, row: int) -> bool:
        index = row >> 3
        return index < len(self._bits) and bool(self._bits[index] & (1 << (row & 7)))

    def __len__(self) -> int:
        return self._count


def repair_results_file(path: Path, is_final: Callable[[int], bool]) -> RowSet:
    """Repair a results file so that it can be continued, and return its rows.

    Args:
        path: The file. If it does not exist, or is a pipe or a device, the set is empty.
        is_final: Returns whether a row has a final outcome. Other rows are removed from the file.

    Returns:
        The rows in the file.

    Raises:
        ConfigError: The file is not a results file. It is not changed.
        OSError: As raised by the file system.
    """
    form = results_format(path)
    if not path.is_file():
        return RowSet()
    real = path.resolve()
    records = _RecordReader(real, form == "csv")
    rows, dropped = RowSet(), 0
    for row, _ in records:
        if row is None or not is_final(row) or not rows.add(row):
            dropped += 1
    records.check_is_results_file(path)
    if dropped or (is_gzip(real) and (records.is_torn or not records.end)):
        _rewrite(real, form == "csv", is_final)
    elif records.is_torn:
        with real.open("r+b") as file:
            file.truncate(records.end)
    return rows


class _RecordReader:
    """The complete records of a file, each with its row, or None if it has none.

    After the iteration: `end` is the offset (decompressed bytes) after the last complete record, and `is_torn` whether
    incomplete data follows.
    """

    def __init__(self, path: Path, is_csv: bool) -> None:
        self._path = path
        self._is_csv = is_csv
        self._row_of = _csv_row if is_csv else _json_row
        self._tail = b""
        self._starts_like_results = False
        self.end = 0
        self.is_torn = False

    def __iter__(self) -> Iterator[tuple[int | None, bytes]]:
        for raw in self._complete_records():
            row = self._row_of(raw)
            first, self.end = not self.end, self.end + len(raw)
            if first:
                self._starts_like_results = raw.strip() == HEADER if self._is_csv else row is not None
                if not self._starts_like_results:
                    return
                if self._is_csv:
                    continue
            yield row, raw

    def check_is_results_file(self, path: Path) -> None:
        """Raise `ConfigError` unless the file starts like results, or is cut inside its first record."""
        start = HEADER if self._is_csv else JSON_START
        cut_in_first_record = not self.end and (start.startswith(self._tail[: len(start)].strip(NUL_BYTES)))
        if not (self._starts_like_results or cut_in_first_record):
            raise ConfigError(
                f"{path} does not start like a results file: it was not changed. Give another file with --results"
            )

    def _complete_records(self) -> Iterator[bytes]:
        """Yield records with their line end. A line end inside quotes of a CSV file does not end a record."""
        parts: list[bytes] = []
        quotes = 0
        with self._path.open("rb") as file:
            for line in _lines(self._decompressed(file) if is_gzip(self._path) else _blocks(file)):
                parts.append(line)
                if not line.endswith(b"\n"):
                    break
                quotes += line.count(b'"')
                if not (self._is_csv and quotes % 2):
                    yield line if len(parts) == 1 else b"".join(parts)
                    parts, quotes = [], 0
        self._tail = b"".join(parts)
        self.is_torn = self.is_torn or bool(self._tail)

    def _decompressed(self, file: BinaryIO) -> Iterator[bytes]:
        """Yield what can be decompressed. Each run that wrote to the file began a gzip stream of its own."""
        stream = None
        for block in _blocks(file):
            rest = block
            while rest:
                stream = stream or zlib.decompressobj(GZIP_WINDOW_BITS)
                try:
                    text = stream.decompress(rest)
                except zlib.error:
                    self.is_torn = True
                    return
                yield text
                rest = stream.unused_data
                stream = None if stream.eof else stream
        self.is_torn = self.is_torn or stream is not None


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(READ_BLOCK_BYTES):
        yield block


def _lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines with their ends. The last has none if the file is incomplete or the line is too long."""
    rest = b""
    for block in blocks:
        *complete, rest = (rest + block).split(b"\n")
        for line in complete:
            yield line + b"\n"
        if len(rest) > RECORD_MAX_BYTES:
            break
    if rest:
        yield rest


def _csv_row(raw: bytes) -> int | None:
    cell = raw[: ROW_MAX_DIGITS + 2].partition(b",")[0].strip(b'"')
    return int(cell) if cell.isdigit() else None


def _json_row(raw: bytes) -> int | None:
    found = JSON_ROW.match(raw)
    return int(found[1]) if found and raw.rstrip().endswith(b"}") else None


def _rewrite(path: Path, is_csv: bool, is_final: Callable[[int], bool]) -> None:
    """Replace the file by one that contains each of its final rows once."""
    written = RowSet()
    with atomic_replacement(path) as temporary:
        opener = gzip.open if is_gzip(path) else open
        with cast("BinaryIO", opener(temporary, "wb")) as file:
            if is_csv:
                file.write(HEADER + b"\n")
            for row, raw in _RecordReader(path, is_csv):
                if row is not None and is_final(row) and written.add(row):
                    file.write(raw)
