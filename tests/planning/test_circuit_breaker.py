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
from truecaller_async.planning.circuit_breaker import (
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


def sent(restraint: ServiceGuard, now: float, failure: Exception | None, *, again: bool = False) -> Grant:
    """One request that goes, and ends at once."""
    leave = restraint.try_acquire(now, again=again)
    assert leave is not None
    restraint.record(leave, failure, now)
    return leave


def broken(now: float = 0.0, failure: Exception = DOWN) -> ServiceGuard:
    """A restraint whose breaker has just opened."""
    restraint = ServiceGuard()
    for _ in range(FAILURE_THRESHOLD):
        sent(restraint, now, failure)
    return restraint


def spent() -> ServiceGuard:
    """A restraint whose budget is spent, with an open road."""
    restraint = ServiceGuard(budget=0.0)
    sent(restraint, 0.0, None)
    return restraint


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
    restraint = ServiceGuard()
    for _ in range(5):
        assert sent(restraint, 0.0, DOWN) is Grant.FIRST
    retries = [sent(restraint, 0.0, DOWN, again=True) for _ in range(10)]
    assert retries == [Grant.RETRY] * 10
    assert restraint.budget == pytest.approx(BUDGET_INITIAL + 0.5 - 10)


def test_idle_day_earns_no_large_budget() -> None:
    restraint = ServiceGuard()
    for _ in range(100_000):
        sent(restraint, 0.0, None)
    assert restraint.budget == BUDGET_MAX


def test_with_a_spent_budget_one_probe_runs_at_a_time() -> None:
    restraint = spent()
    probe = restraint.try_acquire(0.0, again=True)
    assert probe is Grant.PROBE
    assert restraint.try_acquire(0.0, again=True) is None
    assert restraint.wait(0.0, again=True) == RECHECK_SECONDS
    assert restraint.wait(0.0) == 0.0
    restraint.record(probe, None, 1.0)
    assert sent(restraint, 1.0, DOWN, again=True) is Grant.PROBE
    assert restraint.wait(1.0, again=True) == 10.0
    assert sent(restraint, 11.0, None, again=True) is Grant.PROBE


def test_spent_budget_never_delays_a_first_attempt() -> None:
    restraint = spent()
    sent(restraint, 0.0, DOWN, again=True)
    assert restraint.wait(0.0, again=True) > 0
    assert sent(restraint, 0.0, None) is Grant.FIRST


def test_retries_are_free_while_the_server_is_healthy() -> None:
    restraint = ServiceGuard(budget=0.0)
    for _ in range(RECOVERY_THRESHOLD):
        sent(restraint, 0.0, None)
    before = restraint.budget
    assert sent(restraint, 0.0, None, again=True) is Grant.FREE_RETRY
    assert restraint.budget == before
    sent(restraint, 0.0, DOWN)
    assert restraint.try_acquire(0.0, again=True) is not Grant.FREE_RETRY


@pytest.mark.parametrize(("failure", "seconds"), [(DOWN, 30.0), (NotSent("refused"), 30.0), (RateLimited(), 10.0)])
def test_twenty_failures_in_a_row_leave_only_periodic_probes(failure: Exception, seconds: float) -> None:
    restraint = broken(5.0, failure)
    assert restraint.is_open
    assert restraint.wait(5.0) == restraint.wait(5.0, again=True) == seconds
    assert sent(restraint, 5.0 + seconds, failure) is Grant.PROBE
    assert restraint.wait(5.0 + seconds) == seconds


def test_failed_retry_does_not_count_again() -> None:
    restraint = ServiceGuard(budget=100.0)
    sent(restraint, 0.0, DOWN)
    for _ in range(3 * FAILURE_THRESHOLD):
        assert sent(restraint, 0.0, DOWN, again=True) is Grant.RETRY
    assert not restraint.is_open
    assert not restraint.last_answer_was_good


def test_retry_probes_slow_down_after_five_minutes_and_open_nothing() -> None:
    restraint, now, probes = spent(), 0.0, 0
    while now < 3600.0:
        wait = restraint.wait(now, again=True)
        if wait:
            now += wait
            continue
        sent(restraint, now, DOWN, again=True)
        probes += 1
    assert probes <= 150
    assert restraint.is_degraded
    assert not restraint.is_open
    assert restraint.wait(now) == 0.0


def test_silent_probe_is_not_followed_at_once() -> None:
    restraint = broken()
    probe = restraint.try_acquire(30.0)
    assert probe is not None
    restraint.record(probe, AuthenticationFailed(401), 30.1)
    assert restraint.wait(30.1) == pytest.approx(29.9)


def test_only_a_deadline_of_seconds_counts_as_a_server_failure() -> None:
    late = DeadlineExceeded("late", sent="maybe")
    assert health_of(late, 2.0) is Health.BAD
    assert health_of(late, 0.15) is Health.SILENT


def test_nineteen_failures_do_not_open_the_breaker() -> None:
    restraint = ServiceGuard()
    for _ in range(FAILURE_THRESHOLD - 1):
        sent(restraint, 0.0, DOWN)
    sent(restraint, 0.0, BadRequest(400))
    sent(restraint, 0.0, DOWN)
    assert not restraint.is_open


def test_one_good_answer_to_any_call_closes_the_breaker() -> None:
    restraint = ServiceGuard()
    late = restraint.try_acquire(0.0)
    assert late is not None
    for _ in range(FAILURE_THRESHOLD):
        sent(restraint, 0.0, DOWN)
    assert restraint.is_open
    restraint.record(late, None, 1.0)
    assert not restraint.is_open
    assert restraint.try_acquire(1.0) is Grant.FIRST


def test_hanging_probe_is_replaced_at_once() -> None:
    restraint = broken()
    probe = restraint.try_acquire(30.0)
    assert probe is not None
    restraint.record(probe, ResponseLost("silence"), 60.0)
    assert restraint.wait(60.0) == 0.0


def test_cancelled_grant_counts_for_nothing() -> None:
    restraint = broken()
    probe = restraint.try_acquire(30.0)
    assert probe is not None
    restraint.cancel(probe)
    assert restraint.grant_counts[Grant.PROBE] == 0
    assert restraint.try_acquire(30.0) is Grant.PROBE
    other = ServiceGuard()
    paid = other.try_acquire(0.0, again=True)
    assert paid is Grant.RETRY
    other.cancel(paid)
    assert other.budget == BUDGET_INITIAL


@given(st.integers(0, 10**6), st.floats(0.0, 1.0), st.integers(1, 2_000))
def test_paid_retries_are_at_most_ten_plus_a_tenth_of_first_attempts(seed: int, bad: float, steps: int) -> None:
    dice, restraint, now = Random(seed), ServiceGuard(), 0.0
    flying: list[Grant] = []
    for _ in range(steps):
        now += dice.expovariate(2.0)
        leave = restraint.try_acquire(now, again=dice.random() < 0.5)
        if leave is not None:
            flying.append(leave)
        if flying and dice.random() < 0.6:
            restraint.record(flying.pop(dice.randrange(len(flying))), DOWN if dice.random() < bad else None, now)
        assert restraint.grant_counts[Grant.RETRY] <= BUDGET_INITIAL + 0.1 * restraint.grant_counts[Grant.FIRST] + 1e-6
        assert flying.count(Grant.PROBE) <= 1


@pytest.mark.parametrize(("failure", "most"), [(DOWN, 120), (NotSent("refused"), 120), (RateLimited(), 140)], ids=repr)
def test_hour_of_failures_gets_one_probe_per_half_minute_at_most(failure: Exception, most: int) -> None:
    restraint, now, requests = ServiceGuard(), 0.0, 0
    while now < 3600.0:
        wait = restraint.wait(now)
        if wait:
            now += wait
            continue
        sent(restraint, now, failure)
        requests += 1
    assert requests <= FAILURE_THRESHOLD + most
