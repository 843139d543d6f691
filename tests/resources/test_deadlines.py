"""Deadlines: a push that would wait longer fails at once, and an invalid deadline is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.resources.script import PUSHED, client_of, playing, record, status_of, throttled
from tests.virtual import run_virtual
from truecaller_async import DeadlineExceeded, Limits, TokenBudgetExhausted, ValidationError

INVALID_SECONDS = [
    0,
    -1,
    0.0,
    float("nan"),
    float("inf"),
    float("-inf"),
    True,
    "5",
    pytest.param(10**400, id="10**400"),
]


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("deadline", INVALID_SECONDS)
def test_invalid_deadline_is_refused_before_sending(deadline: Any) -> None:
    async def scene() -> None:
        script = playing(PUSHED)
        with pytest.raises(ValidationError) as caught:
            await client_of(script).calls.push(record(), deadline=deadline)
        assert [problem.field for problem in caught.value.problems] == ["deadline"]
        assert (script.sent, script.minted, now()) == ([], [], 0.0)

    run_virtual(scene)


@pytest.mark.parametrize("timeout", [*INVALID_SECONDS, None])
def test_invalid_timeout_is_refused_before_sending(timeout: Any) -> None:
    async def scene() -> None:
        script = playing(status_of("success"))
        with pytest.raises(ValidationError) as caught:
            await client_of(script).batches.wait("b-1", timeout=timeout)
        assert [problem.field for problem in caught.value.problems] == ["timeout"]
        assert (script.sent, script.minted, now()) == ([], [], 0.0)

    run_virtual(scene)


def test_wait_for_an_invalid_batch_id_is_refused_at_once() -> None:
    async def scene() -> None:
        with pytest.raises(ValidationError, match="batch_id"):
            await client_of(playing(status_of("success"))).batches.wait("../b-1", timeout=60)
        assert now() == 0.0

    run_virtual(scene)


def test_full_limiter_fails_a_short_deadline_at_once_and_a_long_one_passes() -> None:
    async def scene() -> None:
        script = playing(PUSHED)
        client = client_of(script, limits=Limits.documented().replace(token=(2, 60.0)), max_tokens=1)
        for _ in range(2):
            await client.calls.push(record())
        began = now()
        with pytest.raises(DeadlineExceeded) as late:
            await client.calls.push(record(), deadline=5.0)
        assert (late.value.sent, late.value.retryable, now()) == ("no", True, began)
        assert len(script.sent) == 2
        await client.calls.push(record(), deadline=120.0)

    run_virtual(scene)


def test_hanging_mint_ends_with_the_deadline_and_nothing_is_sent() -> None:
    async def scene() -> None:
        script = playing(PUSHED, latency=3600.0)
        async with client_of(script) as client:
            with pytest.raises(DeadlineExceeded) as late:
                await client.calls.push(record(), deadline=0.5)
            assert (late.value.sent, now()) == ("no", 0.5)
            assert (len(script.minted), script.sent) == (1, [])

    run_virtual(scene)


def test_spent_mint_budget_fails_a_deadline_at_once() -> None:
    async def scene() -> None:
        script = playing(PUSHED)
        client = client_of(script, limits=Limits.documented().replace(mint=(1, 1800.0)))
        token = await client._shared.pool.grow()
        assert token is not None
        client._shared.pool._state.remove(token.token_id)
        began = now()
        with pytest.raises(TokenBudgetExhausted):
            await client.calls.push(record(), deadline=5.0)
        assert (script.sent, now()) == ([], began)

    run_virtual(scene)


def test_token_in_cooldown_fails_a_short_deadline_at_once() -> None:
    async def scene() -> None:
        script = playing(throttled(20), PUSHED)
        client = client_of(script, max_tokens=1)
        with pytest.raises(DeadlineExceeded):
            await client.calls.push(record(), deadline=2.0)
        began = now()
        with pytest.raises(DeadlineExceeded):
            await client.calls.push(record(), deadline=2.0)
        assert (len(script.sent), now()) == (1, began)

    run_virtual(scene)


def test_queue_of_pushes_delays_none_beyond_its_deadline() -> None:
    async def scene() -> None:
        script = playing(PUSHED)
        client = client_of(script, limits=Limits.documented().replace(token=(1, 10.0)), max_tokens=1)
        waiting = [asyncio.ensure_future(client.calls.push(record(number))) for number in range(4)]
        await asyncio.sleep(1.0)
        began = now()
        with pytest.raises(DeadlineExceeded) as late:
            await client.calls.push(record(9), deadline=3.0)
        assert late.value.sent == "no"
        assert now() - began <= 3.0
        await asyncio.gather(*waiting)
        assert len(script.sent) == 4

    run_virtual(scene)
