"""Open text files, and read them line by line in bounded memory.

Algorithm:
    - A byte that is not UTF-8 is decoded to a lone surrogate, so that it makes one bad row and can be reported with
      line and column.
    - A line of `LINE_MAX_CHARS` characters or more is cut and its rest is skipped. This also bounds a decompression
      bomb.
    - Files that are not text (archive, workbook, UTF-16) are recognised by their first line.
Invariants:
    - A file with a path can be read from its beginning or from the end of any row. Offsets count the bytes of the file,
      in a `.gz` those of the decompressed text. The byte order mark, skipped parts of lines and bytes that are not
      UTF-8 are counted too. The end of a row is always the end of a line.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import re
import stat
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Protocol, TextIO, TypeAlias, cast

import attrs

from truecaller_async.errors import ConfigError, SourceError
from truecaller_async.models import Problem, Row, Rows
from truecaller_async.models.journal_entries import SourceDescriptor, SourcePosition
from truecaller_async.sources.column_mapping import NO_DEFAULTS, ColumnDefaults, check_column_choices

Origin: TypeAlias = str | os.PathLike[str] | IO[str] | IO[bytes] | io.BufferedIOBase

LINE_MAX_CHARS = 64 * 1024
"""A line must be shorter."""
READ_ERRORS = (OSError, EOFError, zlib.error, ValueError)
"""Exceptions of reading a stream: the disk, a broken gzip stream, undecodable text, a closed file."""
COUNT_BLOCK_BYTES = 1024 * 1024
"""Block size of `count_rows`."""
GZIP_SUFFIX = ".gz"

BYTE_ORDER_MARK = "\ufeff"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
SURROGATE_ESCAPE_MIN = 0xDC00
"""Code point of an escaped byte 0x00: the error handler `surrogateescape` adds the byte."""

NOT_TEXT = {
    beginning.decode("utf-8", "surrogateescape"): advice
    for beginning, advice in (
        (b"\x1f\x8b", "is compressed with gzip; give it a name that ends in .gz"),
        (b"PK\x03\x04", "is a zip archive or an Excel workbook; unpack it, or export it as CSV in UTF-8"),
        (b"\xd0\xcf\x11", "is an old Excel workbook; export it as CSV in UTF-8"),
        (b"PAR1", "is a Parquet file; export it as CSV or JSONL"),
        (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
        (b"\xfe\xff", "is UTF-16; save it as UTF-8"),
    )
}
"""First characters of other kinds of files, and what to do with such a file."""

PROCESS_LOCAL_PATHS = ("/dev/stdin", "/dev/fd/", "/proc/")
"""Paths that mean another file in another process."""

WRONG_SUFFIXES = {
    ".xlsx": "is an Excel workbook; export it as CSV in UTF-8",
    ".xls": "is an Excel workbook; export it as CSV in UTF-8",
    ".ods": "is a spreadsheet; export it as CSV in UTF-8",
    ".zip": "is a zip archive; unpack it (compressed files are read as .gz only)",
    ".parquet": "is a Parquet file; export it as CSV or JSONL",
}
"""Suffixes of other formats, and what to do with such a file."""


class RowBlocks(Protocol):
    """Reads the rows of a file in blocks."""

    def read_block(self, limit: int) -> Rows | None:
        """Return the next rows, at most `limit`. None if they must be read with `rows`, and at the end."""

    def rows(self, limit: int) -> Iterator[Row]:
        """Yield the next rows, at most `limit`, parsed one by one. Exhaust it. Raise `SourceError`."""

    def close(self) -> None:
        """Close the file. May be called twice."""


class FileSource(ABC):
    """A file that is read as rows. A path is read from its beginning each time, a file object only once."""

    kind: str
    """The format: "csv" or "jsonl"."""

    def __init__(self, origin: Origin, defaults: ColumnDefaults | None, columns: Mapping[str, str]) -> None:
        check_column_choices(columns)
        self.origin = origin
        self.defaults = defaults or NO_DEFAULTS
        self.chosen = dict(columns)

    def rows(self, after: SourcePosition | None = None) -> Generator[Row, None, None]:
        """Yield the rows, without awaiting. Close the generator to close the file.

        Args:
            after: End of a row of this file (its `number` and `end`): only later rows are read, with the numbers and
                lines that they have in the whole file.

        Returns:
            A generator. Reading it raises `SourceError`.

        Raises:
            ConfigError: `after` is given for a file object, or has no offset.
        """
        if after is not None and self.path is None:
            raise ConfigError(
                f"{self.name} is a file object: it can be read only once, from its current position. Give its path"
            )
        if after is None or after.row == 0:
            return self._rows(None)
        if after.offset <= 0:
            raise ConfigError(f"{self.name}: the position after row {after.row} has no offset in the file")
        return self._rows(after)

    def blocks(self, after: SourcePosition | None = None) -> RowBlocks | None:
        """Return a reader of the same rows as `rows`, in blocks. None if the file does not allow it."""
        return None

    @abstractmethod
    def _rows(self, after: SourcePosition | None) -> Generator[Row, None, None]:
        """Yield all rows, or those after a position that is not the beginning."""

    def descriptor(self) -> SourceDescriptor | None:
        """Describe this file so that it can be reopened later. None if that is not possible.

        It is possible for a regular file with a path, if the columns and defaults can be written as JSON.
        """
        if self.path is None:
            return None
        defaults = {name: value for name, value in attrs.asdict(self.defaults).items() if value is not None}
        try:
            path, found = str(self.path.absolute()), self.path.stat()
            json.dumps([path, self.chosen, defaults], ensure_ascii=False).encode()
        except (OSError, ValueError, TypeError):
            return None
        if not stat.S_ISREG(found.st_mode) or path.startswith(PROCESS_LOCAL_PATHS):
            return None
        return SourceDescriptor(self.kind, path, dict(self.chosen), defaults, found.st_size, found.st_mtime_ns)

    async def __aiter__(self) -> AsyncIterator[Row]:
        for row in self.rows():
            yield row

    @property
    def path(self) -> Path | None:
        """Return the path of the file; None for a file object."""
        return Path(self.origin) if isinstance(self.origin, str | os.PathLike) else None

    @property
    def is_seekable(self) -> bool:
        """Return whether it is a regular, uncompressed file, in which every position is reached directly."""
        try:
            return (
                self.path is not None
                and self.path.suffix.lower() != GZIP_SUFFIX
                and stat.S_ISREG(self.path.stat().st_mode)
            )
        except (OSError, ValueError):
            return False

    @property
    def name(self) -> str:
        """Return the name of the file for messages."""
        if isinstance(self.origin, str | os.PathLike):
            return os.fspath(self.origin)
        name = getattr(self.origin, "name", None)
        return name if isinstance(name, str) else "the file"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @contextlib.contextmanager
    def text_after(self, position: SourcePosition, file: TextIO) -> Iterator[TextIO]:
        """Give the text of an open file after a position. Raise `SourceError`, also if the file is shorter."""
        try:
            file.buffer.seek(position.offset - 1)
            last = file.buffer.read(1)
        except READ_ERRORS as error:
            raise self.read_error(position.row, error) from error
        if not last:
            raise SourceError(
                f"{self.name}: is shorter than it was when row {position.row} was read; restore the original file",
                row=position.row,
            )
        with _decoded_text(file.buffer) as rest:
            yield rest

    def read_error(self, row: int, error: BaseException) -> SourceError:
        """Return the error for a read failure after `row`."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        where = f" after row {row}" if row else ""
        return SourceError(f"{self.name}: cannot be read{where}: {reason}", row=row)


@contextlib.contextmanager
def open_text(origin: Origin, name: str) -> Iterator[TextIO]:
    """Open a path, or wrap a text or binary file, which stays open. Raise `SourceError` with row 0."""
    if isinstance(origin, str | os.PathLike):
        with _open_path(Path(origin), name) as file:
            yield file
    elif isinstance(origin.read(0), str):
        yield cast("TextIO", origin)
    else:
        with _decoded_text(cast("IO[bytes]", origin)) as wrapper:
            yield wrapper


@contextlib.contextmanager
def _decoded_text(binary: IO[bytes]) -> Iterator[TextIO]:
    """Decode a binary file from its current position. The file stays open."""
    wrapper = io.TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        yield wrapper
    finally:
        with contextlib.suppress(ValueError):  # the owner has closed it
            wrapper.detach()


def _open_path(path: Path, name: str) -> TextIO:
    advice = WRONG_SUFFIXES.get(path.suffix.lower())
    if advice:
        raise SourceError(f"{name}: {advice}")
    opener: Any = gzip.open if path.suffix.lower() == GZIP_SUFFIX else open
    try:
        return cast("TextIO", opener(path, "rt", encoding="utf-8", errors="surrogateescape", newline=""))
    except FileNotFoundError as error:
        raise SourceError(f"{name}: there is no such file; the working directory is {Path.cwd()}") from error
    except IsADirectoryError as error:
        raise SourceError(f"{name}: is a folder; name a file in it") from error
    except PermissionError as error:
        raise SourceError(f"{name}: this user may not read it; check its permissions") from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{name}: cannot be opened: {error}") from error


class TextLines:
    """The lines of a text with their ends, and the offset of the last end.

    `offset` counts the bytes of the file up to the end of the last line; at first, the bytes before the text. A line
    with `LINE_MAX_CHARS` characters was longer and is cut.
    """

    def __init__(self, file: TextIO, name: str, offset: int = 0) -> None:
        self._file = file
        self._name = name
        self.offset = offset

    def __iter__(self) -> Iterator[str]:
        readline = self._file.readline
        line = readline(LINE_MAX_CHARS) if self.offset else self._first()
        while line:
            self.offset += len(line) if line.isascii() else byte_size(line)
            if len(line) == LINE_MAX_CHARS and line[-1] not in "\r\n":
                self._skip_rest()
            yield line
            line = readline(LINE_MAX_CHARS)

    def _first(self) -> str:
        line = self._file.readline(LINE_MAX_CHARS)
        _check_is_text(line, self._name)
        if not line.startswith(BYTE_ORDER_MARK):
            return line
        self.offset = byte_size(BYTE_ORDER_MARK)
        return line.removeprefix(BYTE_ORDER_MARK) or self._file.readline(LINE_MAX_CHARS)

    def _skip_rest(self) -> None:
        part = "more"
        while part and part[-1] not in "\r\n":
            part = self._file.readline(LINE_MAX_CHARS)
            self.offset += byte_size(part)


def lines(file: TextIO, name: str) -> Iterator[str]:
    """Return the lines of a text from its beginning, without offsets."""
    return iter(TextLines(file, name))


def byte_size(text: str) -> int:
    """Return the number of bytes of the file that this text was decoded from."""
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # a lone surrogate in a text file of the caller; its offsets are not used
        return len(text)


def _check_is_text(line: str, name: str) -> None:
    for start, advice in NOT_TEXT.items():
        if line.startswith(start):
            raise SourceError(f"{name}: {advice}")
    if "\0" in line:
        raise SourceError(f"{name}: has NUL characters in its first line; if it is UTF-16, save it as UTF-8")


def line_problem(line: str, number: int) -> Problem | None:
    """Return why a line cannot be read. A shorter line of ASCII has no problem."""
    if len(line) >= LINE_MAX_CHARS:
        hint = "look for a quote that is not closed, or for missing line ends"
        return Problem(
            "row", "row.length", f"is on line {number}, which has {LINE_MAX_CHARS} characters or more", hint=hint
        )
    found = LONE_SURROGATE.search(line)
    if found is None:
        return None
    byte = ord(found[0]) - SURROGATE_ESCAPE_MIN
    what = f"the byte 0x{byte:02X} is not UTF-8" if 0x80 <= byte <= 0xFF else "an unpaired surrogate"
    hint = "save the file as UTF-8; it may be Latin-1 or Windows-1252"
    return Problem("row", "row.encoding", f"has on line {number}, column {found.start() + 1}: {what}", hint=hint)


def format_suffix(path: str | os.PathLike[str]) -> str:
    """Return the suffix that determines the format, without `.gz`: ".csv", ".jsonl"."""
    name = Path(path).name.lower()
    return Path(name.removesuffix(GZIP_SUFFIX)).suffix


def count_rows(path: str | os.PathLike[str]) -> int | None:
    """Estimate the number of data rows of a file by its line ends.

    Reads the whole file, at about 1 GB/s or more. Blank lines and line breaks inside quotes are counted too.

    Args:
        path: The path.

    Returns:
        The number; None if counting would consume or decompress the file, or it cannot be read.
    """
    if os.fspath(path) == "-" or Path(path).suffix.lower() == GZIP_SUFFIX:
        return None
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return None
        with Path(path).open("rb") as file:
            count, last = 0, b"\n"
            while block := file.read(COUNT_BLOCK_BYTES):
                count += block.count(b"\n")
                last = block[-1:]
    except OSError:
        return None
    count += last != b"\n"
    return max(0, count - 1) if format_suffix(path) == ".csv" else count
