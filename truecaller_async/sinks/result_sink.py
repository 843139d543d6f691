"""Where results go: CSV or JSONL, one line for each row of the input.

A results file is opened in a spreadsheet sooner or later, and a cell that begins like a formula is run as one. Such
cells get an apostrophe in front (in CSV only). Every write ends with a flush, so that a results file shows what
happened up to the last batch, and ends on a whole line. A file that is closed is on the disk: whoever remembered what
is in it may forget it then.

What a run that was killed has left in such a file is the matter of `results`.
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
FORMULA_STARTS = frozenset("=+-@\t\r＝＋－＠")  # noqa: RUF001  the full-width ones are run as formulas too
NEEDS_QUOTES = re.compile('[,"\n]')
LINE_END = "\n"
STANDARD_OUTPUT = "-"
FORMATS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}

TEXT_TYPES = frozenset({str, NoneType})
CACHEABLE_TYPES = TEXT_TYPES | {Outcome, bool}
"""Kinds of cells of which equal ones are written alike, if they are of one kind."""

_encode_lines = msgspec.json.Encoder().encode_lines


class ResultSink:
    """Writes results; a context manager. Made by `open_sink`."""

    def __init__(self, stream: TextIO, form: Format, *, header: bool, path: Path | None = None) -> None:
        """`path` is the file that the stream is, where it is ours to close."""
        self._stream = stream
        self._render = RENDERERS[form]
        self._path = path
        self._closed = False
        if header and form == "csv":
            self._put(",".join(COLUMNS) + LINE_END)

    def write(self, results: Iterable[RecordResult]) -> None:
        """Write these results and flush. Raises `OSError` as the file system does."""
        self._put(self._render(_columns(list(results))))

    def close(self) -> None:
        """Close the file; standard output, or a stream of the caller, is left open. May be called twice.

        Raises `OSError` where the last of it does not reach the disk.
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
    form: Format | None = None,
) -> ResultSink:
    """A sink for results: a path (`.csv`, `.jsonl`, each also with `.gz`), "-" for standard output, or a text stream.

    `source` is the input file, which is never written over. `append` goes on in a file that an earlier run began.
    `form` is the format where no suffix tells it; CSV by default. Raises `ConfigError`.
    """
    if not isinstance(path, str | os.PathLike):
        return ResultSink(path, form or "csv", header=True)
    name = os.fspath(path)
    if name == STANDARD_OUTPUT:
        return ResultSink(sys.stdout, form or "csv", header=True)
    chosen = form or results_format(name)
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
    """Raises the `ConfigError` that `open_sink` would raise; an earlier file stays as it is, and a pipe unopened."""
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
    """The format that the suffix tells. Raises `ConfigError` for any other."""
    form = FORMATS.get(format_suffix(path))
    if form is None:
        raise ConfigError(
            f"results cannot be written to {os.fspath(path)}: the name must end in .csv or .jsonl, or in .gz after it"
        )
    return form


def is_gzip(path: Path) -> bool:
    """Whether the name says that it is compressed."""
    return path.suffix.lower() == ".gz"


def check_not_input(
    path: str | os.PathLike[str], source: str | os.PathLike[str] | None, *, what: str = "input"
) -> None:
    """Raises `ConfigError` where both are the same file; `what` is what would be lost."""
    if source is None or not (Path(path).exists() and Path(source).exists()):
        return
    if Path(path).samefile(source):
        raise ConfigError(f"nothing is written over the {what} {os.fspath(path)}; choose another file")


@contextlib.contextmanager
def atomic_replacement(path: Path) -> Iterator[Path]:
    """A name for a file beside this one, which takes its place when the block has ended well; else nothing changes.

    A link stays a link, and the file keeps its permissions. Raises `OSError` as the file system does.
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
    """A sink for a file that is there whole or, when the block fails, as it was before.

    Raises `ConfigError` for a name without a format, and `OSError` as the file system does.
    """
    results_format(path)
    with atomic_replacement(path) as temporary, open_sink(temporary) as sink:
        yield sink


def _open(path: Path, mode: str) -> TextIO:
    opener: Any = gzip.open if is_gzip(path) else open
    return cast("TextIO", opener(path, mode, encoding="utf-8", newline=""))


def _fsync(path: Path) -> None:
    """What was written there survives a power failure from now on."""
    handle = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _ends_inside_line(path: Path) -> bool:
    """Whether the file ends in the middle of a line: the process before us was killed while it wrote."""
    if is_gzip(path):
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _columns(results: Sequence[RecordResult]) -> list[list[Any]]:
    """The cells of these results by column, in the order of `COLUMNS`."""
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
    """What a CSV writer makes of them, which would look for something to quote in each cell."""
    lines = map(",".join, zip(*map(_cell_texts, columns), strict=True))
    text = "".join([line + LINE_END for line in lines])
    # A carriage return alone gets no quotes of its own, and would be read as the end of the line.
    return _csv_lines_all_quoted(columns) if "\r" in text else text


def _csv_lines_all_quoted(columns: Sequence[list[Any]]) -> str:
    text = io.StringIO()
    rows = ([_without_formula(cell) for cell in row] for row in zip(*columns, strict=True))
    csv.writer(text, lineterminator=LINE_END, quoting=csv.QUOTE_ALL).writerows(rows)
    return text.getvalue()


def _cell_texts(column: list[Any]) -> Iterable[str]:
    """Each cell as it is written. What stands in many of them is judged once, and what is plain in all at a glance."""
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
    """Whether all of these are written as they are."""
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
    except UnicodeEncodeError:  # half a character in somebody's key: only the standard library writes it, escaped
        return "".join(json.dumps(value) + "\n" for value in objects)


RENDERERS: dict[Format, Callable[[Sequence[list[Any]]], str]] = {"csv": _csv_lines, "jsonl": _json_lines}
