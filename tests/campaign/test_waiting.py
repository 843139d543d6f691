"""What a campaign waits for, and what wakes it: stores, refused credentials, and every possible change."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.campaign.durable_memory import DurableMemory
from tests.campaign.faulty_ports import STRANGE, FaultyJournal, Steps, WatchedLoop
from tests.campaign.world import LABEL, Fault, World, check_account, record, records, slowly
from tests.throttling.conftest import make_batches_small
from tests.throttling.gateway import REFUSED_TOKEN, End, Rule, pass_all, run_on_swift_loop, world_behind
from truecaller_async import (
    AuthenticationFailed,
    BadRequest,
    CampaignOptions,
    CampaignStream,
    ConfigError,
    Limits,
    Outcome,
    PollPolicy,
    RetryPolicy,
)
from truecaller_async.campaign.startup.start import CampaignRequest
from truecaller_async.campaign.workers import dispatcher
from truecaller_async.models import Request, Token
from truecaller_async.models.tokens import SentRequest
from truecaller_async.tokens import MemoryTokenStore

BUSY_FROM = 5.0
TOTAL = 20.0
NEVER_SECONDS = 1e9


def now() -> float:
    return asyncio.get_running_loop().time()


class BusyStore(MemoryTokenStore):
    """Store that fails from `BUSY_FROM` on, for so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self.failures: list[float] = []

    def _check(self) -> None:
        if BUSY_FROM <= now() < BUSY_FROM + self._seconds:
            self.failures.append(now())
            raise ConfigError("the state file is locked")

    async def add(self, token: Token) -> None:
        self._check()
        await super().add(token)

    async def claim_mint(self, limit: int, per: float, now: float) -> float:
        self._check()
        return await super().claim_mint(limit, per, now)

    def record_sent_request(self, request: SentRequest) -> asyncio.Task[None]:  # type: ignore[override]
        async def record() -> None:
            await asyncio.sleep(0.01)
            self._check()

        return asyncio.get_running_loop().create_task(record())


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    make_batches_small(monkeypatch)


@pytest.mark.fault("F01")
@pytest.mark.parametrize("max_tokens", [1, 3])
def test_campaign_waits_for_a_store_that_is_busy_for_seven_seconds(max_tokens: int) -> None:
    async def main() -> None:
        world, gateway = world_behind(pass_all, max_tokens=max_tokens)
        world.client._shared.pool._state.store = store = BusyStore(7.0)
        results, summary, fault = await world.run(slowly(records(60), 0.4))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 60
        assert summary.retries == 0  # a claim that is undone is no request
        assert store.failures
        assert not any(BUSY_FROM <= seen.came < BUSY_FROM + 7.0 for seen in gateway.of("submit"))
        assert any(0.0 <= seen.came - BUSY_FROM - 7.0 < 8.1 for seen in gateway.of("submit"))  # the longest pause

    run_on_swift_loop(main)


def test_store_that_fails_for_good_ends_the_campaign_in_good_order() -> None:
    async def main() -> None:
        world, gateway = world_behind(pass_all, max_tokens=2, retry=RetryPolicy(total=TOTAL))
        world.client._shared.pool._state.store = BusyStore(NEVER_SECONDS)
        results, summary, fault = await world.run(slowly(records(120), 0.4))
        check_account(results, summary, world.state)
        assert isinstance(fault, ConfigError)
        assert BUSY_FROM + TOTAL <= now() < BUSY_FROM + TOTAL + 10.0
        assert summary.delivered + summary.unknown + summary.unsent == summary.read == len(results)
        assert max(seen.came for seen in gateway.of("submit")) < BUSY_FROM

    run_on_swift_loop(main)


def refused(begin: float, seconds: float, *calls: str) -> tuple[Rule, list[float]]:
    """Return a rule that refuses the token of these calls for a while, and the times of the refusals."""
    times: list[float] = []

    def rule(request: Request, now: float) -> End:
        if request.call in calls and begin <= now < begin + seconds:
            times.append(now)
            return REFUSED_TOKEN
        return None

    return rule, times


@pytest.mark.fault("F02")
@pytest.mark.parametrize("begin", [0.0, 6.0])
def test_campaign_survives_tokens_refused_for_two_seconds(begin: float) -> None:
    async def main() -> None:
        rule, times = refused(begin, 2.0, "submit", "status")
        world, gateway = world_behind(rule, max_tokens=4)
        results, summary, fault = await world.run(slowly(records(100), 0.2))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 100
        assert summary.possibly_duplicated == 0
        assert times
        # All tokens made before the first refusal count as one refusal; then at most one mint each 30 s.
        assert len(gateway.of("mint")) <= 4 + 4 + 1

    run_on_swift_loop(main)


@pytest.mark.fault("F02")
def test_tokens_refused_for_good_end_the_campaign_after_the_total() -> None:
    async def main() -> None:
        rule, times = refused(6.0, NEVER_SECONDS, "submit", "status")
        world, gateway = world_behind(rule, max_tokens=4, retry=RetryPolicy(total=100.0))
        results, summary, fault = await world.run(slowly(records(200), 0.2))
        check_account(results, summary, world.state)
        assert isinstance(fault, AuthenticationFailed)
        assert times[0] + 100.0 <= now() < times[0] + 170.0
        assert summary.delivered + summary.unknown + summary.unsent == summary.read == len(results)
        assert 0 < summary.delivered < summary.read
        mints = [seen.came for seen in gateway.of("mint") if seen.came > times[0] + 5.0]
        assert all(later - earlier >= 29.0 for earlier, later in pairwise(mints))

    run_on_swift_loop(main)


@pytest.mark.fault("F02")
def test_key_refused_by_the_mint_in_the_middle_is_waited_for() -> None:
    async def main() -> None:
        refused_all, _ = refused(6.0, 10.0, "submit", "status", "mint")
        world, _ = world_behind(refused_all, max_tokens=2)
        results, summary, fault = await world.run(slowly(records(100), 0.2))
        check_account(results, summary, world.state)
        assert fault is None
        assert summary.delivered == 100

    run_on_swift_loop(main)


def trouble(seed: int) -> Fault:
    """Return faults of every kind for a tenth of the requests."""
    kinds = ["not_sent", "lost_before", "lost_after", "500_before", "500_after", "429", "429:2", "401", None]

    def fault(request: Request, count: int, dice: Random) -> str | None:
        if request.call == "mint" or dice.random() > 0.1:
            return None
        return dice.choice(kinds)

    return fault


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 60),
    max_tokens=st.integers(1, 3),
    pause=st.sampled_from([0.0, 0.05, 1.7]),
    limit=st.sampled_from([(2, 1.0), (5, 6.0), (60, 60.0)]),
    same_pair=st.sampled_from(["in_order", "keep_last"]),
    journaled=st.booleans(),
    stop=st.sampled_from([None, None, 0.5, 4.0]),
    isolate=st.sampled_from(["realtime", "bisect", "none"]),
)
def test_campaign_without_a_heartbeat_still_ends(
    seed: int,
    count: int,
    max_tokens: int,
    pause: float,
    limit: tuple[int, float],
    same_pair: Literal["in_order", "keep_last"],
    journaled: bool,
    stop: float | None,
    isolate: Literal["realtime", "bisect", "none"],
) -> None:
    """Each wake-up comes from what made the work possible: nothing waits for the heartbeat."""

    async def main() -> None:
        world = World(
            seed=seed,
            fault=trouble(seed),
            max_tokens=max_tokens,
            limits=Limits.documented().replace(batch=limit, mint=(1000, 60.0)),
        )
        options = CampaignOptions(
            linger=0.1,
            same_pair=same_pair,
            isolate=isolate,
            poll=PollPolicy(first=0.5, cap=3.0, deadline=300.0),
        )
        dice = Random(seed)
        rows = [
            record(dice.randrange(1, count + 1), key=str(number), label_id=dice.choice([STRANGE, *[LABEL] * 9]))
            for number in range(count)
        ]
        journal = FaultyJournal(Steps("none"), DurableMemory())
        request = CampaignRequest(world.client._campaign_deps, slowly(rows, pause), options, lambda: journal)
        stream = CampaignStream(request) if journaled else world.client.push_many(slowly(rows, pause), options=options)
        async with world.client, stream:
            stopping = asyncio.get_running_loop().call_later(stop, lambda: drained.append(stream)) if stop else None
            drained: list[CampaignStream] = []
            results, is_cut_off = [], stop is not None
            try:
                async for result in stream:
                    results.append(result)
                    if drained:
                        await drained.pop().drain()
            except BadRequest:  # too many batches were rejected for one reason
                is_cut_off = True
            if stopping is not None:
                stopping.cancel()
        check_account(results, stream.summary, world.state)
        assert is_cut_off or stream.summary.read == count
        assert stream._run is not None
        assert not stream._run.progress.swept
        assert now() < 3600.0

    with pytest.MonkeyPatch.context() as patch:
        make_batches_small(patch)
        patch.setattr(dispatcher, "HEARTBEAT_SECONDS", NEVER_SECONDS)
        loop = WatchedLoop()
        try:
            loop.run_until_complete(main())
            assert not asyncio.all_tasks(loop)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()
        assert loop.reports == []


def test_note_that_is_cancelled_is_written_and_ends_no_campaign() -> None:
    async def main() -> None:
        world, disk = World(), DurableMemory()
        journal = FaultyJournal(Steps("none"), disk, commit_seconds=2.0)
        stream = CampaignStream(CampaignRequest(world.client._campaign_deps, list(records(5)), None, lambda: journal))
        async with world.client, stream:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await stream.note("file", "results.csv")
            results = [result async for result in stream]
        assert {result.outcome for result in results} == {Outcome.DELIVERED}
        assert disk.state.notes == {"file": "results.csv"}

    run_on_swift_loop(main)


class SlowlyOpened(MemoryTokenStore):
    """Store that takes 5 s to adopt its tokens."""

    async def adopt(self, now: float) -> Sequence[Token]:
        await asyncio.sleep(5.0)
        return await super().adopt(now)


def test_run_that_ends_before_the_store_is_open_leaves_no_timer() -> None:
    loop = WatchedLoop()

    async def main() -> None:
        world = World()
        world.client._shared.pool._state.store = SlowlyOpened()
        async with world.client:
            async with world.client.push_many(list(records(5))) as stream:
                await asyncio.sleep(1.0)
                await stream.abort()
                assert [result.outcome async for result in stream] == [Outcome.UNSENT] * 5
            await asyncio.sleep(10.0)
            assert loop.timers() == []
            assert len(world.client._shared.pool._state.subscribers) == 1  # the permit queue of the pool

    loop.run_until_complete(main())
    assert not asyncio.all_tasks(loop)
    loop.close()
    assert loop.reports == []
