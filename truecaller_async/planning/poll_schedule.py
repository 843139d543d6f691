"""When to ask for the status of a batch.

A poll that finds nothing new costs as much as the last one; one that comes late keeps the answer from the reader.
How long a batch takes nobody documents: it is learned. `AdaptiveFirstPoll` starts at the policy's figure and grows
fast until the first batch is found; from then on each first poll has one word. One that found at least half of the
batch final makes the delay a little shorter, one that came too early makes it longer by eight times as much: so the
delay settles where about one first poll in nine is early, whatever the times look like and however many batches are on
their way. The news of a change comes a whole delay later, so a word has weight only for the time since the last one,
in parts of the delay: a thousand answers to one delay move it together no further than one would. Where no poll was
early for long, the steps down are larger.

After the first poll the waits grow by the policy's factor from its first up to its cap, stretched by up to a tenth of
jitter, and end at its deadline. A poll that fails says nothing of the batch: it is tried again after a backoff, and the
plan goes on.
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
"""Steps of the learned delay, for a whole delay's time of polls in time, and of early ones."""

CALM_DELAYS_MIN = 15.0
CALM_SHRINK_FACTOR = 0.09
"""The step down after so many delays' time without an early poll, and until there was one at all."""

PENDING_AGE_FACTOR = 1.5
"""The delay is so much longer than the oldest batch that was seen pending, as long as no poll was in time."""

POSTPONE_FACTOR = 1.25
"""A first poll is put off where the delay was found to be so much too short."""

FIRST_POLL_MIN_SECONDS = 0.05
GAP_MIN_SECONDS = 1.0
"""Seconds from which the waits between polls grow, however early the first poll was."""

POLL_JITTER_FACTOR = 0.1
NOT_VISIBLE_SECONDS = 60.0
"""Seconds in which a 404 means "not visible yet", from the first of them on."""


class AdaptiveFirstPoll:
    """The learned delay between acceptance and the first poll. Times are of the loop's clock."""

    def __init__(self, policy: PollPolicy) -> None:
        self._cap = max(policy.cap, policy.first)
        self._min_delay = min(FIRST_POLL_MIN_SECONDS, policy.first)
        self._learned_delay = policy.first
        self._was_on_time = False
        self._updated_at = float("-inf")
        self._delays_without_early_poll = float("inf")

    @property
    def delay(self) -> float:
        """Seconds, as learned so far."""
        return min(self._cap, self._learned_delay)

    def record_on_time(self, delay: float, now: float) -> None:
        """The first poll, made after `used` seconds, found at least half of the records final."""
        weight = self._weight(delay, now)
        if not self._was_on_time:
            self._was_on_time = True
            self._learned_delay = delay
        self._delays_without_early_poll += weight
        step = CALM_SHRINK_FACTOR if self._delays_without_early_poll > CALM_DELAYS_MIN else SHRINK_FACTOR
        self._learned_delay = max(self._min_delay, self._learned_delay * (1 - step * weight))

    def record_early(self, delay: float, now: float) -> None:
        """The first poll, made after `used` seconds, came too early."""
        weight = self._weight(delay, now)
        if self._was_on_time:
            self._delays_without_early_poll = 0.0
            self._learned_delay = min(
                self._cap * (1 + GROWTH_FACTOR), self._learned_delay * (1 + GROWTH_FACTOR * weight)
            )

    def record_pending(self, age: float) -> None:
        """A batch of this age was still pending: news only as long as no first poll was ever in time."""
        if not self._was_on_time:
            self._learned_delay = min(self._cap, max(self._learned_delay, age * PENDING_AGE_FACTOR))

    def _weight(self, delay: float, now: float) -> float:
        """The time since the last word, as a part of the delay."""
        weight = min(1.0, (now - self._updated_at) / delay)
        self._updated_at = now
        return weight


@attrs.define
class PollSchedule:
    """The polls of one accepted batch, on the loop's clock.

    `failures` of them, lately in a row, had no answer. `missing_since`: the server says it does not know the batch.
    """

    policy: PollPolicy
    accepted_at: float
    first: float
    gap: float = attrs.field(default=attrs.Factory(lambda plan: min(plan.first, plan.policy.first), takes_self=True))
    polls: int = 0
    failures: int = 0
    missing_since: float | None = None

    def postpone_first(self, delay: float, now: float) -> float | None:
        """When to poll first, where a much longer delay was learned since acceptance; None where it is time."""
        if self.polls or delay < self.first * POSTPONE_FACTOR or self.accepted_at + delay <= now:
            return None
        self.first = delay
        return self.accepted_at + delay

    def record_answer(self) -> None:
        """The server told the status."""
        self.failures = 0
        self.missing_since = None

    def is_permanently_missing(self, now: float) -> bool:
        """Whether one more 404 means that the server will never know the batch."""
        self.missing_since = now if self.missing_since is None else self.missing_since
        return now - self.missing_since > NOT_VISIBLE_SECONDS

    def retry_due(self, now: float, retry: RetryPolicy, rng: Random) -> float:
        """When to ask again, after a poll that had no answer."""
        self.failures += 1
        due = now + full_jitter(self.failures, retry.initial, retry.cap, rng)
        return min(due, max(now, self.deadline))

    def next_due(self, now: float, rng: Random) -> float:
        """When to ask again, after a poll that left something open."""
        self.gap = min(self.policy.cap, max(self.gap, GAP_MIN_SECONDS) * self.policy.factor)
        return min(now + self.gap * (1 + rng.uniform(0.0, POLL_JITTER_FACTOR)), max(now, self.deadline))

    @property
    def deadline(self) -> float:
        """When asking ends."""
        return self.accepted_at + self.policy.deadline
