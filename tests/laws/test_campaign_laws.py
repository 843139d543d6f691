"""Test laws 1, 2 and 3 as properties of whole campaigns.

Limits, latencies, faults, readers and interruptions are random. Each example is one world on the virtual clock, built
only from the drawn numbers, so a failing example can be repeated from the output of hypothesis.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from random import Random
from typing import Literal

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.campaign.world import LABEL, Fault, World, applications, check_account, record
from tests.virtual import most_in_window, run_virtual
from truecaller_async import (
    CallRecord,
    CampaignOptions,
    CampaignStream,
    Limits,
    Outcome,
    PollPolicy,
    RateLimit,
    RecordResult,
    RetryPolicy,
    TruecallerError,
)
from truecaller_async.models import Request
from truecaller_async.sandbox import SandboxSettings

FAULTS = ("not_sent", "lost_before", "lost_after", "500_before", "500_after", "429", "429:3", "401", "empty")
UNKNOWN_LABEL = "11111111-2222-4333-8444-555555555555"
"""A label that the account does not have: one such record makes the server reject its whole batch."""

NUMBER_SUFFIXES = ("00", "13", "26", "39", "52", "77")


@attrs.frozen
class Scenario:
    """All parameters of one example."""

    seed: int
    batch: tuple[int, float]
    token: tuple[int, float]
    tokens: int
    latency: float
    fault_rate: float
    resolve_after: float
    rows: int
    pairs: int
    max_unresolved: int
    on_ambiguous: Literal["resend", "hold"]
    same_pair: Literal["in_order", "keep_last"]
    reader_seconds: float
    interruption: tuple[str, float] | None
    unknown_label_rate: float
    isolate: Literal["realtime", "bisect", "none"]


scenarios = st.builds(
    Scenario,
    seed=st.integers(0, 10**6),
    batch=st.tuples(st.integers(1, 60), st.sampled_from((1.0, 6.0, 60.0))),
    token=st.tuples(st.integers(2, 100), st.sampled_from((1.0, 5.0))),
    tokens=st.integers(1, 4),
    latency=st.sampled_from((0.0, 0.05, 1.0, 8.0)),
    fault_rate=st.sampled_from((0.0, 0.0, 0.1, 0.4)),
    resolve_after=st.sampled_from((0.0, 1.0, 45.0)),
    rows=st.integers(0, 2_600),
    pairs=st.sampled_from((3, 700, 10**6)),
    max_unresolved=st.sampled_from((7, 600, 100_000)),
    on_ambiguous=st.sampled_from(("resend", "hold")),
    same_pair=st.sampled_from(("in_order", "keep_last")),
    reader_seconds=st.sampled_from((0.0, 0.0, 0.02)),
    interruption=st.one_of(
        st.none(), st.tuples(st.sampled_from(("drain", "abort", "cancel", "break")), st.floats(0.0, 60.0))
    ),
    unknown_label_rate=st.sampled_from((0.0, 0.0, 0.001, 0.01)),
    isolate=st.sampled_from(("realtime", "bisect", "none")),
)


def source_rows(scenario: Scenario) -> list[object]:
    """Build valid, invalid and repeated rows, rows of one pair, and rows whose window ends soon."""
    rng = Random(scenario.seed)
    rows: list[object] = []
    for number in range(scenario.rows):
        kind = rng.random()
        if kind < 0.02:
            rows.append({"caller": "nobody"})
        elif kind < 0.04 and rows:
            rows.append(rows[-1])
        else:
            receiver = f"9198{number % scenario.pairs:06d}{rng.choice(NUMBER_SUFFIXES)}"
            hours = 0.02 if kind > 0.97 else 8
            reason = f"Reason {number:06d} of this run"
            label = UNKNOWN_LABEL if rng.random() < scenario.unknown_label_rate else LABEL
            rows.append(record(number, receiver=receiver, hours=hours, reason=reason, label_id=label))
    return rows


def scenario_faults(scenario: Scenario) -> Fault:
    def fault(request: Request, count: int, rng: Random) -> str | None:
        if rng.random() >= scenario.fault_rate:
            return None
        fault_name = rng.choice(FAULTS) if rng.random() > 0.02 else "403"
        return None if request.call == "mint" and fault_name in ("401", "403", "empty") else fault_name

    return fault


def make_world(scenario: Scenario) -> World:
    limits = Limits(
        (
            RateLimit("token", *scenario.token),
            RateLimit("batch", *scenario.batch, calls=("submit",)),
            RateLimit("mint", 10, 1800.0, "account", calls=("mint",)),
        )
    )
    return World(
        seed=scenario.seed,
        settings=SandboxSettings(limits=limits, enforce=False, resolve_after=scenario.resolve_after),
        limits=limits,
        max_tokens=scenario.tokens,
        latency=(0.0, scenario.latency),
        fault=scenario_faults(scenario),
        retry=RetryPolicy(attempts=8, total=600.0),
    )


async def run_campaign(world: World, scenario: Scenario) -> tuple[list[RecordResult], CampaignStream]:
    """Run the campaign of a scenario; return the results that the reader received, and the stream."""
    options = CampaignOptions(
        on_ambiguous=scenario.on_ambiguous,
        same_pair=scenario.same_pair,
        max_unresolved=scenario.max_unresolved,
        isolate=scenario.isolate,
        poll=PollPolicy(deadline=600.0),
    )
    results: list[RecordResult] = []
    stream = world.client.push_many(source_rows(scenario), options=options)
    async with world.client:
        reading = asyncio.create_task(read_results(stream, scenario, results))
        interrupting = asyncio.create_task(interrupt(stream, scenario, reading))
        await asyncio.wait((reading, interrupting))
        for task in (reading, interrupting):
            if not task.cancelled() and task.exception() is not None:
                assert isinstance(task.exception(), TruecallerError), task.exception()
    return results, stream


async def read_results(stream: CampaignStream, scenario: Scenario, results: list[RecordResult]) -> None:
    """Read results, with a delay for each, and possibly stop early."""
    action, when = scenario.interruption or ("", 0.0)
    async with stream:
        async for result in stream:
            results.append(result)
            if scenario.reader_seconds:
                await asyncio.sleep(scenario.reader_seconds)
            if action == "break" and asyncio.get_running_loop().time() > when:
                break


async def interrupt(stream: CampaignStream, scenario: Scenario, reading: asyncio.Task[None]) -> None:
    """Drain, abort or cancel the campaign at the time of the scenario."""
    action, when = scenario.interruption or ("", 0.0)
    await asyncio.sleep(when)
    if action == "cancel":
        reading.cancel()
    elif action == "drain":
        await stream.drain()
    elif action == "abort":
        await stream.abort()


def check_rate(world: World, scenario: Scenario) -> None:
    """Check law 1 by brute force over the times at which requests were sent."""
    for calls, (limit, per) in ((("submit",), scenario.batch), (("submit", "status", "push"), scenario.token)):
        by_token: defaultdict[str, list[float]] = defaultdict(list)
        for time, token, call in world.transport.sent:
            if call in calls:
                by_token[token].append(time)
        for times in by_token.values():
            assert most_in_window(times, per) <= limit
    mints = [time for time, _, call in world.transport.sent if call == "mint"]
    assert most_in_window(mints, 1800.0) <= 10 + world.transport.counts["mint"] - world.state.stats().mints


def check_no_blind_resend(world: World, scenario: Scenario, results: list[RecordResult]) -> None:
    """Check law 3: a record that was applied more than once is flagged; with `hold` there is none."""
    applied = Counter((entry.receiver, entry.reason) for entry in world.state.truth(0, 10**6))
    flagged = {
        (result.record.receiver, result.record.reason)
        for result in results
        if result.record is not None and result.possibly_duplicated
    }
    for content, times in applied.items():
        assert times == 1 or (scenario.on_ambiguous == "resend" and content in flagged)
    for result in results:
        if isinstance(result.record, CallRecord) and result.outcome not in (Outcome.INVALID, Outcome.DUPLICATE):
            times = applied[result.record.receiver, result.record.reason]
            assert result.attempts >= times
            assert times == 0 or result.outcome not in (Outcome.UNSENT, Outcome.EXPIRED)


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(scenarios)
def test_campaign_satisfies_the_laws_under_random_faults(scenario: Scenario) -> None:
    async def main() -> None:
        world = make_world(scenario)
        results, stream = await run_campaign(world, scenario)
        check_rate(world, scenario)
        summary = stream.summary
        assert summary.adds_up
        assert len({result.row for result in results}) == len(results)
        if scenario.interruption is None or scenario.interruption[0] in ("drain", "abort"):
            check_account(results, summary, world.state)
            check_no_blind_resend(world, scenario, results)
        elif scenario.on_ambiguous == "hold":
            applied = Counter((entry.receiver, entry.reason) for entry in world.state.truth(0, 10**6))
            assert max(applied.values(), default=1) == 1

    run_virtual(main)


def test_law_checks_can_fail() -> None:
    """The checks detect a world that exceeds the limit or sends twice."""
    assert most_in_window([0.0, 0.5, 0.99], 1.0) == 3
    assert most_in_window([0.0, 0.5, 1.0], 1.0) == 2

    async def main() -> None:
        world = World()
        await world.run([record(1), record(1, key="again")])
        assert max(applications(world.state).values()) == 2

    run_virtual(main)
