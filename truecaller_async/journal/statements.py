"""Translate journal entries to SQL: the statements of one transaction.

Algorithm:
    The entries are applied to the `CampaignState` already. Each batch that they changed is written once, as it is now.
    While a batch has open rows, the outcomes of its settled rows are stored in the batch (`pending_outcomes`). When its
    last row is settled, the most frequent outcome becomes `common_outcome`, and only the other rows get a row in
    `row_outcome`.

Invariants:
    - The totals of the campaign change in the same transaction as the batches that they count.
    - `build` is called before the next entry is applied, so the statements describe the state after these entries.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec
from msgspec import structs

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.errors import JournalError
from truecaller_async.journal.outcome_kinds import OutcomeKinds, storable_text, writable
from truecaller_async.journal.row_packing import pack_rows
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchPlanned,
    CampaignStarted,
    CostReported,
    JournalEntry,
    NoteAdded,
    OperatorDecided,
    RowsRead,
    RowsSettled,
    RunStarted,
)

Statement: TypeAlias = tuple[str, Sequence[Sequence[Any]]]
"""SQL, and the parameters of each execution."""

INSERT_BATCH = """INSERT INTO batch(
    state, attempts, maybe_received, lost_answers, possibly_duplicated, abandoned, batch_id, accepted_at, reason, field,
    excluded_rows, open_rows, closed, pending_outcomes, common_outcome, common_outcome_rows,
    first_row, last_row, rows, parent, root_batch, call, source_row, source_line, source_offset, seq
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
# A batch can be written again after its last row was settled, then without outcomes: a root batch stays while batches
# that were split from it are open. `coalesce` and `max` keep the common outcome that is stored.
UPDATE_BATCH = """UPDATE batch SET
    state = ?, attempts = ?, maybe_received = ?, lost_answers = ?, possibly_duplicated = ?, abandoned = ?, batch_id = ?,
    accepted_at = ?, reason = ?, field = ?, excluded_rows = ?, open_rows = ?, closed = ?, pending_outcomes = ?,
    common_outcome = coalesce(?, common_outcome), common_outcome_rows = max(?, common_outcome_rows)
WHERE seq = ?"""
UPDATE_BATCH_ROWS = "UPDATE batch SET first_row = ?, last_row = ?, rows = ? WHERE seq = ?"
UPSERT_PAYLOAD = "INSERT INTO payload VALUES (?, ?) ON CONFLICT(seq) DO UPDATE SET records = excluded.records"
DELETE_PAYLOAD = "DELETE FROM payload WHERE seq = ?"
INSERT_ATTEMPT = "INSERT INTO attempt(seq, attempt_no, started_at, token_id) VALUES (?, ?, ?, ?)"
UPDATE_ATTEMPT_END = "UPDATE attempt SET event = ?, ended_at = ?, detail = ? WHERE seq = ? AND attempt_no = ?"
INSERT_DECISION = "INSERT INTO operator_decision VALUES (?, ?, ?)"
INSERT_OUTCOME_KIND = "INSERT INTO outcome_kind VALUES (?, ?, ?, ?, ?, ?)"
INSERT_ROW_OUTCOME = "INSERT INTO row_outcome VALUES (?, ?, ?)"
# A `RowsRead` without new rows has the row number of the previous one. Its position is the later one.
UPSERT_READ_BLOCK = """INSERT INTO read_block VALUES (?, ?, ?, ?) ON CONFLICT(last_row) DO UPDATE SET
    line = excluded.line, offset = excluded.offset,
    fingerprints = CAST(fingerprints || excluded.fingerprints AS BLOB)"""
INSERT_RUN = "INSERT INTO run(run_no, pid, started_at) VALUES (?, ?, ?)"
UPDATE_COST = "UPDATE run SET cost = ? WHERE run_no = ?"
UPSERT_NOTE = "INSERT INTO note VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value"
UPDATE_STARTED = "UPDATE campaign SET started = ?, salt = ? WHERE id = 1"
UPDATE_TOTALS = "UPDATE campaign SET totals = ? WHERE id = 1"

PendingOutcomes: TypeAlias = list[tuple[int, Sequence[int]]]
"""Outcome ids, each with the rows that have it."""

encode = msgspec.json.Encoder().encode


@attrs.define
class SqlTransaction:
    """The statements of one transaction, and the batches that it changes."""

    statements: list[Statement] = attrs.field(factory=list)
    """In the order in which they are executed."""
    new: set[int] = attrs.field(factory=set)
    """The numbers of those that the transaction inserts."""
    extended: set[int] = attrs.field(factory=set)
    """The numbers of those that get more rows."""

    def add(self, sql: str, *parameters: Any) -> None:
        """Append a statement that is executed once."""
        self.statements.append((sql, (parameters,)))


@attrs.define
class StatementBuilder:
    """Build the transactions of one journal."""

    state: CampaignState
    """The state of the campaign, which may be ahead of the disk."""
    outcome_kinds: OutcomeKinds
    """The ids of the distinct outcomes."""
    pending_outcomes: dict[int, PendingOutcomes] = attrs.field(factory=dict)
    """The outcomes of settled rows, for each batch that still has open rows."""
    with_payload: set[int] = attrs.field(factory=set)
    """The batches whose payload is stored."""
    _last_seq: int = attrs.field(default=attrs.Factory(lambda builder: builder.state.last_seq, takes_self=True))
    _stored_totals: bytes = b""

    def build(self, entries: Iterable[JournalEntry], changed: Iterable[CampaignBatch]) -> list[Statement]:
        """Return the statements of one transaction.

        Args:
            entries: The entries, which are applied to the state already.
            changed: The batches that they changed.

        Raises:
            JournalError: An entry has no stored form. Then the builder must not be used again.
        """
        transaction = SqlTransaction()
        for entry in entries:
            self._write(entry, transaction)
        for batch in changed:
            self._write_batch(batch, transaction)
        totals = encode(totals_of(self.state))
        if totals != self._stored_totals:
            self._stored_totals = totals
            transaction.add(UPDATE_TOTALS, totals)
        return transaction.statements

    def _write(self, entry: JournalEntry, transaction: SqlTransaction) -> None:
        match entry:
            case BatchPlanned(seq):
                # Batches are numbered in the order in which they are planned.
                if seq > self._last_seq:
                    transaction.new.add(seq)
                    self._last_seq = seq
                elif seq not in transaction.new:
                    transaction.extended.add(seq)
            case AttemptStarted(seq, attempt, token_id, at):
                transaction.add(INSERT_ATTEMPT, seq, attempt, at, token_id)
            case AttemptEnded(seq, attempt, event, at):
                transaction.add(UPDATE_ATTEMPT_END, str(event), at, storable_text(entry.detail), seq, attempt)
            case RowsSettled():
                self._write_outcome(entry, transaction)
            case RowsRead(position, fingerprints):
                transaction.add(UPSERT_READ_BLOCK, position.row, position.line, position.offset, fingerprints)
            case OperatorDecided(seq, applied, at):
                transaction.add(INSERT_DECISION, seq, at, applied)
            case _:
                self._write_run_entry(entry, transaction)

    def _write_run_entry(self, entry: JournalEntry, transaction: SqlTransaction) -> None:
        match entry:
            case CampaignStarted():
                transaction.add(UPDATE_STARTED, started_as_json(entry), entry.salt)
            case RunStarted(at, pid):
                transaction.add(INSERT_RUN, self.state.runs, pid, at)
            case CostReported():
                transaction.add(UPDATE_COST, encode(entry), self.state.runs)
            case NoteAdded(name, value):
                transaction.add(UPSERT_NOTE, name, json.dumps(value))

    def _write_outcome(self, entry: RowsSettled, transaction: SqlTransaction) -> None:
        outcome_id, is_new = self.outcome_kinds.id_of(entry)
        if is_new:
            transaction.add(
                INSERT_OUTCOME_KIND,
                outcome_id,
                entry.outcome.value,
                storable_text(entry.reason),
                storable_text(entry.field),
                entry.attempts,
                entry.possibly_duplicated,
            )
        if entry.seq is None:
            transaction.statements.append((INSERT_ROW_OUTCOME, [(row, outcome_id, None) for row in entry.rows]))
        else:
            self.pending_outcomes.setdefault(entry.seq, []).append((outcome_id, entry.rows))

    def _write_batch(self, batch: CampaignBatch, transaction: SqlTransaction) -> None:
        state = self._state_columns(batch, transaction)
        if batch.seq in transaction.new:
            start = batch.source_start
            transaction.add(
                INSERT_BATCH,
                *state,
                *_row_columns(batch),
                batch.parent,
                batch.root_batch,
                batch.call,
                start.row,
                start.line,
                start.offset,
                batch.seq,
            )
        else:
            transaction.add(UPDATE_BATCH, *state, batch.seq)
            if batch.seq in transaction.extended:
                transaction.add(UPDATE_BATCH_ROWS, *_row_columns(batch), batch.seq)
        self._write_payload(batch, transaction)

    def _write_payload(self, batch: CampaignBatch, transaction: SqlTransaction) -> None:
        if batch.payload is None:
            # In the transaction that settles the last row, so records never stay on disk longer than needed.
            if batch.seq in self.with_payload:
                self.with_payload.remove(batch.seq)
                transaction.add(DELETE_PAYLOAD, batch.seq)
        elif batch.seq in transaction.new or batch.seq in transaction.extended:
            self.with_payload.add(batch.seq)
            transaction.add(UPSERT_PAYLOAD, batch.seq, batch.payload)

    def _state_columns(self, batch: CampaignBatch, transaction: SqlTransaction) -> tuple[Any, ...]:
        closed = pending_outcomes = common_outcome = None
        common_outcome_rows = 0
        if batch.open_count:
            closed = pack_rows(sorted(batch.closed)) if batch.closed else None
            pending_outcomes = _packed_outcomes(self.pending_outcomes.get(batch.seq))
        else:
            common_outcome, common_outcome_rows = self._write_final_outcomes(batch.seq, transaction)
        return (
            batch.state.value,
            batch.attempts,
            batch.maybe_received,
            batch.lost_answers,
            batch.possibly_duplicated,
            batch.abandoned,
            None if batch.batch_id is None else writable(batch.batch_id),
            batch.accepted_at,
            storable_text(batch.reason),
            storable_text(batch.field),
            pack_rows(sorted(batch.excluded_rows)) if batch.excluded_rows else None,
            batch.open_count,
            closed,
            pending_outcomes,
            common_outcome,
            common_outcome_rows,
        )

    def _write_final_outcomes(self, seq: int, transaction: SqlTransaction) -> tuple[int | None, int]:
        """Return the common outcome and its number of rows; write the outcomes of the other rows."""
        outcomes = self.pending_outcomes.pop(seq, ())
        if not outcomes:
            return None, 0
        counts: Counter[int] = Counter()
        for outcome_id, rows in outcomes:
            counts[outcome_id] += len(rows)
        common_outcome = max(counts, key=counts.__getitem__)
        own = [(row, outcome_id, seq) for outcome_id, rows in outcomes if outcome_id != common_outcome for row in rows]
        if own:
            transaction.statements.append((INSERT_ROW_OUTCOME, sorted(own)))
        return common_outcome, counts[common_outcome]


def totals_of(state: CampaignState) -> dict[str, Any]:
    """Return the part of the state that is stored as one value, `campaign.totals`."""
    return {
        "position": state.position,
        "source_exhausted": state.source_exhausted,
        "outcomes": {outcome.value: count for outcome, count in state.outcomes.items()},
        "possibly_duplicated": state.possibly_duplicated,
        "last_seq": state.last_seq,
        "accepted": state.accepted,
        "sent": state.sent,
        "runs": state.runs,
        "last_run": state.last_run,
        "cost": state.run.cost,
        "cost_before": state.cost_before,
        "unconfirmed_rows": list(state.unconfirmed_rows),
    }


def _row_columns(batch: CampaignBatch) -> tuple[int, int, bytes | None]:
    rows = batch.rows
    return rows[0], rows[-1], None if isinstance(rows, range) else pack_rows(rows)


def _packed_outcomes(outcomes: PendingOutcomes | None) -> bytes | None:
    if not outcomes:
        return None
    return msgspec.msgpack.encode([(outcome_id, pack_rows(rows)) for outcome_id, rows in outcomes])


def started_as_json(started: CampaignStarted) -> str:
    """Encode all fields but the salt; as ASCII, because a path may contain bytes that are no text.

    Raises:
        JournalError: An option has no JSON form.
    """
    fields = {name: value for name, value in structs.asdict(started).items() if name != "salt"}
    fields["source"] = None if started.source is None else structs.asdict(started.source)
    try:
        return json.dumps(fields)
    except (TypeError, ValueError) as error:
        raise JournalError(
            f"the options of the campaign cannot be stored: {error}. Use numbers, texts and None as their values."
        ) from None
