"""A journal as an operator reads it: how far is it, what became of each row, what has to be decided?

A reader changes nothing that was committed, and may read while a run writes. On a network file system it waits for the
commit that is going on, and puts right what a crash left half written, where no run is there to do it. Each answer is
true of one instant of the journal; `words` takes one instant for each stretch of rows, so that a long reading holds up
neither the writer nor its log.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import attrs

from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal.database_file import examine, is_broken_off, is_there, read_only
from truecaller_async.journal.filesystem import network_of
from truecaller_async.journal.load import BATCH, batch_of, journal_errors, load_statements
from truecaller_async.journal.lock import JournalLock, holder
from truecaller_async.journal.row_ranges import unpack_rows
from truecaller_async.models import Outcome
from truecaller_async.planning.ambiguity import DECIDABLE_STATES
from truecaller_async.planning.batch_state import BatchState
from truecaller_async.planning.campaign_state import CampaignState, JournaledBatch

STRETCH = 50_000
"""Rows that are read at one instant."""

AS_IT_STANDS = {
    BatchState.PLANNED: "not sent yet",
    BatchState.STOPPED: "the run stopped before it was sent",
    BatchState.REJECTED: "refused, and not yet sought for the bad record",
    BatchState.IN_FLIGHT: "sent, and the run ended before the answer came",
    BatchState.AMBIGUOUS: "sent, and the answer was lost",
    BatchState.ABANDONED: "sent, and the answer was lost",
    BatchState.ACCEPTED: "taken by the server, and no final word yet",
    BatchState.UNTRACKED: "taken by the server, and its batch id is not known",
}
AGAIN = "sent, and the answer was lost; to be sent again"

ATTEMPTS = "SELECT seq, k, at, token_id, event, ended_at, detail FROM attempt "
REASONS = """SELECT outcome, reason, sum(n) AS total FROM (
    SELECT said, count(*) AS n FROM word GROUP BY said
    UNION ALL SELECT rest, sum(rested) FROM batch WHERE rest IS NOT NULL GROUP BY rest
) JOIN said ON id = said WHERE reason IS NOT NULL GROUP BY outcome, reason"""
HOMES = """SELECT
    b.seq, row0, last, rows, batch_id, s.outcome, s.reason, s.field, s.attempts, s.twice
FROM batch b LEFT JOIN said s ON s.id = rest
WHERE row0 >= ? AND row0 <= ? AND last >= ? AND owes = 0 ORDER BY b.seq"""
OWN_WORDS = """SELECT row, w.seq, s.outcome, s.reason, s.field, s.attempts, s.twice
FROM word w JOIN said s ON s.id = w.said WHERE row BETWEEN ? AND ?"""
SAID = "SELECT outcome, reason, field, attempts, twice FROM said WHERE id = ?"


@attrs.define
class RowOutcome:
    """What became of one row, as `RecordResult` has it. `final` is false for what another run may change."""

    row: int
    outcome: Outcome
    reason: str | None
    field: str | None
    batch_id: str | None
    attempts: int
    possibly_duplicated: bool
    final: bool
    seq: int | None


@attrs.frozen
class JournaledAttempt:
    """One attempt to send a batch. `event` and `ended_at` are None where its end is not known; times are wall-clock."""

    seq: int
    attempt: int
    at: float
    token_id: str
    event: str | None
    ended_at: float | None
    detail: str | None


@attrs.frozen
class DecidableBatch:
    """A batch of which an operator may say whether it was applied. `row` is its first open row, `rows` how many are."""

    seq: int
    row: int
    rows: int
    state: BatchState
    attempts: tuple[JournaledAttempt, ...]


RowFate: TypeAlias = tuple[Outcome, str | None, str | None, str | None, int, bool, bool, int | None]
"""All of a `RowOutcome` but its row."""


class JournalReader:
    """Reads the journal at `path`. Use it in `with`; raises `JournalError` where it is missing or no sound journal."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not is_there(path):
            raise JournalError(f"there is no journal {path}")
        _put_right(path)
        examine(path, alone=False)
        with journal_errors(path):
            self._db = read_only(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Read no more. May be called twice."""
        self._db.close()

    def owner(self) -> int | None:
        """The process that works on it now, 0 where that is not known; None where nobody does."""
        return holder(self.path)

    def purged(self) -> bool:
        """Whether only its account is left."""
        with self._instant() as db:
            return bool(db.execute("SELECT purged FROM campaign").fetchone()[0])

    def state(self) -> CampaignState:
        """Where the campaign stands, its open batches included."""
        with self._instant() as db:
            return load_statements(db).state

    def attempts(self, seq: int) -> list[JournaledAttempt]:
        """The attempts to send a batch, in their order."""
        with self._instant() as db:
            return _attempts(db, "WHERE seq = ? ORDER BY k", seq)

    def lost(self) -> list[JournaledAttempt]:
        """The attempts whose answer was lost, or whose end is not known, in the order of the batches."""
        with self._instant() as db:
            return _attempts(db, "WHERE event = 'lost' OR event IS NULL ORDER BY seq, k")

    def reasons(self, limit: int) -> list[tuple[Outcome, str, int]]:
        """The reasons of final words and how many rows have each, the most frequent first."""
        counts: Counter[tuple[str, str]] = Counter()
        with self._instant() as db:
            for outcome, reason, count in db.execute(REASONS):
                counts[outcome, reason] += count
            for line in db.execute(BATCH + "WHERE owes > 0 AND words IS NOT NULL"):
                for number, rows in batch_of(line)[1]:
                    outcome, reason, *_ = db.execute(SAID, (number,)).fetchone()
                    counts[outcome, reason] += 0 if reason is None else len(rows)
        ordered = sorted((+counts).items(), key=lambda item: (-item[1], item[0]))
        return [(Outcome(outcome), reason, count) for (outcome, reason), count in ordered[:limit]]

    def decidable(self) -> list[DecidableBatch]:
        """The batches that an operator may settle: their answer was lost, or was under way when the last run died."""
        excluded = {BatchState.IN_FLIGHT} if self.owner() is not None else set()
        with self._instant() as db:
            return [
                DecidableBatch(
                    batch.seq,
                    batch.open_rows[0],
                    batch.open_count,
                    batch.state,
                    tuple(_attempts(db, "WHERE seq = ? ORDER BY k", batch.seq)),
                )
                for batch in load_statements(db).state.open
                if batch.state in DECIDABLE_STATES - excluded
            ]

    def row_outcomes(self, after: int = 0) -> Iterator[RowOutcome]:
        """One word for each row behind `after` that was read, in their order; of open batches as it stands.

        Raises `JournalError` for a journal that was purged: then nobody knows the words any more.
        """
        if self.purged():
            raise JournalError(f"the journal {self.path} was purged: only its account is left, no word on single rows")
        end = self.state().position.row
        with self._instant() as db:
            widest = db.execute("SELECT coalesce(max(last - row0), 0) FROM batch").fetchone()[0]
        for first in range(after + 1, end + 1, STRETCH):
            last = min(first + STRETCH - 1, end)
            with self._instant() as db:
                homes = RowWindow(db, first, last, widest).fates
            for row, home in enumerate(homes, first):
                if home is None:
                    raise JournalError(f"the journal {self.path} is damaged: it has no word on row {row}")
                yield RowOutcome(row, *home)

    @contextmanager
    def _instant(self) -> Iterator[sqlite3.Connection]:
        """All that is read inside is of one instant."""
        with journal_errors(self.path):
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                self._db.execute("ROLLBACK")


class RowWindow:
    """The homes of the rows from `first` to `last`. No batch is wider than `widest`.

    A row belongs to the batch that planned it last, so the batches are laid over each other in their order.
    """

    def __init__(self, db: sqlite3.Connection, first: int, last: int, widest: int) -> None:
        self._first, self._last = first, last
        self._ids: dict[int, str | None] = {}
        self.fates: list[RowFate | None] = [None] * (last - first + 1)
        layers = [*self._resolved(db, widest), *self._open(db)]
        for _, rows, home in sorted(layers, key=lambda layer: layer[0]):
            self._lay(rows, home)
        self._lay_words(db)

    def _resolved(self, db: sqlite3.Connection, widest: int) -> Iterator[tuple[int, Sequence[int], RowFate | None]]:
        bounds = (self._first - widest, self._last, self._first)
        for seq, row0, last, rows, batch_id, *said in db.execute(HOMES, bounds):
            self._ids[seq] = batch_id
            home = None if said[0] is None else _final(said, batch_id, seq)
            yield seq, range(row0, last + 1) if rows is None else unpack_rows(rows), home

    def _open(self, db: sqlite3.Connection) -> Iterator[tuple[int, Sequence[int], RowFate | None]]:
        where = "WHERE owes > 0 AND row0 <= ? AND last >= ?"
        for line in db.execute(BATCH + where, (self._last, self._first)).fetchall():
            batch, words = batch_of(line)
            self._ids[batch.seq] = batch.batch_id
            yield batch.seq, batch.open_rows, _as_it_stands(batch)
            for number, rows in words:
                said = db.execute(SAID, (number,)).fetchone()
                yield batch.seq, rows, _final(said, batch.batch_id, batch.seq)

    def _lay(self, rows: Sequence[int], home: RowFate | None) -> None:
        first, last, homes = self._first, self._last, self.fates
        if isinstance(rows, range):
            start, stop = max(rows.start, first), min(rows.stop, last + 1)
            homes[start - first : max(start, stop) - first] = [home] * (stop - start)
            return
        for row in rows:
            if first <= row <= last:
                homes[row - first] = home

    def _lay_words(self, db: sqlite3.Connection) -> None:
        for row, seq, *said in db.execute(OWN_WORDS, (self._first, self._last)):
            self.fates[row - self._first] = _final(said, self._ids.get(seq), seq)


def _put_right(path: Path) -> None:
    """A write that a crash broke off is undone; not one that a run is at, nor where a run comes in between."""
    if not is_broken_off(path) or holder(path) is not None:
        return
    with suppress(JournalBusy):
        lock = JournalLock(path, stays=network_of(path) is not None)
        try:
            examine(path, alone=True)
        finally:
            lock.release()


def _attempts(db: sqlite3.Connection, where: str, *parameters: int) -> list[JournaledAttempt]:
    with closing(db.execute(ATTEMPTS + where, parameters)) as lines:
        return [JournaledAttempt(*line) for line in lines]


def _final(said: Any, batch_id: str | None, seq: int | None) -> RowFate:
    outcome, reason, field, attempts, twice = said
    return Outcome(outcome), reason, field, batch_id, attempts, bool(twice), True, seq


def _as_it_stands(batch: JournaledBatch) -> RowFate:
    reason = AGAIN if batch.state is BatchState.PLANNED and batch.lost_answers else AS_IT_STANDS[batch.state]
    return (
        batch.provisional_outcome,
        reason,
        None,
        batch.batch_id,
        batch.maybe_received,
        batch.possibly_duplicated,
        False,
        batch.seq,
    )
