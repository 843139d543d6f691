"""Test the estimate of the server's clock."""

from __future__ import annotations

import pytest

from truecaller_async.resilience.server_clock import ServerClock

NOON = 1_760_000_000.0


def clock_after(*dates: float, every: float = 1.0) -> ServerClock:
    """Build a clock after answers with these dates, one each `every` seconds from 0.0 on."""
    clock = ServerClock()
    for index, date in enumerate(dates):
        clock.record(date, index * every)
    return clock


def test_before_the_first_answer_the_local_clock_is_used() -> None:
    assert ServerClock().offset(100.0, NOON) == 0.0


def test_clock_that_agrees_within_two_seconds_is_trusted() -> None:
    assert clock_after(NOON).offset(0.0, NOON + 2.0) == 0.0
    assert clock_after(NOON).offset(0.0, NOON - 1.5) == 0.0


@pytest.mark.parametrize("skew", [-3600.0, -600.0, -3.0, 3.0, 600.0])
def test_wrong_clock_is_measured_from_one_answer_to_the_second(skew: float) -> None:
    clock = clock_after(NOON + skew)
    assert abs(clock.offset(500.0, NOON + 500.0) - skew) <= 0.5


def test_setting_the_local_clock_does_not_change_the_server_time() -> None:
    clock = clock_after(NOON, NOON + 1, NOON + 2)
    for step in (-3600.0, 3600.0):
        wall = NOON + 10 + step
        assert abs(wall + clock.offset(10.0, wall) - (NOON + 10)) <= 0.5


@pytest.mark.parametrize("index", range(5))
def test_one_false_date_changes_nothing(index: int) -> None:
    dates = [NOON + second for second in range(5)]
    dates[index] += 50_000.0
    assert clock_after(*dates).offset(5.0, NOON + 5) == 0.0


def test_two_contradicting_answers_change_nothing() -> None:
    clock = clock_after(NOON + 600, NOON + 7_000)
    assert clock.offset(2.0, NOON + 2) == 0.0
    assert not clock.is_sure(2.0, NOON + 2)


@pytest.mark.parametrize("date", [0.0, NOON - 31 * 86_400, NOON + 31 * 86_400, NOON + 10**10])
def test_clock_a_month_or_more_off_is_ignored(date: float) -> None:
    clock = clock_after(date, date + 1, date + 2)
    assert clock.offset(2.0, NOON + 2) == 0.0


def test_clock_offset_is_certain_from_the_second_answer() -> None:
    assert not ServerClock().is_sure(0.0, NOON)
    assert clock_after(NOON).is_sure(0.0, NOON)
    assert not clock_after(NOON + 600).is_sure(0.0, NOON)
    assert clock_after(NOON + 600, NOON + 601).is_sure(1.0, NOON + 1)


def test_three_answers_suffice_after_a_suspend_without_monotonic_clock() -> None:
    clock = clock_after(NOON, NOON + 1, NOON + 2, NOON + 3, NOON + 4)
    for index in range(3):
        clock.record(NOON + 7200 + 5 + index, 5.0 + index)
    assert clock.offset(8.0, NOON + 7200 + 8) == 0.0
