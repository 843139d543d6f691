"""Change a journal while no run uses it: decide about an ambiguous batch, or purge the journal.

Algorithm:
    Both functions take the lock, so they never disturb a run. `decide` writes its entries in one transaction; one of
    them, `OperatorDecided`, is written by no run. `purge` deletes everything about single records and keeps the
    summary: counts, runs, costs and options. It overwrites the deleted bytes inside the file.

Failure modes:
    - An interrupted purge is completed by another purge. Until then deleted bytes may remain in the file.
    - Copies of earlier versions of the file, in backups or on a copy-on-write disk, are not erased.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from msgspec import structs

from truecaller_async.campaign.core.ambiguity import DECIDABLE_STATES, decision_entries
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.core.row_ranges import RowRanges
from truecaller_async.errors import JournalError
from truecaller_async.journal.database_file import checkpoint
from truecaller_async.journal.handle import JournalHandle, open_handle
from truecaller_async.journal.load import journal_errors
from truecaller_async.journal.statements import UPDATE_STARTED, UPDATE_TOTALS, encode, started_as_json, totals_of

PURGED_TABLES = ("payload", "read_block", "row_outcome", "outcome_kind", "attempt", "operator_decision", "batch")
LISTED_BATCHES_MAX = 20


def decide(path: Path, seq: int, applied: bool, at: float) -> None:
    """Record the operator's decision whether the server applied a batch whose answer was lost.

    If it was applied, the outcome of its open rows becomes final: unknown. If not, the next run sends the batch again.
    Until then its rows stay unknown, and what is sent again is flagged `possibly_duplicated`, because the operator may
    be wrong.

    Args:
        path: The file of the journal.
        seq: The number of the batch.
        applied: The decision.
        at: The time of the decision, in wall-clock seconds.

    Raises:
        JournalBusy: A run uses the journal.
        JournalError: The batch needs no decision, or the journal cannot be used.
    """
    with _opened(path) as handle:
        state = handle.statements.state
        batch = state.batches.get(seq)
        if batch is None or not batch.open_count or batch.state not in DECIDABLE_STATES:
            raise JournalError(f"batch {seq} of {path} needs no decision. {_decidable_batches(state)}")
        handle.record(decision_entries(batch, applied, at))


def purge(path: Path, *, force: bool = False) -> None:
    """Delete everything about single records. Only the summary remains, and no run can continue.

    Args:
        path: The file of the journal.
        force: Purge also an unfinished campaign. Its open rows are counted with their provisional outcomes.

    Raises:
        JournalBusy: A run uses the journal.
        JournalError: Rows have no final outcome and `force` is not set, another process reads the journal, or the
            journal cannot be used.
    """
    with _opened(path, purged=True) as handle:
        state = handle.statements.state
        open_rows = sum(batch.open_count for batch in state.open)
        if not state.complete and not (force or handle.is_purged()):
            raise JournalError(
                f"the campaign of {path} is not finished: {open_rows} rows have no final outcome"
                f"{'' if state.source_exhausted else ', and its source was not read to the end'}. "
                "Resume it first, or purge it with force."
            )
        # Before: a reader would keep old pages in the log. After: the deleted pages must leave the log, too.
        _empty_log(handle)
        _erase(handle.db, state)
        _overwrite_free_pages(handle)
        _empty_log(handle)


def _decidable_batches(state: CampaignState) -> str:
    numbers = [str(batch.seq) for batch in state.open if batch.state in DECIDABLE_STATES]
    if not numbers:
        return "No batch does."
    more = f" and {len(numbers) - LISTED_BATCHES_MAX} more" if len(numbers) > LISTED_BATCHES_MAX else ""
    return f"These do: {', '.join(numbers[:LISTED_BATCHES_MAX])}{more}."


def _erase(db: sqlite3.Connection, state: CampaignState) -> None:
    summary = attrs.evolve(state, outcomes=state.outcome_counts(), batches={}, unconfirmed_rows=RowRanges())
    started = state.started
    db.execute("BEGIN IMMEDIATE")
    for table in PURGED_TABLES:
        db.execute(f"DELETE FROM {table}")  # noqa: S608 - constants of this module
    if started is not None:
        db.execute(UPDATE_STARTED, (started_as_json(structs.replace(started, source=None)), b""))
    db.execute(UPDATE_TOTALS, (encode(totals_of(summary)),))
    # In the transaction that deletes the rows: a run must never find their tables empty and the mark missing.
    db.execute("UPDATE campaign SET purged = 1")
    db.commit()


def _overwrite_free_pages(handle: JournalHandle) -> None:
    # After the commit, because VACUUM cannot be part of a transaction. It rewrites the file without the free pages.
    try:
        handle.db.execute("VACUUM")
    except sqlite3.Error as error:
        raise JournalError(
            f"the rows of the journal {handle.path} are deleted, but their bytes may remain in the file: {error}. "
            "Purge it again."
        ) from None


def _empty_log(handle: JournalHandle) -> None:
    if not checkpoint(handle.db):
        raise JournalError(
            f"the journal {handle.path} cannot be erased completely: it is being read by another process. Purge it "
            "again after that process has ended."
        )


@contextmanager
def _opened(path: Path, *, purged: bool = False) -> Iterator[JournalHandle]:
    handle = open_handle(path, is_new=False, may_be_purged=purged)
    try:
        with journal_errors(path):
            yield handle
    finally:
        handle.close()
