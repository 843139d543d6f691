"""Every `Limiter` behaves the same: permits, waits, accounts and restarts.

How exactly a limiter follows the rate law is tested in `tests/limits/`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import pytest

from tests.virtual import most_in_window, run_virtual
from truecaller_async.limits import LocalLimiter
from truecaller_async.options import Limits, RateLimit
from truecaller_async.ports import Limiter, Permit

Opener: TypeAlias = Callable[[Limits], Limiter]

LIMITS = Limits(
    (
        RateLimit("token", 6, 10.0),
        RateLimit("batch", 2, 60.0, calls=("submit",)),
        RateLimit("labels", 3, 60.0, "account", calls=("labels",)),
    )
)

ONE = Limits((RateLimit("one", 1, 60.0),))

pytestmark = pytest.mark.parametrize("opener", [LocalLimiter])


def now() -> float:
    return asyncio.get_running_loop().time()


def end_now(permit: Permit) -> None:
    permit.done(now())


async def acquire_all(
    limiter: Limiter, tokens: Sequence[str], call: str, seconds: float, latency: float = 0.0
) -> list[tuple[float, str]]:
    """Ask continuously; return the time and the token of each permit. Each answer takes `latency` seconds."""
    loop, granted, ended = asyncio.get_running_loop(), list[tuple[float, str]](), asyncio.Event()
    unsubscribe = limiter.subscribe(ended.set)
    end = loop.time() + seconds
    while loop.time() < end:
        ended.clear()
        permit = limiter.try_acquire(call, tokens, loop.time())
        if isinstance(permit, float):
            assert permit > 0.0
            await (ended.wait() if permit == float("inf") else asyncio.sleep(permit))
            continue
        await asyncio.sleep(permit.at - loop.time())
        granted.append((loop.time(), permit.token_id))
        loop.call_later(latency, end_now, permit)
    await asyncio.sleep(latency)
    unsubscribe()
    return granted


def times(granted: list[tuple[float, str]]) -> list[float]:
    return [at for at, _ in granted]


def acquired(limiter: Limiter, token: str, call: str) -> Permit:
    permit = limiter.try_acquire(call, (token,), now())
    assert not isinstance(permit, float)
    return permit


def wait_of(limiter: Limiter, token: str, call: str) -> float:
    permit = limiter.try_acquire(call, (token,), now())
    assert isinstance(permit, float)
    return permit


def test_permit_is_granted_or_the_wait_is_returned(opener: Opener) -> None:
    async def scenario() -> None:
        granted = times(await acquire_all(opener(LIMITS), ["token"], "push", 60.0))
        assert most_in_window(granted, 10.0) <= 6
        assert len(granted) >= 30

    run_virtual(scenario)


def test_permits_follow_the_answers(opener: Opener) -> None:
    async def scenario() -> None:
        granted = times(await acquire_all(opener(LIMITS), ["token"], "push", 120.0, latency=2.0))
        assert most_in_window(granted, 12.0) <= 6
        assert len(granted) >= 50

    run_virtual(scenario)


def test_first_token_that_may_send_gets_the_permit(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(LIMITS)
        assert [token for _, token in await acquire_all(limiter, ["a", "b"], "submit", 1.0)] == ["a", "b"]
        assert limiter.try_acquire("submit", (), now()) == float("inf")

    run_virtual(scenario)


def test_tokens_have_own_limits_and_the_account_has_one_for_all(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(LIMITS)
        assert most_in_window(times(await acquire_all(limiter, ["a", "b"], "push", 30.0)), 10.0) > 6
        assert most_in_window(times(await acquire_all(limiter, ["a", "b"], "labels", 180.0)), 60.0) <= 3

    run_virtual(scenario)


def test_call_passes_every_limit_that_names_it(opener: Opener) -> None:
    async def scenario() -> None:
        assert most_in_window(times(await acquire_all(opener(LIMITS), ["token"], "submit", 200.0)), 60.0) == 2

    run_virtual(scenario)


def test_request_in_flight_counts_until_its_end(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(ONE)
        permit = acquired(limiter, "token", "push")
        await asyncio.sleep(100.0)
        assert wait_of(limiter, "token", "push") == float("inf")
        permit.done(now())
        assert 60.0 < wait_of(limiter, "token", "push") < 61.0

    run_virtual(scenario)


def test_lost_request_counts_longer_than_an_answered_one(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(ONE)
        permit = acquired(limiter, "token", "push")
        permit.lost(now())
        assert 60.5 < wait_of(limiter, "token", "push") < 91.0

    run_virtual(scenario)


def test_cancelled_permit_no_longer_counts(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(ONE)
        acquired(limiter, "token", "push").cancel()
        await asyncio.sleep(60.5)
        acquired(limiter, "token", "push").cancel()

    run_virtual(scenario)


@pytest.mark.parametrize("first", ["done", "lost", "cancel"])
@pytest.mark.parametrize("second", ["done", "lost", "cancel"])
def test_second_end_of_a_permit_is_ignored(opener: Opener, first: str, second: str) -> None:
    def end(permit: Permit, kind: str) -> None:
        {"done": lambda: permit.done(now()), "lost": lambda: permit.lost(now()), "cancel": permit.cancel}[kind]()

    async def scenario() -> None:
        limiter, ended = opener(ONE), list[float]()
        limiter.subscribe(lambda: ended.append(now()))
        permit = acquired(limiter, "token", "push")
        end(permit, first)
        calls, before = len(ended), limiter.try_acquire("push", ("token",), now())
        await asyncio.sleep(1.0)
        end(permit, second)
        after = limiter.try_acquire("push", ("token",), now())
        assert len(ended) == calls == 1
        assert isinstance(before, float)
        assert isinstance(after, float)
        assert after == pytest.approx(before - 1.0, abs=0.6)

    run_virtual(scenario)


def test_subscribers_are_called_after_each_end_until_they_leave(opener: Opener) -> None:
    async def scenario() -> None:
        limiter, seen = opener(LIMITS), list[str]()
        leave = [limiter.subscribe(partial(seen.append, name)) for name in "ab"]
        acquired(limiter, "token", "push").done(now())
        assert sorted(seen) == ["a", "b"]
        leave[0]()
        leave[0]()
        await asyncio.sleep(10.0)
        acquired(limiter, "token", "push").cancel()
        assert sorted(seen) == ["a", "b", "b"]

    run_virtual(scenario)


def test_refusal_slows_down(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(LIMITS)
        assert limiter.slow_down("token", now()) is False
        assert len(await acquire_all(limiter, ["token"], "push", 5.0)) <= 3

    run_virtual(scenario)


def test_refusal_with_a_full_window_is_told_apart(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(ONE)
        acquired(limiter, "token", "push").done(now())
        assert limiter.slow_down("token", now()) is True

    run_virtual(scenario)


def test_requests_of_an_earlier_process_count(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(LIMITS)
        limiter.restore("token", {"batch": [1.0, 2.0], "no such limit": [0.0]})
        assert wait_of(limiter, "token", "submit") >= 58.0
        acquired(limiter, "token", "push").cancel()

    run_virtual(scenario)


def test_forgotten_token_stays_counted_for_the_account(opener: Opener) -> None:
    async def scenario() -> None:
        limiter = opener(LIMITS)
        before = await acquire_all(limiter, ["a"], "labels", 50.0)
        limiter.remove("a")
        limiter.remove("never known")
        after = await acquire_all(limiter, ["b"], "labels", 100.0)
        assert most_in_window(times(before + after), 60.0) <= 3

    run_virtual(scenario)
