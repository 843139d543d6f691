"""The limiter of one process: requests are counted where they arrive, on a virtual loop."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.virtual import most_in_window, run_virtual
from truecaller_async.limits import LocalLimiter
from truecaller_async.limits.permit import LocalPermit
from truecaller_async.options import Limits, RateLimit
from truecaller_async.resilience.rate_law import LATE_MIN_SECONDS, RECOVERY_INITIAL_SECONDS, burst_size, window_seconds

GRANTS_COUNT = 260
"""Grants of one example: more than the largest limit, so that a window is full."""

rules = st.builds(
    RateLimit, st.just("any"), st.integers(1, 200), st.floats(0.5, 120), st.sampled_from(["token", "account"])
)


def now() -> float:
    return asyncio.get_running_loop().time()


async def changed(limiter: LocalLimiter) -> None:
    """Wait until a permit ends."""
    ended = asyncio.Event()
    unsubscribe = limiter.subscribe(ended.set)
    await ended.wait()
    unsubscribe()


async def wait_as_told(limiter: LocalLimiter, wait: float, factor: float = 1.0) -> None:
    if wait == float("inf"):
        await changed(limiter)
    else:
        await asyncio.sleep(wait * factor)


def is_granted(limiter: LocalLimiter, token: str, call: str) -> bool:
    """Ask for a permit whose answer comes at once."""
    permit = limiter.try_acquire(call, (token,), now())
    if isinstance(permit, LocalPermit):
        permit.done(now())
    return isinstance(permit, LocalPermit)


def wait_of(limiter: LocalLimiter, token: str, call: str) -> float:
    """Ask for a permit whose answer comes at once; return the wait, 0.0 if it is granted."""
    permit = limiter.try_acquire(call, (token,), now())
    if isinstance(permit, float):
        return permit
    permit.done(now())
    return 0.0


def end_now(permit: LocalPermit) -> None:
    permit.done(now())


async def saturate(
    limiter: LocalLimiter, token: str, call: str, seconds: float, late: float = 0.0, latency: float = 0.0
) -> list[float]:
    """Ask continuously; wait as told, and up to `late` seconds longer. Each answer takes `latency` seconds."""
    loop, rng, granted = asyncio.get_running_loop(), Random(1), list[float]()
    end = loop.time() + seconds
    while loop.time() < end:
        permit = limiter.try_acquire(call, (token,), loop.time())
        if isinstance(permit, float):
            await wait_as_told(limiter, permit + rng.random() * late)
            continue
        granted.append(loop.time())
        if latency:
            loop.call_later(latency, end_now, permit)
        else:
            permit.done(loop.time())
    return granted


async def send_randomly(limiter: LocalLimiter, token: str, rng: Random, scale: float, grants: int) -> list[float]:
    """Send in a random pattern: bursts, pauses, waits that are wrong, and requests that take any time or are lost.

    Returns:
        The times of arrival at the server.
    """
    loop, arrived = asyncio.get_running_loop(), list[float]()
    for _ in range(grants):
        while isinstance(permit := limiter.try_acquire("push", (token,), loop.time()), float):
            await wait_as_told(limiter, permit, rng.choice([1.0, 1.0, 1.01, 0.6]))
        taken, ends_at = permit, loop.time() + rng.random() ** 4 * scale
        kind = rng.choice(["done", "done", "done", "lost", "cancel"])
        if kind != "cancel":
            late = LATE_MIN_SECONDS if kind == "lost" else 0.0
            arrived.append(rng.uniform(loop.time(), ends_at + late))
        if kind == "cancel":
            loop.call_at(ends_at, taken.cancel)
        else:
            loop.call_at(ends_at, getattr(taken, kind), ends_at)
        if rng.random() < 0.05:
            await asyncio.sleep(rng.random() * scale)
    await asyncio.sleep(scale)
    return arrived


async def send_concurrently(rule: RateLimit, tokens: int, seed: int) -> list[list[float]]:
    limiter, rng = LocalLimiter(Limits((rule,))), Random(seed)
    share = GRANTS_COUNT // tokens
    senders = [send_randomly(limiter, f"token {n}", Random(rng.random()), rule.per * 2, share) for n in range(tokens)]
    return list(await asyncio.gather(*senders))


@settings(max_examples=40)
@given(rules, st.integers(1, 3), st.integers(0, 2**32))
def test_server_never_counts_more_than_the_limit(rule: RateLimit, tokens: int, seed: int) -> None:
    each = run_virtual(send_concurrently, rule, tokens, seed)
    together = [[time for arrived in each for time in arrived]]
    for arrived in each if rule.scope == "token" else together:
        assert most_in_window(sorted(arrived), rule.per) <= rule.limit


@pytest.mark.parametrize(
    ("limit", "per"), [(20, 1.0), (20, 60.0), (60, 60.0), (60, 6.0), (100, 1.0), (137, 33.3), (200, 0.5)]
)
@pytest.mark.parametrize("late", [0.0, 0.005])
def test_saturated_limit_is_used_to_at_least_97_percent(limit: int, per: float, late: float) -> None:
    rule = RateLimit("any", limit, per)
    limiter = LocalLimiter(Limits((rule,)))
    granted = run_virtual(saturate, limiter, "token", "push", 7 * per, late * min(1.0, per / limit))
    begins = window_seconds(rule)
    assert sum(time > begins for time in granted) >= 0.97 * limit * (granted[-1] - begins) / per
    assert most_in_window(granted, per) <= limit


@pytest.mark.parametrize(
    ("limit", "per", "latency"), [(100, 1.0, 0.02), (100, 1.0, 0.05), (100, 1.0, 0.1), (60, 6.0, 0.1), (60, 60.0, 2.0)]
)
def test_used_share_is_the_window_without_one_latency(limit: int, per: float, latency: float) -> None:
    rule = RateLimit("any", limit, per)
    windows = 20
    granted = run_virtual(saturate, LocalLimiter(Limits((rule,))), "token", "push", windows * per, 0.0, latency)
    steady = sum(time > 2 * per for time in granted) / (limit * (windows - 2))
    assert steady >= 0.985 / (1 + latency / per)


@pytest.mark.parametrize("limit", [5, 20, 100, 200])
def test_first_burst_and_preceding_idle_time_do_not_recur_in_each_window(limit: int) -> None:
    rule = RateLimit("any", limit, 1.0)
    granted = run_virtual(saturate, LocalLimiter(Limits((rule,))), "token", "push", 10.0)
    steady = [time for time in granted if time > 2 * window_seconds(rule)]
    longest = max(later - time for time, later in pairwise(steady))
    assert longest <= 1.6 * window_seconds(rule) / limit


@given(rules)
@settings(max_examples=25)
def test_idle_time_allows_no_more_than_the_small_burst(rule: RateLimit) -> None:
    async def at_once() -> int:
        limiter = LocalLimiter(Limits((rule,)))
        return sum(is_granted(limiter, "token", "push") for _ in range(rule.limit + 1))

    assert run_virtual(at_once) == burst_size(rule)


async def denied_often(times: int) -> list[float]:
    limiter = LocalLimiter(Limits((RateLimit("any", 10, 1.0),)))
    while is_granted(limiter, "token", "push"):
        pass
    for _ in range(times):
        assert wait_of(limiter, "token", "push") > 0.0
    return await saturate(limiter, "token", "push", 3.0)


def test_denied_acquire_charges_nothing() -> None:
    assert run_virtual(denied_often, 1000) == run_virtual(denied_often, 0)


async def two_rules() -> tuple[float, int]:
    """Return the wait for the batch limit, and the pushes that the token limit grants meanwhile."""
    limits = Limits((RateLimit("token", 4, 100.0), RateLimit("batch", 1, 10.0, calls=("submit",))))
    limiter = LocalLimiter(limits)
    assert is_granted(limiter, "token", "submit")
    for _ in range(50):
        wait = wait_of(limiter, "token", "submit")
    return wait, len(await saturate(limiter, "token", "push", 90.0))


def test_call_denied_by_one_limit_charges_none_of_its_limits() -> None:
    wait, pushes = run_virtual(two_rules)
    assert wait == pytest.approx(window_seconds(RateLimit("batch", 1, 10.0)), rel=0.02)
    assert pushes == 3


def test_lost_request_counts_as_in_flight_for_a_while() -> None:
    async def scene() -> None:
        limiter = LocalLimiter(Limits((RateLimit("any", 1, 10.0),)))
        permit = limiter.try_acquire("push", ("token",), now())
        assert isinstance(permit, LocalPermit)
        await asyncio.sleep(3.0)
        assert wait_of(limiter, "token", "push") == float("inf")
        permit.lost(now())
        assert wait_of(limiter, "token", "push") == pytest.approx(LATE_MIN_SECONDS + 10.011)

    run_virtual(scene)


async def slowed(rule: RateLimit) -> tuple[list[float], list[float]]:
    limiter = LocalLimiter(Limits((rule,)))
    await saturate(limiter, "token", "push", rule.per * 2)
    await asyncio.sleep(window_seconds(rule))
    assert limiter.slow_down("token", now()) is False
    just_after = await saturate(limiter, "token", "push", rule.per)
    await asyncio.sleep(RECOVERY_INITIAL_SECONDS)
    later = await saturate(limiter, "token", "push", rule.per * 3)
    return just_after, later


def test_refusal_halves_the_factor_and_half_a_minute_later_it_is_1() -> None:
    rule = RateLimit("any", 100, 1.0)
    just_after, later = run_virtual(slowed, rule)
    assert 45 <= len(just_after) <= 52
    assert most_in_window(later, rule.per) >= 97


def test_refusal_with_a_full_window_is_no_surprise() -> None:
    async def scene() -> None:
        limits = Limits((RateLimit("token", 9, 1.0), RateLimit("batch", 1, 10.0, calls=("submit",))))
        limiter = LocalLimiter(limits)
        assert limiter.slow_down("token", now()) is False
        assert is_granted(limiter, "token", "submit")
        assert limiter.slow_down("token", now()) is True

    run_virtual(scene)


async def slowed_by_turns() -> tuple[int, int]:
    limiter = LocalLimiter(Limits((RateLimit("any", 20, 10.0),)))
    limiter.slow_down("slow", now())
    each = await asyncio.gather(*(saturate(limiter, token, "push", 10.0) for token in ("slow", "other")))
    return len(each[0]), len(each[1])


def test_refusal_slows_its_own_token_only() -> None:
    slow, other = run_virtual(slowed_by_turns)
    assert slow <= 14
    assert other >= 19


async def wait_after_restore(ages: list[float]) -> float:
    limiter = LocalLimiter(Limits((RateLimit("any", 3, 60.0),)))
    limiter.restore("token", {"any": ages, "a limit of another time": [1.0]})
    return wait_of(limiter, "token", "push")


def test_requests_of_an_earlier_process_count() -> None:
    assert run_virtual(wait_after_restore, [1.0, 11.2, 31.2]) == pytest.approx(60.061 - 31.2)
    assert run_virtual(wait_after_restore, [1.0, 61.2]) == 0.0


async def wait_after_remove(scope: str) -> float:
    limiter = LocalLimiter(Limits((RateLimit("any", 1, 60.0, scope),)))  # type: ignore[arg-type]
    assert is_granted(limiter, "token", "push")
    limiter.remove("token")
    return wait_of(limiter, "another", "push")


def test_removed_token_removes_its_own_limits_only() -> None:
    assert run_virtual(wait_after_remove, "token") == 0.0
    assert run_virtual(wait_after_remove, "account") > 60.0


async def unlimited() -> list[float]:
    limiter = LocalLimiter(Limits((RateLimit("batch", 1, 60.0, calls=("submit",)),)))
    return [wait_of(limiter, "token", "push") for _ in range(1000)]


def test_call_without_a_limit_is_granted() -> None:
    assert set(run_virtual(unlimited)) == {0.0}
