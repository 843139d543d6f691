"""The sliding log against a brute-force count, and admission under several limits.

Times are multiples of 1/8 second, so that sums and comparisons are exact.
"""

from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.options import Limits, RateLimit
from truecaller_async.sandbox.sliding_log import AdmissionControl, SlidingLog

gaps = st.lists(st.integers(0, 24).map(lambda eighths: eighths / 8), max_size=80)


def in_window(moments: list[float], end: float, per: float) -> int:
    """Count the times in the half-open window of this length that ends at this time, one by one."""
    return sum(end - per < moment <= end for moment in moments)


@given(gaps=gaps, limit=st.integers(1, 6), per=st.integers(1, 40).map(lambda eighths: eighths / 8))
def test_request_is_admitted_exactly_if_the_window_has_capacity(gaps: list[float], limit: int, per: float) -> None:
    log = SlidingLog(limit, per)
    admitted: list[float] = []
    for now in accumulate(gaps):
        room = in_window(admitted, now, per) < limit
        assert (log.wait(now) == 0.0) == room
        if room:
            log.admit(now)
            admitted.append(now)
    assert log.peak == max((in_window(admitted, moment, per) for moment in admitted), default=0)


@given(gaps=gaps, limit=st.integers(1, 6), per=st.integers(1, 40).map(lambda eighths: eighths / 8))
def test_wait_is_the_shortest_one_that_frees_capacity(gaps: list[float], limit: int, per: float) -> None:
    log = SlidingLog(limit, per)
    admitted: list[float] = []
    for now in accumulate(gaps):
        wait = log.wait(now)
        assert in_window(admitted, now + wait, per) < limit
        if wait:
            assert in_window(admitted, now + wait - 1 / 16, per) >= limit
        log.admit(now)  # without enforcement the window can contain more than the limit
        admitted.append(now)


def test_account_limit_is_shared_by_all_tokens() -> None:
    admission = AdmissionControl(Limits((RateLimit("all", 2, 1.0, "account"),)), enforce=True)
    assert [admission.admit("push", token, 0.0) for token in (1, 2, 3)] == [0.0, 0.0, 1.0]


def test_limit_of_a_token_is_counted_for_each_token() -> None:
    admission = AdmissionControl(Limits((RateLimit("each", 1, 1.0),)), enforce=True)
    assert [admission.admit("push", token, 0.0) for token in (1, 2, 1)] == [0.0, 0.0, 1.0]


def test_limit_counts_only_the_calls_it_names_and_the_star_all_but_mints() -> None:
    admission = AdmissionControl(
        Limits((RateLimit("some", 1, 1.0, calls=("submit",)), RateLimit("every", 9, 1.0))), enforce=True
    )
    for call in ("submit", "status", "labels", "push", "mint"):
        assert admission.admit(call, 1, 0.0) == 0.0
    assert admission.peaks() == {"some": 1, "every": 4}


def test_refused_request_is_charged_to_no_limit() -> None:
    admission = AdmissionControl(Limits((RateLimit("tight", 1, 10.0), RateLimit("wide", 5, 10.0))), enforce=True)
    for _ in range(4):
        admission.admit("push", 1, 0.0)
    assert admission.peaks() == {"tight": 1, "wide": 1}
    assert admission.violations == {"tight": 3}


def test_wait_is_that_of_the_limit_that_frees_last() -> None:
    admission = AdmissionControl(Limits((RateLimit("short", 1, 1.0), RateLimit("long", 1, 60.0))), enforce=True)
    admission.admit("push", 1, 0.0)
    assert admission.admit("push", 1, 0.5) == 59.5


def test_without_enforcement_violations_are_counted() -> None:
    admission = AdmissionControl(Limits((RateLimit("tight", 2, 10.0),)), enforce=False)
    assert [admission.admit("push", 1, 0.0) for _ in range(5)] == [0.0] * 5
    assert admission.violations == {"tight": 3}
    assert admission.peaks() == {"tight": 5}


def test_peak_of_a_forgotten_token_is_remembered() -> None:
    admission = AdmissionControl(Limits((RateLimit("each", 9, 1.0),)), enforce=True)
    for _ in range(3):
        admission.admit("push", 1, 0.0)
    admission.remove(1)
    admission.admit("push", 2, 0.0)
    assert admission.peaks() == {"each": 3}
