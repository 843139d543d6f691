"""A results file that an earlier run left behind, however that run ended.

A run that is killed leaves a file that ends anywhere: in the middle of a line, of a cell of several lines, of the
compressed stream. And a row that was final then may be open again, for an operator said so since. Before results are
added to such a file it is mended: afterwards it holds whole records only, each row once, and only rows that are final.
What is missing then is known too, because the rows that are there come back as a set, one bit for each.

A plain file that is only torn is cut where its last whole record ends. Everything else is a new file that takes the
index of the old one. A file that does not begin like results of ours is left as it is, and refused.
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
"""Bytes; nothing that is longer was written here."""
ROW_MAX_DIGITS = 12
HEADER = ",".join(COLUMNS).encode()
JSON_START = b'{"row":'
JSON_ROW = re.compile(rb'\{"row": ?([0-9]{1,12}),')
NUL_BYTES = b"\0"
"""What a file system may leave at the end of a file when the power fails."""
GZIP_WINDOW_BITS = zlib.MAX_WBITS | 16


class RowSet:
    """Numbers of rows, one bit each: ten million of them in 1.3 MB."""

    def __init__(self, rows: Iterable[int] = ()) -> None:
        self._bits = bytearray()
        self._count = 0
        for row in rows:
            self.add(row)

    def add(self, row: int) -> bool:
        """Whether it is new."""
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
    """Make that file one that can be gone on with, and say which rows are in it.

    `is_final` says whether a row has its last word; others are taken out. A file that is not there, or is a pipe or a
    device, holds nothing. Raises `ConfigError` for a file that is no results file of ours, which is not changed then,
    and `OSError` as the file system does.
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
    """The whole records of a file, each with its row, or None where it has none.

    Known when the iteration has ended: `end`, the unpacked bytes up to the end of the last whole record, and whether
    something `is_torn` behind it.
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
        """Raises `ConfigError` unless it begins like results; a file torn in its first record may be ours."""
        start = HEADER if self._is_csv else JSON_START
        cut_in_first_record = not self.end and (start.startswith(self._tail[: len(start)].strip(NUL_BYTES)))
        if not (self._starts_like_results or cut_in_first_record):
            raise ConfigError(
                f"{path} does not begin like a file of results, so nothing is added to it and it is left as it is; "
                "name another file with --results"
            )

    def _complete_records(self) -> Iterator[bytes]:
        """Records with their line end. In CSV a line end inside quotes does not end a record."""
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
        """What can be unpacked; each run that wrote to the file began a gzip stream of its own."""
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
    """The text in lines with their ends; the last has none where the file is torn, or is longer than any of ours."""
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
    """The same file with each of its final rows once."""
    written = RowSet()
    with atomic_replacement(path) as temporary:
        opener = gzip.open if is_gzip(path) else open
        with cast("BinaryIO", opener(temporary, "wb")) as file:
            if is_csv:
                file.write(HEADER + b"\n")
            for row, raw in _RecordReader(path, is_csv):
                if row is not None and is_final(row) and written.add(row):
                    file.write(raw)
