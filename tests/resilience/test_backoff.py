"""Test the waits before a retry and the cooldown after a 429."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.resilience.backoff import (
    COOLDOWN_JITTER_FACTOR,
    THROTTLED_CAP_SECONDS,
    cooldown_seconds,
    full_jitter,
)

seeds = st.integers(0, 2**32)


@given(st.integers(1, 10_000), st.floats(0.01, 10), st.floats(0.01, 100), seeds)
def test_backoff_is_between_zero_and_the_doubled_ceiling(retry: int, initial: float, cap: float, seed: int) -> None:
    wait = full_jitter(retry, initial, cap, Random(seed))
    assert 0.0 <= wait <= min(cap, initial * 2.0 ** min(retry - 1, 100))


def test_backoffs_are_spread_over_the_full_interval() -> None:
    rng = Random(1)
    waits = [full_jitter(3, 1.0, 30.0, rng) for _ in range(1000)]
    assert min(waits) < 0.1
    assert max(waits) > 3.9
    assert 1.8 < sum(waits) / len(waits) < 2.2


@pytest.mark.fault("F11")
@given(st.floats(0, 10_000), st.integers(1, 50), seeds)
def test_retry_after_is_respected_and_extended_by_at_most_a_tenth(asked: float, refusals: int, seed: int) -> None:
    assert asked <= cooldown_seconds(asked, refusals, Random(seed)) <= asked * (1 + COOLDOWN_JITTER_FACTOR)


@pytest.mark.fault("F14")
@given(st.integers(1, 1000), seeds)
def test_without_retry_after_the_cooldown_is_jitter_up_to_thirty_seconds(refusals: int, seed: int) -> None:
    assert 0.0 <= cooldown_seconds(None, refusals, Random(seed)) <= THROTTLED_CAP_SECONDS
