"""Workers, fairness between kinds of work, and the phases of a run that is stopped."""

from __future__ import annotations

import asyncio
from collections import Counter

import attrs
import pytest

from tests.campaign.durable_memory import DurableMemory
from tests.campaign.faulty_ports import FaultyJournal, Steps
from tests.campaign.world import World, check_account, record, records, slowly
from tests.throttling.conftest import make_batches_small
from tests.throttling.gateway import End, Gateway, pass_all, run_on_swift_loop, world_behind
from truecaller_async import CampaignOptions, CampaignStream, Limits, NotSent, Outcome, PollPolicy, RecordResult
from truecaller_async.campaign.lifecycle import DRAIN_GRACE_SECONDS
from truecaller_async.campaign.startup.start import CampaignRequest
from truecaller_async.campaign.workers.dispatcher import IN_FLIGHT_FAST_MAX, IN_FLIGHT_MAX
from truecaller_async.models import Request
from truecaller_async.sandbox import SandboxSettings

WIDE = Limits.documented().replace(batch=(100_000, 1.0), token=(100_000, 1.0))
STOP_AT = 5.0


def now() -> float:
    return asyncio.get_running_loop().time()


@attrs.define
class Flights:
    """Counts the requests in flight."""

    by_call: Counter[str] = attrs.field(factory=Counter)
    most: int = 0
    most_after: float = 0.0
    """Time from which `most` is counted."""

    def watch(self, what: str, request: Request) -> None:
        """Count a request that leaves or has ended."""
        self.by_call[request.call] += 1 if what == "out" else -1
        if now() >= self.most_after:
            self.most = max(self.most, self.by_call.total())


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_batches_small(monkeypatch)


@pytest.mark.parametrize(("latency", "most"), [(0.001, IN_FLIGHT_FAST_MAX), (0.2, IN_FLIGHT_MAX)])
def test_requests_in_flight_are_bounded_by_the_speed_of_answers(latency: float, most: int) -> None:
    async def main() -> None:
        world = World(limits=WIDE, latency=(latency, latency), max_tokens=1)
        flights = Flights(most_after=0.05)
        world.transport.watch = flights.watch
        results, summary, fault = await world.run(records(2000))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 2000
        assert flights.most == most

    run_on_swift_loop(main)


def test_retries_without_a_budget_delay_no_first_attempt() -> None:
    cut_off = {record(number).receiver for number in range(0, 200, 10)}

    def rule(request: Request, now: float) -> End:
        is_cut_off = request.call == "submit" and any(str(one).encode() in (request.body or b"") for one in cut_off)
        return NotSent("no route") if is_cut_off and now < 60.0 else None

    async def main() -> None:
        world, gateway = world_behind(rule, max_tokens=4, limits=Limits.documented().replace(batch=(20, 1.0)))
        options = CampaignOptions(poll=PollPolicy(first=0.5, cap=2.0))
        results, summary, fault = await world.run(slowly(records(200), 0.1), options)
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 200
        good = [seen.came for seen in gateway.of("submit") if seen.status == 200 and not seen.again]
        assert len(good) >= 75
        assert max(good) < 22.0  # the rows come for 20 s

    run_on_swift_loop(main)


def test_polls_are_not_delayed_by_a_backlog_of_batches_nor_the_reverse() -> None:
    async def main() -> None:
        # Each answer takes a second, so 64 workers are the bottleneck, and each batch is polled for 30 s.
        settings = SandboxSettings(limits=WIDE, resolve_after=30.0)
        world, gateway = world_behind(pass_all, settings=settings, limits=WIDE, latency=(0.5, 0.5), max_tokens=1)
        options = CampaignOptions(poll=PollPolicy(first=2.0, cap=20.0))
        results, summary, fault = await world.run(records(2000), options)
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 2000
        submits, polls = gateway.of("submit"), gateway.of("status")
        assert polls[0].came < submits[0].went + 4.0
        assert submits[-1].came < 1000 / IN_FLIGHT_MAX * 2.0  # the polls take less than half of the workers
        assert len([seen for seen in polls if seen.came < submits[-1].came]) > 100

    run_on_swift_loop(main)


async def stopped(
    world: World, gateway: Gateway, stops: dict[float, str], journal: FaultyJournal | None = None
) -> tuple[list[RecordResult], CampaignStream, float]:
    """Run a campaign whose batches never become final; stop it at these times. Return the time of its end."""
    rows = slowly(records(200), 0.1)
    options = CampaignOptions(poll=PollPolicy(first=1.0, cap=2.0, deadline=3000.0))
    stream = (
        world.client.push_many(rows, options=options)
        if journal is None
        else CampaignStream(CampaignRequest(world.client._campaign_deps, rows, options, lambda: journal))
    )
    results: list[RecordResult] = []

    async def stop() -> None:
        for at, how in stops.items():
            await asyncio.sleep(at - now())
            await (stream.drain() if how == "drain" else stream.abort())

    async with world.client, stream:
        stopping = asyncio.create_task(stop())
        results = [result async for result in stream]
        ended = now()
        await stopping
    check_account(results, stream.summary, world.state)
    assert stream._run is not None
    assert not stream._run.progress.swept
    first = min(stops)
    assert not [seen for seen in gateway.of("submit") if seen.came > first]
    return results, stream, ended


def endless() -> tuple[World, Gateway]:
    """Return a world in which no batch becomes final."""
    return world_behind(pass_all, settings=SandboxSettings(resolve_after=1e6), latency=(0.1, 0.1))


def test_draining_run_polls_for_thirty_seconds_and_sends_nothing() -> None:
    async def main() -> None:
        world, gateway = endless()
        results, _, ended = await stopped(world, gateway, {STOP_AT: "drain"})
        assert STOP_AT + DRAIN_GRACE_SECONDS <= ended < STOP_AT + DRAIN_GRACE_SECONDS + 1.0
        assert len(gateway.between(STOP_AT + 25.0, STOP_AT + 30.0)) > 10
        assert {result.outcome for result in results} <= {Outcome.UNKNOWN, Outcome.UNSENT}
        assert len(results) < 200

    run_on_swift_loop(main)


@pytest.mark.parametrize("stops", [{STOP_AT: "abort"}, {STOP_AT: "drain", 8.0: "abort"}])
def test_aborted_run_awaits_only_the_requests_in_flight(stops: dict[float, str]) -> None:
    async def main() -> None:
        world, gateway = endless()
        _, _, ended = await stopped(world, gateway, stops)
        assert ended < max(stops) + 0.5
        assert gateway.between(max(stops) + 0.01, 1e9) == []

    run_on_swift_loop(main)


@pytest.mark.parametrize("how", ["drain", "abort"])
def test_stop_while_intents_wait_for_a_slow_disk_sends_nothing(how: str) -> None:
    async def main() -> None:
        world, gateway = endless()
        journal = FaultyJournal(Steps("none"), DurableMemory(), commit_seconds=3.0)
        results, stream, ended = await stopped(world, gateway, {STOP_AT: how}, journal)
        assert ended < STOP_AT + (10.0 if how == "abort" else DRAIN_GRACE_SECONDS + 10.0)
        assert {result.outcome for result in results} == {Outcome.UNSENT}
        assert stream.summary.requests.get("submit", 0) == len(gateway.of("submit")) == 0

    run_on_swift_loop(main)
