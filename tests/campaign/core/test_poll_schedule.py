"""Test the learned delay of the first poll and the schedule of the later polls."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.campaign.core.poll_schedule import (
    FIRST_POLL_MIN_SECONDS,
    POLL_JITTER_FACTOR,
    AdaptiveFirstPoll,
    PollSchedule,
)
from truecaller_async.options import PollPolicy

policies = st.builds(
    PollPolicy, first=st.floats(0.01, 60), factor=st.floats(1, 4), cap=st.floats(1, 120), deadline=st.floats(1, 7200)
)


def learn(
    seconds: Callable[[Random], float], every: float, batches: int = 3000, policy: PollPolicy | None = None
) -> tuple[AdaptiveFirstPoll, float]:
    """Learn from consecutive batches. Returns the delay and the fraction of early polls in the second half."""
    first, rng, early = AdaptiveFirstPoll(policy or PollPolicy()), Random(3), list[bool]()
    due: list[tuple[float, float, bool]] = []
    for batch in range(batches):
        now = batch * every
        while due and due[0][0] <= now:
            early.append(record_poll(first, *heappop(due)))
        delay = first.delay
        heappush(due, (now + delay, delay, seconds(rng) <= delay))
    second_half = early[len(early) // 2 :]
    return first, sum(second_half) / len(second_half)


def record_poll(first: AdaptiveFirstPoll, now: float, delay: float, found: bool) -> bool:
    """Record the answer to a first poll; return whether the poll was early."""
    if found:
        first.record_on_time(delay, now)
    else:
        first.record_early(delay, now)
        first.record_pending(delay)
    return not found


@pytest.mark.parametrize("every", [0.05, 0.5, 20.0])
@pytest.mark.parametrize(("shortest", "longest"), [(0.5, 0.5), (5.0, 5.0), (2.0, 10.0), (30.0, 31.0), (60.0, 60.0)])
def test_about_one_first_poll_in_nine_is_early(shortest: float, longest: float, every: float) -> None:
    batches = max(3000, int(20 * longest / every))
    first, early = learn(lambda rng: rng.uniform(shortest, longest), every, batches)
    assert early <= 0.15
    assert shortest * 0.9 <= first.delay <= longest * 1.2


def test_delay_that_is_much_too_long_shrinks_faster() -> None:
    first = AdaptiveFirstPoll(PollPolicy())
    first.record_on_time(50.0, 0.0)
    first.record_early(50.0, 50.0)
    now, polls = 50.0, 0
    while first.delay > 2.0:
        now += first.delay
        first.record_on_time(first.delay, now)
        polls += 1
    assert polls < 60


def test_many_answers_to_one_delay_count_as_one() -> None:
    one, many = AdaptiveFirstPoll(PollPolicy()), AdaptiveFirstPoll(PollPolicy())
    for first, answers in ((one, 1), (many, 1000)):
        first.record_on_time(10.0, 10.0)
        for answer in range(1, answers + 1):
            first.record_early(10.0, 10.0 + 10.0 * answer / answers)
    assert one.delay <= many.delay <= one.delay * 1.02


def test_before_the_first_success_the_delay_grows_with_the_oldest_pending() -> None:
    first = AdaptiveFirstPoll(PollPolicy())
    first.record_pending(10.0)
    assert first.delay == 15.0
    first.record_on_time(9.0, 20.0)
    first.record_pending(50.0)
    assert 8.0 < first.delay < 9.0


@given(policies, st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=50))
def test_first_poll_stays_between_its_bounds(policy: PollPolicy, answers: list[tuple[bool, float]]) -> None:
    first, now = AdaptiveFirstPoll(policy), 0.0
    for found, pause in answers:
        now += pause
        record_poll(first, now, first.delay, found)
        assert min(FIRST_POLL_MIN_SECONDS, policy.first) <= first.delay <= max(policy.cap, policy.first)


def test_first_poll_is_postponed_once_its_delay_proved_too_short() -> None:
    schedule = PollSchedule(PollPolicy(), 100.0, 2.0)
    assert schedule.postpone_first(2.2, 102.0) is None
    assert schedule.postpone_first(5.0, 102.0) == 105.0
    assert schedule.postpone_first(5.0, 105.0) is None
    assert schedule.first == 5.0
    schedule.polls = 1
    assert schedule.postpone_first(50.0, 105.0) is None


def test_after_a_late_first_poll_the_policy_intervals_start() -> None:
    schedule = PollSchedule(PollPolicy(), 0.0, 50.0)
    assert 53.0 <= schedule.next_due(50.0, Random(0)) <= 53.3


@pytest.mark.fault("F42")
@given(policies, st.integers(0, 1000))
def test_polls_have_bounded_gaps_and_end_at_the_deadline(policy: PollPolicy, seed: int) -> None:
    rng, now = Random(seed), 100.0 + policy.first
    schedule = PollSchedule(policy, 100.0, policy.first)
    for _ in range(20):
        due = schedule.next_due(now, rng)
        assert now <= due <= max(now, schedule.deadline)
        assert due - now <= policy.cap * (1 + POLL_JITTER_FACTOR) + 1e-9
        now = due


@pytest.mark.fault("F42")
def test_default_intervals_grow_by_half_up_to_a_minute() -> None:
    schedule, gaps = PollSchedule(PollPolicy(), 0.0, 2.0), list[float]()
    for _ in range(12):
        schedule.next_due(0.0, Random(0))
        gaps.append(schedule.gap)
    assert gaps[:3] == [3.0, 4.5, 6.75]
    assert gaps[-1] == 60.0


@pytest.mark.fault("F42")
def test_default_policy_polls_18_times_in_ten_minutes_and_130_in_two_hours() -> None:
    for seed in range(100):
        rng, schedule = Random(seed), PollSchedule(PollPolicy(), 0.0, PollPolicy().first)
        times = [schedule.first]
        while times[-1] < schedule.deadline:
            times.append(schedule.next_due(times[-1], rng))
        assert sum(time <= 600 for time in times) <= 18
        assert len(times) <= 130
