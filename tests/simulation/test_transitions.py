"""Check that each transition of the state chart of a batch is taken by a simulated campaign.

An event after which a batch returns to where it was sent from has one transition for each of these states.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, product

import attrs
import pytest

from tests.simulation.evidence import Evidence
from tests.simulation.invariants import violations
from tests.simulation.journals import RecordingState
from tests.simulation.player import play
from tests.simulation.quiet import QUIET
from tests.simulation.scenario import CallerAction, Operator, Policy, Scenario, draw
from truecaller_async import CampaignOptions, Outcome, PollPolicy
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_state import TRANSITIONS, BatchEvent, BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.models.journal_entries import RowsSettled
from truecaller_async.sandbox.faults.plan import Fault, FaultPlan

Transition = tuple[BatchState, BatchEvent, BatchState]

SEEDS = (*range(200), 553, 2762, 9648)
"""`test_simulation.py` checks the invariants of the first 200. The others were found by a search."""

ALL = {(state, event, after) for (state, event), states in TRANSITIONS.items() for after in states}

BY_OPERATOR = {
    (BatchState.ABANDONED, BatchEvent.APPLIED, BatchState.UNTRACKED),
    (BatchState.ABANDONED, BatchEvent.NOT_APPLIED, BatchState.PLANNED),
}
"""Transitions of the journal alone: no process works on the campaign when the operator decides."""

SENT = {
    (BatchState.PLANNED, BatchEvent.ATTEMPT_STARTED, BatchState.IN_FLIGHT),
    (BatchState.IN_FLIGHT, BatchEvent.ACCEPTED, BatchState.ACCEPTED),
}
LOST = {
    (BatchState.IN_FLIGHT, BatchEvent.LOST, BatchState.AMBIGUOUS),
    (BatchState.AMBIGUOUS, BatchEvent.ABANDON, BatchState.ABANDONED),
}
RESENT = {(BatchState.ABANDONED, BatchEvent.ATTEMPT_STARTED, BatchState.IN_FLIGHT)}
STOPPED = {
    (BatchState.IN_FLIGHT, BatchEvent.FATAL, BatchState.STOPPED),
    (BatchState.STOPPED, BatchEvent.RESUME, BatchState.PLANNED),
}


@attrs.define
class TakenTransitions:
    """The transitions that were taken."""

    live: set[Transition] = attrs.field(factory=set)
    """By the state of a process."""
    stored: set[Transition] = attrs.field(factory=set)
    """By the state of what is stored."""

    @property
    def is_all(self) -> bool:
        """Return whether each transition was taken by each state that can take it."""
        return self.live >= ALL - BY_OPERATOR and self.stored >= ALL


@contextmanager
def recorded() -> Iterator[TakenTransitions]:
    """Record every transition that is taken inside the block."""
    taken, move = TakenTransitions(), CampaignState._move

    def recording(state: CampaignState, batch: CampaignBatch, event: BatchEvent) -> None:
        before = batch.state
        move(state, batch, event)
        (taken.live if isinstance(state, RecordingState) else taken.stored).add((before, event, batch.state))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CampaignState, "_move", recording)
        yield taken


@pytest.fixture(scope="module")
def taken() -> TakenTransitions:
    """Play one scenario after another until every transition was taken, or all are played."""
    scenarios = chain(map(draw, SEEDS), (refused_resend(*one) for one in product(("401", "429"), range(3, 12))))
    with recorded() as taken:
        for scenario in scenarios:
            if taken.is_all:
                break
            play(scenario)
    return taken


def refused_resend(response: str, nth: int) -> Scenario:
    """Return a scenario in which the n-th submit is refused: one of them sends an abandoned batch again."""
    scenario = resumed("apply", "reset", on_ambiguous="hold", policy="resend")
    faults = (*scenario.server.faults.faults, Fault(call="batch.submit", do=(response,), nth=nth))
    return attrs.evolve(scenario, server=attrs.evolve(scenario.server, faults=FaultPlan(faults)))


def name(transition: Transition) -> str:
    """Return the transition as the name of a test."""
    return "-".join(transition)


@pytest.mark.parametrize("transition", sorted(ALL), ids=name)
def test_the_stored_state_takes_each_arrow(taken: TakenTransitions, transition: Transition) -> None:
    assert transition in taken.stored


@pytest.mark.parametrize("transition", sorted(ALL - BY_OPERATOR), ids=name)
def test_a_process_takes_each_arrow_but_those_of_the_operator(taken: TakenTransitions, transition: Transition) -> None:
    assert transition in taken.live


def test_a_process_never_takes_an_arrow_of_the_operator(taken: TakenTransitions) -> None:
    assert taken.live.isdisjoint(BY_OPERATOR)


def test_no_campaign_takes_an_arrow_that_is_not_in_the_chart(taken: TakenTransitions) -> None:
    assert taken.live | taken.stored <= ALL


def resumed(
    *steps: str,
    policy: Policy | None = None,
    operator: Operator | None = None,
    act: CallerAction | None = None,
    resolve_after: float = 0.5,
    **options: object,
) -> Scenario:
    """Return a scenario of two processes, in which `steps` affect the second submit."""
    faults = FaultPlan((Fault(call="batch.submit", do=steps, nth=2),) if steps else ())
    [campaign] = QUIET.campaigns
    campaign = attrs.evolve(
        campaign,
        mixture=attrs.evolve(campaign.mixture, pairs=None),
        options=CampaignOptions(**options),  # type: ignore[arg-type]
        actions=(act,),
        decisions=(operator,),
        policy=policy,
    )
    server = attrs.evolve(QUIET.server, faults=faults, resolve_after=resolve_after)
    return attrs.evolve(QUIET, server=server, campaigns=(campaign,), resumes=1)


@pytest.mark.parametrize(
    ("scenario", "lives", "live", "by_operator"),
    [
        pytest.param(
            resumed("apply", "reset", on_ambiguous="hold", operator="informed"),
            1,
            SENT | LOST,
            {(BatchState.ABANDONED, BatchEvent.APPLIED, BatchState.UNTRACKED)},
            id="the-operator-says-applied",
        ),
        pytest.param(
            resumed("reset", on_ambiguous="hold", operator="informed"),
            2,
            SENT | LOST,
            {(BatchState.ABANDONED, BatchEvent.NOT_APPLIED, BatchState.PLANNED)},
            id="the-operator-says-not-applied",
        ),
        pytest.param(
            resumed("apply", "reset", on_ambiguous="hold", policy="resend"),
            2,
            SENT | LOST | RESENT,
            set(),
            id="another-policy",
        ),
        pytest.param(
            resumed("403"),
            2,
            SENT | STOPPED,
            set(),
            id="resume-after-a-fatal-error",
        ),
        pytest.param(
            resumed(act=CallerAction("abort", 0.3), resolve_after=1.0),
            2,
            SENT,
            set(),
            id="an-abort-leaves-accepted-batches-accepted",
        ),
        pytest.param(
            resumed(resolve_after=1000.0, poll=PollPolicy(deadline=60.0)),
            2,
            SENT,
            set(),
            id="the-poll-deadline-leaves-accepted-batches-accepted",
        ),
    ],
)
def test_a_resumed_campaign_takes_exactly_these_arrows(
    scenario: Scenario, lives: int, live: set[Transition], by_operator: set[Transition]
) -> None:
    with recorded() as taken:
        evidence = play(scenario)
    assert violations(evidence) == []
    assert len(evidence.campaigns[0].runs) == lives
    assert (taken.live, taken.stored) == (live, live | by_operator)


def test_what_the_operator_says_decides_what_is_sent_again() -> None:
    applied = play(resumed("apply", "reset", on_ambiguous="hold", operator="informed"))
    assert settled(applied) == {Outcome.DELIVERED: 33, Outcome.UNKNOWN: 7}
    not_applied = play(resumed("reset", on_ambiguous="hold", operator="informed"))
    assert settled(not_applied) == {Outcome.DELIVERED: 40}


def test_a_careless_operator_causes_flagged_duplicates() -> None:
    """The guess is wrong in some of these scenarios, and no invariant is violated in any."""
    scenario = resumed("apply", "reset", operator="careless", max_resends=0)
    worlds = [play(attrs.evolve(scenario, seed=seed)) for seed in range(4)]
    assert [violations(world) for world in worlds] == [[], [], [], []]
    assert {len(world.truth) - 2 for world in worlds} == {40, 47}


def settled(evidence: Evidence) -> dict[Outcome, int]:
    """Return the number of rows by their final outcome."""
    found: dict[Outcome, int] = {}
    for entry in evidence.campaigns[0].entries:
        if isinstance(entry, RowsSettled):
            found[entry.outcome] = found.get(entry.outcome, 0) + len(entry.rows)
    return found
