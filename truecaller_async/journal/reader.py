"""Read progress, outcomes, attempts and decidable batches of a journal, without changing it.

Algorithm:
    Each method reads in one transaction, so its answer is consistent, also while a run writes. `row_outcomes` uses one
    transaction per `WINDOW_ROWS` rows, so a long read delays neither the writer nor its checkpoints. A journal of an
    older version is read from a migrated copy in memory, made when the reader is opened; the file keeps its version.

Failure modes:
    - On a network file system a reader waits for the commit under way. If a crash interrupted a commit and no run is
      active, the reader rolls it back.
    - The copy of a journal of an older version does not show what a run of that version writes after the copy was made.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeAlias

import attrs

from truecaller_async.campaign.core.ambiguity import DECIDABLE_STATES
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal.database_file import examine, has_rollback_journal, is_there, read_only
from truecaller_async.journal.load import SELECT_BATCH, batch_of, journal_errors, load_builder
from truecaller_async.journal.lock import JournalLock, holder
from truecaller_async.journal.migrations import migrated_copy, needs_migration
from truecaller_async.journal.row_packing import unpack_rows
from truecaller_async.models import Outcome
from truecaller_async.storage.filesystem import network_of

WINDOW_ROWS = 50_000
"""Rows that are read in one transaction."""

PROVISIONAL_REASONS = {
    BatchState.PLANNED: "not sent yet",
    BatchState.STOPPED: "the run stopped before it was sent",
    BatchState.REJECTED: "the batch was rejected, and the bad record is not isolated yet",
    BatchState.IN_FLIGHT: "sent, and the run ended before the answer came",
    BatchState.AMBIGUOUS: "sent, and the answer was lost",
    BatchState.ABANDONED: "sent, and the answer was lost",
    BatchState.ACCEPTED: "accepted by the server, no final status yet",
    BatchState.UNTRACKED: "accepted by the server, but its batch id is unknown",
}
RESEND_REASON = "sent, and the answer was lost; to be sent again"

SELECT_ATTEMPTS = "SELECT seq, attempt_no, started_at, token_id, event, ended_at, detail FROM attempt "
SELECT_REASONS = """SELECT outcome, reason, sum(n) AS total FROM (
    SELECT outcome_id, count(*) AS n FROM row_outcome GROUP BY outcome_id
    UNION ALL
    SELECT common_outcome, sum(common_outcome_rows) FROM batch WHERE common_outcome IS NOT NULL GROUP BY common_outcome
) JOIN outcome_kind ON id = outcome_id WHERE reason IS NOT NULL GROUP BY outcome, reason"""
SELECT_CLOSED_BATCHES = """SELECT
    b.seq, first_row, last_row, rows, batch_id, excluded_rows,
    kind.outcome, kind.reason, kind.field, kind.attempts, kind.possibly_duplicated
FROM batch b LEFT JOIN outcome_kind kind ON kind.id = common_outcome
WHERE first_row >= ? AND first_row <= ? AND last_row >= ? AND open_rows = 0 ORDER BY b.seq"""
SELECT_ROW_OUTCOMES = """SELECT
    row, r.seq, kind.outcome, kind.reason, kind.field, kind.attempts, kind.possibly_duplicated
FROM row_outcome r JOIN outcome_kind kind ON kind.id = r.outcome_id WHERE row BETWEEN ? AND ?"""
SELECT_OUTCOME_KIND = "SELECT outcome, reason, field, attempts, possibly_duplicated FROM outcome_kind WHERE id = ?"


@attrs.define
class RowOutcome:
    """The outcome of one row, with the values of its `RecordResult`."""

    row: int
    """The number of the row in the source, from 1."""
    outcome: Outcome
    """The outcome; a provisional one if `final` is False."""
    reason: str | None
    """Why it is not delivered, with long numbers masked."""
    field: str | None
    """The field of the record that the reason is about."""
    batch_id: str | None
    """The server's id of its batch."""
    attempts: int
    """How often it may have reached the server."""
    possibly_duplicated: bool
    """Whether it may have been applied more than once."""
    final: bool
    """Whether no later run can change it."""
    seq: int | None
    """The number of its batch in the journal, None if it was in no batch."""


@attrs.frozen
class JournaledAttempt:
    """One attempt to send a batch. Times are wall-clock seconds."""

    seq: int
    """The number of the batch."""
    attempt: int
    """The number of the attempt, from 1."""
    at: float
    """When it started."""
    token_id: str
    """The id of the token with which it was sent."""
    event: str | None
    """How it ended (`campaign.core.batch_state.BatchEvent`), None if unknown."""
    ended_at: float | None
    """When it ended, None if unknown."""
    detail: str | None
    """Name and message of its error, up to 200 characters, or "the process ended before ..."."""


@attrs.frozen
class DecidableBatch:
    """A batch about which an operator may decide whether the server applied it."""

    seq: int
    """Its number."""
    row: int
    """Its first open row."""
    rows: int
    """How many of its rows are open."""
    state: BatchState
    """Its state."""
    attempts: tuple[JournaledAttempt, ...]
    """Its attempts, in their order."""


RowFate: TypeAlias = tuple[Outcome, str | None, str | None, str | None, int, bool, bool, int | None]
"""The values of a `RowOutcome` after `row`."""


class JournalReader:
    """Reader of one journal. Use it in `with`.

    Args:
        path: The file of the journal.

    Raises:
        JournalError: The file is missing, is no journal, has a version that cannot be read, or is damaged.
        JournalBusy: Another process kept it locked for too long.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not is_there(path):
            raise JournalError(f"there is no journal {path}. Check the name.")
        _roll_back_interrupted_commit(path)
        examine(path, is_locked=False)
        with journal_errors(path):
            self._db = _readable(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._db.close()

    def owner(self) -> int | None:
        """Return the id of the process that has the journal open, 0 if it is unknown, None if there is none."""
        return holder(self.path)

    def purged(self) -> bool:
        """Return whether the journal contains only its summary."""
        with self._transaction() as db:
            return bool(db.execute("SELECT purged FROM campaign").fetchone()[0])

    def state(self) -> CampaignState:
        """Return the state of the campaign, with its open batches."""
        with self._transaction() as db:
            return load_builder(db).state

    def attempts(self, seq: int) -> list[JournaledAttempt]:
        """Return the attempts to send a batch, in their order."""
        with self._transaction() as db:
            return _attempts(db, "WHERE seq = ? ORDER BY attempt_no", seq)

    def lost(self) -> list[JournaledAttempt]:
        """Return the attempts whose answer was lost or whose end is unknown, in the order of the batches."""
        with self._transaction() as db:
            return _attempts(db, "WHERE event = 'lost' OR event IS NULL ORDER BY seq, attempt_no")

    def reasons(self, limit: int) -> list[tuple[Outcome, str, int]]:
        """Return the reasons of final outcomes with their numbers of rows, the most frequent first.

        Args:
            limit: Return at most this many.
        """
        counts: Counter[tuple[str, str]] = Counter()
        with self._transaction() as db:
            for outcome, reason, count in db.execute(SELECT_REASONS):
                counts[outcome, reason] += count
            open_batches = db.execute(SELECT_BATCH + "WHERE open_rows > 0 AND pending_outcomes IS NOT NULL")
            for values in open_batches:
                for outcome_id, rows in batch_of(values)[1]:
                    outcome, reason, *_ = db.execute(SELECT_OUTCOME_KIND, (outcome_id,)).fetchone()
                    counts[outcome, reason] += 0 if reason is None else len(rows)
        ordered = sorted((+counts).items(), key=lambda item: (-item[1], item[0]))
        return [(Outcome(outcome), reason, count) for (outcome, reason), count in ordered[:limit]]

    def decidable(self) -> list[DecidableBatch]:
        """Return the batches about which an operator may decide whether the server applied them.

        Their answer was lost, or they were in flight when the last run died.
        """
        excluded = {BatchState.IN_FLIGHT} if self.owner() is not None else set()
        with self._transaction() as db:
            return [
                DecidableBatch(
                    batch.seq,
                    batch.open_rows[0],
                    batch.open_count,
                    batch.state,
                    tuple(_attempts(db, "WHERE seq = ? ORDER BY attempt_no", batch.seq)),
                )
                for batch in load_builder(db).state.open
                if batch.state in DECIDABLE_STATES - excluded
            ]

    def row_outcomes(self, after: int = 0) -> Iterator[RowOutcome]:
        """Yield the outcome of each row that was read, in order; a provisional one for an open row.

        Args:
            after: Start behind this row.

        Raises:
            JournalError: The journal was purged, or a row has no outcome.
        """
        if self.purged():
            raise JournalError(
                f"the journal {self.path} was purged: it contains only its summary, and no outcomes of single rows."
            )
        end = self.state().position.row
        with self._transaction() as db:
            widest = db.execute("SELECT coalesce(max(last_row - first_row), 0) FROM batch").fetchone()[0]
        for first in range(after + 1, end + 1, WINDOW_ROWS):
            last = min(first + WINDOW_ROWS - 1, end)
            with self._transaction() as db:
                fates = RowWindow(db, first, last, widest).fates
            for row, fate in enumerate(fates, first):
                if fate is None:
                    raise JournalError(
                        f"the journal {self.path} is damaged: row {row} has no outcome. Restore a copy from before the "
                        "damage."
                    )
                yield RowOutcome(row, *fate)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with journal_errors(self.path):
            self._db.execute("BEGIN")
            try:
                yield self._db
            finally:
                self._db.execute("ROLLBACK")


class RowWindow:
    """The fates of the rows `first` to `last`.

    A row belongs to the batch that planned it last, so the batches are written over each other in the order of their
    numbers.

    Args:
        db: A connection with an open transaction.
        first: The first row.
        last: The last row.
        widest: The largest distance between the first and the last row of a batch in the journal.
    """

    def __init__(self, db: sqlite3.Connection, first: int, last: int, widest: int) -> None:
        self._first, self._last = first, last
        self._batch_ids: dict[int, str | None] = {}
        self._excluded_rows: dict[int, Iterable[int]] = {}
        self.fates: list[RowFate | None] = [None] * (last - first + 1)
        """The fate of each row; None if the journal has none."""
        layers = [*self._closed_batches(db, widest), *self._open_batches(db)]
        for _, rows, fate in sorted(layers, key=lambda layer: layer[0]):
            self._write(rows, fate)
        self._write_row_outcomes(db)
        self._remove_batch_ids_of_excluded_rows()

    def _closed_batches(
        self, db: sqlite3.Connection, widest: int
    ) -> Iterator[tuple[int, Sequence[int], RowFate | None]]:
        # `first_row` has an index and `last_row` has none. `widest` bounds how far before the window a batch may begin.
        bounds = (self._first - widest, self._last, self._first)
        for seq, first_row, last_row, rows, batch_id, excluded, *kind in db.execute(SELECT_CLOSED_BATCHES, bounds):
            self._batch_ids[seq] = batch_id
            if excluded is not None:
                self._excluded_rows[seq] = unpack_rows(excluded)
            fate = None if kind[0] is None else _final(kind, batch_id, seq)
            yield seq, range(first_row, last_row + 1) if rows is None else unpack_rows(rows), fate

    def _open_batches(self, db: sqlite3.Connection) -> Iterator[tuple[int, Sequence[int], RowFate | None]]:
        where = "WHERE open_rows > 0 AND first_row <= ? AND last_row >= ?"
        for values in db.execute(SELECT_BATCH + where, (self._last, self._first)).fetchall():
            batch, outcomes = batch_of(values)
            self._batch_ids[batch.seq] = batch.batch_id
            self._excluded_rows[batch.seq] = batch.excluded_rows
            yield batch.seq, batch.open_rows, _provisional(batch)
            for outcome_id, rows in outcomes:
                kind = db.execute(SELECT_OUTCOME_KIND, (outcome_id,)).fetchone()
                yield batch.seq, rows, _final(kind, batch.batch_id, batch.seq)

    def _write(self, rows: Sequence[int], fate: RowFate | None) -> None:
        first, last, fates = self._first, self._last, self.fates
        if isinstance(rows, range):
            start, stop = max(rows.start, first), min(rows.stop, last + 1)
            fates[start - first : max(start, stop) - first] = [fate] * (stop - start)
            return
        for row in rows:
            if first <= row <= last:
                fates[row - first] = fate

    def _write_row_outcomes(self, db: sqlite3.Connection) -> None:
        for row, seq, *kind in db.execute(SELECT_ROW_OUTCOMES, (self._first, self._last)):
            self.fates[row - self._first] = _final(kind, self._batch_ids.get(seq), seq)

    def _remove_batch_ids_of_excluded_rows(self) -> None:
        # These rows were settled before the server accepted the batch, so the accepted batch did not contain them.
        for seq, rows in self._excluded_rows.items():
            for row in rows:
                fate = self.fates[row - self._first] if self._first <= row <= self._last else None
                if fate is not None and fate[-1] == seq:
                    self.fates[row - self._first] = (*fate[:3], None, *fate[4:])


def _readable(path: Path) -> sqlite3.Connection:
    db = read_only(path)
    try:
        if not needs_migration(db):
            return db
        copy = migrated_copy(db)
    except BaseException:
        db.close()
        raise
    db.close()
    return copy


def _roll_back_interrupted_commit(path: Path) -> None:
    """Roll back a commit that a crash interrupted, but not the commit of a run that is active."""
    if not has_rollback_journal(path) or holder(path) is not None:
        return
    with suppress(JournalBusy):  # a run has started in between, and rolls it back itself
        lock = JournalLock(path, keep_file=network_of(path) is not None)
        try:
            examine(path, is_locked=True)
        finally:
            lock.release()


def _attempts(db: sqlite3.Connection, where: str, *parameters: int) -> list[JournaledAttempt]:
    with closing(db.execute(SELECT_ATTEMPTS + where, parameters)) as found:
        return [JournaledAttempt(*values) for values in found]


def _final(kind: Any, batch_id: str | None, seq: int | None) -> RowFate:
    outcome, reason, field, attempts, possibly_duplicated = kind
    return Outcome(outcome), reason, field, batch_id, attempts, bool(possibly_duplicated), True, seq


def _provisional(batch: CampaignBatch) -> RowFate:
    resend = batch.state is BatchState.PLANNED and batch.lost_answers
    return (
        batch.provisional_outcome,
        RESEND_REASON if resend else PROVISIONAL_REASONS[batch.state],
        None,
        batch.batch_id,
        batch.maybe_received,
        batch.possibly_duplicated,
        False,
        batch.seq,
    )
