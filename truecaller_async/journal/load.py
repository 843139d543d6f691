"""Load the state of a campaign from the tables of its journal.

Algorithm:
    Only what a run needs is read: totals, notes, open batches, their root batches, and up to 4,096 outcomes. So the
    time depends on the number of open batches, not on the number of rows. The check of the file before it
    (`journal.database_file.examine`) reads the whole file.
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

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState, RunFacts
from truecaller_async.campaign.core.row_ranges import RowRanges
from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal.outcome_kinds import CACHED_OUTCOMES_MAX, OutcomeKinds
from truecaller_async.journal.row_packing import unpack_rows
from truecaller_async.journal.statements import PendingOutcomes, StatementBuilder
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    CampaignStarted,
    CostReported,
    RunStarted,
    SourceDescriptor,
    SourcePosition,
)
from truecaller_async.storage.sqlite_worker import is_busy

SELECT_BATCH = """SELECT
    b.seq, parent, root_batch, call, source_row, source_line, source_offset, first_row, last_row, rows,
    state, attempts, maybe_received, lost_answers, possibly_duplicated, abandoned, batch_id, accepted_at, reason, field,
    excluded_rows, open_rows, closed, pending_outcomes, records
FROM batch b LEFT JOIN payload p ON p.seq = b.seq """

_unpack_outcomes = msgspec.msgpack.Decoder(list[tuple[int, bytes]]).decode


class Totals(msgspec.Struct):
    """The decoded form of `campaign.totals`; the fields of `CampaignState` with the same names."""

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
    unconfirmed_rows: list[tuple[int, int]]


_decode_totals = msgspec.json.Decoder(Totals).decode


@contextmanager
def journal_errors(path: Path) -> Iterator[None]:
    """Convert each error of SQLite and of decoding into a `JournalError` that names the journal.

    Raises:
        JournalBusy: Another process kept the file locked for too long, as happens on a network file system.
        JournalError: The journal cannot be read, or contains values that no journal has.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise _busy(path) if is_busy(error) else _unusable(path, error) from None
    except (sqlite3.Error, msgspec.MsgspecError, ValueError, KeyError, TypeError, IndexError) as error:
        raise _unusable(path, error) from None


def _busy(path: Path) -> JournalBusy:
    return JournalBusy(
        f"the journal {path} is locked: another process is writing or reading it, and did not finish in time. "
        "Retry, and check that no process keeps it locked."
    )


def _unusable(path: Path, error: Exception) -> JournalError:
    return JournalError(
        f"the journal {path} cannot be used: {error}. Check its permissions and the free space, or restore a copy from "
        "before the damage."
    )


def load_builder(db: sqlite3.Connection) -> StatementBuilder:
    """Return a builder that continues this journal, with the state of the campaign.

    Raises:
        sqlite3.Error: The file cannot be read.
        ValueError, msgspec.MsgspecError, KeyError, TypeError: A stored value is damaged (see `journal_errors`).
    """
    batches: dict[int, CampaignBatch] = {}
    pending: dict[int, PendingOutcomes] = {}
    for values in db.execute(SELECT_BATCH + "WHERE open_rows > 0"):
        batch, outcomes = batch_of(values)
        batches[batch.seq] = batch
        if outcomes:
            pending[batch.seq] = outcomes
    roots = {batch.root_batch for batch in batches.values() if batch.root_batch is not None} - batches.keys()
    for root in roots:
        found = map(batch_of, db.execute(SELECT_BATCH + "WHERE b.seq = ?", (root,)))
        batches |= {batch.seq: batch for batch, _ in found}
    with_payload = {batch.seq for batch in batches.values() if batch.payload is not None}
    return StatementBuilder(_load_state(db, batches), _load_outcome_kinds(db), pending, with_payload)


def batch_of(values: Iterable[Any]) -> tuple[CampaignBatch, PendingOutcomes]:
    """Return the batch of one `SELECT_BATCH` result, and its pending outcomes while it has open rows."""
    (
        seq, parent, root_batch, call, row, line, offset, first_row, last_row, rows,
        state, attempts, maybe_received, lost_answers, possibly_duplicated, abandoned,
        batch_id, accepted_at, reason, field,
        excluded_rows, open_rows, closed, pending_outcomes, payload,
    ) = values  # fmt: skip
    batch = CampaignBatch(
        seq,
        range(first_row, last_row + 1) if rows is None else tuple(unpack_rows(rows)),
        SourcePosition(row, line, offset),
        call,
        parent,
        root_batch,
        BatchState(state),
        attempts,
        maybe_received,
        lost_answers,
        bool(possibly_duplicated),
        batch_id,
        accepted_at,
        set(unpack_rows(closed or b"")),
        open_rows,
        frozenset(unpack_rows(excluded_rows or b"")),
        bool(abandoned),
        reason,
        field,
        payload,
    )
    if not pending_outcomes:
        return batch, []
    return batch, [(outcome_id, unpack_rows(packed)) for outcome_id, packed in _unpack_outcomes(pending_outcomes)]


def _load_state(db: sqlite3.Connection, batches: dict[int, CampaignBatch]) -> CampaignState:
    started, salt, totals = db.execute("SELECT started, salt, totals FROM campaign").fetchone()
    notes = {name: json.loads(value) for name, value in db.execute("SELECT name, value FROM note")}
    if totals is None:
        return CampaignState(started=_decode_started(started, salt), batches=batches, notes=notes)
    stored = _decode_totals(totals)
    return CampaignState(
        started=_decode_started(started, salt),
        position=stored.position,
        source_exhausted=stored.source_exhausted,
        outcomes=Counter(stored.outcomes),
        possibly_duplicated=stored.possibly_duplicated,
        batches=batches,
        last_seq=stored.last_seq,
        accepted=stored.accepted,
        sent=stored.sent,
        runs=stored.runs,
        last_run=stored.last_run,
        run=RunFacts(cost=stored.cost),
        cost_before=stored.cost_before,
        notes=notes,
        unconfirmed_rows=RowRanges(stored.unconfirmed_rows),
    )


def _decode_started(text: str | None, salt: bytes | None) -> CampaignStarted | None:
    if text is None:
        return None
    fields = json.loads(text)
    source = fields.pop("source")
    return CampaignStarted(**fields, source=None if source is None else SourceDescriptor(**source), salt=salt or b"")


def _load_outcome_kinds(db: sqlite3.Connection) -> OutcomeKinds:
    last_id = db.execute("SELECT coalesce(max(id), 0) FROM outcome_kind").fetchone()[0]
    found = db.execute(
        "SELECT id, outcome, reason, field, attempts, possibly_duplicated FROM outcome_kind LIMIT ?",
        (CACHED_OUTCOMES_MAX,),
    )
    known = {
        (outcome, reason, field, attempts, bool(possibly_duplicated)): outcome_id
        for outcome_id, outcome, reason, field, attempts, possibly_duplicated in found
    }
    return OutcomeKinds(known, last_id)
