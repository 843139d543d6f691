"""Laws 1, 2 and 3 as properties of whole campaigns, under random limits, latencies, faults, readers and interruptions.

Each example is one world on the virtual clock, made from the drawn numbers alone, so that a failing one is replayed
from what hypothesis prints.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from random import Random
from typing import Literal

import attrs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.engine.world import LABEL, Fault, World, applications, check_account, record
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
STRANGE = "11111111-2222-4333-8444-555555555555"
"""A label that the account does not have: one such record has its whole batch refused."""

VERDICTS = ("00", "13", "26", "39", "52", "77")


@attrs.frozen
class Weather:
    """Everything about one example."""

    seed: int
    batch: tuple[int, float]
    token: tuple[int, float]
    tokens: int
    latency: float
    faults: float
    resolve_after: float
    rows: int
    pairs: int
    max_unresolved: int
    on_ambiguous: Literal["resend", "hold"]
    same_pair: Literal["in_order", "keep_last"]
    reader: float
    interruption: tuple[str, float] | None
    poison: float
    isolate: Literal["realtime", "bisect", "none"]


weathers = st.builds(
    Weather,
    seed=st.integers(0, 10**6),
    batch=st.tuples(st.integers(1, 60), st.sampled_from((1.0, 6.0, 60.0))),
    token=st.tuples(st.integers(2, 100), st.sampled_from((1.0, 5.0))),
    tokens=st.integers(1, 4),
    latency=st.sampled_from((0.0, 0.05, 1.0, 8.0)),
    faults=st.sampled_from((0.0, 0.0, 0.1, 0.4)),
    resolve_after=st.sampled_from((0.0, 1.0, 45.0)),
    rows=st.integers(0, 2_600),
    pairs=st.sampled_from((3, 700, 10**6)),
    max_unresolved=st.sampled_from((7, 600, 100_000)),
    on_ambiguous=st.sampled_from(("resend", "hold")),
    same_pair=st.sampled_from(("in_order", "keep_last")),
    reader=st.sampled_from((0.0, 0.0, 0.02)),
    interruption=st.one_of(
        st.none(), st.tuples(st.sampled_from(("drain", "abort", "cancel", "break")), st.floats(0.0, 60.0))
    ),
    poison=st.sampled_from((0.0, 0.0, 0.001, 0.01)),
    isolate=st.sampled_from(("realtime", "bisect", "none")),
)


def source(weather: Weather) -> list[object]:
    """Good rows, bad rows, repeated rows, rows of one pair, and windows that close soon."""
    dice = Random(weather.seed)
    rows: list[object] = []
    for number in range(weather.rows):
        kind = dice.random()
        if kind < 0.02:
            rows.append({"caller": "nobody"})
        elif kind < 0.04 and rows:
            rows.append(rows[-1])
        else:
            receiver = f"9198{number % weather.pairs:06d}{dice.choice(VERDICTS)}"
            hours = 0.02 if kind > 0.97 else 8
            reason = f"Reason {number:06d} of this run"
            label = STRANGE if dice.random() < weather.poison else LABEL
            rows.append(record(number, receiver=receiver, hours=hours, reason=reason, label_id=label))
    return rows


def weather_faults(weather: Weather) -> Fault:
    def fault(request: Request, count: int, dice: Random) -> str | None:
        if dice.random() >= weather.faults:
            return None
        wrong = dice.choice(FAULTS) if dice.random() > 0.02 else "403"
        return None if request.call == "mint" and wrong in ("401", "403", "empty") else wrong

    return fault


def make_world(weather: Weather) -> World:
    limits = Limits(
        (
            RateLimit("token", *weather.token),
            RateLimit("batch", *weather.batch, calls=("submit",)),
            RateLimit("mint", 10, 1800.0, "account", calls=("mint",)),
        )
    )
    return World(
        seed=weather.seed,
        settings=SandboxSettings(limits=limits, enforce=False, resolve_after=weather.resolve_after),
        limits=limits,
        max_tokens=weather.tokens,
        latency=(0.0, weather.latency),
        fault=weather_faults(weather),
        retry=RetryPolicy(attempts=8, total=600.0),
    )


async def campaign(world: World, weather: Weather) -> tuple[list[RecordResult], CampaignStream]:
    """Run it as the weather says; returns the results that the reader saw, and the stream."""
    options = CampaignOptions(
        on_ambiguous=weather.on_ambiguous,
        same_pair=weather.same_pair,
        max_unresolved=weather.max_unresolved,
        isolate=weather.isolate,
        poll=PollPolicy(deadline=600.0),
    )
    results: list[RecordResult] = []
    stream = world.client.push_many(source(weather), options=options)
    async with world.client:
        reading = asyncio.create_task(read(stream, weather, results))
        interrupting = asyncio.create_task(interrupt(stream, weather, reading))
        await asyncio.wait((reading, interrupting))
        for task in (reading, interrupting):
            if not task.cancelled() and task.exception() is not None:
                assert isinstance(task.exception(), TruecallerError), task.exception()
    return results, stream


async def read(stream: CampaignStream, weather: Weather, results: list[RecordResult]) -> None:
    """A reader that takes its time, and may leave early."""
    what, when = weather.interruption or ("", 0.0)
    async with stream:
        async for result in stream:
            results.append(result)
            if weather.reader:
                await asyncio.sleep(weather.reader)
            if what == "break" and asyncio.get_running_loop().time() > when:
                break


async def interrupt(stream: CampaignStream, weather: Weather, reading: asyncio.Task[None]) -> None:
    """Somebody else, who drains, aborts or cancels."""
    what, when = weather.interruption or ("", 0.0)
    await asyncio.sleep(when)
    if what == "cancel":
        reading.cancel()
    elif what == "drain":
        await stream.drain()
    elif what == "abort":
        await stream.abort()


def check_rate(world: World, weather: Weather) -> None:
    """Law 1, by brute force over the times at which requests left."""
    for calls, (limit, per) in ((("submit",), weather.batch), (("submit", "status", "push"), weather.token)):
        by_token: defaultdict[str, list[float]] = defaultdict(list)
        for time, token, call in world.transport.sent:
            if call in calls:
                by_token[token].append(time)
        for times in by_token.values():
            assert most_in_window(times, per) <= limit
    mints = [time for time, _, call in world.transport.sent if call == "mint"]
    assert most_in_window(mints, 1800.0) <= 10 + world.transport.counts["mint"] - world.state.stats().mints


def check_no_blind_resend(world: World, weather: Weather, results: list[RecordResult]) -> None:
    """Law 3: what was applied more than once says so; under `hold` nothing is."""
    applied = Counter((entry.receiver, entry.reason) for entry in world.state.truth(0, 10**6))
    flagged = {
        (result.record.receiver, result.record.reason)
        for result in results
        if result.record is not None and result.possibly_duplicated
    }
    for what, times in applied.items():
        assert times == 1 or (weather.on_ambiguous == "resend" and what in flagged)
    for result in results:
        if isinstance(result.record, CallRecord) and result.outcome not in (Outcome.INVALID, Outcome.DUPLICATE):
            times = applied[result.record.receiver, result.record.reason]
            assert result.attempts >= times
            assert times == 0 or result.outcome not in (Outcome.UNSENT, Outcome.EXPIRED)


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(weathers)
def test_campaign_satisfies_the_laws_under_random_faults(weather: Weather) -> None:
    async def main() -> None:
        world = make_world(weather)
        results, stream = await campaign(world, weather)
        check_rate(world, weather)
        summary = stream.summary
        assert summary.adds_up
        assert len({result.row for result in results}) == len(results)
        if weather.interruption is None or weather.interruption[0] in ("drain", "abort"):
            check_account(results, summary, world.state)
            check_no_blind_resend(world, weather, results)
        elif weather.on_ambiguous == "hold":
            applied = Counter((entry.receiver, entry.reason) for entry in world.state.truth(0, 10**6))
            assert max(applied.values(), default=1) == 1

    run_virtual(main)


def test_law_checks_can_fail() -> None:
    """A world that sends over the limit, or twice, is seen."""
    assert most_in_window([0.0, 0.5, 0.99], 1.0) == 3
    assert most_in_window([0.0, 0.5, 1.0], 1.0) == 2

    async def main() -> None:
        world = World()
        await world.run([record(1), record(1, key="again")])
        assert max(applications(world.state).values()) == 2

    run_virtual(main)
