"""Decide about ambiguous batches, and purge a journal."""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import pytest

from tests.journal.entry_generator import STARTED
from tests.journal.test_reader import CAMPAIGN, TOKEN, written
from truecaller_async.campaign.core.ambiguity import PROCESS_ENDED_DETAIL
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal import maintenance
from truecaller_async.journal.handle import open_handle
from truecaller_async.journal.maintenance import decide, purge
from truecaller_async.journal.reader import JournalReader
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchAbandoned,
    BatchPlanned,
    CostReported,
    JournalEntry,
    NoteAdded,
    RowsRead,
    RowsSettled,
    RunStarted,
    SourceEnded,
    SourcePosition,
)

AMBIGUOUS: tuple[tuple[JournalEntry, ...], ...] = ()
ABANDONED: tuple[tuple[JournalEntry, ...], ...] = ((BatchAbandoned(2),),)
RESEND = RunStarted(13.5, 7, "resend", 2)
IN_FLIGHT: tuple[tuple[JournalEntry, ...], ...] = ((RESEND, AttemptStarted(2, 2, TOKEN, 14.0)),)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


@pytest.mark.parametrize("more", [AMBIGUOUS, ABANDONED, IN_FLIGHT])
def test_rows_decided_as_applied_stay_unknown(path: Path, more: tuple[tuple[JournalEntry, ...], ...]) -> None:
    written(path, *CAMPAIGN, *more).close()
    decide(path, 2, True, 20.0)
    with JournalReader(path) as reader:
        outcomes = [one for one in reader.row_outcomes() if one.seq == 2]
        assert [one.row for one in outcomes] == [5, 6]
        assert {(one.outcome, one.final, one.attempts, one.possibly_duplicated) for one in outcomes} == {
            (Outcome.UNKNOWN, True, 1 + (more is IN_FLIGHT), more is IN_FLIGHT)
        }
        assert "operator" in str(outcomes[0].reason)
        assert reader.decidable() == []
        assert all(attempt.event == "lost" for attempt in reader.attempts(2))
        if more is IN_FLIGHT:
            assert (reader.attempts(2)[1].ended_at, reader.attempts(2)[1].detail) == (20.0, PROCESS_ENDED_DETAIL)


@pytest.mark.parametrize("more", [AMBIGUOUS, ABANDONED, IN_FLIGHT])
def test_rows_decided_as_not_applied_are_resent_and_stay_flagged(
    path: Path, more: tuple[tuple[JournalEntry, ...], ...]
) -> None:
    written(path, *CAMPAIGN, *more).close()
    decide(path, 2, False, 20.0)
    with JournalReader(path) as reader:
        batch = reader.state().batch(2)
        lost = 1 + (more is IN_FLIGHT)
        assert (batch.state, batch.lost_answers, list(batch.open_rows)) == (BatchState.PLANNED, lost, [5, 6])
        outcomes = [(one.outcome, one.reason, one.final) for one in reader.row_outcomes() if one.seq == 2]
        assert outcomes == [(Outcome.UNKNOWN, "sent, and the answer was lost; to be sent again", False)] * 2
        assert len(reader.lost()) == lost
        assert reader.decidable() == []


def test_resend_after_a_negative_decision_is_flagged(path: Path) -> None:
    written(path, *CAMPAIGN).close()
    decide(path, 2, False, 20.0)
    handle = open_handle(path, is_new=False)
    handle.record((AttemptStarted(2, 2, TOKEN, 21.0),))
    handle.record((AttemptEnded(2, 2, "accepted", 22.0, "b-2"),))
    handle.close()
    with JournalReader(path) as reader:
        assert {(one.batch_id, one.possibly_duplicated) for one in reader.row_outcomes() if one.seq == 2} == {
            ("b-2", True)
        }


@pytest.mark.parametrize("seq", [1, 3, 9])
def test_batch_that_needs_no_decision_is_refused_with_those_that_do(path: Path, seq: int) -> None:
    written(path, *CAMPAIGN).close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match=rf"batch {seq} of .* needs no decision\. These do: 2\.$"):
        decide(path, seq, True, 20.0)
    assert path.read_bytes() == before


def test_no_batch_that_needs_a_decision_is_reported(path: Path) -> None:
    written(path, *CAMPAIGN[:-2]).close()
    with pytest.raises(JournalError, match="No batch does"):
        decide(path, 2, True, 20.0)


def test_decide_and_purge_are_refused_during_a_run(path: Path) -> None:
    running = written(path, *CAMPAIGN)
    with pytest.raises(JournalBusy):
        decide(path, 2, True, 20.0)
    with pytest.raises(JournalBusy):
        purge(path, force=True)
    running.close()


def test_unfinished_campaign_is_purged_only_with_force(path: Path) -> None:
    written(path, *CAMPAIGN).close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="3 rows have no final outcome, and its source was not read to the end"):
        purge(path)
    assert path.read_bytes() == before
    purge(path, force=True)
    with JournalReader(path) as reader:
        assert reader.state().outcome_counts() == {
            Outcome.DELIVERED: 2,
            Outcome.FAILED: 1,
            Outcome.INVALID: 1,
            Outcome.UNKNOWN: 2,
            Outcome.UNSENT: 1,
        }


def test_purge_keeps_only_the_summary(path: Path) -> None:
    cost = CostReported({"submit": 2}, 0, 0, 1, 5.0)
    ends = [
        RowsSettled((5, 6), Outcome.UNKNOWN, "lost", 2, possibly_duplicated=True),
        RowsSettled((7,), Outcome.EXPIRED, "late", 3),
    ]
    last: tuple[JournalEntry, ...] = (RunStarted(5.0, 7), *ends, SourceEnded(), cost, NoteAdded("results", "/r.csv"))
    written(path, *CAMPAIGN, last).close()
    with JournalReader(path) as reader:
        before = reader.state()
    purge(path)
    with JournalReader(path) as reader:
        after = reader.state()
        assert reader.purged()
        assert (after.outcome_counts(), after.possibly_duplicated, after.position) == (
            before.outcome_counts(),
            2,
            before.position,
        )
        assert (after.runs, after.last_run, after.run.cost) == (1, RunStarted(5.0, 7), cost)
        assert (after.accepted, after.sent, after.notes) == (1, 3, {"results": "/r.csv"})
        assert after.started is not None
        assert (after.started.account, after.started.source, after.started.salt) == (STARTED.account, None, b"")
        with pytest.raises(JournalError, match="purged"):
            next(reader.row_outcomes())
        assert reader.lost() == []
    for is_new, message in ((False, "purged"), (True, "already contains a campaign")):
        with pytest.raises(JournalError, match=message):
            open_handle(path, is_new=is_new)


def test_purge_leaves_no_byte_of_ten_thousand_receivers(path: Path) -> None:
    rng = random.Random(7)
    receivers = [f"9198{rng.randrange(10**8):08d}".encode() for _ in range(10_000)]
    batches = [receivers[at : at + 500] for at in range(0, 10_000, 500)]
    payloads = [zlib.compress(b'{"receiver":"' + b'"},{"receiver":"'.join(batch) + b'"}', 1) for batch in batches]
    handle = written(path, (STARTED,))
    for number, payload in enumerate(payloads):
        rows = tuple(range(500 * number + 1, 500 * number + 501))
        planned = (
            BatchPlanned(number + 1, rows, payload=payload),
            RowsRead(SourcePosition(rows[-1], 0, 0), rng.randbytes(509)),
        )
        handle.record(planned)
    refused = f"receiver {receivers[0].decode()} is bad"
    handle.record((RowsSettled(tuple(range(1, 501)), Outcome.FAILED, refused, 1),))
    handle.close()
    before = all_bytes(path)
    assert [payload[40:60] in before for payload in payloads] == [False] + 19 * [True]
    purge(path, force=True)
    left = all_bytes(path)
    assert not any(receiver in left for receiver in receivers)
    assert not any(payload[at : at + 8] in left for payload in payloads for at in range(0, len(payload) - 8, 64))
    assert len(left) < 100_000
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_purge_during_a_read_is_not_reported_as_erased(path: Path) -> None:
    written(path, *CAMPAIGN).close()
    with JournalReader(path) as reader:
        reader._db.execute("BEGIN")
        reader._db.execute("SELECT count(*) FROM row_outcome").fetchone()
        decide(path, 2, True, 20.0)
        with pytest.raises(JournalError, match="is being read by another process"):
            purge(path, force=True)
        reader._db.execute("ROLLBACK")
        assert not reader.purged()
    purge(path, force=True)
    purge(path)
    with JournalReader(path) as reader:
        assert reader.purged()


def all_bytes(path: Path) -> bytes:
    """Return the bytes of the file and of all files beside it."""
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_bytes_that_may_remain_after_a_purge_are_reported(path: Path) -> None:
    handle = written(path, *CAMPAIGN)
    handle.db.execute("BEGIN")  # VACUUM fails inside a transaction
    with pytest.raises(JournalError, match=r"are deleted, but their bytes may remain in the file: .*Purge it again"):
        maintenance._overwrite_free_pages(handle)
    handle.close()


def test_decided_batch_sent_twice_is_reported_as_duplicate(path: Path) -> None:
    again = ((RESEND, AttemptStarted(2, 2, TOKEN, 14.0)), (AttemptEnded(2, 2, "lost", 15.0),))
    written(path, *CAMPAIGN, *again).close()
    decide(path, 2, True, 20.0)
    with JournalReader(path) as reader:
        assert {(one.attempts, one.possibly_duplicated) for one in reader.row_outcomes(4) if one.seq == 2} == {
            (2, True)
        }
        assert reader.state().possibly_duplicated == 2
