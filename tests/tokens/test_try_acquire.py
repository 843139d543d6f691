"""Permits of the pool: which token gets them, what is returned without one, and that none stays open."""

from __future__ import annotations

import asyncio

import pytest

from tests.tokens.world import EventNames, Mint, acquired, now, pool_of
from tests.virtual import run_virtual
from truecaller_async.errors import AuthenticationFailed, ClientClosed, DeadlineExceeded
from truecaller_async.options import Limits
from truecaller_async.tokens import TokenPermit, TokenPool

ONE_IN_TEN_SECONDS = Limits.documented().replace(batch=(1, 10.0))
WINDOW_SECONDS = 10.011
REFUSED = AuthenticationFailed(401, "authorization-error")


def permit_of(pool: TokenPool, call: str = "submit", token_id: str | None = None) -> TokenPermit:
    permit = pool.try_acquire(call, now(), token_id)
    assert isinstance(permit, TokenPermit)
    return permit


async def pool_with(tokens: int) -> tuple[TokenPool, list[str]]:
    pool = pool_of(Mint(seconds=0.0), max_tokens=tokens, limits=ONE_IN_TEN_SECONDS)
    for _ in range(tokens):
        await pool.grow()
    return pool, [token.token_id for token in pool.live()]


def test_tokens_take_turns() -> None:
    async def scene() -> None:
        pool, ids = await pool_with(3)
        first = [permit_of(pool).token_id for _ in range(3)]
        assert sorted(first) == sorted(ids)
        assert [permit_of(pool, "push").token_id for _ in range(6)] == first * 2

    run_virtual(scene)


def test_token_in_cooldown_or_unknown_gets_no_permit() -> None:
    async def scene() -> None:
        pool, (first, second) = await pool_with(2)
        pool.start_cooldown(first, 5.0)
        assert permit_of(pool).token_id == second
        assert pool.try_acquire("submit", now()) == 5.0
        assert pool.try_acquire("submit", now(), first) == 5.0
        assert pool.try_acquire("submit", now(), "unknown") == float("inf")
        await asyncio.sleep(5.0)
        assert permit_of(pool).token_id == first

    run_virtual(scene)


def test_wait_is_endless_without_a_token_or_with_all_in_flight() -> None:
    async def scene() -> None:
        assert pool_of(Mint()).try_acquire("push", now()) == float("inf")
        pool, _ = await pool_with(1)
        permit = permit_of(pool)
        assert pool.try_acquire("submit", now()) == float("inf")
        permit.done(now())
        assert pool.try_acquire("submit", now()) == pytest.approx(WINDOW_SECONDS)

    run_virtual(scene)


def test_closed_pool_grants_nothing() -> None:
    async def scene() -> None:
        pool, _ = await pool_with(1)
        await pool.aclose()
        with pytest.raises(ClientClosed):
            pool.try_acquire("push", now())

    run_virtual(scene)


def test_subscribers_learn_of_ends_new_tokens_and_discards() -> None:
    async def scene() -> None:
        pool, seen = pool_of(Mint(seconds=0.0)), list[str]()
        leave = pool.subscribe(lambda: seen.append(what))
        what = "new token"
        token = await pool.grow()
        what = "end"
        permit_of(pool).cancel()
        what = "discard"
        await pool.discard(token.token_id if token else "", REFUSED)
        assert seen == ["new token", "end", "discard"]
        leave()
        await pool.grow()
        assert len(seen) == 3

    run_virtual(scene)


def test_waiting_single_call_is_served_before_a_campaign() -> None:
    async def scene() -> None:
        pool, _ = await pool_with(1)
        permit = permit_of(pool)
        single = asyncio.create_task(pool.acquire_for_call("submit"))
        await asyncio.sleep(1.0)
        permit.cancel()
        assert isinstance(pool.try_acquire("submit", now()), float)
        assert isinstance(await single, TokenPermit)

    run_virtual(scene)


def test_single_call_that_arrives_alone_waits_for_no_timer() -> None:
    async def scene() -> None:
        pool, _ = await pool_with(1)
        began = now()
        await acquired(pool, "push")
        assert now() == began

    run_virtual(scene)


def test_single_call_wakes_when_the_request_in_flight_ends() -> None:
    async def scene() -> None:
        pool, _ = await pool_with(1)
        permit = permit_of(pool)
        single = asyncio.create_task(acquired(pool, "submit"))
        await asyncio.sleep(500.0)
        permit.done(now())
        await single
        assert now() == pytest.approx(500.0 + WINDOW_SECONDS, abs=0.01)

    run_virtual(scene)


def test_deadline_ends_the_wait_for_a_request_in_flight() -> None:
    async def scene() -> None:
        pool, _ = await pool_with(1)
        permit_of(pool)
        with pytest.raises(DeadlineExceeded, match="requests are in flight"):
            await pool.acquire_for_call("submit", deadline=now() + 3.0)
        assert now() == pytest.approx(3.0, abs=0.01)

    run_virtual(scene)


@pytest.mark.parametrize("waiters", [1, 2])
@pytest.mark.parametrize("turns", range(4))
def test_cancelled_single_call_leaves_no_permit_open(waiters: int, turns: int) -> None:
    async def scene() -> None:
        pool, _ = await pool_with(1)
        held = permit_of(pool)
        calls = [asyncio.create_task(pool.acquire_for_call("submit")) for _ in range(waiters)]
        await asyncio.sleep(1.0)
        held.cancel()
        for _ in range(turns):
            await asyncio.sleep(0)
        calls[0].cancel()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        for permit in ended:
            if isinstance(permit, TokenPermit):
                permit.cancel()
        assert pool._records.open_permits == 0
        assert len(ended) == waiters

    run_virtual(scene)


def test_unexpected_refusals_are_reported_once_a_minute() -> None:
    async def scene() -> list[str]:
        events = EventNames()
        pool = pool_of(Mint(seconds=0.0), observer=events)
        token = await acquired(pool, "push")
        for _ in range(3):
            pool.record_throttled(token.token_id)
            pool.record_success(token.token_id)
            await asyncio.sleep(31.0)
        return [name for name in events.names if name == "rate.unexpected_429"]

    assert len(run_virtual(scene)) == 2


def test_refusal_with_used_up_limits_is_not_reported() -> None:
    async def scene() -> list[str]:
        events = EventNames()
        pool = pool_of(Mint(seconds=0.0), limits=ONE_IN_TEN_SECONDS, observer=events)
        token = await acquired(pool, "submit")
        pool.record_throttled(token.token_id)
        return events.names

    assert "rate.unexpected_429" not in run_virtual(scene)
