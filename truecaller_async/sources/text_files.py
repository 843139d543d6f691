"""Text files: opening them, and reading them line by line in bounded memory.

Bytes that are not UTF-8 are let through as lone surrogates, so that one bad byte costs one row and can be named by
line and column. A line longer than `LINE_MAX` is cut and the rest of it skipped, which also makes a decompression bomb
harmless. What is no text at all (an archive, a workbook, UTF-16) is recognised by its first line.

A file that has a path can be read again, from its beginning or from the end of any of its rows. For that the bytes are
counted as they stand in the file (in a `.gz` as they are unpacked): a byte order mark, the rest of a cut line and the
bytes that are not UTF-8 count like all others. The end of a row is always the end of a line.
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
from truecaller_async.models import Problem, Row, Rows, SourceDescriptor, SourcePosition
from truecaller_async.sources.column_mapping import NO_DEFAULTS, ColumnDefaults, check_column_choices

Origin: TypeAlias = str | os.PathLike[str] | IO[str] | IO[bytes] | io.BufferedIOBase

LINE_MAX_CHARS = 64 * 1024
"""Characters; a line must be shorter."""
READ_ERRORS = (OSError, EOFError, zlib.error, ValueError)
"""What reading from a stream can raise: the disk, a broken gzip stream, an undecodable text, a closed file."""
COUNT_BLOCK_BYTES = 1024 * 1024
GZIP_SUFFIX = ".gz"

BYTE_ORDER_MARK = "\ufeff"
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
SURROGATE_ESCAPE_BASE = 0xDC00

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
"""How other kinds of files begin, and what to do with them."""

PROCESS_LOCAL_PATHS = ("/dev/stdin", "/dev/fd/", "/proc/")
"""Paths that mean another file in another process."""

WRONG_SUFFIXES = {
    ".xlsx": "is an Excel workbook; export it as CSV in UTF-8",
    ".xls": "is an Excel workbook; export it as CSV in UTF-8",
    ".ods": "is a spreadsheet; export it as CSV in UTF-8",
    ".zip": "is a zip archive; unpack it (compressed files are read as .gz only)",
    ".parquet": "is a Parquet file; export it as CSV or JSONL",
}


class RowBlocks(Protocol):
    """The rows of one reading of a file, many at a time."""

    def read_block(self, limit: int) -> Rows | None:
        """The next rows, at most so many; None where each has to be looked at (`rows`), and at the end."""

    def rows(self, limit: int) -> Iterator[Row]:
        """The next rows, at most so many, each looked at; to be read to its end. Raises `SourceError`."""

    def close(self) -> None:
        """Close the file. May be called twice."""


class FileSource(ABC):
    """A file that is read as rows. Reading a path again starts at its beginning; a file object is read once."""

    kind: str
    """The format: "csv" or "jsonl"."""

    def __init__(self, origin: Origin, defaults: ColumnDefaults | None, columns: Mapping[str, str]) -> None:
        check_column_choices(columns)
        self.origin = origin
        self.defaults = defaults or NO_DEFAULTS
        self.chosen = dict(columns)

    def rows(self, after: SourcePosition | None = None) -> Generator[Row, None, None]:
        """The rows, read without awaiting. Close the generator to close the file. Raises `SourceError`.

        `after` is the end of a row of this file (its `number` and `end`): the rows behind it are read, with the numbers
        and lines that they have in the whole file. A file object has no such place: `ConfigError`.
        """
        if after is not None and self.path is None:
            raise ConfigError(f"{self.name} is a file object, which is read once from where it stands; give its path")
        if after is None or after.row == 0:
            return self._rows(None)
        if after.offset <= 0:
            raise ConfigError(f"{self.name}: it is not known where in the file row {after.row} ends")
        return self._rows(after)

    def blocks(self, after: SourcePosition | None = None) -> RowBlocks | None:
        """The rows that `rows` gives, many at a time; None where this file cannot be read so."""
        return None

    @abstractmethod
    def _rows(self, after: SourcePosition | None) -> Generator[Row, None, None]:
        """The rows from the beginning, or those behind a place that is not the beginning."""

    def descriptor(self) -> SourceDescriptor | None:
        """What it takes to open this file again later; None where that cannot be promised.

        It can for a regular file that is known by its path, and with columns and fill that can be written as JSON.
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
        """Where the file is; None for a file object."""
        return Path(self.origin) if isinstance(self.origin, str | os.PathLike) else None

    @property
    def is_seekable(self) -> bool:
        """Whether it is a regular file as it stands, in which any place is reached at once."""
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
        """What the file is called in messages."""
        if isinstance(self.origin, str | os.PathLike):
            return os.fspath(self.origin)
        name = getattr(self.origin, "name", None)
        return name if isinstance(name, str) else "the file"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    @contextlib.contextmanager
    def text_after(self, position: SourcePosition, file: TextIO) -> Iterator[TextIO]:
        """The text of the opened file from that place on. Raises `SourceError`, also where the file is shorter."""
        try:
            file.buffer.seek(position.offset - 1)
            last = file.buffer.read(1)
        except READ_ERRORS as error:
            raise self.read_error(position.row, error) from error
        if not last:
            raise SourceError(
                f"{self.name}: is shorter than it was when row {position.row} was read; put back the file as it was",
                row=position.row,
            )
        with _decoded_text(file.buffer) as rest:
            yield rest

    def read_error(self, row: int, error: BaseException) -> SourceError:
        """The error that says reading ended after `row` because of `error`."""
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        where = f" after row {row}" if row else ""
        return SourceError(f"{self.name}: cannot be read{where}: {reason}", row=row)


@contextlib.contextmanager
def open_text(origin: Origin, name: str) -> Iterator[TextIO]:
    """The text of a path, or of a text or binary file, which is left open. Raises `SourceError` with row 0."""
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
    """These bytes as text, from where they stand; the file itself is left open."""
    wrapper = io.TextIOWrapper(binary, encoding="utf-8", errors="surrogateescape", newline="")
    try:
        yield wrapper
    finally:
        with contextlib.suppress(ValueError):  # closed by its owner meanwhile
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
        raise SourceError(f"{name}: may not be read by this user; check its permissions") from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{name}: cannot be opened: {error}") from error


class TextLines:
    """The lines of a text with their ends, and how far they reach. One that is `LINE_MAX` long was longer, and is cut.

    `offset` is the bytes of the file up to the end of the last line, at first those before the beginning of the text.
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
    """The lines of a text from its beginning, for who does not ask how far they reach."""
    return iter(TextLines(file, name))


def byte_size(text: str) -> int:
    """How many bytes of the file this text was."""
    try:
        return len(text.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:  # half a character in a text file of the caller, whose bytes nobody asks for
        return len(text)


def _check_is_text(line: str, name: str) -> None:
    for start, advice in NOT_TEXT.items():
        if line.startswith(start):
            raise SourceError(f"{name}: {advice}")
    if "\0" in line:
        raise SourceError(f"{name}: has NUL characters in its first line; if it is UTF-16, save it as UTF-8")


def line_problem(line: str, number: int) -> Problem | None:
    """What keeps a line from being read at all; None is sure for a shorter line of ASCII."""
    if len(line) >= LINE_MAX_CHARS:
        hint = "look for a quote that is not closed, or for missing line ends"
        return Problem(
            "row", "row.length", f"is on line {number}, which has {LINE_MAX_CHARS} characters or more", hint=hint
        )
    found = LONE_SURROGATE.search(line)
    if found is None:
        return None
    byte = ord(found[0]) - SURROGATE_ESCAPE_BASE
    what = f"the byte 0x{byte:02X} is not UTF-8" if 0x80 <= byte <= 0xFF else "half a character (a lone surrogate)"
    hint = "save the file as UTF-8; it may be Latin-1 or Windows-1252"
    return Problem("row", "row.encoding", f"has on line {number}, column {found.start() + 1}: {what}", hint=hint)


def format_suffix(path: str | os.PathLike[str]) -> str:
    """The suffix that tells the format, without `.gz`: ".csv", ".jsonl"."""
    name = Path(path).name.lower()
    return Path(name.removesuffix(GZIP_SUFFIX)).suffix


def count_rows(path: str | os.PathLike[str]) -> int | None:
    """About how many data rows a file has, by its line ends; None where counting would use it up or unpack it.

    Reads the whole file, some GB a second. Blank lines and line breaks inside quotes are counted too.
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
