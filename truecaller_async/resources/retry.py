"""Repeat a call as its errors and its `RetryPolicy` allow: the one retry loop outside campaigns.

Algorithm:
    prepare (wait for a permit) -> send -> result, or an error. `after_failure` decides whether and when the next
    attempt follows. Errors of `prepare` are not retried.
Invariants:
    - At most `policy.attempts` attempts. None begins after `policy.total` seconds or after the caller's deadline.
    - The wait before the n-th retry is drawn from 0 to `min(cap, initial * 2**(n-1))` seconds (full jitter). A wait
      that would end too late is not begun: the error is raised at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from enum import Enum
from random import Random
from typing import TypeVar

from truecaller_async.clock import loop_time
from truecaller_async.errors import RateLimited, TruecallerError
from truecaller_async.options import RetryPolicy
from truecaller_async.resilience.backoff import full_jitter

P = TypeVar("P")
T = TypeVar("T")


class NextAttempt(Enum):
    """The consequence of a failed attempt."""

    NONE = "none"
    """The error is raised."""

    UNCOUNTED = "uncounted"
    """The next attempt follows at once, and this one does not count as a failure."""

    COUNTED = "counted"
    """The next attempt follows without backoff, because `prepare` waits (for a cooldown)."""

    AFTER_BACKOFF = "after backoff"
    """The next attempt follows after the backoff of the policy."""


class Retries:
    """Counts the failed attempts of one call and waits between them. Needs a running event loop."""

    def __init__(self, policy: RetryPolicy, rng: Random, deadline: float | None = None) -> None:
        self._policy = policy
        self._rng = rng
        self._failures = 0
        end = loop_time() + policy.total
        self.end = end if deadline is None else min(end, deadline)
        """The loop time after which no attempt begins."""
        self.last_failure: TruecallerError | None = None
        self.is_retry = False
        """Whether the next attempt uses the retry budget. Not after a 429: the cooldown delays it already."""

    def record_failure(self, error: TruecallerError) -> None:
        """Count a failed attempt. Raises `error` if it was the last."""
        self._failures += 1
        self.last_failure = error
        self.is_retry = not isinstance(error, RateLimited)
        if self._failures >= self._policy.attempts or loop_time() >= self.end:
            raise error

    async def back_off(self, error: TruecallerError) -> None:
        """Count a failed attempt, then wait. Raises `error` if no further attempt may follow in time."""
        self.record_failure(error)
        wait = full_jitter(self._failures, self._policy.initial, self._policy.cap, self._rng)
        if loop_time() + wait > self.end:
            raise error
        await asyncio.sleep(wait)


async def call_with_retries(
    retries: Retries,
    prepare: Callable[[], Awaitable[P]],
    send: Callable[[P], Awaitable[T]],
    after_failure: Callable[[P, TruecallerError], Awaitable[NextAttempt]],
) -> T:
    """Make attempts until one succeeds, or its error ends the call.

    Args:
        retries: The state of this call.
        prepare: Waits until an attempt may be made; returns what `send` needs. Called before each attempt.
        send: Makes one attempt.
        after_failure: Returns what follows a failed attempt. It may raise another error instead.

    Returns:
        The result of the first successful attempt.

    Raises:
        TruecallerError: The error of the last attempt, or what `prepare` or `after_failure` raises.
    """
    while True:
        prepared = await prepare()
        try:
            return await send(prepared)
        except TruecallerError as error:
            match await after_failure(prepared, error):
                case NextAttempt.NONE:
                    raise
                case NextAttempt.COUNTED:
                    retries.record_failure(error)
                case NextAttempt.AFTER_BACKOFF:
                    await retries.back_off(error)
                case NextAttempt.UNCOUNTED:
                    pass
