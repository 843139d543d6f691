"""Results once more, from the journal and the input.

The journal has a word for each row, and no more than it needs: not the key of a delivered row, and never the id that
the server gave a record. So the input is read again in step with it, for the keys. Where the input is gone, or is not
what it was, the keys stay empty and a note says so.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs

from truecaller_async.cli.formatting import number
from truecaller_async.errors import ConfigError, SourceError
from truecaller_async.models import RecordResult, Row, SourceDescriptor

if TYPE_CHECKING:
    from truecaller_async.journal.reader import RowOutcome
    from truecaller_async.planning.campaign_state import CampaignState
    from truecaller_async.sinks import ResultSink
    from truecaller_async.sinks.results_file import RowSet

AT_ONCE = 1000
NO_INPUT = "Note: the input of this campaign cannot be read again, so the column key is empty"

Item = TypeVar("Item")


class FinalRows:
    """Which rows had their final word at one moment."""

    def __init__(self, state: CampaignState) -> None:
        self.last = state.position.row
        self._open = {row for batch in state.open for row in batch.open_rows}

    def __call__(self, row: int) -> bool:
        return 0 < row <= self.last and row not in self._open

    def __len__(self) -> int:
        return self.last - sum(row <= self.last for row in self._open)


@attrs.frozen
class ResultRebuilder:
    """What a journal and the note of its source have to tell. `tell` takes a message for a person."""

    journal: Path
    source: SourceDescriptor | None
    tell: Callable[[str], None]

    def into(self, sink: ResultSink, wanted: Callable[[RowOutcome], bool]) -> int:
        """Write the wanted words, and say how many. Raises `JournalError`, and `OSError` as the file system does."""
        from truecaller_async.journal.reader import JournalReader

        count = 0
        with JournalReader(self.journal) as reader:
            for results in _lists(self._results(filter(wanted, reader.row_outcomes()))):
                sink.write(results)
                count += len(results)
        return count

    def what_is_missing(self, sink: ResultSink, there: RowSet, is_final: FinalRows) -> None:
        """Write the rows that were final at that moment and are not there; raises like `into`."""
        if len(there) < len(is_final):
            self.into(sink, lambda word: is_final(word.row) and word.row not in there)

    def _results(self, words: Iterable[RowOutcome]) -> Iterator[RecordResult]:
        keys = self._keys()
        next(keys)
        for word in words:
            yield RecordResult(
                None,
                word.row,
                keys.send(word.row),
                word.outcome,
                word.reason,
                word.field,
                word.batch_id,
                attempts=word.attempts,
                possibly_duplicated=word.possibly_duplicated,
                final=word.final,
            )

    def _keys(self) -> Generator[str | None, int, None]:
        """Sent the numbers of rows, ascending, it gives their keys."""
        wanted = yield None
        try:
            for row in self._rows():
                while row.number == wanted:
                    wanted = yield None if row.record is None else row.record.key
        except (SourceError, ConfigError) as error:
            self.tell(f"{NO_INPUT} from row {number(wanted)} on: {error}")
        while True:
            yield None

    def _rows(self) -> Iterator[Row]:
        from truecaller_async.sources import is_unchanged, reopen_source

        if self.source is None:
            self.tell(f"{NO_INPUT}.")
            return iter(())
        rows = reopen_source(self.source).rows()
        if not is_unchanged(self.source):
            self.tell(f"Note: {self.source.path} was written since; the column key is as the file has it now.")
        return rows


def _lists(items: Iterator[Item]) -> Iterator[list[Item]]:
    while some := list(islice(items, AT_ONCE)):
        yield some
