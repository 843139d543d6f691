"""Grant or delay each request of a client, by the circuit breaker and the retry budget.

Every request, of a single call or of a campaign, first acquires a grant and later records its result.

Algorithm:
    - Breaker open: a request is granted as a probe, first attempt or retry, one at a time.
    - First attempt: always granted.
    - Retry: free after 10 good answers in a row, otherwise paid from the retry budget. If the budget is empty, one
      retry at a time is granted as a probe: at once after a good probe, otherwise 10 s after the start of the last
      probe, or 30 s after 30 probes without a good answer.
Invariants:
    - Every grant is followed by exactly one `record` or `cancel`.
    - A repetition after 429 is not a retry here: the limits and the token's cooldown decide when it is sent.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

import attrs

from truecaller_async.resilience.circuit_breaker import CircuitBreaker, health_of
from truecaller_async.resilience.retry_budget import RetryBudget

RECHECK_SECONDS = 0.5
"""Time to wait before the next `try_acquire` while a probe is in flight, because its end is unknown."""


class Grant(StrEnum):
    """Name the kind of permission under which a request is sent."""

    FIRST = "first"
    """A first attempt; it adds to the retry budget."""
    RETRY = "retry"
    """A retry that was paid from the budget."""
    FREE_RETRY = "free_retry"
    """A retry while the service answers well; it costs nothing."""
    PROBE = "probe"
    """The only request of its kind in flight; its result decides when the next one is sent."""


@attrs.define
class ServiceGuard:
    """Own the circuit breaker and the retry budget of one client.

    `now` is a time in seconds of the event loop's clock.
    """

    budget: RetryBudget = attrs.field(factory=RetryBudget)
    """The retry budget."""
    breaker: CircuitBreaker = attrs.field(factory=CircuitBreaker)
    """The circuit breaker, which also schedules the probes of an empty budget."""
    grant_counts: Counter[Grant] = attrs.field(factory=Counter)
    """Number of grants by kind, without cancelled ones."""

    @property
    def is_open(self) -> bool:
        """Return whether the breaker is open, so that only probes are sent."""
        return self.breaker.is_open

    @property
    def is_degraded(self) -> bool:
        """Return whether a retry would be sent as a probe only."""
        return self._needs_probe(is_retry=True)

    @property
    def last_answer_was_good(self) -> bool:
        """Return whether the last answer that proves anything was good."""
        return self.budget.good_answers > 0

    def wait(self, now: float, *, is_retry: bool = False) -> float:
        """Return the seconds until a request may be granted; 0.0 if it may be granted now."""
        if not self._needs_probe(is_retry):
            return 0.0
        return RECHECK_SECONDS if self.breaker.is_probing else max(0.0, self.breaker.next_probe_at - now)

    def try_acquire(self, now: float, *, is_retry: bool = False) -> Grant | None:
        """Grant one request now, or return None. The caller must `record` its result or `cancel` the grant."""
        grant = self._kind(is_retry)
        if grant is Grant.PROBE and self.wait(now, is_retry=is_retry) > 0:
            return None
        self.grant_counts[grant] += 1
        if grant is Grant.PROBE:
            self.breaker.start_probe(now)
        elif grant is Grant.RETRY:
            self.budget.spend()
        elif grant is Grant.FIRST:
            self.budget.earn()
        return grant

    def cancel(self, grant: Grant) -> None:
        """Take back a grant whose request was not sent."""
        self.grant_counts[grant] -= 1
        if grant is Grant.PROBE:
            self.breaker.cancel_probe()
        elif grant is Grant.RETRY:
            self.budget.refund()
        elif grant is Grant.FIRST:
            self.budget.unearn()

    def record(self, grant: Grant, failure: BaseException | None, now: float, seconds: float = 0.0) -> None:
        """Record the result of a granted request.

        Args:
            grant: The grant of the request.
            failure: The error, or None for a successful answer.
            now: The time of the result.
            seconds: Duration of the request; needed only to judge an expired deadline.
        """
        health = health_of(failure, seconds)
        self.budget.record(health)
        self.breaker.record(health, now, is_first=grant is Grant.FIRST, is_probe=grant is Grant.PROBE)

    def _needs_probe(self, is_retry: bool) -> bool:
        return self.breaker.is_open or (is_retry and self.budget.is_exhausted)

    def _kind(self, is_retry: bool) -> Grant:
        if self._needs_probe(is_retry):
            return Grant.PROBE
        if not is_retry:
            return Grant.FIRST
        return Grant.FREE_RETRY if self.budget.is_free else Grant.RETRY
