"""Test law 4 as a property of whole campaigns: after a crash at any journal write, a resumed run keeps laws 1 to 3.

A campaign has several runs. Each but the last crashes at one write to the journal, before or after the entries are
stored, while requests are in flight. The results are compared with the server's log of applied records.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from random import Random
from typing import Any, Literal

import attrs
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from tests.campaign.crashing import Death, Life, Survivor, live
from tests.campaign.world import LABEL, World, record
from truecaller_async import (
    CallRecord,
    CampaignOptions,
    CampaignStream,
    Limits,
    Outcome,
    PollPolicy,
    RateLimit,
    RetryPolicy,
    Summary,
)
from truecaller_async.models import Request
from truecaller_async.sandbox import SandboxSettings, SandboxState

FAULTS = ("not_sent", "lost_before", "lost_after", "500_before", "500_after", "429", "empty")
UNKNOWN_LABEL = "11111111-2222-4333-8444-555555555555"
LIMITS = Limits(
    (
        RateLimit("token", 100, 1.0),
        RateLimit("batch", 30, 6.0, calls=("submit",)),
        RateLimit("mint", 1000, 1800.0, "account", calls=("mint",)),
    )
)


@attrs.frozen
class Scenario:
    """All parameters of one example."""

    seed: int
    rows: int
    pairs: int
    deaths: tuple[tuple[int, bool], ...]
    fault_rate: float
    latency: float
    resolve_after: float
    on_ambiguous: Literal["resend", "hold"]
    same_pair: Literal["in_order", "keep_last"]
    isolate: Literal["realtime", "bisect", "none"]
    correlate: Literal["auto", "watermark"]
    unknown_label_rate: float
    given_again: bool
    stop: tuple[str, float] | None


scenarios = st.builds(
    Scenario,
    seed=st.integers(0, 10**6),
    rows=st.integers(1, 2_600),
    pairs=st.sampled_from((40, 700, 10**6)),
    deaths=st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=4).map(tuple),
    fault_rate=st.sampled_from((0.0, 0.1, 0.4)),
    latency=st.sampled_from((0.01, 1.0, 8.0)),
    resolve_after=st.sampled_from((0.0, 1.0, 45.0)),
    on_ambiguous=st.sampled_from(("resend", "hold")),
    same_pair=st.sampled_from(("in_order", "keep_last")),
    isolate=st.sampled_from(("realtime", "bisect", "none")),
    correlate=st.sampled_from(("auto", "watermark")),
    unknown_label_rate=st.sampled_from((0.0, 0.0, 0.002)),
    given_again=st.booleans(),
    stop=st.one_of(st.none(), st.tuples(st.sampled_from(("drain", "abort")), st.floats(0.0, 20.0))),
)


def source_rows(scenario: Scenario) -> list[object]:
    """Build valid, invalid and repeated rows, rows of one pair, short windows, and unknown labels."""
    rng = Random(scenario.seed)
    rows: list[object] = []
    for number in range(scenario.rows):
        kind = rng.random()
        if kind < 0.03:
            rows.append({"caller": "nobody"})
        elif kind < 0.06 and rows:
            rows.append(rows[-1])
        else:
            receiver = f"9198{number % scenario.pairs:06d}{rng.choice(('00', '13', '77'))}"
            label = UNKNOWN_LABEL if rng.random() < scenario.unknown_label_rate else LABEL
            hours = 0.03 if kind > 0.98 else 8
            rows.append(
                record(number, receiver=receiver, hours=hours, reason=f"Reason {number:06d} of it", label_id=label)
            )
    return rows


def world_of(scenario: Scenario, state: SandboxState, life: int) -> World:
    def fault(request: Request, count: int, rng: Random) -> str | None:
        if rng.random() >= scenario.fault_rate:
            return None
        fault_name = rng.choice(FAULTS)
        return None if request.call == "mint" and fault_name == "empty" else fault_name

    return World(
        seed=scenario.seed + 7919 * life,
        state=state,
        limits=LIMITS,
        max_tokens=3,
        latency=(0.0, scenario.latency),
        fault=fault,
        retry=RetryPolicy(attempts=50, total=6000.0),
    )


def options_of(scenario: Scenario) -> CampaignOptions:
    return CampaignOptions(
        on_ambiguous=scenario.on_ambiguous,
        same_pair=scenario.same_pair,
        isolate=scenario.isolate,
        correlate=scenario.correlate,
        poll=PollPolicy(deadline=600.0),
    )


def run_lives(scenario: Scenario) -> tuple[list[Life], Survivor, SandboxState]:
    """Run the campaign again and again until a run ends without a crash."""
    state = SandboxState(SandboxSettings(limits=LIMITS, enforce=False, resolve_after=scenario.resolve_after))
    survivor = Survivor()
    rows = source_rows(scenario)
    lives: list[Life] = []
    now = 0.0

    async def stop(stream: CampaignStream) -> None:
        action, when = scenario.stop or ("", 0.0)
        await asyncio.sleep(when)
        await (stream.drain() if action == "drain" else stream.abort())

    for number, (write, kept) in enumerate([*scenario.deaths, (10**9, True)]):
        fresh = survivor.state.started is None
        stopped: Any = stop if scenario.stop is not None and number == 0 else None
        life, now = live(
            lambda number=number: world_of(scenario, state, number),  # type: ignore[misc]
            survivor,
            rows if fresh or scenario.given_again else None,
            options_of(scenario) if fresh else None,
            death=Death(write, kept),
            start=now + 1.0,
            meanwhile=stopped,
        )
        lives.append(life)
        expected = ("refused", "label", "neither yes nor no")  # three undecodable answers in a row
        assert life.fault is None or life.died or any(word in str(life.fault) for word in expected), life.fault
        check_state(survivor)
    return lives, survivor, state


def check_state(survivor: Survivor) -> None:
    """Check law 2 with the journal alone, after every run."""
    state = survivor.state
    assert sum(state.outcome_counts().values()) == state.position.row
    owners = Counter(row for batch in state.open for row in batch.open_rows)
    assert max(owners.values(), default=1) == 1


@attrs.frozen
class RowResult:
    """The known result of a row at the end of all runs."""

    outcome: Outcome
    attempts: int
    possibly_duplicated: bool
    final: bool


def row_results(lives: list[Life], survivor: Survivor) -> dict[int, RowResult]:
    """Return the final results of the journal, and the last reported results of the other rows."""
    results = {
        row: RowResult(entry.outcome, entry.attempts, entry.possibly_duplicated, final=True)
        for row, entry in survivor.words.items()
    }
    for life in lives:
        for result in life.results:
            reported = RowResult(result.outcome, result.attempts, result.possibly_duplicated, result.final)
            if result.final:
                assert results[result.row] == reported
            elif result.row not in survivor.words:
                results[result.row] = reported
    return results


def check_truth(scenario: Scenario, lives: list[Life], survivor: Survivor, state: SandboxState) -> None:
    """Check laws 2 and 3 with the log of the server."""
    truth = list(state.truth(0, 10**6))
    applied = Counter((entry.receiver, entry.reason) for entry in truth)
    succeeded = {(entry.receiver, entry.reason) for entry in truth if entry.outcome == "success"}
    given = record_ids_by_row(scenario)
    for row, found in row_results(lives, survivor).items():
        if row not in given or found.outcome in (Outcome.INVALID, Outcome.DUPLICATE):
            continue
        content = given[row]
        assert found.outcome is not Outcome.DELIVERED or content in succeeded
        assert found.outcome not in (Outcome.UNSENT, Outcome.EXPIRED) or not applied[content]
        assert applied[content] <= 1 or (found.possibly_duplicated and scenario.on_ambiguous == "resend"), (
            row,
            found,
            applied[content],
        )
        assert found.attempts >= applied[content]
    check_order(scenario, [(entry.receiver, entry.reason) for entry in truth])


def record_ids_by_row(scenario: Scenario) -> dict[int, tuple[str, str | None]]:
    """Return receiver and reason, which identify a record, of each valid row."""
    rows = enumerate(source_rows(scenario), 1)
    return {row: (given.receiver, given.reason) for row, given in rows if isinstance(given, CallRecord)}


def check_order(scenario: Scenario, applied: list[tuple[str | None, str | None]]) -> None:
    """Check that the record of each pair that was applied last is the latest applied row."""
    last: dict[str | None, int] = {}
    latest: defaultdict[str | None, int] = defaultdict(int)
    rows = {content: row for row, content in reversed(record_ids_by_row(scenario).items())}
    for receiver, reason in applied:
        row = rows[str(receiver), reason]
        last[receiver], latest[receiver] = row, max(latest[receiver], row)
    assert last == latest


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(scenarios)
def test_any_prefix_of_any_journal_can_be_resumed(scenario: Scenario) -> None:
    note(repr(scenario))
    check(scenario)


def check(scenario: Scenario) -> None:
    """Run all runs; compare their results with the journal, the log of the server and the rows."""
    lives, survivor, state = run_lives(scenario)
    check_truth(scenario, lives, survivor, state)
    campaign_state, summary = survivor.state, lives[-1].stream.summary
    assert summary.adds_up
    assert summary.read == campaign_state.position.row == len(row_results(lives, survivor))
    assert campaign_state.outcomes == Counter(entry.outcome for entry in survivor.words.values())
    if scenario.given_again and lives[-1].fault is None:
        assert summary.read == scenario.rows
        assert campaign_state.source_exhausted
        assert all(batch.provisional_outcome is not Outcome.UNSENT for batch in campaign_state.open)
        check_finished(scenario, survivor, state, summary)


def check_finished(scenario: Scenario, survivor: Survivor, state: SandboxState, before: Summary) -> None:
    """Check that a finished campaign sends nothing and reports the same when it is resumed."""
    submits, pushes = state.stats().batches, state.stats().records_applied
    again, _ = live(lambda: world_of(scenario, state, 99), survivor, source_rows(scenario), None, start=10**6)
    assert (state.stats().batches, state.stats().records_applied) == (submits, pushes)
    summary = again.stream.summary
    assert again.fault is None
    assert summary.adds_up
    assert summary.runs == before.runs + 1
    assert summary.possibly_duplicated == before.possibly_duplicated
    if not before.unknown:
        assert again.results == []
        assert not Counter(summary.this_run.requests).total()
        assert summary.delivered == before.delivered
