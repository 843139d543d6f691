"""Every `Limiter` behaves the same: permits, waits, accounts and restarts.

How exactly a limiter follows the rate law is tested in `tests/limits/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import pytest

from tests.virtual import most_in_window, run_virtual
from truecaller_async.limits import LocalLimiter
from truecaller_async.options import Limits, RateLimit
from truecaller_async.ports import Limiter

Opener: TypeAlias = Callable[[Limits], Limiter]

LIMITS = Limits(
    (
        RateLimit("token", 6, 10.0),
        RateLimit("batch", 2, 60.0, calls=("submit",)),
        RateLimit("labels", 3, 60.0, "account", calls=("labels",)),
    )
)

pytestmark = pytest.mark.parametrize("opener", [LocalLimiter])


async def acquire_all(limiter: Limiter, token: str, call: str, seconds: float) -> list[float]:
    loop, granted = asyncio.get_running_loop(), list[float]()
    end = loop.time() + seconds
    while loop.time() < end:
        wait = await limiter.try_acquire(token, call)
        assert wait >= 0.0
        if wait:
            await asyncio.sleep(wait)
        else:
            granted.append(loop.time())
    return granted


def test_permit_is_granted_or_the_wait_is_returned(opener: Opener) -> None:
    async def scenario() -> None:
        granted = await acquire_all(opener(LIMITS), "token", "push", 60.0)
        assert most_in_window(granted, 10.0) <= 6
        assert len(granted) >= 30

    run_virtual(scenario)


def test_tokens_have_own_limits_and_the_account_has_one_for_all(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(LIMITS)
        pushes = await asyncio.gather(*(acquire_all(limiter, token, "push", 30.0) for token in "ab"))
        assert most_in_window(sorted(pushes[0] + pushes[1]), 10.0) > 6
        labels = await asyncio.gather(*(acquire_all(limiter, token, "labels", 180.0) for token in "ab"))
        assert most_in_window(sorted(labels[0] + labels[1]), 60.0) <= 3

    run_virtual(scenario)


def test_call_passes_every_limit_that_names_it(opener: Opener) -> None:
    async def scenario() -> None:
        assert most_in_window(await acquire_all(opener(LIMITS), "token", "submit", 200.0), 60.0) == 2

    run_virtual(scenario)


def test_refusal_slows_down(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(LIMITS)
        limiter.slow_down("token")
        assert most_in_window(await acquire_all(limiter, "token", "push", 30.0), 10.0) <= 3

    run_virtual(scenario)


def test_requests_of_an_earlier_process_count(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(LIMITS)
        limiter.restore("token", {"batch": [1.0, 2.0], "no such limit": [0.0]})
        assert await limiter.try_acquire("token", "submit") >= 58.0
        assert await limiter.try_acquire("token", "push") == 0.0

    run_virtual(scenario)


def test_forgotten_token_stays_counted_for_the_account(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(LIMITS)
        before = await acquire_all(limiter, "a", "labels", 50.0)
        limiter.remove("a")
        limiter.remove("never known")
        assert most_in_window(before + await acquire_all(limiter, "b", "labels", 100.0), 60.0) <= 3

    run_virtual(scenario)
