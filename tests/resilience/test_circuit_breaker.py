"""The retry budget and the breaker, as their docstring says."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import (
    AuthenticationFailed,
    BadRequest,
    DeadlineExceeded,
    DecodeError,
    NotSent,
    PushRejected,
    RateLimited,
    ResponseLost,
    ServerError,
)
from truecaller_async.resilience.circuit_breaker import (
    BUDGET_INITIAL,
    BUDGET_MAX,
    FAILURE_THRESHOLD,
    RECHECK_SECONDS,
    RECOVERY_THRESHOLD,
    Grant,
    Health,
    ServiceGuard,
    health_of,
)

DOWN = ServerError(503)


def sent(guard: ServiceGuard, now: float, failure: Exception | None, *, again: bool = False) -> Grant:
    """One request that goes, and ends at once."""
    grant = guard.try_acquire(now, is_retry=again)
    assert grant is not None
    guard.record(grant, failure, now)
    return grant


def broken(now: float = 0.0, failure: Exception = DOWN) -> ServiceGuard:
    """A restraint whose breaker has just opened."""
    guard = ServiceGuard()
    for _ in range(FAILURE_THRESHOLD):
        sent(guard, now, failure)
    return guard


def spent() -> ServiceGuard:
    """A restraint whose budget is spent, with an open road."""
    guard = ServiceGuard(budget=0.0)
    sent(guard, 0.0, None)
    return guard


@pytest.mark.parametrize(
    ("failure", "health"),
    [
        (None, Health.GOOD),
        (BadRequest(400), Health.GOOD),
        (PushRejected(None, None), Health.GOOD),
        (RateLimited(), Health.THROTTLED),
        (ServerError(500), Health.BAD),
        (ResponseLost("lost"), Health.BAD),
        (NotSent("refused"), Health.BAD),
        (AuthenticationFailed(401), Health.SILENT),
        (DecodeError("strange"), Health.SILENT),
    ],
    ids=repr,
)
def test_result_class_decides_what_an_answer_says_about_server_health(
    failure: Exception | None, health: Health
) -> None:
    assert health_of(failure) is health


def test_retry_budget_starts_at_ten_and_earns_a_tenth_per_first_attempt() -> None:
    guard = ServiceGuard()
    for _ in range(5):
        assert sent(guard, 0.0, DOWN) is Grant.FIRST
    retries = [sent(guard, 0.0, DOWN, again=True) for _ in range(10)]
    assert retries == [Grant.RETRY] * 10
    assert guard.budget == pytest.approx(BUDGET_INITIAL + 0.5 - 10)


def test_idle_day_earns_no_large_budget() -> None:
    guard = ServiceGuard()
    for _ in range(100_000):
        sent(guard, 0.0, None)
    assert guard.budget == BUDGET_MAX


def test_with_a_spent_budget_one_probe_runs_at_a_time() -> None:
    guard = spent()
    probe = guard.try_acquire(0.0, is_retry=True)
    assert probe is Grant.PROBE
    assert guard.try_acquire(0.0, is_retry=True) is None
    assert guard.wait(0.0, is_retry=True) == RECHECK_SECONDS
    assert guard.wait(0.0) == 0.0
    guard.record(probe, None, 1.0)
    assert sent(guard, 1.0, DOWN, again=True) is Grant.PROBE
    assert guard.wait(1.0, is_retry=True) == 10.0
    assert sent(guard, 11.0, None, again=True) is Grant.PROBE


def test_spent_budget_never_delays_a_first_attempt() -> None:
    guard = spent()
    sent(guard, 0.0, DOWN, again=True)
    assert guard.wait(0.0, is_retry=True) > 0
    assert sent(guard, 0.0, None) is Grant.FIRST


def test_retries_are_free_while_the_server_is_healthy() -> None:
    guard = ServiceGuard(budget=0.0)
    for _ in range(RECOVERY_THRESHOLD):
        sent(guard, 0.0, None)
    before = guard.budget
    assert sent(guard, 0.0, None, again=True) is Grant.FREE_RETRY
    assert guard.budget == before
    sent(guard, 0.0, DOWN)
    assert guard.try_acquire(0.0, is_retry=True) is not Grant.FREE_RETRY


@pytest.mark.parametrize(("failure", "seconds"), [(DOWN, 30.0), (NotSent("refused"), 30.0), (RateLimited(), 10.0)])
def test_twenty_failures_in_a_row_leave_only_periodic_probes(failure: Exception, seconds: float) -> None:
    guard = broken(5.0, failure)
    assert guard.is_open
    assert guard.wait(5.0) == guard.wait(5.0, is_retry=True) == seconds
    assert sent(guard, 5.0 + seconds, failure) is Grant.PROBE
    assert guard.wait(5.0 + seconds) == seconds


def test_failed_retry_does_not_count_again() -> None:
    guard = ServiceGuard(budget=100.0)
    sent(guard, 0.0, DOWN)
    for _ in range(3 * FAILURE_THRESHOLD):
        assert sent(guard, 0.0, DOWN, again=True) is Grant.RETRY
    assert not guard.is_open
    assert not guard.last_answer_was_good


def test_retry_probes_slow_down_after_five_minutes_and_open_nothing() -> None:
    guard, now, probes = spent(), 0.0, 0
    while now < 3600.0:
        wait = guard.wait(now, is_retry=True)
        if wait:
            now += wait
            continue
        sent(guard, now, DOWN, again=True)
        probes += 1
    assert probes <= 150
    assert guard.is_degraded
    assert not guard.is_open
    assert guard.wait(now) == 0.0


def test_silent_probe_is_not_followed_at_once() -> None:
    guard = broken()
    probe = guard.try_acquire(30.0)
    assert probe is not None
    guard.record(probe, AuthenticationFailed(401), 30.1)
    assert guard.wait(30.1) == pytest.approx(29.9)


def test_only_a_deadline_of_seconds_counts_as_a_server_failure() -> None:
    late = DeadlineExceeded("late", sent="maybe")
    assert health_of(late, 2.0) is Health.BAD
    assert health_of(late, 0.15) is Health.SILENT


def test_nineteen_failures_do_not_open_the_breaker() -> None:
    guard = ServiceGuard()
    for _ in range(FAILURE_THRESHOLD - 1):
        sent(guard, 0.0, DOWN)
    sent(guard, 0.0, BadRequest(400))
    sent(guard, 0.0, DOWN)
    assert not guard.is_open


def test_one_good_answer_to_any_call_closes_the_breaker() -> None:
    guard = ServiceGuard()
    late = guard.try_acquire(0.0)
    assert late is not None
    for _ in range(FAILURE_THRESHOLD):
        sent(guard, 0.0, DOWN)
    assert guard.is_open
    guard.record(late, None, 1.0)
    assert not guard.is_open
    assert guard.try_acquire(1.0) is Grant.FIRST


def test_hanging_probe_is_replaced_at_once() -> None:
    guard = broken()
    probe = guard.try_acquire(30.0)
    assert probe is not None
    guard.record(probe, ResponseLost("silence"), 60.0)
    assert guard.wait(60.0) == 0.0


def test_cancelled_grant_counts_for_nothing() -> None:
    guard = broken()
    probe = guard.try_acquire(30.0)
    assert probe is not None
    guard.cancel(probe)
    assert guard.grant_counts[Grant.PROBE] == 0
    assert guard.try_acquire(30.0) is Grant.PROBE
    other = ServiceGuard()
    paid = other.try_acquire(0.0, is_retry=True)
    assert paid is Grant.RETRY
    other.cancel(paid)
    assert other.budget == BUDGET_INITIAL


@given(st.integers(0, 10**6), st.floats(0.0, 1.0), st.integers(1, 2_000))
def test_paid_retries_are_at_most_ten_plus_a_tenth_of_first_attempts(seed: int, bad: float, steps: int) -> None:
    dice, guard, now = Random(seed), ServiceGuard(), 0.0
    flying: list[Grant] = []
    for _ in range(steps):
        now += dice.expovariate(2.0)
        grant = guard.try_acquire(now, is_retry=dice.random() < 0.5)
        if grant is not None:
            flying.append(grant)
        if flying and dice.random() < 0.6:
            guard.record(flying.pop(dice.randrange(len(flying))), DOWN if dice.random() < bad else None, now)
        assert guard.grant_counts[Grant.RETRY] <= BUDGET_INITIAL + 0.1 * guard.grant_counts[Grant.FIRST] + 1e-6
        assert flying.count(Grant.PROBE) <= 1


@pytest.mark.parametrize(("failure", "most"), [(DOWN, 120), (NotSent("refused"), 120), (RateLimited(), 140)], ids=repr)
def test_hour_of_failures_gets_one_probe_per_half_minute_at_most(failure: Exception, most: int) -> None:
    guard, now, requests = ServiceGuard(), 0.0, 0
    while now < 3600.0:
        wait = guard.wait(now)
        if wait:
            now += wait
            continue
        sent(guard, now, failure)
        requests += 1
    assert requests <= FAILURE_THRESHOLD + most
