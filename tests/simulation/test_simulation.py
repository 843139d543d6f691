"""Play 200 scenarios, the same scenario twice, and a campaign of 51 hours."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.__main__ import check, main
from tests.simulation.evidence import Evidence
from tests.simulation.invariants import violations
from tests.simulation.long_haul import HOUR, ROWS, long_haul
from tests.simulation.player import play
from tests.simulation.scenario import describe, draw
from tests.simulation.timeline import line_of

CHUNK = 10
REPLAY = "python -m tests.simulation --seed"


@pytest.mark.parametrize("first", range(0, 200, CHUNK))
def test_no_scenario_violates_an_invariant(first: int) -> None:
    found = {f"{REPLAY} {seed}": said for seed in range(first, first + CHUNK) if (said := check(seed))}
    assert not found


@pytest.mark.parametrize(
    "seed",
    [
        241,  # a start is cancelled while its first write is on its way
        1046,  # the release of the last waiting batch begins the end, and an accepted batch is left
        1073,  # a fatal answer releases a batch, and another one with later rows of its pairs waits for it
        1205,  # a write fails while earlier ones are on their way
        4041,  # claims are undone, and their grants are given back
        9351,  # an ambiguous batch is split, and the window of the later row of a pair closes
        1188,  # a resend ends a pair with the content of its last row, a duplicate
        1886,  # a batch whose records are all superseded is released after the batch that replaces it
        3263,  # an older and a newer row of a pair are in two abandoned batches, and the newer one expires
    ],
)
def test_scenario_that_once_violated_an_invariant_holds(seed: int) -> None:
    assert not check(seed)


def test_seed_always_gives_the_same_scenario_and_run() -> None:
    for seed in (5, 27, 66):
        one, other = play(draw(seed)), play(draw(seed))
        assert one.timeline.events
        assert one.timeline.events == other.timeline.events
        assert one.truth == other.truth
    assert draw(5) == draw(5)
    assert draw(5) != draw(6)


def test_scenarios_of_the_suite_cover_what_the_readme_promises() -> None:
    """Check that the seeds of the suite draw every kind of event often enough."""
    scenarios = [draw(seed) for seed in range(200)]
    ends = Counter(process_end.how for scenario in scenarios for process_end in scenario.process_ends)
    actions = Counter(
        action.what
        for scenario in scenarios
        for campaign in scenario.campaigns
        for action in campaign.actions
        if action
    )
    journals = Counter(campaign.journal for scenario in scenarios for campaign in scenario.campaigns)
    assert ends["death"] > 20
    assert ends["disk full"] > 5
    assert min(actions[what] for what in ("drain", "abort", "cancel", "leave")) > 3
    assert min(journals[kind] for kind in ("none", "memory", "sqlite")) > 20
    assert {variant for scenario in scenarios for variant in scenario.server.response_variants} >= {
        "masked-numbers",
        "foreign-rows",
    }
    decisions = Counter(
        said for scenario in scenarios for campaign in scenario.campaigns for said in campaign.decisions if said
    )
    policies = Counter(campaign.policy for scenario in scenarios for campaign in scenario.campaigns if campaign.policy)
    assert min(decisions[kind] for kind in ("informed", "careless")) > 20
    assert min(policies[kind] for kind in ("resend", "hold")) > 20
    assert sum(scenario.resumes > 0 for scenario in scenarios) > 50
    assert sum(bool(scenario.clock_jumps) for scenario in scenarios) > 10
    assert sum(bool(scenario.loop_blocks) for scenario in scenarios) > 5
    assert sum(scenario.calls > 0 for scenario in scenarios) > 50
    assert sum(len(scenario.campaigns) > 1 for scenario in scenarios) > 20
    assert len({fault.name for scenario in scenarios for fault in scenario.server.faults.faults}) > 30


def test_campaign_of_fifty_hours_is_over_in_seconds() -> None:
    evidence = play(long_haul())
    assert violations(evidence) == []
    assert evidence.ended_at > 50 * HOUR
    [run] = evidence.campaigns[0].runs
    assert run.fault is None
    assert run.summary is not None
    assert run.summary.read == ROWS
    assert run.summary.delivered > 0.9 * ROWS
    assert run.summary.tokens_minted > 500
    assert evidence.stats is not None
    assert evidence.stats.violations == {}
    assert _asked_in(evidence, 10 * HOUR, 11 * HOUR) <= 200


def test_timeline_is_readable_and_shows_no_full_number() -> None:
    evidence = play(draw(5))
    lines = [line_of(event) for event in evidence.timeline.events]
    assert any("process" in line for line in lines)
    numbers = {record.receiver for history in evidence.campaigns for record in history.rows}
    text = "\n".join(lines) + describe(evidence.scenario)
    assert not any(number in text for number in numbers)
    assert not any(secret in text for secret in evidence.secrets)


def test_one_command_replays_a_seed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["simulation", "--seed", "5"])
    assert main() == 0
    said = capsys.readouterr().out
    assert "campaigns:" in said
    assert "campaign over" in said
    assert "seed 5: 0 violations" in said


def _asked_in(evidence: Evidence, since: float, until: float) -> int:
    return sum(since <= arrival.at < until for arrival in evidence.arrivals)
