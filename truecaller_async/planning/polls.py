"""When to ask for the status of a batch.

A poll that finds nothing new costs as much as the last one, so the first poll should come just after the batch
resolved. How long that takes nobody documents: it is learned. `FirstPoll` starts at the policy's figure and moves a
little down whenever the first poll found everything final, and up, at least to the time it really took, whenever it
did not. The steps are chosen so that it settles where about five first polls in six find everything.

After the first poll the waits grow by the policy's factor up to its cap, stretched by up to a tenth of jitter, and end
at its deadline.
"""

from __future__ import annotations

from random import Random

import attrs

from truecaller_async.options import PollPolicy

SHORTER = 0.96
LONGER = 1.25
SOONEST = 0.05
JITTER = 0.1
NOT_VISIBLE_YET = 60.0
"""Seconds after acceptance in which a 404 means "not visible yet"."""


class FirstPoll:
    """The learned delay between acceptance and the first poll."""

    def __init__(self, policy: PollPolicy) -> None:
        self._policy = policy
        self._delay = policy.first

    @property
    def delay(self) -> float:
        """Seconds, as learned so far."""
        return self._delay

    def found_final(self) -> None:
        """The first poll found every record final."""
        self._delay = max(min(SOONEST, self._policy.first), self._delay * SHORTER)

    def took(self, seconds: float) -> None:
        """The first poll came too early; the batch was seen final this long after its acceptance."""
        self._delay = min(self._policy.cap, max(self._delay, min(seconds, self._delay * LONGER)))


@attrs.define
class PollPlan:
    """The polls of one accepted batch, on the loop's clock."""

    policy: PollPolicy
    accepted: float
    gap: float
    polls: int = 0

    def next_due(self, now: float, rng: Random) -> float:
        """When to ask again, after a poll that left something open."""
        self.gap = min(self.policy.cap, max(self.gap, SOONEST) * self.policy.factor)
        return min(now + self.gap * (1 + rng.uniform(0.0, JITTER)), max(now, self.deadline))

    @property
    def deadline(self) -> float:
        """When asking ends."""
        return self.accepted + self.policy.deadline
