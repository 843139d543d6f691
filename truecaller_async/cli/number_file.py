"""Read phone numbers from a file: one per line, or one column of a CSV file.

A file is CSV if its first line that is not blank names a column `phone_number` or `number`; otherwise each line is a
number. All lines are checked before anything is sent. A file with a bad line is refused as a whole, and every bad line
is reported, so the file can be fixed in one go. A repeated number is kept once.
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
PRINTED_LINES = 20
READ_AS_LINES = f"Each line was read as one number, because the first line names no column {' or '.join(COLUMNS)}."


@attrs.frozen
class NumberFile:
    """The content of a number file."""

    name: str
    """Name of the file in messages."""
    numbers: tuple[str, ...]
    """The numbers as digits, each once, in file order."""
    repeated: int = 0
    """How many lines repeat an earlier number."""
    bad_lines: tuple[str, ...] = ()
    """One message for each bad line."""
    is_csv: bool = False
    """The file was read as CSV."""

    @property
    def refusal(self) -> str | None:
        """Return why the file must not be sent; None if it is good."""
        if not self.bad_lines:
            return None if self.numbers else f"Error: {self.name} contains no numbers; nothing was sent."
        more = len(self.bad_lines) - PRINTED_LINES
        rest = (f"... and {counted(more, 'more bad line')}",) if more > 0 else ()
        verdict = f"Error: {self.name} has {counted(len(self.bad_lines), 'bad line')}; nothing was sent."
        hint = () if self.is_csv else (f"  {READ_AS_LINES}",)
        return "\n".join((*self.bad_lines[:PRINTED_LINES], *rest, verdict, *hint))


def read_numbers(path: str) -> NumberFile:
    """Read a number file; "-" is standard input.

    Raises:
        SourceError: The file cannot be read as text.
    """
    origin = sys.stdin.buffer if path == STANDARD else path
    name = "standard input" if path == STANDARD else path
    try:
        with open_text(origin, name) as file:
            return _read(lines(file, name), name)
    except READ_ERRORS as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SourceError(f"{name} cannot be read: {printable(reason)}") from None


def _read(source: Iterator[str], name: str) -> NumberFile:
    numbered = ((line_number, line) for line_number, line in enumerate(source, start=1) if line.strip())
    first = next(numbered, None)
    if first is None:
        return NumberFile(name, ())
    delimiter = _delimiter(first[1])
    values = _cells(first, numbered, delimiter, name) if delimiter else itertools.chain([first], numbered)
    seen: dict[str, None] = {}
    bad_lines: list[str] = []
    repeated = 0
    for line_number, value in values:
        try:
            (number,) = clean_numbers([value.strip()])
        except ValidationError as error:
            bad_lines.append(f"{name}:{line_number}: {_problem_text(error)}")
        else:
            repeated += number in seen
            seen[number] = None
    return NumberFile(name, tuple(seen), repeated, tuple(bad_lines), is_csv=delimiter is not None)


def _delimiter(header: str) -> str | None:
    """Return the delimiter of a header that names the number column; None if it is no such header."""
    return next((mark for mark in DELIMITERS if _number_column(_split(header, mark)) is not None), None)


def _split(header: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"').strip().lower() for cell in header.split(delimiter)]


def _number_column(header: list[str]) -> int | None:
    return next((header.index(name) for name in COLUMNS if name in header), None)


def _cells(
    first: tuple[int, str], rest: Iterator[tuple[int, str]], delimiter: str, name: str
) -> Iterator[tuple[int, str]]:
    """Yield the number cell of each row, with the line on which the row ends.

    Raises:
        SourceError: A quote is not closed. It would hide the rows after it.
    """
    column = _number_column(_split(first[1], delimiter)) or 0
    numbered = _NumberedLines(rest)
    try:
        for row in csv.reader(numbered, delimiter=delimiter, strict=True):
            yield numbered.line_number, row[column] if column < len(row) else ""
    except csv.Error as error:
        raise SourceError(
            f"{name}:{numbered.line_number}: a quote is misplaced or not closed ({error}). Fix the line."
        ) from None


class _NumberedLines:
    """Passes lines to the CSV reader and remembers the number of the latest."""

    def __init__(self, numbered: Iterator[tuple[int, str]]) -> None:
        self._numbered = numbered
        self.line_number = 0

    def __iter__(self) -> Iterator[str]:
        for line_number, line in self._numbered:
            self.line_number = line_number
            yield line


def _problem_text(error: ValidationError) -> str:
    problem = error.problems[0]
    value = f"{problem.value!r} " if problem.value else "the number "
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{value}{problem.message}{hint}"
