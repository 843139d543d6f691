"""Limit the retries of a client to a fraction of its first attempts.

Retries are sent in addition to the first attempts, and most of them during an outage. Without a limit they multiply the
load of a service that is already failing.

Algorithm:
    - The balance begins at 10, so that short runs can retry.
    - A first attempt adds 0.1, up to a balance of 100. A retry subtracts 1.
    - After 10 good answers in a row a retry is free, because there is no overload to limit.
Invariants:
    - Retries that were paid for <= 10 + 0.1 * first attempts.
"""

from __future__ import annotations

import attrs

from truecaller_async.resilience.circuit_breaker import Health

BUDGET_INITIAL = 10.0
BUDGET_PER_REQUEST = 0.1
BUDGET_MAX = 100.0
RECOVERY_THRESHOLD = 10


@attrs.define
class RetryBudget:
    """Store how many retries a client may still send, and whether retries are free."""

    balance: float = BUDGET_INITIAL
    """Number of retries that may be sent."""
    good_answers: int = 0
    """Number of good answers in a row, up to the last answer."""

    @property
    def is_free(self) -> bool:
        """Return whether a retry costs nothing."""
        return self.good_answers >= RECOVERY_THRESHOLD

    @property
    def is_exhausted(self) -> bool:
        """Return whether a retry cannot be paid."""
        return not self.is_free and self.balance < 1.0

    def earn(self) -> None:
        """Add the share of one first attempt."""
        self.balance = min(BUDGET_MAX, self.balance + BUDGET_PER_REQUEST)

    def unearn(self) -> None:
        """Take back the share of a first attempt that was not sent."""
        self.balance = max(0.0, self.balance - BUDGET_PER_REQUEST)

    def spend(self) -> None:
        """Pay one retry."""
        self.balance -= 1.0

    def refund(self) -> None:
        """Return the price of a retry that was not sent."""
        self.balance += 1.0

    def record(self, health: Health) -> None:
        """Update the number of good answers in a row."""
        if health is Health.GOOD:
            self.good_answers += 1
        elif health is not Health.SILENT:
            self.good_answers = 0
