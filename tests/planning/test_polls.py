"""When to ask for a status."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.options import PollPolicy
from truecaller_async.planning.polls import JITTER, SOONEST, FirstPoll, PollPlan

policies = st.builds(
    PollPolicy, first=st.floats(0.01, 60), factor=st.floats(1, 4), cap=st.floats(1, 120), deadline=st.floats(1, 7200)
)


def test_the_first_poll_learns_the_time_that_batches_take() -> None:
    rng, first, hits = Random(3), FirstPoll(PollPolicy()), 0
    for turn in range(2000):
        used = first.delay
        if rng.uniform(5.0, 6.0) <= used:
            hits += turn >= 200
            first.came_in_time(used)
        else:
            first.came_early(used)
    assert 5.0 < first.delay < 9.0
    assert hits / 1800 > 0.7


def test_answers_to_an_earlier_delay_teach_nothing() -> None:
    first = FirstPoll(PollPolicy())
    first.came_early(1.0)
    first.came_in_time(5.0)
    assert first.delay == PollPolicy().first


def test_one_early_poll_moves_the_first_poll_by_a_small_step_later() -> None:
    first = FirstPoll(PollPolicy())
    first.came_early(2.0)
    assert 2.0 < first.delay <= 3.0


@given(policies, st.lists(st.booleans(), max_size=50))
def test_the_first_poll_stays_between_its_bounds(policy: PollPolicy, in_time: list[bool]) -> None:
    first = FirstPoll(policy)
    for found in in_time:
        if found:
            first.came_in_time(first.delay)
        else:
            first.came_early(first.delay)
        assert min(SOONEST, policy.first) <= first.delay <= max(policy.cap, policy.first)


@given(policies, st.integers(0, 1000))
def test_f42_polls_go_forward_with_bounded_gaps_and_end_at_the_deadline(policy: PollPolicy, seed: int) -> None:
    rng, now = Random(seed), 100.0 + policy.first
    plan = PollPlan(policy, 100.0, policy.first)
    for _ in range(20):
        due = plan.next_due(now, rng)
        assert now <= due <= max(now, plan.deadline)
        assert due - now <= policy.cap * (1 + JITTER) + 1e-9
        now = due


def test_f42_the_waits_of_the_default_policy_grow_by_half_up_to_a_minute() -> None:
    plan, gaps = PollPlan(PollPolicy(), 0.0, 2.0), list[float]()
    for _ in range(12):
        plan.next_due(0.0, Random(0))
        gaps.append(plan.gap)
    assert gaps[:3] == [3.0, 4.5, 6.75]
    assert gaps[-1] == 60.0


def test_f42_the_default_policy_asks_at_most_18_times_in_ten_minutes_and_130_times_in_two_hours() -> None:
    for seed in range(100):
        rng, plan = Random(seed), PollPlan(PollPolicy(), 0.0, PollPolicy().first)
        times = [plan.first]
        while times[-1] < plan.deadline:
            times.append(plan.next_due(times[-1], rng))
        assert sum(time <= 600 for time in times) <= 18
        assert len(times) <= 130
