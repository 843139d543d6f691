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
from truecaller_async.planning.restraint import (
    BREAKS_AFTER,
    CEILING,
    FLOOR,
    LOOK_AGAIN,
    WELL_AFTER,
    Health,
    Leave,
    Restraint,
    health_of,
)

DOWN = ServerError(503)


def sent(restraint: Restraint, now: float, failure: Exception | None, *, again: bool = False) -> Leave:
    """One request that goes, and ends at once."""
    leave = restraint.ask(now, again=again)
    assert leave is not None
    restraint.ended(leave, failure, now)
    return leave


def broken(now: float = 0.0, failure: Exception = DOWN) -> Restraint:
    """A restraint whose breaker has just opened."""
    restraint = Restraint()
    for _ in range(BREAKS_AFTER):
        sent(restraint, now, failure)
    return restraint


def spent() -> Restraint:
    """A restraint whose budget is spent, with an open road."""
    restraint = Restraint(budget=0.0)
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
def test_an_end_says_of_the_servers_health_what_its_class_means(failure: Exception | None, health: Health) -> None:
    assert health_of(failure) is health


def test_a_small_run_has_ten_retries_and_a_first_attempt_earns_a_tenth_of_one() -> None:
    restraint = Restraint()
    for _ in range(5):
        assert sent(restraint, 0.0, DOWN) is Leave.FIRST
    retries = [sent(restraint, 0.0, DOWN, again=True) for _ in range(10)]
    assert retries == [Leave.PAID] * 10
    assert restraint.budget == pytest.approx(FLOOR + 0.5 - 10)


def test_a_quiet_day_buys_no_storm() -> None:
    restraint = Restraint()
    for _ in range(100_000):
        sent(restraint, 0.0, None)
    assert restraint.budget == CEILING


def test_where_the_budget_is_spent_one_probe_goes_at_a_time() -> None:
    restraint = spent()
    probe = restraint.ask(0.0, again=True)
    assert probe is Leave.PROBE
    assert restraint.ask(0.0, again=True) is None
    assert restraint.wait(0.0, again=True) == LOOK_AGAIN
    assert restraint.wait(0.0) == 0.0
    restraint.ended(probe, None, 1.0)
    assert sent(restraint, 1.0, DOWN, again=True) is Leave.PROBE
    assert restraint.wait(1.0, again=True) == 10.0
    assert sent(restraint, 11.0, None, again=True) is Leave.PROBE


def test_a_spent_budget_never_holds_up_a_first_attempt() -> None:
    restraint = spent()
    sent(restraint, 0.0, DOWN, again=True)
    assert restraint.wait(0.0, again=True) > 0
    assert sent(restraint, 0.0, None) is Leave.FIRST


def test_while_the_server_is_well_retries_are_free() -> None:
    restraint = Restraint(budget=0.0)
    for _ in range(WELL_AFTER):
        sent(restraint, 0.0, None)
    before = restraint.budget
    assert sent(restraint, 0.0, None, again=True) is Leave.FREE
    assert restraint.budget == before
    sent(restraint, 0.0, DOWN)
    assert restraint.ask(0.0, again=True) is not Leave.FREE


@pytest.mark.parametrize(("failure", "seconds"), [(DOWN, 30.0), (NotSent("refused"), 30.0), (RateLimited(), 10.0)])
def test_twenty_bad_answers_in_a_row_leave_one_probe_now_and_then(failure: Exception, seconds: float) -> None:
    restraint = broken(5.0, failure)
    assert restraint.is_open
    assert restraint.wait(5.0) == restraint.wait(5.0, again=True) == seconds
    assert sent(restraint, 5.0 + seconds, failure) is Leave.PROBE
    assert restraint.wait(5.0 + seconds) == seconds


def test_a_retry_that_fails_says_nothing_new() -> None:
    restraint = Restraint(budget=100.0)
    sent(restraint, 0.0, DOWN)
    for _ in range(3 * BREAKS_AFTER):
        assert sent(restraint, 0.0, DOWN, again=True) is Leave.PAID
    assert not restraint.is_open
    assert not restraint.is_answered


def test_probes_of_retries_go_slower_after_five_minutes_and_open_nothing() -> None:
    restraint, now, probes = spent(), 0.0, 0
    while now < 3600.0:
        wait = restraint.wait(now, again=True)
        if wait:
            now += wait
            continue
        sent(restraint, now, DOWN, again=True)
        probes += 1
    assert probes <= 150
    assert restraint.is_strained
    assert not restraint.is_open
    assert restraint.wait(now) == 0.0


def test_a_probe_that_ends_in_silence_is_not_followed_at_once() -> None:
    restraint = broken()
    probe = restraint.ask(30.0)
    assert probe is not None
    restraint.ended(probe, AuthenticationFailed(401), 30.1)
    assert restraint.wait(30.1) == pytest.approx(29.9)


def test_a_deadline_of_seconds_that_passes_speaks_of_the_server_a_short_one_of_the_caller() -> None:
    late = DeadlineExceeded("late", sent="maybe")
    assert health_of(late, 2.0) is Health.BAD
    assert health_of(late, 0.15) is Health.SILENT


def test_nineteen_do_not() -> None:
    restraint = Restraint()
    for _ in range(BREAKS_AFTER - 1):
        sent(restraint, 0.0, DOWN)
    sent(restraint, 0.0, BadRequest(400))
    sent(restraint, 0.0, DOWN)
    assert not restraint.is_open


def test_one_good_answer_closes_the_breaker_whoever_got_it() -> None:
    restraint = Restraint()
    late = restraint.ask(0.0)
    assert late is not None
    for _ in range(BREAKS_AFTER):
        sent(restraint, 0.0, DOWN)
    assert restraint.is_open
    restraint.ended(late, None, 1.0)
    assert not restraint.is_open
    assert restraint.ask(1.0) is Leave.FIRST


def test_a_probe_that_hung_is_followed_by_the_next_at_once() -> None:
    restraint = broken()
    probe = restraint.ask(30.0)
    assert probe is not None
    restraint.ended(probe, ResponseLost("silence"), 60.0)
    assert restraint.wait(60.0) == 0.0


def test_leave_that_is_given_back_counts_for_nothing() -> None:
    restraint = broken()
    probe = restraint.ask(30.0)
    assert probe is not None
    restraint.give_back(probe)
    assert restraint.granted[Leave.PROBE] == 0
    assert restraint.ask(30.0) is Leave.PROBE
    other = Restraint()
    paid = other.ask(0.0, again=True)
    assert paid is Leave.PAID
    other.give_back(paid)
    assert other.budget == FLOOR


@given(st.integers(0, 10**6), st.floats(0.0, 1.0), st.integers(1, 2_000))
def test_i7_paid_retries_are_at_most_ten_and_a_tenth_of_the_first_attempts(seed: int, bad: float, steps: int) -> None:
    dice, restraint, now = Random(seed), Restraint(), 0.0
    flying: list[Leave] = []
    for _ in range(steps):
        now += dice.expovariate(2.0)
        leave = restraint.ask(now, again=dice.random() < 0.5)
        if leave is not None:
            flying.append(leave)
        if flying and dice.random() < 0.6:
            restraint.ended(flying.pop(dice.randrange(len(flying))), DOWN if dice.random() < bad else None, now)
        assert restraint.granted[Leave.PAID] <= FLOOR + 0.1 * restraint.granted[Leave.FIRST] + 1e-6
        assert flying.count(Leave.PROBE) <= 1


@pytest.mark.parametrize(("failure", "most"), [(DOWN, 120), (NotSent("refused"), 120), (RateLimited(), 140)], ids=repr)
def test_an_hour_of_failures_sees_no_more_than_a_probe_each_half_minute(failure: Exception, most: int) -> None:
    restraint, now, requests = Restraint(), 0.0, 0
    while now < 3600.0:
        wait = restraint.wait(now)
        if wait:
            now += wait
            continue
        sent(restraint, now, failure)
        requests += 1
    assert requests <= BREAKS_AFTER + most
