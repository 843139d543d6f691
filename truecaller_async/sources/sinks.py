"""Where results go: CSV or JSONL, one line for each row of the input.

A results file is opened in a spreadsheet sooner or later, and a cell that begins like a formula is run as one. Such
cells get an apostrophe in front (in CSV only). Every write ends with a flush, so that a results file shows what
happened up to the last batch, and ends on a whole line.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TextIO, TypeAlias, cast

import msgspec

from truecaller_async.errors import ConfigError
from truecaller_async.models import RecordResult
from truecaller_async.sources.files import format_of

Format: TypeAlias = Literal["csv", "jsonl"]

COLUMNS = ("row", "key", "outcome", "reason", "field", "batch_id", "record_id", "attempts", "possibly_duplicated")
FORMULA_STARTS = tuple("=+-@\t\r＝＋－＠")  # noqa: RUF001  the full-width ones are run as formulas too
STANDARD_OUTPUT = "-"
FORMATS: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}


_encode_lines = msgspec.json.Encoder().encode_lines


class ResultSink:
    """Writes results; a context manager. Made by `open_sink`."""

    def __init__(self, stream: TextIO, form: Format, *, header: bool, owned: bool) -> None:
        self._stream = stream
        self._render = RENDERERS[form]
        self._owned = owned
        self._closed = False
        if header and form == "csv":
            self._put(_csv_lines([COLUMNS]))

    def write(self, results: Iterable[RecordResult]) -> None:
        """Write these results and flush. Raises `OSError` as the file system does."""
        self._put(self._render([_cells(result) for result in results]))

    def close(self) -> None:
        """Close the file; standard output, or a stream of the caller, is left open. May be called twice."""
        if self._owned and not self._closed:
            self._stream.close()
        self._closed = True

    def _put(self, text: str) -> None:
        if text:
            self._stream.write(text.encode("utf-8", "backslashreplace").decode("utf-8"))
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
        return ResultSink(path, form or "csv", header=True, owned=False)
    name = os.fspath(path)
    if name == STANDARD_OUTPUT:
        return ResultSink(sys.stdout, form or "csv", header=True, owned=False)
    chosen = form or FORMATS.get(format_of(name))
    if chosen is None:
        raise ConfigError(
            f"results cannot be written to {name}: the name must end in .csv or .jsonl, or in .gz after it"
        )
    try:
        if source is not None and Path(name).exists() and Path(name).samefile(source):
            raise ConfigError(f"results would be written over the input {name}; choose another file")
        started = append and Path(name).exists() and Path(name).stat().st_size > 0
        stream = _open(Path(name), "at" if append else "wt")
        sink = ResultSink(stream, chosen, header=not started, owned=True)
        if started and _is_torn(Path(name)):
            stream.write("\n")
    except OSError as error:
        raise ConfigError(f"results cannot be written to {name}: {error.strerror or error}") from error
    return sink


def _open(path: Path, mode: str) -> TextIO:
    opener: Any = gzip.open if path.suffix.lower() == ".gz" else open
    return cast("TextIO", opener(path, mode, encoding="utf-8", newline=""))


def _is_torn(path: Path) -> bool:
    """Whether the file ends in the middle of a line: the process before us was killed while it wrote."""
    if path.suffix.lower() == ".gz":
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _cells(result: RecordResult) -> list[Any]:
    return [getattr(result, column) for column in COLUMNS]


def _csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    cells = [[_guarded(cell) for cell in row] for row in rows]
    text = _csv_text(cells, csv.QUOTE_MINIMAL)
    # A carriage return alone gets no quotes of its own, and would be read as the end of the line.
    return _csv_text(cells, csv.QUOTE_ALL) if "\r" in text else text


def _csv_text(cells: list[list[Any]], quoting: Literal[0, 1]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=quoting).writerows(cells)
    return text.getvalue()


def _guarded(cell: Any) -> Any:
    if isinstance(cell, str):
        return "'" + cell if cell.startswith(FORMULA_STARTS) else str(cell)
    return str(cell).lower() if isinstance(cell, bool) else cell


def _json_lines(rows: Iterable[list[Any]]) -> str:
    objects = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    try:
        return _encode_lines(objects).decode()
    except UnicodeEncodeError:  # half a character in somebody's key: only the standard library writes it, escaped
        return "".join(json.dumps(value) + "\n" for value in objects)


RENDERERS: dict[Format, Callable[[list[list[Any]]], str]] = {"csv": _csv_lines, "jsonl": _json_lines}
