"""What may be done with a batch that may have been applied: the policy, a later policy, and the operator's word."""

from __future__ import annotations

import math
from typing import Literal

import pytest

from tests.planning.records import draft, record
from truecaller_async import CampaignOptions, Outcome, ServerError
from truecaller_async.models import AttemptEnded, Begun, Entry, GivenUp, Intent, Judged, Place, Planned, Read, Settled
from truecaller_async.planning.batch_state import Attempts, State
from truecaller_async.planning.doubts import (
    MAY_BE_JUDGED,
    ended_by_crash,
    judgement,
    may_go_again,
    may_resend,
    resend_due,
)
from truecaller_async.planning.replay import Standing
from truecaller_async.planning.restraint import BREAKS_AFTER, Restraint

BEGUN: list[Entry] = [
    Begun(1.0, "1", "account", "v2", {}, None, b""),
    Planned(1, (1, 2, 3)),
    Read(Place(3, 3, 30)),
    Intent(1, 1, "0123456789ab", 2.0),
]
LOST = AttemptEnded(1, 1, "lost", 3.0)


def standing_after(*entries: Entry) -> Standing:
    standing = Standing()
    for entry in entries:
        standing.take(entry)
    return standing


@pytest.mark.parametrize(
    ("policy", "resends", "doubts", "expected"),
    [
        ("resend", 2, 1, True),
        ("resend", 2, 2, True),
        ("resend", 2, 3, False),
        ("resend", 0, 1, False),
        ("hold", 2, 1, False),
    ],
)
def test_policy_bounds_resends_of_a_lost_batch(
    policy: Literal["resend", "hold"], resends: int, doubts: int, expected: bool
) -> None:
    options = CampaignOptions(on_ambiguous=policy, max_resends=resends)
    assert may_resend(Attempts(doubts=doubts), options) is expected


def test_abandoned_batch_is_resent_only_by_another_policy_or_a_decision() -> None:
    hold, resend = CampaignOptions(on_ambiguous="hold"), CampaignOptions(on_ambiguous="resend")
    standing = standing_after(*BEGUN, LOST)
    batch = standing.batch(1)
    assert not may_go_again(batch, resend)  # in doubt, and not let go: the run that takes it up decides
    standing.take(GivenUp(1))
    assert (may_go_again(batch, hold), may_go_again(batch, resend)) == (False, True)
    standing.take(Judged(1, False, 4.0))
    assert (may_go_again(batch, hold), may_go_again(batch, resend)) == (True, True)


def test_batch_never_sent_is_not_ambiguous() -> None:
    batch = standing_after(*BEGUN[:3]).batch(1)
    assert batch.state not in MAY_BE_JUDGED
    assert not may_go_again(batch, CampaignOptions())


@pytest.mark.parametrize("known", [[], [LOST], [LOST, GivenUp(1)]])
@pytest.mark.parametrize("applied", [True, False])
def test_operator_decision_closes_or_requeues_a_batch_in_any_state(known: list[Entry], applied: bool) -> None:
    standing = standing_after(*BEGUN, *known)
    batch = standing.batch(1)
    assert batch.state in MAY_BE_JUDGED
    said = []
    for entry in judgement(batch, applied, 9.0):
        standing.take(entry)
        said.append(entry)
    assert sum(standing.account().values()) == 3
    assert standing.account() == {Outcome.UNKNOWN: 3}
    if applied:
        assert isinstance(said[-1], Settled)
        assert standing.open == []
    else:
        assert (batch.state, batch.doubts, batch.left) == (State.PLANNED, 1, 3)


def test_crash_in_flight_counts_as_a_lost_answer() -> None:
    standing = standing_after(*BEGUN)
    standing.take(ended_by_crash(standing.batch(1), 9.0))
    assert (standing.batch(1).state, standing.batch(1).doubts, standing.batch(1).sends) == (State.IN_DOUBT, 1, 1)


def restraint_after(*failures: Exception | None) -> Restraint:
    restraint = Restraint()
    for failure in failures:
        leave = restraint.ask(0.0)
        assert leave is not None
        restraint.ended(leave, failure, 0.0)
    return restraint


def test_ambiguous_batch_is_resent_after_the_next_good_answer() -> None:
    lost = draft(1, record(1), doubts=2, lost_at=100.0)
    assert resend_due(lost, restraint_after(ServerError(503), None), 8000.0, alone=True) == 100.0


@pytest.mark.parametrize(("doubts", "seconds"), [(1, 5.0), (2, 60.0)])
def test_without_good_answers_the_second_wait_is_longer(doubts: int, seconds: float) -> None:
    lost = draft(1, record(1), doubts=doubts, lost_at=100.0)
    assert resend_due(lost, restraint_after(ServerError(503)), 8000.0, alone=True) == 100.0 + seconds


@pytest.mark.parametrize(("alone", "seconds"), [(True, 600.0), (False, 4000.0)])
def test_ambiguous_batch_is_the_last_candidate_for_a_probe(alone: bool, seconds: float) -> None:
    lost = draft(1, record(1), doubts=1, lost_at=100.0)
    outage = restraint_after(*[ServerError(503)] * BREAKS_AFTER)
    assert resend_due(lost, outage, 8000.0, alone=alone) == 100.0 + seconds


def test_ambiguous_batch_waits_at_most_half_of_its_window() -> None:
    outage = restraint_after(*[ServerError(503)] * BREAKS_AFTER)
    assert resend_due(draft(1, record(1), doubts=1, lost_at=100.0), outage, 40.0, alone=False) == 120.0
    assert resend_due(draft(1, record(1), doubts=1), outage, 8000.0, alone=True) == -math.inf
