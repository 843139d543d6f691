"""Schedule the status polls of a batch.

A poll that is too early is wasted, and one that is too late delays the results. The API documentation does not say how
long a batch takes, so the delay of the first poll is learned.

Algorithm:
    First poll (`AdaptiveFirstPoll`): the delay starts at `PollPolicy.first`. Until one first poll was on time, it grows
    to 1.5 times the age of the oldest pending batch. From then on:
    - On time (at least half of the records final): shrink by 1.5 %; by 9 % if no poll was early for 15 delays.
    - Early: grow by 13 %. In equilibrium about one first poll in nine is early.
    - Each update is scaled by `min(1, time since the last update / delay)`, so many answers at once count as one.
    Later polls (`PollSchedule`): the gap is multiplied by `PollPolicy.factor` up to `PollPolicy.cap`, plus up to 10 %
    jitter, until `PollPolicy.deadline`. A failed poll is repeated after a backoff and does not change the gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from truecaller_async.options import PollPolicy, RetryPolicy
from truecaller_async.resilience.backoff import full_jitter

if TYPE_CHECKING:
    from random import Random

SHRINK_FACTOR = 0.015
GROWTH_FACTOR = 0.13
"""Relative change of the learned delay, per delay with polls on time and with early polls."""

CALM_DELAYS_MIN = 15.0
CALM_SHRINK_FACTOR = 0.09
"""Relative decrease after `CALM_DELAYS_MIN` delays without an early poll, and before the first early poll."""

PENDING_AGE_FACTOR = 1.5
"""Ratio of the delay to the age of the oldest pending batch, until a first poll was on time."""

POSTPONE_FACTOR = 1.25
"""Ratio of the learned to the planned delay from which a first poll is postponed."""

FIRST_POLL_MIN_SECONDS = 0.05
GAP_MIN_SECONDS = 1.0
"""Minimum gap from which the gaps grow, even if the first poll was earlier."""

POLL_JITTER_FACTOR = 0.1
NOT_VISIBLE_SECONDS = 60.0
"""Time from the first 404 in which a 404 means that the batch is not visible yet."""


class AdaptiveFirstPoll:
    """Learn the delay between acceptance and first poll. Times are seconds of the event loop's clock."""

    def __init__(self, policy: PollPolicy) -> None:
        self._cap = max(policy.cap, policy.first)
        self._min_delay = min(FIRST_POLL_MIN_SECONDS, policy.first)
        self._learned_delay = policy.first
        self._was_on_time = False
        self._updated_at = float("-inf")
        self._delays_without_early_poll = float("inf")

    @property
    def delay(self) -> float:
        """Return the learned delay in seconds."""
        return min(self._cap, self._learned_delay)

    def record_on_time(self, delay: float, now: float) -> None:
        """Record that a first poll after `delay` seconds found at least half of the records final."""
        weight = self._weight(delay, now)
        if not self._was_on_time:
            self._was_on_time = True
            self._learned_delay = delay
        self._delays_without_early_poll += weight
        step = CALM_SHRINK_FACTOR if self._delays_without_early_poll > CALM_DELAYS_MIN else SHRINK_FACTOR
        self._learned_delay = max(self._min_delay, self._learned_delay * (1 - step * weight))

    def record_early(self, delay: float, now: float) -> None:
        """Record that a first poll after `delay` seconds was too early."""
        weight = self._weight(delay, now)
        if self._was_on_time:
            self._delays_without_early_poll = 0.0
            self._learned_delay = min(
                self._cap * (1 + GROWTH_FACTOR), self._learned_delay * (1 + GROWTH_FACTOR * weight)
            )

    def record_pending(self, age: float) -> None:
        """Record that a batch of this age is pending. It has no effect after the first poll on time."""
        if not self._was_on_time:
            self._learned_delay = min(self._cap, max(self._learned_delay, age * PENDING_AGE_FACTOR))

    def _weight(self, delay: float, now: float) -> float:
        """Return the time since the last update as a fraction of the delay, at most 1."""
        weight = min(1.0, (now - self._updated_at) / delay)
        self._updated_at = now
        return weight


@attrs.define
class PollSchedule:
    """Plan the polls of one accepted batch. Times are seconds of the event loop's clock."""

    policy: PollPolicy
    """Policy of the campaign."""
    accepted_at: float
    """Time at which the server accepted the batch."""
    first: float
    """Delay of the first poll in seconds."""
    gap: float = attrs.field(default=attrs.Factory(lambda plan: min(plan.first, plan.policy.first), takes_self=True))
    """Last gap between two polls in seconds, before jitter."""
    polls: int = 0
    """Number of polls."""
    failures: int = 0
    """Number of failed polls in a row."""
    missing_since: float | None = None
    """Time of the first 404 in a row, or None."""

    def postpone_first(self, delay: float, now: float) -> float | None:
        """Return the new time of the first poll if a much longer delay was learned, otherwise None."""
        if self.polls or delay < self.first * POSTPONE_FACTOR or self.accepted_at + delay <= now:
            return None
        self.first = delay
        return self.accepted_at + delay

    def record_answer(self) -> None:
        """Record that a poll was answered with a status."""
        self.failures = 0
        self.missing_since = None

    def is_permanently_missing(self, now: float) -> bool:
        """Record a 404; return whether the batch has been missing for too long."""
        self.missing_since = now if self.missing_since is None else self.missing_since
        return now - self.missing_since > NOT_VISIBLE_SECONDS

    def retry_due(self, now: float, retry: RetryPolicy, rng: Random) -> float:
        """Return the time of the next poll after a failed poll."""
        self.failures += 1
        due = now + full_jitter(self.failures, retry.initial, retry.cap, rng)
        return min(due, max(now, self.deadline))

    def next_due(self, now: float, rng: Random) -> float:
        """Return the time of the next poll after an answer with pending records."""
        self.gap = min(self.policy.cap, max(self.gap, GAP_MIN_SECONDS) * self.policy.factor)
        return min(now + self.gap * (1 + rng.uniform(0.0, POLL_JITTER_FACTOR)), max(now, self.deadline))

    @property
    def deadline(self) -> float:
        """Return the time at which polling ends."""
        return self.accepted_at + self.policy.deadline
