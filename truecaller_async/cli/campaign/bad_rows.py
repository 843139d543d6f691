"""Telling a person which rows are bad, where they stand, and what to do; the first of them, and how many more.

    campaign.csv:48213 (row 48211): receiver '*******E+11' is not a phone number: 7-15 digits with country code ...
        it looks like a spreadsheet turned it into scientific notation; format the column as text and export again

Every problem of a row has its own line, because a person mends a row once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from truecaller_async.cli.formatting import counted, printable
from truecaller_async.clock import Clock
from truecaller_async.models import Outcome, Problem, RecordResult
from truecaller_async.validation.record_rules import preflight

TOLD_MAX = 20


class InvalidRowPrinter:
    """Told of every result; tells the bad ones. `line_of` gives the line of a row, `tell` takes one message."""

    def __init__(self, name: str, line_of: Callable[[int], int | None], tell: Callable[[str], None]) -> None:
        self._name = name
        self._line_of = line_of
        self._tell = tell
        self._clock = Clock()
        self._seen = 0

    def record(self, result: RecordResult) -> None:
        """One result; only those refused before sending are told."""
        if result.outcome is not Outcome.INVALID:
            return
        self._seen += 1
        if self._seen <= TOLD_MAX:
            line = self._line_of(result.row)
            place = f"{self._name}:{line} (row {result.row})" if line is not None else f"{self._name} row {result.row}"
            self._tell("\n".join(f"{place}: {said}" for said in self._problems(result)))

    def finish(self) -> None:
        """How many were not told."""
        if self._seen > TOLD_MAX:
            self._tell(f"... and {counted(self._seen - TOLD_MAX, 'more bad row')}")

    def _problems(self, result: RecordResult) -> Iterator[str]:
        """A result has all its problems in one text; here they are asked for again, one by one."""
        if result.record is not None:
            problems = preflight(result.record, int(self._clock.wall() * 1000))[1]
            if problems:
                yield from map(_said, problems)
                return
        yield printable(result.reason or "is not valid")


def _said(problem: Problem) -> str:
    value = f" {problem.value!r}" if problem.value else ""
    hint = f"\n    {problem.hint}" if problem.hint else ""
    return f"{problem.field}{value} {problem.message}{hint}"
