"""Test the state that journal entries lead to, and the entries that are not possible."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journal.entry_generator import STARTED, EntryGenerator, comparable, entry_generators
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.errors import JournalError
from truecaller_async.models import (
    AttemptEnded,
    AttemptStarted,
    BatchAbandoned,
    BatchPlanned,
    CampaignStarted,
    CostReported,
    JournalEntry,
    OperatorDecided,
    Outcome,
    RowsRead,
    RowsSettled,
    RunStarted,
    SourceEnded,
    SourcePosition,
)

PLANNED = (BatchPlanned(1, (1, 2, 3)), RowsRead(SourcePosition(3, 4, 90)))
ATTEMPT_STARTED = AttemptStarted(1, 1, "0123456789ab", 10.0)
ACCEPTED = AttemptEnded(1, 1, "accepted", 11.0, batch_id="b-1")
LOST = AttemptEnded(1, 1, "lost", 11.0)
REJECTED = AttemptEnded(1, 1, "rejected", 11.0, reason="bad label", field="label_id")


def state_after(*entries: JournalEntry) -> CampaignState:
    state = CampaignState()
    for entry in entries:
        state.apply(entry)
    return state


@given(entry_generators(), st.integers(1, 60))
@settings(max_examples=150)
def test_after_every_prefix_each_row_has_one_owner_and_is_counted_once(teller: EntryGenerator, steps: int) -> None:
    for _ in range(steps):
        teller.transaction()
        state = teller.state
        assert state.outcome_counts().total() == state.position.row + len(state.unconfirmed_rows)
        batch_of_row = {row: batch.seq for batch in state.open for row in batch.open_rows}
        assert batch_of_row == {row: owner for row, owner in teller.fates.items() if isinstance(owner, int)}
        outcomes = [owner for owner in teller.fates.values() if not isinstance(owner, int)]
        assert {outcome: count for outcome, count in state.outcomes.items() if count} == {
            outcome: sum(one[0] is outcome for one in outcomes) for outcome in {one[0] for one in outcomes}
        }
        assert state.possibly_duplicated == sum(one[4] for one in outcomes)


@given(entry_generators(), st.integers(1, 60))
@settings(max_examples=100)
def test_batch_with_a_possible_answer_is_never_called_unsent(teller: EntryGenerator, steps: int) -> None:
    maybe_received: set[int] = set()
    for _ in range(steps):
        for entry in teller.transaction():
            if isinstance(entry, AttemptStarted):
                maybe_received.add(entry.seq)
            elif isinstance(entry, AttemptEnded) and entry.event not in ("lost", "accepted", "untracked"):
                maybe_received.discard(entry.seq)
        for batch in teller.state.open:
            if batch.state in (
                BatchState.IN_FLIGHT,
                BatchState.AMBIGUOUS,
                BatchState.ABANDONED,
                BatchState.ACCEPTED,
                BatchState.UNTRACKED,
            ):
                assert batch.seq in maybe_received
                assert batch.provisional_outcome is Outcome.UNKNOWN


@given(entry_generators(), st.integers(1, 60))
@settings(max_examples=50)
def test_memory_has_only_open_batches_and_their_roots(teller: EntryGenerator, steps: int) -> None:
    for _ in range(steps):
        teller.transaction()
        roots = {batch.root_batch for batch in teller.state.open}
        assert all(batch.open_count or seq in roots for seq, batch in teller.state.batches.items())


@pytest.mark.parametrize(
    "entries",
    [
        [ATTEMPT_STARTED],
        [LOST],
        [*PLANNED, LOST],
        [*PLANNED, ATTEMPT_STARTED, ATTEMPT_STARTED],
        [*PLANNED, ATTEMPT_STARTED, ACCEPTED, ACCEPTED],
        [*PLANNED, ATTEMPT_STARTED, ACCEPTED, AttemptStarted(1, 2, "0123456789ab", 12.0)],
        [*PLANNED, ATTEMPT_STARTED, AttemptEnded(1, 1, "not_sent", 11.0), ATTEMPT_STARTED],
        [*PLANNED, ATTEMPT_STARTED, AttemptEnded(1, 2, "lost", 11.0)],
        [*PLANNED, ATTEMPT_STARTED, AttemptEnded(1, 1, "vanished", 11.0)],
        [*PLANNED, ATTEMPT_STARTED, AttemptEnded(1, 1, "finished", 11.0)],
        [*PLANNED, BatchAbandoned(1)],
        [*PLANNED, ATTEMPT_STARTED, LOST, OperatorDecided(1, True, 12.0)],
        [*PLANNED, RowsSettled((4,), Outcome.FAILED, seq=1)],
        [*PLANNED, RowsSettled((), Outcome.FAILED, seq=1)],
        [*PLANNED, RowsSettled((1, 1), Outcome.FAILED, seq=1)],
        [*PLANNED, RowsSettled((1,), Outcome.FAILED, seq=1), RowsSettled((1,), Outcome.DELIVERED, seq=1)],
        [*PLANNED, RowsSettled((1,), Outcome.INVALID)],
        [RowsSettled((1,), Outcome.INVALID), RowsSettled((1,), Outcome.INVALID)],
        [RowsSettled((1,), Outcome.INVALID), BatchPlanned(1, (1, 2))],
        [BatchPlanned(1, ())],
        [BatchPlanned(1, (2, 1))],
        [BatchPlanned(1, (1, 1))],
        [*PLANNED, BatchPlanned(2, (3,))],
        [*PLANNED, BatchPlanned(2, (3, 4), parent=1)],
        [*PLANNED, BatchPlanned(1, (3,), parent=1)],
        [BatchPlanned(2, (1,)), BatchPlanned(1, (1,), parent=2)],
        [*PLANNED, BatchPlanned(2, (4,), parent=3)],
        [*PLANNED, ATTEMPT_STARTED, BatchPlanned(1, (4,))],
        [*PLANNED, RowsRead(SourcePosition(4, 5, 99))],
        [BatchPlanned(1, (1, 3)), RowsRead(SourcePosition(2, 3, 60))],
        [BatchPlanned(1, (1, 2)), RowsRead(SourcePosition(1, 2, 30))],
        [STARTED, STARTED],
    ],
)
def test_impossible_entry_is_refused_and_changes_nothing(entries: list[JournalEntry]) -> None:
    state = state_after(*entries[:-1])
    before = comparable(state_after(*entries[:-1]))
    with pytest.raises(JournalError):
        state.apply(entries[-1])
    assert comparable(state) == before


def test_lost_answer_decided_as_not_applied_is_resent_and_stays_flagged() -> None:
    state = state_after(*PLANNED, ATTEMPT_STARTED, LOST, BatchAbandoned(1), SourceEnded())
    assert (state.batch(1).state, state.batch(1).abandoned) == (BatchState.ABANDONED, True)
    state.apply(OperatorDecided(1, False, 12.0))
    assert (state.batch(1).state, state.batch(1).lost_answers) == (BatchState.PLANNED, 1)
    assert state.outcome_counts() == {Outcome.UNKNOWN: 3}
    assert not state.complete


def test_batch_resent_after_a_lost_answer_is_flagged() -> None:
    state = state_after(*PLANNED, ATTEMPT_STARTED, LOST, AttemptStarted(1, 2, "0123456789ab", 12.0))
    assert not state.batch(1).possibly_duplicated
    state.apply(AttemptEnded(1, 2, "accepted", 13.0, batch_id="b-2"))
    batch = state.batch(1)
    assert (batch.possibly_duplicated, batch.maybe_received, batch.lost_answers, batch.batch_id) == (True, 2, 1, "b-2")


def test_rows_closed_before_acceptance_are_excluded_from_the_server_batch() -> None:
    state = state_after(*PLANNED, RowsSettled((2,), Outcome.EXPIRED, seq=1), ATTEMPT_STARTED, ACCEPTED)
    batch = state.batch(1)
    assert (set(batch.excluded_rows), list(batch.open_rows), state.sent, state.accepted) == ({2}, [1, 3], 2, 1)


def test_root_of_isolated_records_stays_until_the_last_is_final() -> None:
    parts = [BatchPlanned(2, (1,), 1, "push"), BatchPlanned(3, (2, 3), 1)]
    state = state_after(*PLANNED, ATTEMPT_STARTED, REJECTED, *parts)
    assert sorted(state.batches) == [1, 2, 3]
    assert [batch.seq for batch in state.open] == [2, 3]
    state.apply(RowsSettled((1,), Outcome.DELIVERED, seq=2))
    state.apply(BatchPlanned(4, (2, 3), 3))
    assert sorted(state.batches) == [1, 4]
    assert state.batch(4).root_batch == 1
    state.apply(RowsSettled((2, 3), Outcome.FAILED, "bad label", 4))
    assert state.batches == {}


def test_campaign_is_complete_once_source_ended_and_every_row_is_final() -> None:
    state = state_after(
        *PLANNED, SourceEnded(), ATTEMPT_STARTED, ACCEPTED, RowsSettled((1, 2), Outcome.DELIVERED, seq=1)
    )
    assert not state.complete
    state.apply(RowsSettled((3,), Outcome.UNKNOWN, "unattributed", 1))
    assert state.complete
    assert not state_after(*PLANNED, RowsSettled((1, 2, 3), Outcome.EXPIRED, seq=1)).complete


def test_costs_of_earlier_runs_are_added() -> None:
    begun = CampaignStarted(0.0, "0", "a", "v2", {}, None, b"")
    one, two = (
        CostReported({"submit": 1, "mint": 1}, 1, 2, 3, 4.0),
        CostReported({"submit": 2, "status": 5}, 1, 1, 1, 1.0),
    )
    state = state_after(begun, RunStarted(1.0, 1), one, RunStarted(2.0, 2), two, RunStarted(3.0, 3))
    assert (state.runs, state.last_run) == (3, RunStarted(3.0, 3))
    assert state.cost_before == CostReported({"submit": 3, "mint": 1, "status": 5}, 2, 3, 4, 5.0)
    assert state.cost == CostReported({}, 0, 0, 0, 0.0)
