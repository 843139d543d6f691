"""What an operator does to a journal while no run works on it: say what became of a lost batch, or erase it.

Both take the lock, so a run that is going is never disturbed. `settle` writes the same entries as a run would, in one
transaction. `purge` erases everything that speaks of single records and keeps the account: the counts, the runs, what
they cost, and the options. It overwrites what it erases inside the file; what the disk and its backups remember of
earlier versions of the file is beyond it. A purge that was broken off is done again by another one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from truecaller_async.errors import JournalError
from truecaller_async.journal.database_file import checkpoint
from truecaller_async.journal.handle import JournalHandle, open_handle
from truecaller_async.journal.load import journal_errors
from truecaller_async.journal.statements import BEGIN, TOTALS, encode, started_as_json, totals_of
from truecaller_async.planning.ambiguity import DECIDABLE_STATES, decision_entries
from truecaller_async.planning.campaign_state import CampaignState

ERASED = ("payload", "span", "word", "said", "attempt", "judged", "batch")
NAMED_MAX = 20


def decide(path: Path, seq: int, applied: bool, at: float) -> None:
    """Say of a batch whose answer was lost whether the server applied it. `at`: wall-clock seconds.

    Applied, its open rows become unknown for good. Not applied, the next run sends it; the answer stays a lost one, so
    that until then its rows are unknown, and what is sent again is flagged as possibly duplicated: the operator may be
    wrong. Raises `JournalBusy` while a run works on the journal, `JournalError` for a batch that needs no such word.
    """
    with _held(path) as held:
        state = held.statements.state
        batch = state.batches.get(seq)
        if batch is None or not batch.open_count or batch.state not in DECIDABLE_STATES:
            raise JournalError(f"batch {seq} of {path} needs no word of yours; {_those_that_do(state)}")
        held.transact([held.statements.build(decision_entries(batch, applied, at))])


def purge(path: Path, *, force: bool = False) -> None:
    """Erase everything that speaks of single records; only the account is left, and nothing can go on from it.

    Raises `JournalBusy` while a run works on it, `JournalError` where rows have no final word yet, unless `force`: then
    they are counted as they stand.
    """
    with _held(path, purged=True) as held:
        state = held.statements.state
        waiting = sum(batch.open_count for batch in state.open)
        if not state.complete and not (force or held.is_purged()):
            raise JournalError(
                f"the campaign of {path} is not finished: {waiting} rows have no final word"
                f"{'' if state.source_exhausted else ', and its source was not read to the end'}; "
                "resume it first, or purge it with force"
            )
        _see_that_nobody_reads(held)
        _erase(held.db, state)
        _see_that_nobody_reads(held)


def _those_that_do(state: CampaignState) -> str:
    numbers = [str(batch.seq) for batch in state.open if batch.state in DECIDABLE_STATES]
    if not numbers:
        return "no batch does"
    more = f" and {len(numbers) - NAMED_MAX} more" if len(numbers) > NAMED_MAX else ""
    return f"those that do: {', '.join(numbers[:NAMED_MAX])}{more}"


def _erase(db: sqlite3.Connection, state: CampaignState) -> None:
    account = attrs.evolve(state, outcomes=state.outcome_counts(), batches={}, unconfirmed_rows=set())
    begun = state.started
    db.execute("BEGIN IMMEDIATE")
    for table in ERASED:
        db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
    if begun is not None:
        db.execute(BEGIN, (started_as_json(attrs.evolve(begun, source=None)), b""))
    db.execute(TOTALS, (encode(totals_of(account)),))
    db.execute("UPDATE campaign SET purged = 1")
    db.commit()
    db.execute("VACUUM")


def _see_that_nobody_reads(held: JournalHandle) -> None:
    """What is erased in the log is still in the file, until nobody reads that any more."""
    if not checkpoint(held.db):
        raise JournalError(
            f"the journal {held.path} is being read by another process, which keeps what should be erased; "
            "purge it again when that has ended"
        )


@contextmanager
def _held(path: Path, *, purged: bool = False) -> Iterator[JournalHandle]:
    held = open_handle(path, is_new=False, purged=purged)
    try:
        with journal_errors(path):
            yield held
    finally:
        held.close()
