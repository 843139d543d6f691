"""Test the state that journal entries lead to, and the entries that are not possible."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journal.entry_generator import STARTED, EntryGenerator, assert_sound, comparable, entry_generators
from truecaller_async.campaign.core.batch import RESENDABLE_STATES
from truecaller_async.campaign.core.batch_state import BatchEvent, BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.errors import JournalError
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchAbandoned,
    BatchPlanned,
    BatchReleased,
    CampaignStarted,
    CostReported,
    JournalEntry,
    OperatorDecided,
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
RESEND = RunStarted(5.0, 1, "resend", 2)
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
        assert_sound(state)
        assert +state.run.provisional == +teller.provisional
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
    in_flight: set[int] = set()
    maybe_received: set[int] = set()
    for _ in range(steps):
        for entry in teller.transaction():
            if isinstance(entry, AttemptStarted):
                in_flight.add(entry.seq)
            elif isinstance(entry, AttemptEnded):
                in_flight.remove(entry.seq)
                if entry.event in ("lost", "accepted", "untracked"):
                    maybe_received.add(entry.seq)
        for batch in teller.state.open:
            if batch.state in (
                BatchState.IN_FLIGHT,
                BatchState.AMBIGUOUS,
                BatchState.ABANDONED,
                BatchState.ACCEPTED,
                BatchState.UNTRACKED,
            ):
                assert batch.seq in in_flight | maybe_received
                assert batch.provisional_outcome is Outcome.UNKNOWN


def random_entry(rng: Random, state: CampaignState) -> JournalEntry:
    """Return an entry that may be impossible: its numbers are near those of the state."""
    first = max(1, rng.randint(state.position.row - 3, state.position.row + 4))
    rows: Sequence[int] = rng.choice(
        (
            range(first, first + rng.randint(0, 4)),
            tuple(rng.randint(1, first + 3) for _ in range(rng.randint(0, 3))),
            *(tuple(batch.open_rows) for batch in state.open),
        )
    )
    seq = rng.choice((*state.batches, rng.randint(0, state.last_seq + 2)))
    attempt = rng.choice((1, state.batches[seq].attempts + rng.randint(0, 1) if seq in state.batches else 2))
    outcome = rng.choice(list(Outcome))
    return rng.choice(
        (
            BatchPlanned(seq, rows, rng.choice((None, *state.batches, rng.randint(0, seq)))),
            AttemptStarted(seq, attempt, "0123456789ab", 1.0),
            AttemptEnded(seq, attempt, rng.choice([*BatchEvent]), 1.0, rng.choice((None, "b-1")), reason="bad"),
            RowsSettled(rows, outcome, "reason", rng.choice((None, seq, seq)), possibly_duplicated=rng.random() < 0.5),
            RowsRead(SourcePosition(rng.randint(0, first + 4), 0, 0)),
            BatchAbandoned(seq),
            OperatorDecided(seq, rng.random() < 0.5, 1.0),
            BatchReleased(seq, outcome),
            STARTED,
        )
    )


@given(entry_generators(), st.integers(1, 40), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_any_entry_is_refused_without_a_change_or_keeps_the_laws(teller: EntryGenerator, steps: int, seed: int) -> None:
    rng = Random(seed)
    for _ in range(steps):
        teller.transaction()
    before = comparable(teller.state, with_run=True)
    for _ in range(15):
        state = deepcopy(teller.state)
        entry = random_entry(rng, state)
        try:
            state.apply(entry)
        except JournalError:
            assert comparable(state, with_run=True) == before
        assert_sound(state)


@given(entry_generators(), st.integers(1, 60))
@settings(max_examples=50, deadline=None)
def test_lost_answer_is_resent_only_as_the_policy_allows(teller: EntryGenerator, steps: int) -> None:
    for _ in range(steps):
        teller.transaction()
        policy = teller.state.last_run
        assert policy is not None
        for batch in [one for one in teller.state.open if one.state in RESENDABLE_STATES and not one.released]:
            state = deepcopy(teller.state)
            attempt = AttemptStarted(batch.seq, batch.attempts + 1, "0123456789ab", 1.0)
            if policy.on_ambiguous == "resend" and batch.lost_answers <= policy.max_resends:
                state.apply(attempt)
            else:
                with pytest.raises(JournalError, match="policy of this run does not send it again"):
                    state.apply(attempt)
                assert comparable(state, with_run=True) == comparable(teller.state, with_run=True)


@pytest.mark.parametrize("policy", [None, RunStarted(12.0, 1), RunStarted(12.0, 1, "resend", 0)])
@pytest.mark.parametrize("more", [[], [BatchAbandoned(1)]])
def test_lost_answer_is_never_resent_without_a_policy(policy: RunStarted | None, more: list[JournalEntry]) -> None:
    state = state_after(*PLANNED, ATTEMPT_STARTED, LOST, *more, *([] if policy is None else [policy]))
    before = comparable(state, with_run=True)
    with pytest.raises(JournalError, match="policy of this run"):
        state.apply(AttemptStarted(1, 2, "0123456789ab", 13.0))
    assert comparable(state, with_run=True) == before


def test_resends_end_at_the_maximum_of_the_run() -> None:
    state = state_after(*PLANNED, RunStarted(1.0, 1, "resend", 2), ATTEMPT_STARTED, LOST)
    for attempt in (2, 3):
        state.apply(AttemptStarted(1, attempt, "0123456789ab", 12.0))
        state.apply(AttemptEnded(1, attempt, "lost", 13.0))
    with pytest.raises(JournalError, match="policy of this run"):
        state.apply(AttemptStarted(1, 4, "0123456789ab", 14.0))
    assert (state.batch(1).state, state.batch(1).lost_answers) == (BatchState.AMBIGUOUS, 3)


@pytest.mark.parametrize("event", ["not_sent", "throttled", "unauthorized"])
@pytest.mark.parametrize("more", [[], [BatchAbandoned(1)]])
def test_ambiguous_batch_stays_so_if_its_resend_was_not_processed(event: str, more: list[JournalEntry]) -> None:
    state = state_after(*PLANNED, RESEND, ATTEMPT_STARTED, LOST, *more)
    before = state.batch(1).state
    state.apply(AttemptStarted(1, 2, "0123456789ab", 12.0))
    state.apply(AttemptEnded(1, 2, event, 13.0))
    assert state.batch(1).state is before
    assert not state.batch(1).possibly_duplicated
    state.apply(RunStarted(14.0, 2))
    with pytest.raises(JournalError, match="policy of this run"):
        state.apply(AttemptStarted(1, 3, "0123456789ab", 15.0))


def test_rows_of_a_batch_in_flight_cannot_be_settled_moved_or_released() -> None:
    for entry in (
        RowsSettled((1,), Outcome.EXPIRED, seq=1),
        BatchPlanned(2, (1,), parent=1),
        BatchReleased(1, Outcome.UNKNOWN),
    ):
        state = state_after(*PLANNED, ATTEMPT_STARTED)
        with pytest.raises(JournalError, match="flight"):
            state.apply(entry)
        assert comparable(state, with_run=True) == comparable(state_after(*PLANNED, ATTEMPT_STARTED), with_run=True)


def test_released_rows_are_counted_once_until_the_next_run() -> None:
    parts = [BatchPlanned(2, (1,), 1), BatchPlanned(3, (2, 3), 1)]
    state = state_after(*PLANNED, ATTEMPT_STARTED, REJECTED, *parts)
    isolation = state.batch(1).isolation
    assert isolation is not None
    assert (isolation.size, isolation.remaining) == (3, 3)
    state.apply(BatchReleased(3, Outcome.UNSENT, "stopped"))
    assert (state.run.provisional, state.resolved, isolation.remaining) == ({Outcome.UNSENT: 2}, 2, 1)
    for entry in (
        BatchReleased(3, Outcome.UNSENT),
        RowsSettled((2, 3), Outcome.FAILED, seq=3),
        AttemptStarted(3, 1, "0123456789ab", 12.0),
        BatchPlanned(4, (2,), 3),
        BatchPlanned(3, (4,)),
    ):
        with pytest.raises(JournalError):
            state.apply(entry)
    state.apply(RowsSettled((1,), Outcome.FAILED, seq=2))
    assert (state.resolved, isolation.remaining, state.batch(1).is_settled) == (3, 0, True)
    state.apply(RunStarted(20.0, 2))
    assert not state.run.provisional
    assert not state.batch(1).is_settled
    isolation = state.batch(1).isolation
    assert isolation is not None
    assert (isolation.size, isolation.remaining) == (3, 2)


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
        [*PLANNED, AttemptStarted(1, 2, "0123456789ab", 10.0)],
        [*PLANNED, BatchReleased(1, Outcome.UNSENT), RowsSettled((1,), Outcome.FAILED, seq=1)],
        [*PLANNED, BatchReleased(1, Outcome.UNSENT), BatchPlanned(2, (1,), parent=1)],
        [*PLANNED, BatchReleased(9, Outcome.UNSENT)],
        [*PLANNED, RowsSettled((1, 2, 3), Outcome.FAILED, seq=1), BatchPlanned(1, (4,))],
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
    before = comparable(state_after(*entries[:-1]), with_run=True)
    with pytest.raises(JournalError):
        state.apply(entries[-1])
    assert comparable(state, with_run=True) == before


def test_lost_answer_decided_as_not_applied_is_resent_and_stays_flagged() -> None:
    state = state_after(*PLANNED, ATTEMPT_STARTED, LOST, BatchAbandoned(1), SourceEnded())
    assert (state.batch(1).state, state.batch(1).abandoned) == (BatchState.ABANDONED, True)
    state.apply(OperatorDecided(1, False, 12.0))
    assert (state.batch(1).state, state.batch(1).lost_answers) == (BatchState.PLANNED, 1)
    assert state.outcome_counts() == {Outcome.UNKNOWN: 3}
    assert not state.complete


def test_batch_resent_after_a_lost_answer_is_flagged() -> None:
    state = state_after(*PLANNED, RESEND, ATTEMPT_STARTED, LOST, AttemptStarted(1, 2, "0123456789ab", 12.0))
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
    assert state.run.cost == CostReported({}, 0, 0, 0, 0.0)
