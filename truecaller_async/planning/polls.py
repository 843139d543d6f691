"""When to ask for the status of a batch.

A poll that finds nothing new costs as much as the last one, so the first poll should come just after the batch
resolved. How long that takes nobody documents: it is learned. `FirstPoll` starts at the policy's figure. Where the
first poll found at least half of the batch final it moves a little down, but not down to a delay that was lately too
short; where it came too early it moves up, further the more often that happens in a row. Only batches that were
polled with the delay in force count: the answers to a change come a whole resolution time later, and taking each of
them for news would make the delay swing. Until a first poll was in time for once, every poll that comes early teaches.

After the first poll the waits grow by the policy's factor up to its cap, stretched by up to a tenth of jitter, and end
at its deadline. A poll that fails says nothing of the batch: it is tried again after a backoff, and the plan goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from truecaller_async.options import PollPolicy, RetryPolicy
from truecaller_async.planning.backoff import full_jitter

if TYPE_CHECKING:
    from random import Random

SHORTER = 0.95
LONGER = (1.1, 1.25, 1.5)
"""The step up after one, two, and more early polls in a row."""

CLEAR_OF_MISS = 1.05
PROBE_EVERY = 300
"""First polls that find everything, after which a shorter delay than the last that failed is tried again."""

PROBE = 0.9
SOONEST = 0.05
GROWS_FROM = 1.0
"""Seconds from which the waits between polls grow, however early the first poll was."""

JITTER = 0.1
NOT_VISIBLE_YET = 60.0
"""Seconds in which a 404 means "not visible yet", from the first of them on."""


class FirstPoll:
    """The learned delay between acceptance and the first poll."""

    def __init__(self, policy: PollPolicy) -> None:
        self._cap = policy.cap
        self._soonest = min(SOONEST, policy.first)
        self._missed = 0.0
        self._hits = 0
        self._misses = 0
        self._found = False
        self.delay = policy.first
        """Seconds, as learned so far."""

    def came_in_time(self, used: float) -> None:
        """The first poll, made after `used` seconds, found at least half of the records final."""
        if not self._found:
            self._found = True
            self.delay = min(used, self.delay)
        if used != self.delay:
            return
        self._misses = 0
        self._hits += 1
        if self._hits % PROBE_EVERY == 0:
            self._missed *= PROBE
        self.delay = max(self._soonest, min(used, max(used * SHORTER, self._missed * CLEAR_OF_MISS)))

    def came_early(self, used: float) -> None:
        """The first poll, made after `used` seconds, came too early."""
        if used != self.delay:
            return
        self._missed = used
        self._hits = 0
        self._misses += 1
        self.delay = min(self._cap, used * LONGER[min(self._misses, len(LONGER)) - 1])

    def still_pending(self, age: float) -> None:
        """A batch of this age was still pending: news only as long as no first poll was ever in time."""
        if not self._found:
            self._missed = max(self._missed, age)
            self.delay = min(self._cap, max(self.delay, age * LONGER[-1]))


@attrs.define
class PollPlan:
    """The polls of one accepted batch, on the loop's clock.

    `failures` of them, lately in a row, had no answer. `missing_since`: the server says it does not know the batch.
    """

    policy: PollPolicy
    accepted: float
    first: float
    gap: float = attrs.field(default=attrs.Factory(lambda plan: plan.first, takes_self=True))
    polls: int = 0
    failures: int = 0
    missing_since: float | None = None

    def answered(self) -> None:
        """The server told the status."""
        self.failures = 0
        self.missing_since = None

    def is_gone(self, now: float) -> bool:
        """Whether one more 404 means that the server will never know the batch."""
        self.missing_since = now if self.missing_since is None else self.missing_since
        return now - self.missing_since > NOT_VISIBLE_YET

    def retry_due(self, now: float, retry: RetryPolicy, rng: Random) -> float:
        """When to ask again, after a poll that had no answer."""
        self.failures += 1
        due = now + full_jitter(self.failures, retry.initial, retry.cap, rng)
        return min(due, max(now, self.deadline))

    def next_due(self, now: float, rng: Random) -> float:
        """When to ask again, after a poll that left something open."""
        self.gap = min(self.policy.cap, max(self.gap, GROWS_FROM) * self.policy.factor)
        return min(now + self.gap * (1 + rng.uniform(0.0, JITTER)), max(now, self.deadline))

    @property
    def deadline(self) -> float:
        """When asking ends."""
        return self.accepted + self.policy.deadline
