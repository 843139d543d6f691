"""From entries to statements: what each transaction changes in the tables.

`CampaignState` is asked first, so nothing is written that could not be true. Then the batches that were touched are
written as they stand after the whole transaction, each once, however many entries spoke of it.

While a batch has open rows, what was said of the others waits beside it. With its last row the word that most of its
rows share becomes its rest, and only the other rows get a line of their own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

from truecaller_async.errors import JournalError
from truecaller_async.journal.outcome_texts import OutcomeTexts, truncated, writable
from truecaller_async.journal.row_ranges import pack_rows
from truecaller_async.models import (
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
from truecaller_async.planning.campaign_state import CampaignState, JournaledBatch

Statement: TypeAlias = tuple[str, Sequence[Sequence[Any]]]
"""SQL, and the parameters of each time it is executed."""

INSERT_BATCH = """INSERT INTO batch(
    state, tries, sends, doubts, resent, abandoned, batch_id, accepted_at, reason, field,
    excluded_rows, owes, closed, words, rest, rested,
    row0, last, rows, parent, root, via, begins_row, begins_lines, begins_offset, seq
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
UPDATE_BATCH = """UPDATE batch SET
    state = ?, tries = ?, sends = ?, doubts = ?, resent = ?, abandoned = ?, batch_id = ?, accepted_at = ?, reason = ?,
    field = ?, excluded_rows = ?, owes = ?, closed = ?, words = ?,
    rest = coalesce(?, rest), rested = max(?, rested)
WHERE seq = ?"""
JOIN_ROWS = "UPDATE batch SET row0 = ?, last = ?, rows = ? WHERE seq = ?"
KEEP_PAYLOAD = "INSERT INTO payload VALUES (?, ?) ON CONFLICT(seq) DO UPDATE SET records = excluded.records"
DROP_PAYLOAD = "DELETE FROM payload WHERE seq = ?"
INSERT_INTENT = "INSERT INTO attempt(seq, k, at, token_id) VALUES (?, ?, ?, ?)"
END_ATTEMPT = "UPDATE attempt SET event = ?, ended_at = ?, detail = ? WHERE seq = ? AND k = ?"
INSERT_JUDGED = "INSERT INTO judged VALUES (?, ?, ?)"
INSERT_SAID = "INSERT INTO said VALUES (?, ?, ?, ?, ?, ?)"
INSERT_WORD = "INSERT INTO word VALUES (?, ?, ?)"
INSERT_SPAN = """INSERT INTO span VALUES (?, ?, ?, ?) ON CONFLICT(row) DO UPDATE SET
    lines = excluded.lines, offset = excluded.offset, prints = CAST(prints || excluded.prints AS BLOB)"""
INSERT_RUN = "INSERT INTO run(n, pid, began) VALUES (?, ?, ?)"
UPDATE_SPENT = "UPDATE run SET spent = ? WHERE n = ?"
UPSERT_NOTE = "INSERT INTO note VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value"
BEGIN = "UPDATE campaign SET begun = ?, salt = ? WHERE id = 1"
TOTALS = "UPDATE campaign SET totals = ? WHERE id = 1"

SaidOf: TypeAlias = list[tuple[int, Sequence[int]]]
"""Numbers of words, and the rows of which they were said."""

encode = msgspec.json.Encoder().encode


@attrs.define
class Transaction:
    """One transaction in the making: the batches that it touches, and of these the new ones and the longer ones."""

    statements: list[Statement] = attrs.field(factory=list)
    touched: dict[int, JournaledBatch] = attrs.field(factory=dict)
    new: set[int] = attrs.field(factory=set)
    extended: set[int] = attrs.field(factory=set)

    def add(self, sql: str, *parameters: Any) -> None:
        """One statement more, executed once."""
        self.statements.append((sql, (parameters,)))


@attrs.define
class StatementBuilder:
    """Writes the entries of one journal. `waiting` is what was said of rows of batches that have open ones yet.

    `paid` are the batches whose payload is on disk.
    """

    state: CampaignState
    texts: OutcomeTexts
    pending_outcomes: dict[int, SaidOf] = attrs.field(factory=dict)
    with_payload: set[int] = attrs.field(factory=set)
    _totals: bytes = b""

    def build(self, entries: Iterable[JournalEntry]) -> list[Statement]:
        """The statements of one transaction. Raises `JournalError` for entries that cannot be true."""
        page = Transaction()
        for entry in entries:
            self._touch(entry, page)
            self.state.apply(entry)
            self._write(entry, page)
        for batch in page.touched.values():
            self._write_batch(batch, page)
        totals = encode(totals_of(self.state))
        if totals != self._totals:
            self._totals = totals
            page.add(TOTALS, totals)
        return page.statements

    def _touch(self, entry: JournalEntry, page: Transaction) -> None:
        """Get hold of the batches of an entry before it is taken, because with it they may be forgotten."""
        for seq in (getattr(entry, "seq", None), getattr(entry, "parent", None)):
            batch = None if seq is None else self.state.batches.get(seq)
            if batch is not None:
                page.touched.setdefault(batch.seq, batch)

    def _write(self, entry: JournalEntry, page: Transaction) -> None:
        match entry:
            case BatchPlanned(seq):
                if seq in page.touched:
                    page.extended.add(seq)
                else:
                    page.new.add(seq)
                    page.touched[seq] = self.state.batches[seq]
            case AttemptStarted(seq, attempt, token_id, at):
                page.add(INSERT_INTENT, seq, attempt, at, token_id)
            case AttemptEnded(seq, attempt, event, at):
                page.add(END_ATTEMPT, str(event), at, truncated(entry.detail), seq, attempt)
            case RowsSettled():
                self._settle(entry, page)
            case RowsRead(place, fingerprints):
                page.add(INSERT_SPAN, place.row, place.line, place.offset, fingerprints)
            case OperatorDecided(seq, applied, at):
                page.add(INSERT_JUDGED, seq, at, applied)
            case _:
                self._about_the_run(entry, page)

    def _about_the_run(self, entry: JournalEntry, page: Transaction) -> None:
        match entry:
            case CampaignStarted():
                page.add(BEGIN, started_as_json(entry), entry.salt)
            case RunStarted(at, pid):
                page.add(INSERT_RUN, self.state.runs, pid, at)
            case CostReported():
                page.add(UPDATE_SPENT, encode(entry), self.state.runs)
            case NoteAdded(name, value):
                page.add(UPSERT_NOTE, name, json.dumps(value))

    def _settle(self, entry: RowsSettled, page: Transaction) -> None:
        number, is_new = self.texts.number_of(entry)
        if is_new:
            said = (
                entry.outcome.value,
                truncated(entry.reason),
                truncated(entry.field),
                entry.attempts,
                entry.possibly_duplicated,
            )
            page.add(INSERT_SAID, number, *said)
        if entry.seq is None:
            page.statements.append((INSERT_WORD, [(row, number, None) for row in entry.rows]))
        else:
            self.pending_outcomes.setdefault(entry.seq, []).append((number, entry.rows))

    def _write_batch(self, batch: JournaledBatch, page: Transaction) -> None:
        state = self._state_of(batch, page)
        if batch.seq in page.new:
            begins = (batch.source_start.row, batch.source_start.line, batch.source_start.offset)
            page.add(
                INSERT_BATCH, *state, *_shape(batch), batch.parent, batch.root_batch, batch.call, *begins, batch.seq
            )
        else:
            page.add(UPDATE_BATCH, *state, batch.seq)
            if batch.seq in page.extended:
                page.add(JOIN_ROWS, *_shape(batch), batch.seq)
        self._write_payload(batch, page)

    def _write_payload(self, batch: JournaledBatch, page: Transaction) -> None:
        if batch.payload is None:
            if batch.seq in self.with_payload:
                self.with_payload.remove(batch.seq)
                page.add(DROP_PAYLOAD, batch.seq)
        elif batch.seq in page.new or batch.seq in page.extended:
            self.with_payload.add(batch.seq)
            page.add(KEEP_PAYLOAD, batch.seq, batch.payload)

    def _state_of(self, batch: JournaledBatch, page: Transaction) -> tuple[Any, ...]:
        closed = words = rest = None
        rested = 0
        if batch.open_count:
            closed = pack_rows(sorted(batch.closed)) if batch.closed else None
            words = _as_words(self.pending_outcomes.get(batch.seq))
        else:
            rest, rested = self._resolve(batch.seq, page)
        return (
            batch.state.value,
            batch.attempts,
            batch.maybe_received,
            batch.lost_answers,
            batch.possibly_duplicated,
            batch.abandoned,
            None if batch.batch_id is None else writable(batch.batch_id),
            batch.accepted_at,
            truncated(batch.reason),
            truncated(batch.field),
            pack_rows(sorted(batch.excluded_rows)) if batch.excluded_rows else None,
            batch.open_count,
            closed,
            words,
            rest,
            rested,
        )

    def _resolve(self, seq: int, page: Transaction) -> tuple[int | None, int]:
        """The word that most of its rows share, and how many these are; the other rows get lines of their own."""
        said = self.pending_outcomes.pop(seq, ())
        if not said:
            return None, 0
        counts: Counter[int] = Counter()
        for number, rows in said:
            counts[number] += len(rows)
        rest = max(counts, key=counts.__getitem__)
        own = [(row, number, seq) for number, rows in said if number != rest for row in rows]
        if own:
            page.statements.append((INSERT_WORD, sorted(own)))
        return rest, counts[rest]


def totals_of(standing: CampaignState) -> dict[str, Any]:
    """What is kept of the standing as one value."""
    return {
        "position": standing.position,
        "source_exhausted": standing.source_exhausted,
        "outcomes": {outcome.value: count for outcome, count in standing.outcomes.items()},
        "possibly_duplicated": standing.possibly_duplicated,
        "last_seq": standing.last_seq,
        "accepted": standing.accepted,
        "sent": standing.sent,
        "runs": standing.runs,
        "last_run": standing.last_run,
        "cost": standing.cost,
        "cost_before": standing.cost_before,
        "unconfirmed_rows": pack_rows(sorted(standing.unconfirmed_rows)),
    }


def _shape(batch: JournaledBatch) -> tuple[int, int, bytes | None]:
    rows = batch.planned
    return rows[0], rows[-1], None if isinstance(rows, range) else pack_rows(rows)


def _as_words(said: SaidOf | None) -> bytes | None:
    if not said:
        return None
    return msgspec.msgpack.encode([(number, pack_rows(sorted(rows))) for number, rows in said])


def started_as_json(begun: CampaignStarted) -> str:
    """How it began, without the salt; as ASCII, because a path may hold bytes that are no text."""
    fields = attrs.asdict(begun, filter=lambda attribute, _: attribute.name != "salt")
    try:
        return json.dumps(fields)
    except (TypeError, ValueError) as error:
        raise JournalError(f"the options of this campaign cannot be kept: {error}") from None
