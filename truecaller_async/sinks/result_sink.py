"""Write the results of a campaign to CSV or JSONL, one line for each row of the input.

Invariants:
    - CSV only: a cell that starts like a formula gets an apostrophe in front, because spreadsheets execute formulas.
    - Each write ends with a flush at the end of a line, so the file contains all results up to the last write.
    - After `close` the file is synced to disk, so the caller may discard its own copy of the results.

`results_file` repairs the file of a run that was killed.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import NoneType, TracebackType
from typing import Any, Literal, Self, TextIO, TypeAlias, cast

import msgspec

from truecaller_async.errors import ConfigError
from truecaller_async.models import Outcome, RecordResult
from truecaller_async.sources.text_files import format_suffix

Format: TypeAlias = Literal["csv", "jsonl"]

COLUMNS = ("row", "key", "outcome", "reason", "field", "batch_id", "record_id", "attempts", "possibly_duplicated")
FORMULA_STARTS = frozenset("=+-@\t\r＝＋－＠")  # noqa: RUF001
"""First characters of a formula. The last four are full-width forms, which are executed too."""
NEEDS_QUOTES = re.compile('[,"\n]')
LINE_END = "\n"
STANDARD_OUTPUT = "-"
FORMATS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}

TEXT_TYPES = frozenset({str, NoneType})
CACHEABLE_TYPES = TEXT_TYPES | {Outcome, bool}
"""Types of which equal cells have equal text, if a column has one type only."""

_encode_lines = msgspec.json.Encoder().encode_lines


class ResultSink:
    """Writes results. A context manager, made by `open_sink`."""

    def __init__(self, stream: TextIO, file_format: Format, *, header: bool, path: Path | None = None) -> None:
        """Use a stream. `close` closes it only if `path` is given."""
        self._stream = stream
        self._render = RENDERERS[file_format]
        self._path = path
        self._closed = False
        if header and file_format == "csv":
            self._put(",".join(COLUMNS) + LINE_END)

    def write(self, results: Iterable[RecordResult]) -> None:
        """Write results and flush.

        Args:
            results: The results.

        Raises:
            OSError: As raised by the file system.
        """
        self._put(self._render(_columns(list(results))))

    def close(self) -> None:
        """Close the file and sync it to disk. May be called twice.

        Standard output and streams of the caller stay open.

        Raises:
            OSError: The last data could not be written.
        """
        if self._closed or self._path is None:
            return
        self._closed = True
        self._stream.close()
        if self._path.is_file():
            _fsync(self._path)

    def _put(self, text: str) -> None:
        if text:
            self._stream.write(text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8"))
            self._stream.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_sink(
    path: str | os.PathLike[str] | TextIO,
    *,
    source: str | os.PathLike[str] | None = None,
    append: bool = False,
    file_format: Format | None = None,
) -> ResultSink:
    """Open a sink for results.

    Args:
        path: A path (`.csv`, `.jsonl`, `.ndjson`, each also with `.gz`), "-" for standard output, or a text stream.
        source: The input file. It is never overwritten.
        append: Continue a file of an earlier run.
        file_format: "csv" or "jsonl". By default that of the suffix; CSV for standard output and streams.

    Returns:
        The sink.

    Raises:
        ConfigError: The suffix is not supported, the path is the input, or the file cannot be opened.
    """
    if not isinstance(path, str | os.PathLike):
        return ResultSink(path, file_format or "csv", header=True)
    name = os.fspath(path)
    if name == STANDARD_OUTPUT:
        return ResultSink(sys.stdout, file_format or "csv", header=True)
    chosen = file_format or results_format(name)
    try:
        check_not_input(name, source)
        started = append and Path(name).exists() and Path(name).stat().st_size > 0
        stream = _open(Path(name), "at" if append else "wt")
        sink = ResultSink(stream, chosen, header=not started, path=Path(name))
        if started and _ends_inside_line(Path(name)):
            stream.write("\n")
    except OSError as error:
        raise ConfigError(f"results cannot be written to {name}: {error.strerror or error}") from error
    return sink


def check_sink(path: str, *, source: str | os.PathLike[str] | None = None) -> None:
    """Raise the `ConfigError` that `open_sink` would raise.

    An existing file stays unchanged, and a pipe is not opened. A missing file is created, empty.
    """
    if path == STANDARD_OUTPUT:
        return
    results_format(path)
    check_not_input(path, source)
    target = Path(path)
    try:
        if target.is_file() or target.is_dir() or not target.exists():
            target.open("ab").close()
    except OSError as error:
        raise ConfigError(f"results cannot be written to {path}: {error.strerror or error}") from error


def results_format(path: str | os.PathLike[str]) -> Format:
    """Return the format of a suffix. Raise `ConfigError` if it is not supported."""
    form = FORMATS.get(format_suffix(path))
    if form is None:
        raise ConfigError(
            f"results cannot be written to {os.fspath(path)}: the suffix is not supported. "
            "Use .csv or .jsonl, also with .gz"
        )
    return form


def is_gzip(path: Path) -> bool:
    """Return whether the suffix is `.gz`."""
    return path.suffix.lower() == ".gz"


def check_not_input(
    path: str | os.PathLike[str], source: str | os.PathLike[str] | None, *, what: str = "input"
) -> None:
    """Raise `ConfigError` if both paths are the same file; `what` names the file in the message."""
    if source is None or not (Path(path).exists() and Path(source).exists()):
        return
    if Path(path).samefile(source):
        raise ConfigError(f"{os.fspath(path)} is the {what}, which is not overwritten. Choose another file")


@contextlib.contextmanager
def atomic_replacement(path: Path) -> Iterator[Path]:
    """Give a temporary path in the same folder. It replaces the file if the block ends without an error.

    Otherwise the file is unchanged. A symbolic link stays a link, and the file keeps its permissions. Raises `OSError`
    as the file system does.
    """
    real = path.resolve()
    temporary = real.with_name(f".{secrets.token_hex(4)}.{real.name}")
    try:
        yield temporary
        if real.exists():
            shutil.copymode(real, temporary)
        _fsync(temporary)
        temporary.replace(real)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        _fsync(real.parent)


@contextlib.contextmanager
def atomic_sink(path: Path) -> Iterator[ResultSink]:
    """Give a sink for a file that is complete after the block or, if the block fails, unchanged.

    Raises `ConfigError` for an unsupported suffix, and `OSError` as the file system does.
    """
    results_format(path)
    with atomic_replacement(path) as temporary, open_sink(temporary) as sink:
        yield sink


def _open(path: Path, mode: str) -> TextIO:
    opener: Any = gzip.open if is_gzip(path) else open
    return cast("TextIO", opener(path, mode, encoding="utf-8", newline=""))


def _fsync(path: Path) -> None:
    """Make the content of a file or folder survive a power failure."""
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ends_inside_line(path: Path) -> bool:
    """Return whether the file ends inside a line, because an earlier process was killed during a write."""
    if is_gzip(path):
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _columns(results: Sequence[RecordResult]) -> list[list[Any]]:
    """Return the cells of these results by column, in the order of `COLUMNS`."""
    return [
        [result.row for result in results],
        [result.key for result in results],
        [result.outcome for result in results],
        [result.reason for result in results],
        [result.field for result in results],
        [result.batch_id for result in results],
        [result.record_id for result in results],
        [result.attempts for result in results],
        [result.possibly_duplicated for result in results],
    ]


def _csv_lines(columns: Sequence[list[Any]]) -> str:
    """Return the same text as `csv.writer`, without looking for special characters in each cell."""
    lines = map(",".join, zip(*map(_cell_texts, columns), strict=True))
    text = "".join([line + LINE_END for line in lines])
    # `_csv_cell` does not quote a single carriage return, which readers take for the end of a line.
    return _csv_lines_all_quoted(columns) if "\r" in text else text


def _csv_lines_all_quoted(columns: Sequence[list[Any]]) -> str:
    text = io.StringIO()
    rows = ([_without_formula(cell) for cell in row] for row in zip(*columns, strict=True))
    csv.writer(text, lineterminator=LINE_END, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def _cell_texts(column: list[Any]) -> Iterable[str]:
    """Return the text of each cell. Repeated values are formatted once; plain columns are not formatted."""
    kinds = set(map(type, column))
    if kinds == {int}:
        return map(str, column)
    if kinds <= TEXT_TYPES and _need_no_escaping(set(column) - {None}):
        return [text or "" for text in column]
    if len(kinds - {NoneType}) == 1 and kinds <= CACHEABLE_TYPES:
        written = {cell: _csv_cell(cell) for cell in set(column)}
        return [written[cell] for cell in column]
    return map(_csv_cell, column)


def _need_no_escaping(texts: Collection[str]) -> bool:
    """Return whether all texts can be written unchanged."""
    joined = LINE_END.join(texts)
    return (
        joined.count(LINE_END) < max(1, len(texts))
        and "," not in joined
        and '"' not in joined
        and FORMULA_STARTS.isdisjoint([text[:1] for text in texts])
    )


def _csv_cell(cell: Any) -> str:
    safe = _without_formula(cell)
    text = "" if safe is None else str(safe)
    return '"' + text.replace('"', '""') + '"' if NEEDS_QUOTES.search(text) else text


def _without_formula(cell: Any) -> Any:
    if isinstance(cell, str):
        return "'" + cell if cell[:1] in FORMULA_STARTS else str(cell)
    return str(cell).lower() if isinstance(cell, bool) else cell


def _json_lines(columns: Sequence[list[Any]]) -> str:
    objects = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*columns, strict=True)]
    try:
        return _encode_lines(objects).decode()
    except UnicodeEncodeError:  # a lone surrogate in a key: only the standard library can write it, escaped
        return "".join(json.dumps(value) + "\n" for value in objects)


RENDERERS: dict[Format, Callable[[Sequence[list[Any]]], str]] = {"csv": _csv_lines, "jsonl": _json_lines}
