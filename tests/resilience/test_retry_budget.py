"""Test the retry budget: its balance, and when a retry is free."""

from __future__ import annotations

from truecaller_async.resilience.circuit_breaker import Health
from truecaller_async.resilience.retry_budget import RECOVERY_THRESHOLD, RetryBudget


def test_budget_below_one_retry_is_exhausted_until_it_is_refunded() -> None:
    budget = RetryBudget(1.5)
    assert not budget.is_exhausted
    budget.spend()
    assert budget.is_exhausted
    budget.refund()
    assert not budget.is_exhausted


def test_one_failure_ends_the_free_retries_and_silence_does_not() -> None:
    budget = RetryBudget(0.0)
    for _ in range(RECOVERY_THRESHOLD):
        budget.record(Health.GOOD)
    budget.record(Health.SILENT)
    assert (budget.is_free, budget.is_exhausted) == (True, False)
    budget.record(Health.THROTTLED)
    assert (budget.is_free, budget.is_exhausted) == (False, True)
