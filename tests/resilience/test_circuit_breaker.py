"""Test the circuit breaker: the classification of results and the schedule of probes."""

from __future__ import annotations

import pytest

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
from truecaller_async.resilience.circuit_breaker import FAILURE_THRESHOLD, CircuitBreaker, Health, health_of


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


def test_only_a_deadline_of_seconds_counts_as_a_server_failure() -> None:
    late = DeadlineExceeded("late", sent="maybe")
    assert health_of(late, 2.0) is Health.BAD
    assert health_of(late, 0.15) is Health.SILENT


def test_only_first_attempts_open_the_breaker() -> None:
    breaker = CircuitBreaker()
    for _ in range(2 * FAILURE_THRESHOLD):
        breaker.record(Health.BAD, 0.0, is_first=False, is_probe=False)
    assert not breaker.is_open
    for _ in range(FAILURE_THRESHOLD):
        breaker.record(Health.BAD, 0.0, is_first=True, is_probe=False)
    assert breaker.is_open
    assert breaker.next_probe_at == 30.0
