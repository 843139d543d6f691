"""From the tables back to where the campaign stands.

Only what a run needs is loaded: the totals, the open batches, and the roots of such. A journal of ten million rows is
loaded as fast as one of ten thousand.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal.outcome_texts import WORDS_MAX, OutcomeTexts
from truecaller_async.journal.row_ranges import unpack_rows
from truecaller_async.journal.statements import SaidOf, StatementBuilder
from truecaller_async.models import CampaignStarted, CostReported, Outcome, RunStarted, SourceDescriptor, SourcePosition
from truecaller_async.planning.batch_state import BatchState
from truecaller_async.planning.campaign_state import CampaignState, JournaledBatch
from truecaller_async.storage.sqlite_worker import is_busy

BATCH = """SELECT
    b.seq, parent, root, via, begins_row, begins_lines, begins_offset, row0, last, rows,
    state, tries, sends, doubts, resent, abandoned, batch_id, accepted_at, reason, field,
    excluded_rows, owes, closed, words, records
FROM batch b LEFT JOIN payload p ON p.seq = b.seq """

_words_of = msgspec.msgpack.Decoder(list[tuple[int, bytes]]).decode


class Totals(msgspec.Struct):
    """What is kept of the standing as one value."""

    position: SourcePosition
    source_exhausted: bool
    outcomes: dict[Outcome, int]
    possibly_duplicated: int
    last_seq: int
    accepted: int
    sent: int
    runs: int
    last_run: RunStarted | None
    cost: CostReported
    cost_before: CostReported
    unconfirmed_rows: bytes


_totals_of = msgspec.json.Decoder(Totals).decode


@contextmanager
def journal_errors(path: Path) -> Iterator[None]:
    """Whatever goes wrong in reading a journal is a `JournalError` that names it and says what to do.

    `JournalBusy` where another process kept us waiting for too long, as happens on a network file system.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _busy(path) if is_busy(error) else _unusable(path, error) from None
    except (sqlite3.Error, msgspec.MsgspecError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _unusable(path, error) from None


def _busy(path: Path) -> JournalBusy:
    return JournalBusy(
        f"the journal {path} is being written or read by another process just now, and did not become free in time; "
        "ask again, and see that no process keeps it for long"
    )


def _unusable(path: Path, error: Exception) -> JournalError:
    return JournalError(
        f"the journal {path} cannot be used: {error}; it is left as it is: see to the rights on it and to free "
        "space, or take a copy of it from before it was damaged"
    )


def load_statements(db: sqlite3.Connection) -> StatementBuilder:
    """Who goes on writing this journal."""
    batches: dict[int, JournaledBatch] = {}
    waiting: dict[int, SaidOf] = {}
    for line in db.execute(BATCH + "WHERE owes > 0"):
        batch, said = batch_of(line)
        batches[batch.seq] = batch
        if said:
            waiting[batch.seq] = said
    roots = {batch.root_batch for batch in batches.values() if batch.root_batch is not None} - batches.keys()
    for root in roots:
        batches |= {batch.seq: batch for batch, _ in map(batch_of, db.execute(BATCH + "WHERE b.seq = ?", (root,)))}
    paid = {batch.seq for batch in batches.values() if batch.payload is not None}
    return StatementBuilder(_standing(db, batches), _words(db), waiting, paid)


def batch_of(line: Iterable[Any]) -> tuple[JournaledBatch, SaidOf]:
    """The batch of a line of `BATCH`, and what was said of those of its rows that are closed."""
    (
        seq, parent, root, via, row, lines, offset, row0, last, rows,
        state, tries, sends, doubts, resent, let_go, batch_id, accepted_at, reason, field,
        left_out, owes, closed, words, payload,
    ) = line  # fmt: skip
    planned = range(row0, last + 1) if rows is None else unpack_rows(rows)
    batch = JournaledBatch(
        seq,
        planned,
        SourcePosition(row, lines, offset),
        set(unpack_rows(closed or b"")) if owes else set(planned),
        frozenset(unpack_rows(left_out or b"")),
        parent,
        root,
        via,
        BatchState(state),
        batch_id,
        accepted_at,
        bool(let_go),
        reason,
        field,
        payload,
        attempts=tries,
        maybe_received=sends,
        lost_answers=doubts,
        possibly_duplicated=bool(resent),
    )
    return batch, [(number, unpack_rows(packed)) for number, packed in _words_of(words)] if words else []


def _standing(db: sqlite3.Connection, batches: dict[int, JournaledBatch]) -> CampaignState:
    begun, salt, totals = db.execute("SELECT begun, salt, totals FROM campaign").fetchone()
    notes = {name: json.loads(value) for name, value in db.execute("SELECT name, value FROM note")}
    if totals is None:
        return CampaignState(started=_begun(begun, salt), batches=batches, notes=notes)
    read = _totals_of(totals)
    return CampaignState(
        started=_begun(begun, salt),
        position=read.position,
        source_exhausted=read.source_exhausted,
        outcomes=Counter(read.outcomes),
        possibly_duplicated=read.possibly_duplicated,
        batches=batches,
        last_seq=read.last_seq,
        accepted=read.accepted,
        sent=read.sent,
        runs=read.runs,
        last_run=read.last_run,
        cost=read.cost,
        cost_before=read.cost_before,
        notes=notes,
        unconfirmed_rows=set(unpack_rows(read.unconfirmed_rows)),
    )


def _begun(text: str | None, salt: bytes | None) -> CampaignStarted | None:
    if text is None:
        return None
    fields = json.loads(text)
    note = fields.pop("source")
    return CampaignStarted(**fields, source=None if note is None else SourceDescriptor(**note), salt=salt or b"")


def _words(db: sqlite3.Connection) -> OutcomeTexts:
    last = db.execute("SELECT coalesce(max(id), 0) FROM said").fetchone()[0]
    lines = db.execute("SELECT id, outcome, reason, field, attempts, twice FROM said LIMIT ?", (WORDS_MAX,))
    known = {(outcome, reason, field, attempts, bool(twice)): n for n, outcome, reason, field, attempts, twice in lines}
    return OutcomeTexts(known, last)
