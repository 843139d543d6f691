"""Test the specification of the rate limits."""

from __future__ import annotations

from heapq import heappop, heappush

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.virtual import most_in_window
from truecaller_async.options import Limits, RateLimit
from truecaller_async.resilience.rate_law import (
    CLOCK_RATE_FACTOR,
    LATE_MAX_SECONDS,
    LATE_MIN_SECONDS,
    RATE_FACTOR_MIN,
    RECOVERY_INITIAL_SECONDS,
    RECOVERY_MAX_SECONDS,
    ROUND_TRIPS_MAX,
    AdaptiveRate,
    RateWindow,
    RoundTrips,
    burst_size,
    calls_per_second,
    window_seconds,
)

WINDOW_SECONDS = 10.0

rules = st.builds(RateLimit, st.just("any"), st.integers(1, 200), st.floats(0.5, 120))


def test_enforced_window_is_longer_than_the_limit_window() -> None:
    assert window_seconds(RateLimit("batch", 60, 60.0)) == pytest.approx(60.061)


@given(rules)
def test_burst_is_between_one_and_the_full_limit(rule: RateLimit) -> None:
    assert 1 <= burst_size(rule) <= max(1, rule.limit // 2)


def test_rate_of_a_call_is_that_of_its_tightest_token_limit() -> None:
    limits = Limits.documented()
    assert calls_per_second(limits, "submit") == 1.0
    assert calls_per_second(limits, "push") == 100.0
    assert calls_per_second(limits, "mint") == float("inf")


@attrs.frozen
class Move:
    """One request: when it is wanted, and what happens to it. All times are in seconds."""

    pause: float
    """Time since the permit of the move before."""
    forward: float
    """From the permit to the arrival; for a lost request a fraction (0 to 1) of the time until it is late."""
    backward: float
    """From the arrival to the answer; for a lost request from the permit until it is given up."""
    noticed: float
    """From the answer to the end of the permit."""
    kind: str
    """answered, lost or cancelled."""


seconds = st.one_of(st.just(0.0), st.floats(0, 0.2), st.floats(0, 20))
moves = st.lists(
    st.builds(
        Move,
        seconds,
        st.one_of(st.sampled_from((0.0, 1.0)), st.floats(0, 1)),
        seconds,
        st.one_of(st.just(0.0), st.floats(0, 1)),
        st.sampled_from(("answered", "answered", "answered", "lost", "cancelled")),
    ),
    max_size=40,
)
clock_rates = st.sampled_from((1.0, CLOCK_RATE_FACTOR, 1 / CLOCK_RATE_FACTOR))
small_rules = st.builds(RateLimit, st.just("any"), st.integers(1, 6), st.floats(0.1, 30))


class Play:
    """Requests under one window, and their arrivals at a server."""

    def __init__(self, rule: RateLimit, factor: float) -> None:
        self.window = RateWindow(rule)
        self.factor = factor
        self.now = 0.0
        self.arrivals: list[float] = []
        self._ends: list[tuple[float, int, float | None]] = []
        self._scheduled = 0

    def advance(self, to: float) -> None:
        """Let the time pass; permits end on the way."""
        while self._ends and self._ends[0][0] <= to:
            self.now, _, counts_at = heappop(self._ends)
            self.window.cancel() if counts_at is None else self.window.end(counts_at)
        self.now = to

    def await_permit(self) -> None:
        """Wait as long as the window says; then there must be a permit."""
        while (wait := self.window.wait(self.now, self.factor)) == float("inf"):
            self.advance(self._ends[0][0])  # fails if no end is due: then the wait would never end
        if wait > 0:
            self.advance(self.now + wait)
        assert self.window.wait(self.now, self.factor) == 0.0
        self.window.grant()

    def send(self, move: Move) -> None:
        self.advance(self.now + move.pause)
        self.await_permit()
        began = self.now
        if move.kind == "cancelled":
            self._end(began + move.backward, None)
        elif move.kind == "lost":
            counts_at = began + move.backward + LATE_MIN_SECONDS
            self.arrivals.append(began + move.forward * (counts_at - began))
            self._end(began + move.backward + move.noticed, counts_at)
        else:
            answered_at = began + move.forward + move.backward
            self.arrivals.append(began + move.forward)
            self._end(answered_at + move.noticed, answered_at)

    def _end(self, at: float, counts_at: float | None) -> None:
        self._scheduled += 1
        heappush(self._ends, (at, self._scheduled, counts_at))


@pytest.mark.fault("F16")
@given(
    small_rules,
    moves,
    st.floats(RATE_FACTOR_MIN, 1.0),
    st.sampled_from((1.0, CLOCK_RATE_FACTOR, 1 / CLOCK_RATE_FACTOR)),
)
def test_server_counts_no_window_with_more_than_the_limit(
    rule: RateLimit, requests: list[Move], factor: float, clock_rate: float
) -> None:
    play = Play(rule, factor)
    for move in requests:
        play.send(move)
    seen = sorted(at * clock_rate for at in play.arrivals)
    assert most_in_window(seen, rule.per) <= max(1, int(rule.limit * factor))


def test_request_counts_as_now_until_its_answer_and_then_at_it() -> None:
    window = RateWindow(RateLimit("pair", 2, 10.0))
    window.grant()
    assert window.wait(1.0) == 0.0
    window.grant()
    assert window.wait(1.0) == window.wait(500.0) == float("inf")
    window.end(3.0)
    assert window.wait(4.0) == pytest.approx(13.011 - 4.0)
    assert window.wait(13.011) == 0.0


def test_cancelled_request_does_not_count() -> None:
    window = RateWindow(RateLimit("one", 1, 10.0))
    window.grant()
    assert window.is_full(0.0)
    window.cancel()
    assert window.wait(0.0) == 0.0


def test_remembered_requests_count_in_whatever_order_they_come() -> None:
    window = RateWindow(RateLimit("pair", 2, 10.0))
    window.grant()
    window.end(5.0)
    window.restore([3.0, -4.0, 1.0])
    assert window.wait(6.0) == pytest.approx(3.0 + 10.011 - 6.0)


def test_lost_request_may_be_late_by_twice_the_longest_recent_round_trip() -> None:
    round_trips = RoundTrips()
    assert round_trips.late_seconds() == LATE_MIN_SECONDS
    for duration in (0.1, 3.0, 0.2):
        round_trips.record(duration)
    assert round_trips.late_seconds() == 6.0
    round_trips.record(100.0)
    assert round_trips.late_seconds() == LATE_MAX_SECONDS
    for _ in range(ROUND_TRIPS_MAX):
        round_trips.record(1.0)
    assert round_trips.late_seconds() == 2.0


@pytest.mark.fault("F14")
def test_refusal_halves_the_factor_and_it_recovers_in_a_straight_line() -> None:
    rate = AdaptiveRate(WINDOW_SECONDS)
    assert rate.factor(0.0) == 1.0
    rate.slow_down(100.0)
    assert [rate.factor(100.0 + after) for after in (0.0, 15.0, 30.0, 3600.0)] == [0.5, 0.75, 1.0, 1.0]


@pytest.mark.fault("F14")
def test_refusal_before_the_recovery_doubles_its_time() -> None:
    rate = AdaptiveRate(WINDOW_SECONDS)
    rate.slow_down(0.0)
    rate.slow_down(15.0)
    assert [rate.factor(15.0 + after) for after in (0.0, 30.0, 60.0)] == [0.375, 0.6875, 1.0]
    now = 20.0
    for _ in range(10):
        rate.slow_down(now)
        now += 1.0
    assert rate.factor(now - 1.0 + RECOVERY_MAX_SECONDS - 0.1) < 1.0
    assert rate.factor(now - 1.0 + RECOVERY_MAX_SECONDS) == 1.0
    rate.slow_down(2000.0)
    assert rate.factor(2000.0 + RECOVERY_INITIAL_SECONDS) == 1.0


@pytest.mark.fault("F17")
@pytest.mark.parametrize(("after", "recovery"), [(39.9, 60.0), (40.0, 30.0)])
def test_refusal_in_the_window_after_the_recovery_still_doubles_its_time(after: float, recovery: float) -> None:
    rate = AdaptiveRate(WINDOW_SECONDS)
    rate.slow_down(0.0)
    rate.slow_down(after)
    assert rate.factor(after + recovery - 0.1) < 1.0
    assert rate.factor(after + recovery) == 1.0


@pytest.mark.fault("F14")
def test_refusals_of_one_overload_count_once() -> None:
    rate = AdaptiveRate(WINDOW_SECONDS)
    rate.slow_down(100.0, 2.0)
    rate.slow_down(101.9, 2.0)
    assert rate.factor(100.0) == 0.5
    rate.slow_down(102.0, 2.0)
    assert rate.factor(102.0) < 0.3


@pytest.mark.fault("F14")
def test_factor_never_falls_below_a_tenth() -> None:
    rate = AdaptiveRate(WINDOW_SECONDS)
    for now in range(100):
        rate.slow_down(float(now))
    assert rate.factor(99.0) == RATE_FACTOR_MIN
