"""Test the service guard: which requests it grants, and what their results change."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import (
    AuthenticationFailed,
    BadRequest,
    NotSent,
    RateLimited,
    ResponseLost,
    ServerError,
)
from truecaller_async.resilience.circuit_breaker import FAILURE_THRESHOLD
from truecaller_async.resilience.retry_budget import BUDGET_INITIAL, BUDGET_MAX, RECOVERY_THRESHOLD, RetryBudget
from truecaller_async.resilience.service_guard import RECHECK_SECONDS, Grant, ServiceGuard

DOWN = ServerError(503)


def send(guard: ServiceGuard, now: float, failure: Exception | None, *, is_retry: bool = False) -> Grant:
    """Send one request that is granted and ends at once."""
    grant = guard.try_acquire(now, is_retry=is_retry)
    assert grant is not None
    guard.record(grant, failure, now)
    return grant


def opened(now: float = 0.0, failure: Exception = DOWN) -> ServiceGuard:
    """Return a guard whose breaker has just opened."""
    guard = ServiceGuard()
    for _ in range(FAILURE_THRESHOLD):
        send(guard, now, failure)
    return guard


def without_budget() -> ServiceGuard:
    """Return a guard with an empty budget and a closed breaker."""
    guard = ServiceGuard(RetryBudget(0.0))
    send(guard, 0.0, None)
    return guard


def test_retry_budget_starts_at_ten_and_earns_a_tenth_per_first_attempt() -> None:
    guard = ServiceGuard()
    for _ in range(5):
        assert send(guard, 0.0, DOWN) is Grant.FIRST
    retries = [send(guard, 0.0, DOWN, is_retry=True) for _ in range(10)]
    assert retries == [Grant.RETRY] * 10
    assert guard.budget.balance == pytest.approx(BUDGET_INITIAL + 0.5 - 10)


def test_idle_day_earns_no_large_budget() -> None:
    guard = ServiceGuard()
    for _ in range(100_000):
        send(guard, 0.0, None)
    assert guard.budget.balance == BUDGET_MAX


def test_with_a_spent_budget_one_probe_runs_at_a_time() -> None:
    guard = without_budget()
    probe = guard.try_acquire(0.0, is_retry=True)
    assert probe is Grant.PROBE
    assert guard.try_acquire(0.0, is_retry=True) is None
    assert guard.wait(0.0, is_retry=True) == RECHECK_SECONDS
    assert guard.wait(0.0) == 0.0
    guard.record(probe, None, 1.0)
    assert send(guard, 1.0, DOWN, is_retry=True) is Grant.PROBE
    assert guard.wait(1.0, is_retry=True) == 10.0
    assert send(guard, 11.0, None, is_retry=True) is Grant.PROBE


def test_spent_budget_never_delays_a_first_attempt() -> None:
    guard = without_budget()
    send(guard, 0.0, DOWN, is_retry=True)
    assert guard.wait(0.0, is_retry=True) > 0
    assert send(guard, 0.0, None) is Grant.FIRST


def test_retries_are_free_while_the_server_is_healthy() -> None:
    guard = ServiceGuard(RetryBudget(0.0))
    for _ in range(RECOVERY_THRESHOLD):
        send(guard, 0.0, None)
    before = guard.budget.balance
    assert send(guard, 0.0, None, is_retry=True) is Grant.FREE_RETRY
    assert guard.budget.balance == before
    send(guard, 0.0, DOWN)
    assert guard.try_acquire(0.0, is_retry=True) is not Grant.FREE_RETRY


@pytest.mark.parametrize(("failure", "seconds"), [(DOWN, 30.0), (NotSent("refused"), 30.0), (RateLimited(), 10.0)])
def test_twenty_failures_in_a_row_leave_only_periodic_probes(failure: Exception, seconds: float) -> None:
    guard = opened(5.0, failure)
    assert guard.is_open
    assert guard.wait(5.0) == guard.wait(5.0, is_retry=True) == seconds
    assert send(guard, 5.0 + seconds, failure) is Grant.PROBE
    assert guard.wait(5.0 + seconds) == seconds


def test_failed_retry_does_not_count_again() -> None:
    guard = ServiceGuard(RetryBudget(100.0))
    send(guard, 0.0, DOWN)
    for _ in range(3 * FAILURE_THRESHOLD):
        assert send(guard, 0.0, DOWN, is_retry=True) is Grant.RETRY
    assert not guard.is_open
    assert not guard.last_answer_was_good


def test_retry_probes_slow_down_after_five_minutes_and_open_nothing() -> None:
    guard, now, probes = without_budget(), 0.0, 0
    while now < 3600.0:
        wait = guard.wait(now, is_retry=True)
        if wait:
            now += wait
            continue
        send(guard, now, DOWN, is_retry=True)
        probes += 1
    assert probes <= 150
    assert guard.is_degraded
    assert not guard.is_open
    assert guard.wait(now) == 0.0


def test_silent_probe_is_not_followed_at_once() -> None:
    guard = opened()
    probe = guard.try_acquire(30.0)
    assert probe is not None
    guard.record(probe, AuthenticationFailed(401), 30.1)
    assert guard.wait(30.1) == pytest.approx(29.9)


def test_nineteen_failures_do_not_open_the_breaker() -> None:
    guard = ServiceGuard()
    for _ in range(FAILURE_THRESHOLD - 1):
        send(guard, 0.0, DOWN)
    send(guard, 0.0, BadRequest(400))
    send(guard, 0.0, DOWN)
    assert not guard.is_open


def test_one_good_answer_to_any_call_closes_the_breaker() -> None:
    guard = ServiceGuard()
    late = guard.try_acquire(0.0)
    assert late is not None
    for _ in range(FAILURE_THRESHOLD):
        send(guard, 0.0, DOWN)
    assert guard.is_open
    guard.record(late, None, 1.0)
    assert not guard.is_open
    assert guard.try_acquire(1.0) is Grant.FIRST


def test_hanging_probe_is_replaced_at_once() -> None:
    guard = opened()
    probe = guard.try_acquire(30.0)
    assert probe is not None
    guard.record(probe, ResponseLost("silence"), 60.0)
    assert guard.wait(60.0) == 0.0


def test_cancelled_grant_counts_for_nothing() -> None:
    guard = opened()
    probe = guard.try_acquire(30.0)
    assert probe is not None
    guard.cancel(probe)
    assert guard.grant_counts[Grant.PROBE] == 0
    assert guard.try_acquire(30.0) is Grant.PROBE
    other = ServiceGuard()
    paid = other.try_acquire(0.0, is_retry=True)
    assert paid is Grant.RETRY
    other.cancel(paid)
    assert other.budget.balance == BUDGET_INITIAL


@given(st.integers(0, 10**6), st.floats(0.0, 1.0), st.integers(1, 2_000))
def test_paid_retries_are_at_most_ten_plus_a_tenth_of_first_attempts(seed: int, bad: float, steps: int) -> None:
    rng, guard, now = Random(seed), ServiceGuard(), 0.0
    in_flight: list[Grant] = []
    for _ in range(steps):
        now += rng.expovariate(2.0)
        grant = guard.try_acquire(now, is_retry=rng.random() < 0.5)
        if grant is not None:
            in_flight.append(grant)
        if in_flight and rng.random() < 0.6:
            guard.record(in_flight.pop(rng.randrange(len(in_flight))), DOWN if rng.random() < bad else None, now)
        assert guard.grant_counts[Grant.RETRY] <= BUDGET_INITIAL + 0.1 * guard.grant_counts[Grant.FIRST] + 1e-6
        assert in_flight.count(Grant.PROBE) <= 1


@pytest.mark.parametrize(("failure", "most"), [(DOWN, 120), (NotSent("refused"), 120), (RateLimited(), 140)], ids=repr)
def test_hour_of_failures_gets_one_probe_per_half_minute_at_most(failure: Exception, most: int) -> None:
    guard, now, requests = ServiceGuard(), 0.0, 0
    while now < 3600.0:
        wait = guard.wait(now)
        if wait:
            now += wait
            continue
        send(guard, now, failure)
        requests += 1
    assert requests <= FAILURE_THRESHOLD + most


def test_cancelled_first_attempt_gives_its_share_of_the_budget_back() -> None:
    guard = ServiceGuard()
    balance = guard.budget.balance
    grant = guard.try_acquire(0.0)
    assert grant is Grant.FIRST
    guard.cancel(grant)
    assert guard.budget.balance == pytest.approx(balance)
