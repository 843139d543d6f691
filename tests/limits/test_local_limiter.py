"""The limiter of one process: grants are counted, on a virtual loop."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.virtual import most_in_window, run_virtual
from truecaller_async.limits import LocalLimiter
from truecaller_async.options import Limits, RateLimit
from truecaller_async.resilience.rate_law import (
    IDLE_SECONDS,
    WARM_UP_SECONDS,
    SlidingWindow,
    burst_size,
    window_seconds,
)

GRANTS_COUNT = 260
"""Grants of one example: more than the largest limit, so that a window is full."""

rules = st.builds(
    RateLimit, st.just("any"), st.integers(1, 200), st.floats(0.5, 120), st.sampled_from(["token", "account"])
)


async def saturate(limiter: LocalLimiter, token: str, call: str, seconds: float, late: float = 0.0) -> list[float]:
    """Ask continuously; wait as told, and up to `late` seconds longer."""
    loop, rng, granted = asyncio.get_running_loop(), Random(1), list[float]()
    end = loop.time() + seconds
    while loop.time() < end:
        wait = await limiter.try_acquire(token, call)
        if wait:
            await asyncio.sleep(wait + rng.random() * late)
        else:
            granted.append(loop.time())
    return granted


async def acquire_randomly(limiter: LocalLimiter, token: str, rng: Random, scale: float, grants: int) -> list[float]:
    """Ask in a random pattern: bursts, pauses, and waits that are exact, too long or too short."""
    loop, granted = asyncio.get_running_loop(), list[float]()
    while len(granted) < grants:
        wait = await limiter.try_acquire(token, "push")
        if wait:
            await asyncio.sleep(wait * rng.choice([1.0, 1.0, 1.01, 0.6]))
        else:
            granted.append(loop.time())
            if rng.random() < 0.05:
                await asyncio.sleep(rng.random() * scale)
    return granted


async def acquire_concurrently(rule: RateLimit, tokens: int, seed: int) -> list[list[float]]:
    limiter, rng = LocalLimiter(Limits((rule,))), Random(seed)
    share = GRANTS_COUNT // tokens
    acquirers = [
        acquire_randomly(limiter, f"token {n}", Random(rng.random()), rule.per * 2, share) for n in range(tokens)
    ]
    return list(await asyncio.gather(*acquirers))


@settings(max_examples=40)
@given(rules, st.integers(1, 3), st.integers(0, 2**32))
def test_no_window_of_any_limit_holds_more_than_the_limit(rule: RateLimit, tokens: int, seed: int) -> None:
    each = run_virtual(acquire_concurrently, rule, tokens, seed)
    together = [sorted(time for granted in each for time in granted)]
    for granted in each if rule.scope == "token" else together:
        assert most_in_window(granted, rule.per) <= rule.limit
        window = SlidingWindow(rule)
        for time in granted:
            assert window.wait(time) == pytest.approx(0.0, abs=1e-9)
            window.record(time)


@pytest.mark.parametrize(
    ("limit", "per"), [(20, 1.0), (20, 60.0), (60, 60.0), (60, 6.0), (100, 1.0), (137, 33.3), (200, 0.5)]
)
@pytest.mark.parametrize("late", [0.0, 0.005])
def test_saturated_limit_is_used_to_at_least_97_percent(limit: int, per: float, late: float) -> None:
    rule = RateLimit("any", limit, per)
    limiter = LocalLimiter(Limits((rule,)))
    granted = run_virtual(saturate, limiter, "token", "push", WARM_UP_SECONDS + 6 * per, late * min(1.0, per / limit))
    begins = WARM_UP_SECONDS + window_seconds(rule)
    assert sum(time > begins for time in granted) >= 0.97 * limit * (granted[-1] - begins) / per
    assert most_in_window(granted, per) <= limit


@pytest.mark.parametrize("limit", [5, 20, 100, 200])
def test_first_burst_and_preceding_idle_time_do_not_recur_in_each_window(limit: int) -> None:
    rule = RateLimit("any", limit, 1.0)
    granted = run_virtual(saturate, LocalLimiter(Limits((rule,))), "token", "push", 10.0)
    steady = [time for time in granted if time > WARM_UP_SECONDS + 2 * window_seconds(rule)]
    longest = max(later - time for time, later in pairwise(steady))
    assert longest <= 1.6 * window_seconds(rule) / limit


async def saturate_twice(rule: RateLimit) -> tuple[list[float], list[float]]:
    """Return the arrival times of two saturated periods with an idle one between; the first requests arrive late."""
    limiter, loop, times = LocalLimiter(Limits((rule,))), asyncio.get_running_loop(), list[list[float]]()
    for _ in range(2):
        begins = loop.time()
        granted = await saturate(limiter, "token", "push", WARM_UP_SECONDS + 2 * rule.per)
        times.append([max(time, begins + WARM_UP_SECONDS) for time in granted])
        await asyncio.sleep(IDLE_SECONDS + 2 * window_seconds(rule))
    return times[0], times[1]


@given(st.builds(RateLimit, st.just("any"), st.integers(1, 200), st.floats(0.5, 20)))
@settings(max_examples=20)
def test_limit_holds_if_first_requests_wait_for_connections(
    rule: RateLimit,
) -> None:
    for arrived in run_virtual(saturate_twice, rule):
        assert most_in_window(arrived, rule.per) <= rule.limit


@given(rules)
@settings(max_examples=25)
def test_idle_time_allows_no_more_than_the_small_burst(rule: RateLimit) -> None:
    async def at_once() -> int:
        limiter = LocalLimiter(Limits((rule,)))
        return sum([await limiter.try_acquire("token", "push") == 0.0 for _ in range(rule.limit + 1)])

    assert run_virtual(at_once) == burst_size(rule)


async def denied_often(times: int) -> list[float]:
    limiter = LocalLimiter(Limits((RateLimit("any", 10, 1.0),)))
    while await limiter.try_acquire("token", "push") == 0.0:
        pass
    for _ in range(times):
        assert await limiter.try_acquire("token", "push") > 0.0
    return await saturate(limiter, "token", "push", 3.0)


def test_denied_acquire_charges_nothing() -> None:
    assert run_virtual(denied_often, 1000) == run_virtual(denied_often, 0)


async def two_rules() -> tuple[float, int]:
    """Return the wait for the batch limit, and the pushes that the token limit grants meanwhile."""
    limits = Limits((RateLimit("token", 4, 100.0), RateLimit("batch", 1, 10.0, calls=("submit",))))
    limiter = LocalLimiter(limits)
    assert await limiter.try_acquire("token", "submit") == 0.0
    for _ in range(50):
        wait = await limiter.try_acquire("token", "submit")
    return wait, len(await saturate(limiter, "token", "push", 90.0))


def test_call_denied_by_one_limit_charges_none_of_its_limits() -> None:
    wait, pushes = run_virtual(two_rules)
    assert wait == pytest.approx(window_seconds(RateLimit("batch", 1, 10.0)) + WARM_UP_SECONDS, rel=0.02)
    assert pushes == 3


async def slowed(rule: RateLimit) -> tuple[list[float], list[float]]:
    limiter = LocalLimiter(Limits((rule,)))
    await saturate(limiter, "token", "push", rule.per * 2)
    limiter.slow_down("token")
    await asyncio.sleep(window_seconds(rule))
    just_after = await saturate(limiter, "token", "push", rule.per * 3)
    await asyncio.sleep(600)
    later = await saturate(limiter, "token", "push", rule.per * 3)
    return just_after, later


def test_refusal_halves_the_factor_and_ten_minutes_later_it_is_1() -> None:
    rule = RateLimit("any", 100, 1.0)
    just_after, later = run_virtual(slowed, rule)
    assert 45 <= most_in_window(just_after, rule.per) <= 51
    assert most_in_window(later, rule.per) >= 97


async def slowed_by_turns() -> tuple[int, int]:
    limiter = LocalLimiter(Limits((RateLimit("any", 20, 10.0),)))
    limiter.slow_down("slow")
    each = await asyncio.gather(*(saturate(limiter, token, "push", 40.0) for token in ("slow", "other")))
    return most_in_window(each[0], 10.0), most_in_window(each[1], 10.0)


def test_refusal_slows_its_own_token_only() -> None:
    slow, other = run_virtual(slowed_by_turns)
    assert slow <= 11
    assert other >= 19


async def wait_after_restore(ages: list[float]) -> float:
    limiter = LocalLimiter(Limits((RateLimit("any", 3, 60.0),)))
    limiter.restore("token", {"any": ages, "a limit of another time": [1.0]})
    return await limiter.try_acquire("token", "push")


def test_requests_of_an_earlier_process_count() -> None:
    assert run_virtual(wait_after_restore, [1.0, 11.2, 31.2]) == pytest.approx(61.2 - 31.2)
    assert run_virtual(wait_after_restore, [1.0, 61.2]) == 0.0


async def wait_after_remove(scope: str) -> float:
    limiter = LocalLimiter(Limits((RateLimit("any", 1, 60.0, scope),)))  # type: ignore[arg-type]
    assert await limiter.try_acquire("token", "push") == 0.0
    limiter.remove("token")
    return await limiter.try_acquire("another", "push")


def test_removed_token_removes_its_own_limits_only() -> None:
    assert run_virtual(wait_after_remove, "token") == 0.0
    assert run_virtual(wait_after_remove, "account") > 60.0


async def unlimited() -> list[float]:
    limiter = LocalLimiter(Limits((RateLimit("batch", 1, 60.0, calls=("submit",)),)))
    return [await limiter.try_acquire("token", "push") for _ in range(1000)]


def test_call_without_a_limit_is_granted() -> None:
    assert set(run_virtual(unlimited)) == {0.0}
