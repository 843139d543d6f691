"""Numbers out of a file: one on each line, or one column of a CSV file.

A file is a CSV file where its first line that is not blank names a column `phone_number` or `number`; otherwise every
line is a number. Every line is judged before anything is sent: a file with one bad line is refused whole, with the
place of each, because a person mends a file once. A number that comes again is dropped.
"""

from __future__ import annotations

import csv
import itertools
import sys
from collections.abc import Iterator

import attrs

from truecaller_async.cli.formatting import counted, printable
from truecaller_async.errors import SourceError, ValidationError
from truecaller_async.sources.text_files import READ_ERRORS, lines, open_text
from truecaller_async.validation.number_lists import clean_numbers

STANDARD = "-"
COLUMNS = ("phone_number", "number")
DELIMITERS = (",", ";", "\t", "|")
TOLD_MAX = 20
READ_AS_LINES = f"Read as one number a line, because the first line names no column {' or '.join(COLUMNS)}."


@attrs.frozen
class NumberFile:
    """What a file holds: the numbers as digits, each once, how many came `again`, and the bad lines in words."""

    name: str
    numbers: tuple[str, ...]
    again: int = 0
    faults: tuple[str, ...] = ()
    is_csv: bool = False

    @property
    def refusal(self) -> str | None:
        """Why nothing of it may be sent; None where all is well."""
        if not self.faults:
            return None if self.numbers else f"Error: {self.name} has no numbers; nothing was sent."
        more = len(self.faults) - TOLD_MAX
        rest = (f"... and {counted(more, 'more bad line')}",) if more > 0 else ()
        verdict = f"Error: {self.name} has {counted(len(self.faults), 'bad line')}; nothing was sent."
        hint = () if self.is_csv else (f"  {READ_AS_LINES}",)
        return "\n".join((*self.faults[:TOLD_MAX], *rest, verdict, *hint))


def read_numbers(path: str) -> NumberFile:
    """The numbers of a file; "-" is standard input. Raises `SourceError` where it cannot be read as text."""
    origin = sys.stdin.buffer if path == STANDARD else path
    name = "standard input" if path == STANDARD else path
    try:
        with open_text(origin, name) as file:
            return _read(lines(file, name), name)
    except READ_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{name}: cannot be read: {printable(reason)}") from None


def _read(source: Iterator[str], name: str) -> NumberFile:
    numbered = ((place, line) for place, line in enumerate(source, start=1) if line.strip())
    first = next(numbered, None)
    if first is None:
        return NumberFile(name, ())
    delimiter = _delimiter(first[1])
    values = _cells(first, numbered, delimiter, name) if delimiter else itertools.chain([first], numbered)
    seen: dict[str, None] = {}
    faults: list[str] = []
    again = 0
    for place, value in values:
        try:
            (number,) = clean_numbers([value.strip()])
        except ValidationError as error:
            faults.append(f"{name}:{place}: {_said(error)}")
        else:
            again += number in seen
            seen[number] = None
    return NumberFile(name, tuple(seen), again, tuple(faults), is_csv=delimiter is not None)


def _delimiter(header: str) -> str | None:
    """What stands between the columns where this line is a header that names ours."""
    return next((mark for mark in DELIMITERS if _place(_split(header, mark)) is not None), None)


def _split(header: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"').strip().lower() for cell in header.split(delimiter)]


def _place(header: list[str]) -> int | None:
    return next((header.index(name) for name in COLUMNS if name in header), None)


def _cells(
    first: tuple[int, str], rest: Iterator[tuple[int, str]], delimiter: str, name: str
) -> Iterator[tuple[int, str]]:
    """The cell of our column in each row, with the line on which the row ends.

    Raises `SourceError` for a quote that is not closed: it would swallow the rows after it without a word.
    """
    column = _place(_split(first[1], delimiter)) or 0
    feed = _Feed(rest)
    try:
        for row in csv.reader(feed, delimiter=delimiter, strict=True):
            yield feed.at, row[column] if column < len(row) else ""
    except csv.Error as error:
        raise SourceError(f"{name}:{feed.at}: a quote is misplaced or never closed ({error}); mend it") from None


class _Feed:
    """Hands lines to the CSV reader, and knows the place of the latest."""

    def __init__(self, numbered: Iterator[tuple[int, str]]) -> None:
        self._numbered = numbered
        self.at = 0

    def __iter__(self) -> Iterator[str]:
        for place, line in self._numbered:
            self.at = place
            yield line


def _said(error: ValidationError) -> str:
    problem = error.problems[0]
    value = f"{problem.value!r} " if problem.value else "the number "
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{value}{problem.message}{hint}"
