"""Rebuild the results of a campaign from its journal and its input.

The journal stores the outcome of each row, but not the key of a delivered row and no record id. The input is therefore
read again in step with the journal, to get the keys. If the input cannot be read or has changed, the keys stay empty or
may be wrong, and a note reports it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs

from truecaller_async.cli.formatting import number
from truecaller_async.errors import ConfigError, SourceError
from truecaller_async.models import RecordResult, Row
from truecaller_async.models.journal_entries import SourceDescriptor
from truecaller_async.sources import is_unchanged, reopen_source

if TYPE_CHECKING:
    from truecaller_async.campaign.core.campaign_state import CampaignState
    from truecaller_async.journal.reader import RowOutcome
    from truecaller_async.sinks import ResultSink
    from truecaller_async.sinks.results_file import RowSet

WRITE_ROWS = 1000
NO_INPUT = "Note: the input of this campaign cannot be read again. The column key is empty"

Item = TypeVar("Item")


class FinalRows:
    """The set of rows that had a final outcome at one moment."""

    def __init__(self, state: CampaignState) -> None:
        self.last = state.position.row
        self._open = {row for batch in state.open for row in batch.open_rows}

    def __call__(self, row: int) -> bool:
        return 0 < row <= self.last and row not in self._open

    def __len__(self) -> int:
        return self.last - sum(row <= self.last for row in self._open)


@attrs.frozen
class ResultRebuilder:
    """Writes results of a journal to a sink."""

    journal: Path
    """Path of the journal."""
    source: SourceDescriptor | None
    """How to reopen the input; None if it cannot be reopened."""
    note: Callable[[str], None]
    """Shows a message to the user."""

    def write(self, sink: ResultSink, include: Callable[[RowOutcome], bool]) -> int:
        """Write the included rows and return their number.

        Raises:
            JournalError: The journal cannot be read.
            OSError: The results cannot be written.
        """
        from truecaller_async.journal.reader import JournalReader  # imports SQLite

        count = 0
        with JournalReader(self.journal) as reader:
            for results in _chunks(self._results(filter(include, reader.row_outcomes()))):
                sink.write(results)
                count += len(results)
        return count

    def write_missing(self, sink: ResultSink, present: RowSet, is_final: FinalRows) -> None:
        """Write the final rows that are not present yet; raises like `write`."""
        if len(present) < len(is_final):
            self.write(sink, lambda outcome: is_final(outcome.row) and outcome.row not in present)

    def _results(self, outcomes: Iterable[RowOutcome]) -> Iterator[RecordResult]:
        keys = self._keys()
        next(keys)
        for outcome in outcomes:
            yield RecordResult(
                None,
                outcome.row,
                keys.send(outcome.row),
                outcome.outcome,
                outcome.reason,
                outcome.field,
                outcome.batch_id,
                attempts=outcome.attempts,
                possibly_duplicated=outcome.possibly_duplicated,
                final=outcome.final,
            )

    def _keys(self) -> Generator[str | None, int, None]:
        """Receive row numbers in ascending order with `send`, and yield the key of each."""
        wanted = yield None
        try:
            for row in self._rows():
                while row.number == wanted:
                    wanted = yield None if row.record is None else row.record.key
        except (SourceError, ConfigError) as error:
            self.note(f"{NO_INPUT} from row {number(wanted)} on: {error}")
        while True:
            yield None

    def _rows(self) -> Iterator[Row]:
        if self.source is None:
            self.note(f"{NO_INPUT}.")
            return iter(())
        rows = reopen_source(self.source).rows()
        if not is_unchanged(self.source):
            self.note(
                f"Note: {self.source.path} has changed since the campaign. The keys are read from the changed file."
            )
        return rows


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, WRITE_ROWS)):
        yield chunk
