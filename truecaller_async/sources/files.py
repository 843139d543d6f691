"""Text files: opening them, and reading them line by line in bounded memory.

Bytes that are not UTF-8 are let through as lone surrogates, so that one bad byte costs one row and can be named by
line and column. A line longer than `LINE_MAX` is cut and the rest of it skipped, which also makes a decompression bomb
harmless. What is no text at all (an archive, a workbook, UTF-16) is recognised by its first line.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import stat
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TextIO, TypeAlias, cast

from truecaller_async.errors import SourceError
from truecaller_async.models import Problem, Row
from truecaller_async.sources.columns import NO_FILL, Fill, check_chosen

Origin: TypeAlias = str | os.PathLike[str] | IO[str] | IO[bytes] | io.BufferedIOBase

LINE_MAX = 64 * 1024
"""Characters; a line must be shorter."""
READ_FAULTS = (OSError, EOFError, zlib.error, ValueError)
"""What reading from a stream can raise: the disk, a broken gzip stream, an undecodable text, a closed file."""
BLOCK = 1024 * 1024

UNDECODED = re.compile("[\ud800-\udfff]")
ESCAPED_BYTES = 0xDC00

NOT_TEXT = {
    beginning.decode("utf-8", "surrogateescape"): verdict
    for beginning, verdict in (
        (b"\x1f\x8b", "is compressed with gzip; give it a name that ends in .gz"),
        (b"PK\x03\x04", "is a zip archive or an Excel workbook; unpack it, or export it as CSV in UTF-8"),
        (b"\xd0\xcf\x11", "is an old Excel workbook; export it as CSV in UTF-8"),
        (b"PAR1", "is a Parquet file; export it as CSV or JSONL"),
        (b"\xff\xfe", "is UTF-16; save it as UTF-8"),
        (b"\xfe\xff", "is UTF-16; save it as UTF-8"),
    )
}
"""How other kinds of files begin, and what to do with them."""

WRONG_SUFFIXES = {
    ".xlsx": "is an Excel workbook; export it as CSV in UTF-8",
    ".xls": "is an Excel workbook; export it as CSV in UTF-8",
    ".ods": "is a spreadsheet; export it as CSV in UTF-8",
    ".zip": "is a zip archive; unpack it (compressed files are read as .gz only)",
    ".parquet": "is a Parquet file; export it as CSV or JSONL",
}


class FileSource(ABC):
    """A file that is read as rows. Reading a path again starts at its beginning; a file object is read once."""

    def __init__(self, origin: Origin, fill: Fill | None, chosen: Mapping[str, str]) -> None:
        check_chosen(chosen)
        self.origin = origin
        self.fill = fill or NO_FILL
        self.chosen = dict(chosen)

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """The rows, read without awaiting. Close the iterator to close the file. Raises `SourceError`."""

    async def __aiter__(self) -> AsyncIterator[Row]:
        for row in self.rows():
            yield row

    @property
    def name(self) -> str:
        """What the file is called in messages."""
        if isinstance(self.origin, str | os.PathLike):
            return os.fspath(self.origin)
        name = getattr(self.origin, "name", None)
        return name if isinstance(name, str) else "the file"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def broken(self, row: int, error: BaseException) -> SourceError:
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
        wrapper = io.TextIOWrapper(cast("IO[bytes]", origin), encoding="utf-8", errors="surrogateescape", newline="")
        try:
            yield wrapper
        finally:
            with contextlib.suppress(ValueError):  # closed by its owner meanwhile
                wrapper.detach()


def _open_path(path: Path, name: str) -> TextIO:
    refusal = WRONG_SUFFIXES.get(path.suffix.lower())
    if refusal:
        raise SourceError(f"{name}: {refusal}")
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
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


def lines(file: TextIO, name: str) -> Iterator[str]:
    """The lines with their ends. One that is `LINE_MAX` long was longer, and is cut."""
    readline = file.readline
    line = readline(LINE_MAX)
    _refuse_what_is_no_text(line, name)
    line = line.removeprefix("\ufeff") or readline(LINE_MAX)
    while line:
        if len(line) == LINE_MAX and line[-1] not in "\r\n":
            _skip_rest(file)
        yield line
        line = readline(LINE_MAX)


def _skip_rest(file: TextIO) -> None:
    while (piece := file.readline(LINE_MAX)) and piece[-1] not in "\r\n":
        pass


def _refuse_what_is_no_text(line: str, name: str) -> None:
    for beginning, verdict in NOT_TEXT.items():
        if line.startswith(beginning):
            raise SourceError(f"{name}: {verdict}")
    if "\0" in line:
        raise SourceError(f"{name}: has NUL characters in its first line; if it is UTF-16, save it as UTF-8")


def fault(line: str, number: int) -> Problem | None:
    """What keeps a line from being read at all; None is sure for a shorter line of ASCII."""
    if len(line) >= LINE_MAX:
        hint = "look for a quote that is not closed, or for missing line ends"
        return Problem("row", "row.length", f"is on line {number}, which has {LINE_MAX} characters or more", hint=hint)
    found = UNDECODED.search(line)
    if found is None:
        return None
    byte = ord(found[0]) - ESCAPED_BYTES
    what = f"the byte 0x{byte:02X} is not UTF-8" if 0x80 <= byte <= 0xFF else "half a character (a lone surrogate)"
    hint = "save the file as UTF-8; it may be Latin-1 or Windows-1252"
    return Problem("row", "row.encoding", f"has on line {number}, column {found.start() + 1}: {what}", hint=hint)


def format_of(path: str | os.PathLike[str]) -> str:
    """The suffix that tells the format, without `.gz`: ".csv", ".jsonl"."""
    name = Path(path).name.lower()
    return Path(name.removesuffix(".gz")).suffix


def count_rows(path: str | os.PathLike[str]) -> int | None:
    """About how many data rows a file has, by its line ends; None where counting would use it up or unpack it.

    Reads the whole file, some GB a second. Blank lines and line breaks inside quotes are counted too.
    """
    if os.fspath(path) == "-" or Path(path).suffix.lower() == ".gz":
        return None
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return None
        with Path(path).open("rb") as file:
            count, last = 0, b"\n"
            while block := file.read(BLOCK):
                count += block.count(b"\n")
                last = block[-1:]
    except OSError:
        return None
    count += last != b"\n"
    return max(0, count - 1) if format_of(path) == ".csv" else count
