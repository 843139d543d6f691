"""A journal that lives as long as the process.

It keeps what a durable one would be asked for: which batches are open and in what attempt, and how many rows have
which outcome. A batch is forgotten when its last row is settled, so memory does not grow with the campaign.
"""

from __future__ import annotations

from collections import Counter

import attrs

from truecaller_async.errors import JournalError
from truecaller_async.models import AttemptEnded, Entry, Intent, Outcome, Planned, Settled


@attrs.define
class OpenBatch:
    """A batch that still has unsettled rows. `in_flight` is set between an intent and the end of its attempt."""

    rows: set[int]
    parent: int | None = None
    attempts: int = 0
    in_flight: bool = False
    batch_id: str | None = None
    events: list[str] = attrs.field(factory=list)


class MemoryJournal:
    """The journal of a run that need not survive a crash."""

    def __init__(self) -> None:
        self.open: dict[int, OpenBatch] = {}
        self.settled: Counter[Outcome] = Counter()
        self._closed = False

    async def write(self, *entries: Entry) -> None:
        """Take the entries in. Raises `JournalError` after `aclose`, and for an attempt without its intent."""
        if self._closed:
            raise JournalError("the journal is closed")
        for entry in entries:
            self._take(entry)

    async def aclose(self) -> None:
        """Nothing more is written."""
        self._closed = True

    def _take(self, entry: Entry) -> None:
        match entry:
            case Planned(seq, rows, parent):
                self.open.setdefault(seq, OpenBatch(set(), parent)).rows.update(rows)
                if parent in self.open:
                    self._drop_rows(parent, rows)
            case Intent(seq, attempt):
                batch = self._batch(seq)
                batch.attempts, batch.in_flight = attempt, True
            case AttemptEnded(seq, _, event, _, batch_id):
                batch = self._batch(seq)
                if not batch.in_flight:
                    raise JournalError(f"batch {seq} ended an attempt that was never begun")
                batch.in_flight = False
                batch.events.append(event)
                batch.batch_id = batch_id or batch.batch_id
            case Settled(rows, outcome, _, seq):
                self.settled[outcome] += len(rows)
                if seq is not None:
                    self._drop_rows(seq, rows)

    def _batch(self, seq: int) -> OpenBatch:
        try:
            return self.open[seq]
        except KeyError:
            raise JournalError(f"batch {seq} was never planned") from None

    def _drop_rows(self, seq: int, rows: tuple[int, ...]) -> None:
        batch = self._batch(seq)
        batch.rows.difference_update(rows)
        if not batch.rows:
            del self.open[seq]
