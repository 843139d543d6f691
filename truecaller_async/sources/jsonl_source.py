"""Read JSONL files: one JSON object on each line.

Failure modes:
    - Each line is independent, so a bad line is one bad row.
    - A key that occurs twice in one object is refused, because JSON parsers silently keep the last one.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from typing import Any, TextIO

import msgspec

from truecaller_async.errors import SourceError
from truecaller_async.models import CallRecord, Problem, Row
from truecaller_async.models.journal_entries import SourcePosition
from truecaller_async.redaction import masked
from truecaller_async.sources.column_mapping import ColumnDefaults, MappingShapes
from truecaller_async.sources.text_files import (
    LINE_MAX_CHARS,
    READ_ERRORS,
    FileSource,
    Origin,
    TextLines,
    line_problem,
    open_text,
)

_decode = msgspec.json.Decoder().decode


def read_jsonl(file: Origin, /, *, defaults: ColumnDefaults | None = None, **columns: str) -> JsonlSource:
    """Read a JSONL file as rows. `.gz` is decompressed.

    Each line is an object with the keys `caller, receiver, label_id, label_name, reason, starts_at, ends_at, key`, or
    the API names.

    Args:
        file: Path, text file or binary file.
        defaults: Values for keys that the objects do not have.
        columns: Other key names: `read_jsonl("x.jsonl", receiver="phone")`.

    Returns:
        The source. Reading it raises `SourceError`.

    Raises:
        ConfigError: A name in `columns` is not a field.
    """
    return JsonlSource(file, defaults, columns)


class JsonlSource(FileSource):
    """Rows of a JSONL file; see `read_jsonl`."""

    kind = "jsonl"
    """The format."""

    def _rows(self, after: SourcePosition | None) -> Generator[Row, None, None]:
        with open_text(self.origin, self.name) as file:
            if after is None:
                yield from self._parse_rows(TextLines(file, self.name), 0, 0)
            else:
                yield from self._rows_after(after, file)

    def _rows_after(self, after: SourcePosition, file: TextIO) -> Generator[Row, None, None]:
        with self.text_after(after, file) as rest:
            yield from self._parse_rows(TextLines(rest, self.name, after.offset), after.line, after.row)

    def _parse_rows(self, lines: TextLines, line_number: int, number: int) -> Generator[Row, None, None]:
        shapes = MappingShapes(self.defaults, self.chosen)
        source, has_position = iter(lines), self.path is not None
        while line := self._next_line(source, number):
            line_number += 1
            if line.isspace():
                continue
            if number == 0 and (line.lstrip().startswith("[") or line.strip() == "{"):
                raise SourceError(f"{self.name}: is a single JSON document, not JSONL; write one object on each line")
            number += 1
            record = _parse_record(line, line_number, shapes)
            end = (line_number, lines.offset) if has_position else None
            if isinstance(record, Problem):
                yield Row(number, line_number, None, (record,), end)
            else:
                yield Row(number, line_number, record, (), end)

    def _next_line(self, source: Iterator[str], row: int) -> str:
        try:
            return next(source, "")
        except READ_ERRORS as error:
            raise self.read_error(row, error) from error


def _parse_record(line: str, line_number: int, shapes: MappingShapes) -> CallRecord | Problem:
    if len(line) >= LINE_MAX_CHARS or not line.isascii():
        problem = line_problem(line, line_number)
        if problem is not None:
            return problem
    try:
        value = _decode(line)
    except msgspec.DecodeError as error:
        hint = "write one object on each line"
        return Problem("row", "row.json", f"is not JSON: {error}", hint=hint)
    except RecursionError:
        return Problem("row", "row.json", "is nested too deeply")
    if not isinstance(value, dict):
        return Problem("row", "row.json", f"is {_type_name(value)}, and must be an object")
    repeated = _repeated_key(line, len(value))
    if repeated is not None:
        return Problem(
            "row",
            "row.columns",
            f"has the key {masked(repeated)!r} more than once",
            hint="remove one of them",
        )
    return shapes.record(value)


def _repeated_key(line: str, keys: int) -> str | None:
    """Return a key that occurs twice in the outer object, which has `keys` distinct ones.

    Nested objects are ignored. Only a line with more colons than keys is parsed again.
    """
    if line.count(":") <= keys:
        return None
    pairs: list[tuple[str, Any]] = json.loads(line, object_pairs_hook=list)
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            return key
        seen.add(key)
    return None


def _type_name(value: object) -> str:
    return "a list" if isinstance(value, list) else "null" if value is None else f"a {type(value).__name__}"
