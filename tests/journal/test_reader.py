"""A reader reports outcomes, attempts and batches to decide, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.entry_generator import STARTED
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.errors import JournalError
from truecaller_async.journal.handle import JournalHandle, open_handle
from truecaller_async.journal.reader import DecidableBatch, JournaledAttempt, JournalReader, RowOutcome
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchAbandoned,
    BatchPlanned,
    JournalEntry,
    RowsRead,
    RowsSettled,
    SourcePosition,
)

TOKEN = "0123456789ab"
CAMPAIGN = (
    (STARTED,),
    (
        RowsSettled((4,), Outcome.INVALID, "no number", field="receiver"),
        BatchPlanned(1, (1, 2, 3)),
        RowsRead(SourcePosition(4, 5, 90)),
    ),
    (BatchPlanned(2, (5, 6)), RowsRead(SourcePosition(6, 7, 120))),
    (BatchPlanned(3, (7,)), RowsRead(SourcePosition(7, 8, 140))),
    (AttemptStarted(1, 1, TOKEN, 10.0),),
    (AttemptEnded(1, 1, "accepted", 11.0, "b-1"),),
    (
        RowsSettled((1, 3), Outcome.DELIVERED, seq=1, attempts=1),
        RowsSettled((2,), Outcome.FAILED, "not a user", 1, attempts=1),
    ),
    (AttemptStarted(2, 1, TOKEN, 12.0),),
    (AttemptEnded(2, 1, "lost", 13.0, detail="ResponseLost"),),
)


def written(path: Path, *transactions: tuple[JournalEntry, ...]) -> JournalHandle:
    handle = open_handle(path, is_new=True)
    for entries in transactions:
        handle.record(entries)
    return handle


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


@pytest.fixture
def running(path: Path) -> Iterator[JournalHandle]:
    """A run that has the journal open."""
    handle = written(path, *CAMPAIGN)
    yield handle
    handle.close()


def test_reader_works_while_a_run_writes(path: Path, running: JournalHandle) -> None:
    with JournalReader(path) as reader:
        assert reader.owner() == os.getpid()
        assert reader.state().outcome_counts() == {
            Outcome.DELIVERED: 2,
            Outcome.FAILED: 1,
            Outcome.INVALID: 1,
            Outcome.UNKNOWN: 2,
            Outcome.UNSENT: 1,
        }
        outcomes = reader.row_outcomes()
        assert next(outcomes).row == 1
        running.record((RowsSettled((7,), Outcome.EXPIRED, "too late", 3),))
        assert reader.state().outcomes[Outcome.EXPIRED] == 1
        assert [one.row for one in outcomes] == [2, 3, 4, 5, 6, 7]


def test_each_row_has_its_outcome_and_open_rows_the_provisional_one(path: Path) -> None:
    written(path, *CAMPAIGN).close()
    with JournalReader(path) as reader:
        assert reader.owner() is None
        delivered = (Outcome.DELIVERED, None, None, "b-1", 1, False, True, 1)
        lost = (Outcome.UNKNOWN, "sent, and the answer was lost", None, None, 1, False, False, 2)
        assert list(reader.row_outcomes()) == [
            RowOutcome(1, *delivered),
            RowOutcome(2, Outcome.FAILED, "not a user", None, "b-1", 1, False, True, 1),
            RowOutcome(3, *delivered),
            RowOutcome(4, Outcome.INVALID, "no number", "receiver", None, 0, False, True, None),
            RowOutcome(5, *lost),
            RowOutcome(6, *lost),
            RowOutcome(7, Outcome.UNSENT, "not sent yet", None, None, 0, False, False, 3),
        ]
        assert reader.reasons(1) == [(Outcome.FAILED, "not a user", 1)]
        assert reader.reasons(9)[1:] == [(Outcome.INVALID, "no number", 1)]


def test_attempts_have_times_token_and_error(path: Path) -> None:
    written(path, *CAMPAIGN, (AttemptStarted(3, 1, TOKEN, 14.0),)).close()
    with JournalReader(path) as reader:
        assert reader.attempts(1) == [JournaledAttempt(1, 1, 10.0, TOKEN, "accepted", 11.0, None)]
        assert reader.attempts(9) == []
        assert reader.lost() == [
            JournaledAttempt(2, 1, 12.0, TOKEN, "lost", 13.0, "ResponseLost"),
            JournaledAttempt(3, 1, 14.0, TOKEN, None, None, None),
        ]


def test_batch_in_flight_can_be_decided_only_without_an_active_run(path: Path, running: JournalHandle) -> None:
    running.record((BatchAbandoned(2), AttemptStarted(3, 1, TOKEN, 14.0)))
    lost = JournaledAttempt(2, 1, 12.0, TOKEN, "lost", 13.0, "ResponseLost")
    abandoned = DecidableBatch(2, 5, 2, BatchState.ABANDONED, (lost,))
    with JournalReader(path) as reader:
        assert reader.decidable() == [abandoned]
        running.close()
        in_flight = DecidableBatch(
            3, 7, 1, BatchState.IN_FLIGHT, (JournaledAttempt(3, 1, 14.0, TOKEN, None, None, None),)
        )
        assert reader.decidable() == [abandoned, in_flight]


def test_reading_changes_nothing(path: Path) -> None:
    written(path, *CAMPAIGN).close()
    before = path.read_bytes(), path.stat().st_mtime_ns
    with JournalReader(path) as reader:
        list(reader.row_outcomes())
        reader.decidable()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before


def test_log_of_a_dead_run_is_read_and_kept(path: Path, tmp_path: Path) -> None:
    running = written(path, *CAMPAIGN)
    copy = tmp_path / "copy.db"
    for suffix in ("", "-wal"):
        copy.with_name(copy.name + suffix).write_bytes(path.with_name(path.name + suffix).read_bytes())
        copy.with_name(copy.name + suffix).chmod(0o600)
    running.close()
    log = copy.with_name("copy.db-wal")
    before = copy.read_bytes(), log.read_bytes()
    with JournalReader(copy) as reader:
        assert len(list(reader.row_outcomes())) == 7
    assert (copy.read_bytes(), log.read_bytes()) == before


def test_missing_and_foreign_files_are_refused(path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        JournalReader(path)
    path.write_text("row,outcome\n")
    path.chmod(0o600)
    with pytest.raises(JournalError, match="no journal of this library"):
        JournalReader(path)


def test_row_without_an_outcome_is_reported_as_damage(path: Path) -> None:
    handle = written(path, *CAMPAIGN)
    handle.db.execute("DELETE FROM row_outcome WHERE row = 4")
    handle.close()
    with JournalReader(path) as reader, pytest.raises(JournalError, match="row 4 has no outcome"):
        list(reader.row_outcomes())


def test_row_settled_before_its_batch_was_accepted_has_no_batch_id(path: Path) -> None:
    written(
        path,
        (STARTED,),
        (BatchPlanned(1, (1, 2, 3)), RowsRead(SourcePosition(3, 4, 60))),
        (RowsSettled((2,), Outcome.UNSENT, "a later row replaces it", 1),),
        (AttemptStarted(1, 1, TOKEN, 10.0),),
        (AttemptEnded(1, 1, "accepted", 11.0, "b-1"),),
    ).close()
    with JournalReader(path) as reader:
        assert [outcome.batch_id for outcome in reader.row_outcomes()] == ["b-1", None, "b-1"]
    handle = open_handle(path, is_new=False)
    handle.record((RowsSettled((1, 3), Outcome.DELIVERED, None, 1, attempts=1),))
    handle.close()
    with JournalReader(path) as reader:
        assert [outcome.batch_id for outcome in reader.row_outcomes()] == ["b-1", None, "b-1"]
