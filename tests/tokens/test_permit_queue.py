"""Single calls have priority over a campaign: how long they wait, and which share the campaign gets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Literal

import attrs
import pytest

from tests.tokens.world import Mint, acquired, now, pool_of
from tests.virtual import most_in_window, run_virtual
from truecaller_async.limits.permit import LocalPermit
from truecaller_async.models import Secret, Token
from truecaller_async.options import Limits
from truecaller_async.resilience.rate_law import RoundTrips, window_seconds
from truecaller_async.tokens import TokenPermit, TokenPool
from truecaller_async.tokens.permit_queue import (
    CAMPAIGN_SLOT_AFTER_PERMITS_COUNT,
    CAMPAIGN_SLOT_LATE_SECONDS,
    PermitQueue,
)

LIMIT = 20
LIMITS = Limits.documented().replace(token=(LIMIT, 1.0), batch=(1_000_000, 1.0))
INTERVAL = window_seconds(LIMITS.rules[0]) / LIMIT
SETTLING_SECONDS = 5.0
MOMENT_SECONDS = 0.001
TOKEN = Token("0123456789ab", Secret("an-access-token"), 0.0, 3600.0)


@attrs.frozen
class Campaign:
    """A campaign with one worker for each token, and the permits that the workers got."""

    pool: TokenPool
    sent: list[tuple[float, str, str]] = attrs.field(factory=list)

    async def work(self, token_id: str, *calls: str) -> None:
        """Ask continuously for the first of these calls that is granted, as the dispatcher of the engine does."""
        while True:
            waits = []
            for call in calls:
                permit = self.pool.try_acquire(call, now(), token_id)
                if isinstance(permit, TokenPermit):
                    permit.done(now())
                    self.sent.append((now(), token_id, call))
                    break
                waits.append(permit)
            else:
                await asyncio.sleep(min(waits))

    def since(self, begin: float) -> int:
        return sum(at >= begin for at, _, _ in self.sent)


@asynccontextmanager
async def saturating(tokens: int, *calls: str, limits: Limits = LIMITS) -> AsyncIterator[Campaign]:
    """Run a campaign that uses up this many tokens."""
    pool = pool_of(Mint(), max_tokens=tokens, limits=limits)
    while len(pool.live()) < tokens:
        await pool.grow()
    campaign = Campaign(pool)
    workers = [asyncio.create_task(campaign.work(token.token_id, *calls)) for token in pool.live()]
    await asyncio.sleep(SETTLING_SECONDS)
    yield campaign
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)


async def waited(campaign: Campaign, call: str = "push") -> float:
    began = now()
    token = await acquired(campaign.pool, call)
    campaign.sent.append((now(), token.token_id, "single"))
    return now() - began


@pytest.mark.parametrize("tokens", [1, 10])
def test_push_waits_at_most_two_intervals_and_the_campaign_gets_the_rest(tokens: int) -> None:
    async def scene() -> None:
        async with saturating(tokens, "status", "submit") as campaign:
            rng, began, pushes = Random(3), now(), []
            for _ in range(200):
                await asyncio.sleep(rng.uniform(0.5, 1.5))
                pushes.append(asyncio.create_task(waited(campaign)))
            waits = sorted(await asyncio.gather(*pushes))
            assert waits[197] <= 2 * INTERVAL
            left = (now() - began) / INTERVAL * tokens - len(pushes)
            assert campaign.since(began) - len(pushes) >= 0.9 * left
            for token in campaign.pool.live():
                times = [at for at, token_id, _ in campaign.sent if token_id == token.token_id]
                assert most_in_window(times, 1.0) <= LIMIT

    run_virtual(scene)


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("scope", ["token", "account"])
def test_flood_of_pushes_leaves_a_campaign_about_a_tenth(tokens: int, scope: Literal["token", "account"]) -> None:
    async def scene() -> None:
        rules = tuple(attrs.evolve(rule, scope=scope) if rule.name == "token" else rule for rule in LIMITS)
        async with saturating(tokens, "status", limits=Limits(rules)) as campaign:
            began = now()
            flood = [asyncio.create_task(waited(campaign)) for _ in range(1000)]
            await asyncio.sleep(10.0)
            assert not all(push.done() for push in flood)
            sent = Counter(call for at, _, call in campaign.sent if at >= began)
            assert 0.05 <= sent["status"] / sent.total() <= 1.5 / (CAMPAIGN_SLOT_AFTER_PERMITS_COUNT + 1)
            assert sent.total() >= 0.9 * 10.0 / INTERVAL * (tokens if scope == "token" else 1)
            for push in flood:
                push.cancel()
            await asyncio.gather(*flood, return_exceptions=True)

    run_virtual(scene)


def test_single_calls_of_any_kind_are_served_in_request_order() -> None:
    async def scene() -> None:
        async with saturating(1, "status") as campaign:
            served = list[int]()

            async def ask(number: int, call: str) -> None:
                await acquired(campaign.pool, call)
                served.append(number)

            calls = ["push", "labels", "push", "exports", "labels", "push", "push", "numbers"]
            async with asyncio.TaskGroup() as group:
                for number, call in enumerate(calls):
                    group.create_task(ask(number, call))
                    await asyncio.sleep(MOMENT_SECONDS)
            assert served == sorted(served)

    run_virtual(scene)


def test_push_uses_the_token_that_is_free_first() -> None:
    async def scene() -> None:
        async with saturating(2, "status") as campaign:
            first, _ = campaign.pool.live()
            campaign.pool.start_cooldown(first.token_id, 60.0)
            assert await waited(campaign) <= 2 * INTERVAL

    run_virtual(scene)


def test_call_waiting_for_another_limit_blocks_no_campaign() -> None:
    async def scene() -> None:
        limits = LIMITS.replace(batch=(1, 30.0))
        async with saturating(1, "status", limits=limits) as campaign:
            await acquired(campaign.pool, "submit")
            began, waiting = now(), asyncio.create_task(waited(campaign, "submit"))
            await asyncio.sleep(20.0)
            assert not waiting.done()
            assert campaign.since(began) >= 0.97 * 20.0 / INTERVAL
            assert await waiting <= window_seconds(limits.rules[1]) + 2 * INTERVAL

    run_virtual(scene)


def scripted(*waits: float) -> PermitQueue:
    """Return a queue whose limiter answers these waits, then always 0.1 s."""
    answers = list(waits)
    pool = pool_of(Mint())

    def try_acquire(call: str, token_ids: Sequence[str], at: float) -> TokenPermit | float:
        wait = answers.pop(0) if answers else 0.1
        return wait or TokenPermit(
            TOKEN, LocalPermit(TOKEN.token_id, at, (), RoundTrips(), lambda: None), pool._records, call
        )

    return PermitQueue(try_acquire)


def dispatch(queue: PermitQueue) -> dict[str, float]:
    return queue.dispatch([TOKEN.token_id], now())


def acquire_for_campaign(queue: PermitQueue) -> TokenPermit | float:
    tokens = [TOKEN.token_id]
    return queue.acquire_low_priority("status", tokens, now(), all_token_ids=tokens)


def test_campaign_that_does_not_use_its_slot_is_not_waited_for() -> None:
    async def scene() -> None:
        queue = scripted(0.1, 0.1, *[0.0] * CAMPAIGN_SLOT_AFTER_PERMITS_COUNT, 0.1, 0.1, 0.1, 0.0)
        waiters = [queue.add("push") for _ in range(CAMPAIGN_SLOT_AFTER_PERMITS_COUNT + 1)]
        acquire_for_campaign(queue)
        dispatch(queue)
        acquire_for_campaign(queue)
        assert [waiter.has_permit for waiter in waiters] == [True] * CAMPAIGN_SLOT_AFTER_PERMITS_COUNT + [False]
        assert dispatch(queue) == {"push": pytest.approx(0.1 + CAMPAIGN_SLOT_LATE_SECONDS)}
        await asyncio.sleep(0.1 + CAMPAIGN_SLOT_LATE_SECONDS)
        assert dispatch(queue) == {}
        assert waiters[-1].has_permit

    run_virtual(scene)


def test_permit_for_a_concurrently_cancelled_waiter_goes_to_the_next() -> None:
    async def scene() -> None:
        queue = scripted(0.0)
        first, second = queue.add("push"), queue.add("push")
        dispatch(queue)
        assert (first.has_permit, second.has_permit) == (True, False)
        queue.remove(first)
        assert queue.is_first(second)
        permit = second.collect()
        assert permit is not None
        assert permit.token == TOKEN
        queue.remove(second)
        assert queue.waiting_count("push") == 0

    run_virtual(scene)
