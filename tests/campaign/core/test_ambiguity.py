"""Test what may be done with an ambiguous batch: by the policy, a later policy, and the operator's decision."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from tests.campaign.core.records import batch as batch_of
from tests.campaign.core.records import record
from truecaller_async import CampaignOptions, Outcome, ServerError
from truecaller_async.campaign.core.ambiguity import (
    DECIDABLE_STATES,
    can_resend_abandoned,
    decision_entries,
    ended_by_crash,
    resend_due,
)
from truecaller_async.campaign.core.batch import allows_resend
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.core.work_queue import QueuedBatch
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchAbandoned,
    BatchPlanned,
    CampaignStarted,
    JournalEntry,
    OperatorDecided,
    RowsRead,
    RowsSettled,
    SourcePosition,
)
from truecaller_async.resilience.circuit_breaker import FAILURE_THRESHOLD
from truecaller_async.resilience.service_guard import ServiceGuard

STARTED: list[JournalEntry] = [
    CampaignStarted(1.0, "1", "account", "v2", {}, None, b""),
    BatchPlanned(1, (1, 2, 3)),
    RowsRead(SourcePosition(3, 3, 30)),
    AttemptStarted(1, 1, "0123456789ab", 2.0),
]
LOST = AttemptEnded(1, 1, "lost", 3.0)


def state_after(*entries: JournalEntry) -> CampaignState:
    state = CampaignState()
    for entry in entries:
        state.apply(entry)
    return state


@pytest.mark.parametrize(
    ("policy", "resends", "lost_answers", "expected"),
    [
        ("resend", 2, 1, True),
        ("resend", 2, 2, True),
        ("resend", 2, 3, False),
        ("resend", 0, 1, False),
        ("hold", 2, 1, False),
    ],
)
def test_policy_bounds_resends_of_a_lost_batch(
    policy: Literal["resend", "hold"], resends: int, lost_answers: int, expected: bool
) -> None:
    options = CampaignOptions(on_ambiguous=policy, max_resends=resends)
    assert allows_resend(options, batch_of(1, record(), lost_answers=lost_answers)) is expected


def test_abandoned_batch_is_resent_only_by_another_policy_or_a_decision() -> None:
    hold, resend = CampaignOptions(on_ambiguous="hold"), CampaignOptions(on_ambiguous="resend")
    state = state_after(*STARTED, LOST)
    batch = state.batch(1)
    assert not can_resend_abandoned(batch, resend)  # ambiguous, not abandoned: the resumed run decides
    state.apply(BatchAbandoned(1))
    assert (can_resend_abandoned(batch, hold), can_resend_abandoned(batch, resend)) == (False, True)
    state.apply(OperatorDecided(1, False, 4.0))
    assert (can_resend_abandoned(batch, hold), can_resend_abandoned(batch, resend)) == (True, True)


def test_batch_never_sent_is_not_ambiguous() -> None:
    batch = state_after(*STARTED[:3]).batch(1)
    assert batch.state not in DECIDABLE_STATES
    assert not can_resend_abandoned(batch, CampaignOptions())


@pytest.mark.parametrize("known", [[], [LOST], [LOST, BatchAbandoned(1)]])
@pytest.mark.parametrize("applied", [True, False])
def test_operator_decision_closes_or_requeues_a_batch_in_any_state(known: list[JournalEntry], applied: bool) -> None:
    state = state_after(*STARTED, *known)
    batch = state.batch(1)
    assert batch.state in DECIDABLE_STATES
    entries = []
    for entry in decision_entries(batch, applied, 9.0):
        state.apply(entry)
        entries.append(entry)
    assert sum(state.outcome_counts().values()) == 3
    assert state.outcome_counts() == {Outcome.UNKNOWN: 3}
    if applied:
        assert isinstance(entries[-1], RowsSettled)
        assert state.open == []
    else:
        assert (batch.state, batch.lost_answers, batch.open_count) == (BatchState.PLANNED, 1, 3)


def test_crash_in_flight_counts_as_a_lost_answer() -> None:
    state = state_after(*STARTED)
    state.apply(ended_by_crash(state.batch(1), 9.0))
    assert (state.batch(1).state, state.batch(1).lost_answers, state.batch(1).maybe_received) == (
        BatchState.AMBIGUOUS,
        1,
        1,
    )


def lost_batch(lost_answers: int, at: float = -math.inf) -> QueuedBatch:
    """Build a queued batch whose latest answer was lost at this time; `-inf`: in an earlier process."""
    return QueuedBatch(batch_of(1, record(1), lost_answers=lost_answers), lost_at=at)


def guard_after(*failures: Exception | None) -> ServiceGuard:
    guard = ServiceGuard()
    for failure in failures:
        grant = guard.try_acquire(0.0)
        assert grant is not None
        guard.record(grant, failure, 0.0)
    return guard


def test_ambiguous_batch_is_resent_after_the_next_good_answer() -> None:
    lost = lost_batch(2, at=100.0)
    assert resend_due(lost, guard_after(ServerError(503), None), 8000.0, is_only_work=True) == 100.0


@pytest.mark.parametrize(("lost_answers", "seconds"), [(1, 5.0), (2, 60.0)])
def test_without_good_answers_the_second_wait_is_longer(lost_answers: int, seconds: float) -> None:
    lost = lost_batch(lost_answers, at=100.0)
    assert resend_due(lost, guard_after(ServerError(503)), 8000.0, is_only_work=True) == 100.0 + seconds


@pytest.mark.parametrize(("is_only_work", "seconds"), [(True, 600.0), (False, 4000.0)])
def test_ambiguous_batch_is_the_last_candidate_for_a_probe(is_only_work: bool, seconds: float) -> None:
    lost = lost_batch(1, at=100.0)
    outage = guard_after(*[ServerError(503)] * FAILURE_THRESHOLD)
    assert resend_due(lost, outage, 8000.0, is_only_work=is_only_work) == 100.0 + seconds


def test_ambiguous_batch_waits_at_most_half_of_its_window() -> None:
    outage = guard_after(*[ServerError(503)] * FAILURE_THRESHOLD)
    assert resend_due(lost_batch(1, at=100.0), outage, 40.0, is_only_work=False) == 120.0
    assert resend_due(lost_batch(1), outage, 8000.0, is_only_work=True) == -math.inf
