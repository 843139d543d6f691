"""The rate law."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.virtual import most_in_window
from truecaller_async.options import Limits, RateLimit
from truecaller_async.planning.pace import (
    MARGIN,
    QUIET,
    SHARE_FLOOR,
    WARM_UP,
    Ring,
    Tempo,
    Warmth,
    burst_of,
    rate_of,
    window_of,
)

rules = st.builds(RateLimit, st.just("any"), st.integers(1, 200), st.floats(0.5, 120))
gaps = st.lists(st.floats(0, 200), max_size=60)


def test_enforced_window_is_longer_than_the_limit_window() -> None:
    assert window_of(RateLimit("batch", 60, 60.0)) == 60.0 * (1 + MARGIN)


@given(rules)
def test_burst_is_between_one_and_the_full_limit(rule: RateLimit) -> None:
    assert 1 <= burst_of(rule) <= max(1, rule.limit // 2)


def test_rate_of_a_call_is_that_of_its_tightest_token_limit() -> None:
    limits = Limits.documented()
    assert rate_of(limits, "submit") == 1.0
    assert rate_of(limits, "push") == 100.0
    assert rate_of(limits, "mint") == float("inf")


@pytest.mark.fault("F16")
@given(rules, gaps, st.floats(SHARE_FLOOR, 1.0))
def test_releases_that_sit_out_their_waits_keep_the_limit_in_any_window(
    rule: RateLimit, pauses: list[float], share: float
) -> None:
    ring, now, released = Ring(rule), 0.0, list[float]()
    for pause in pauses:
        now += pause
        while (wait := ring.wait(now, share)) > 0:
            now += wait
        ring.release(now)
        released.append(now)
    assert most_in_window(released, rule.per) <= max(1, int(rule.limit * share))


def test_release_is_allowed_exactly_when_the_nth_last_left_the_window() -> None:
    ring = Ring(RateLimit("pair", 2, 10.0))
    ring.release(0.0)
    assert ring.wait(1.0) == 0.0
    ring.release(1.0)
    assert ring.wait(4.0) == 10.2 - 4.0
    assert ring.wait(10.2) == 0.0


def test_remembered_releases_count_in_whatever_order_they_come() -> None:
    ring = Ring(RateLimit("pair", 2, 10.0))
    ring.release(5.0)
    ring.remember([3.0, -4.0, 1.0])
    assert ring.wait(6.0) == 3.0 + 10.2 - 6.0


def test_release_after_idle_time_counts_from_the_end_of_the_warm_up() -> None:
    warmth = Warmth(RateLimit("pair", 2, 1.0))
    moments = [warmth.moment(now) for now in (0.0, 0.1, WARM_UP + 0.1, QUIET, 3 * QUIET, 3 * QUIET + 0.1)]
    late = 3 * QUIET + WARM_UP
    assert moments == [WARM_UP, WARM_UP, WARM_UP + 0.1, QUIET, late, late]


def test_releases_spaced_by_a_slow_limit_are_no_idle_time() -> None:
    rule = RateLimit("slow", 1, 60.0)
    warmth = Warmth(rule)
    assert warmth.moment(0.0) == WARM_UP
    assert warmth.moment(1.5 * window_of(rule)) == 1.5 * window_of(rule)


@pytest.mark.fault("F14")
def test_refusal_halves_the_factor_at_most_once_in_ten_seconds() -> None:
    tempo = Tempo()
    tempo.slow_down(100.0)
    tempo.slow_down(109.9)
    assert tempo.share(100.0) == 0.5
    tempo.slow_down(110.0)
    assert 0.25 <= tempo.share(110.0) < 0.26


@pytest.mark.fault("F14")
def test_factor_never_falls_below_a_tenth() -> None:
    tempo = Tempo()
    for moment in range(0, 1000, 10):
        tempo.slow_down(float(moment))
    assert tempo.share(990.0) == SHARE_FLOOR


@pytest.mark.fault("F14")
def test_factor_recovers_by_a_tenth_per_minute_up_to_1() -> None:
    tempo = Tempo()
    assert tempo.share(0.0) == 1.0
    tempo.slow_down(0.0)
    assert abs(tempo.share(60.0) - 0.6) < 1e-9
    assert abs(tempo.share(240.0) - 0.9) < 1e-9
    assert tempo.share(3600.0) == 1.0
