"""Test the specification of the rate limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.virtual import most_in_window
from truecaller_async.options import Limits, RateLimit
from truecaller_async.resilience.rate_law import (
    IDLE_SECONDS,
    RATE_FACTOR_MIN,
    WARM_UP_SECONDS,
    WINDOW_MARGIN_FACTOR,
    AdaptiveRate,
    ConnectionWarmup,
    SlidingWindow,
    burst_size,
    calls_per_second,
    window_seconds,
)

rules = st.builds(RateLimit, st.just("any"), st.integers(1, 200), st.floats(0.5, 120))
gaps = st.lists(st.floats(0, 200), max_size=60)


def test_enforced_window_is_longer_than_the_limit_window() -> None:
    assert window_seconds(RateLimit("batch", 60, 60.0)) == 60.0 * (1 + WINDOW_MARGIN_FACTOR)


@given(rules)
def test_burst_is_between_one_and_the_full_limit(rule: RateLimit) -> None:
    assert 1 <= burst_size(rule) <= max(1, rule.limit // 2)


def test_rate_of_a_call_is_that_of_its_tightest_token_limit() -> None:
    limits = Limits.documented()
    assert calls_per_second(limits, "submit") == 1.0
    assert calls_per_second(limits, "push") == 100.0
    assert calls_per_second(limits, "mint") == float("inf")


@pytest.mark.fault("F16")
@given(rules, gaps, st.floats(RATE_FACTOR_MIN, 1.0))
def test_permits_after_their_waits_keep_the_limit_in_any_window(
    rule: RateLimit, pauses: list[float], factor: float
) -> None:
    window, now, released = SlidingWindow(rule), 0.0, list[float]()
    for pause in pauses:
        now += pause
        while (wait := window.wait(now, factor)) > 0:
            now += wait
        window.record(now)
        released.append(now)
    assert most_in_window(released, rule.per) <= max(1, int(rule.limit * factor))


def test_permit_is_granted_exactly_when_the_nth_last_left_the_window() -> None:
    window = SlidingWindow(RateLimit("pair", 2, 10.0))
    window.record(0.0)
    assert window.wait(1.0) == 0.0
    window.record(1.0)
    assert window.wait(4.0) == 10.2 - 4.0
    assert window.wait(10.2) == 0.0


def test_remembered_requests_count_in_whatever_order_they_come() -> None:
    window = SlidingWindow(RateLimit("pair", 2, 10.0))
    window.record(5.0)
    window.restore([3.0, -4.0, 1.0])
    assert window.wait(6.0) == 3.0 + 10.2 - 6.0


def test_request_after_idle_time_counts_from_the_end_of_the_warm_up() -> None:
    warmup = ConnectionWarmup(RateLimit("pair", 2, 1.0))
    times = [
        warmup.effective_time(now)
        for now in (0.0, 0.1, WARM_UP_SECONDS + 0.1, IDLE_SECONDS, 3 * IDLE_SECONDS, 3 * IDLE_SECONDS + 0.1)
    ]
    late = 3 * IDLE_SECONDS + WARM_UP_SECONDS
    assert times == [WARM_UP_SECONDS, WARM_UP_SECONDS, WARM_UP_SECONDS + 0.1, IDLE_SECONDS, late, late]


def test_requests_spaced_by_a_slow_limit_are_no_idle_time() -> None:
    rule = RateLimit("slow", 1, 60.0)
    warmup = ConnectionWarmup(rule)
    assert warmup.effective_time(0.0) == WARM_UP_SECONDS
    assert warmup.effective_time(1.5 * window_seconds(rule)) == 1.5 * window_seconds(rule)


@pytest.mark.fault("F14")
def test_refusal_halves_the_factor_at_most_once_in_ten_seconds() -> None:
    rate = AdaptiveRate()
    rate.slow_down(100.0)
    rate.slow_down(109.9)
    assert rate.factor(100.0) == 0.5
    rate.slow_down(110.0)
    assert 0.25 <= rate.factor(110.0) < 0.26


@pytest.mark.fault("F14")
def test_factor_never_falls_below_a_tenth() -> None:
    rate = AdaptiveRate()
    for now in range(0, 1000, 10):
        rate.slow_down(float(now))
    assert rate.factor(990.0) == RATE_FACTOR_MIN


@pytest.mark.fault("F14")
def test_factor_recovers_by_a_tenth_per_minute_up_to_1() -> None:
    rate = AdaptiveRate()
    assert rate.factor(0.0) == 1.0
    rate.slow_down(0.0)
    assert abs(rate.factor(60.0) - 0.6) < 1e-9
    assert abs(rate.factor(240.0) - 0.9) < 1e-9
    assert rate.factor(3600.0) == 1.0
