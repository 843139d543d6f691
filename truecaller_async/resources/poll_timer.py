"""Schedule the polls of one `wait`.

timer = PollTimer(policy, timeout, rng)
async for _ in timer:    # sleeps until the next poll is due
    ...                  # poll; return if the work is done
# no further poll fits into `timer.span` seconds
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Self

from truecaller_async.campaign.core.poll_schedule import PollSchedule
from truecaller_async.clock import loop_time
from truecaller_async.options import PollPolicy


class PollTimer:
    """The polls of one wait, from now on. Needs a running event loop.

    Args:
        poll: When to poll; `PollPolicy()` if None.
        timeout: The longest wait, in seconds. The deadline of the policy also ends it.
        rng: The source of jitter.
    """

    def __init__(self, poll: PollPolicy | None, timeout: float, rng: Random) -> None:
        policy = poll if poll is not None else PollPolicy()
        self._began = loop_time()
        self._schedule = PollSchedule(policy, self._began, policy.first)
        self._first_due: float | None = self._began + min(policy.first, timeout / 2)
        self._rng = rng
        self.span = min(timeout, policy.deadline)

    @property
    def end(self) -> float:
        """The loop time at which polling ends."""
        return self._began + self.span

    @property
    def age(self) -> float:
        """The seconds since the wait began."""
        return loop_time() - self._began

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> None:
        due = self._first_due if self._first_due is not None else self._schedule.next_due(loop_time(), self._rng)
        self._first_due = None
        if due >= self.end:
            raise StopAsyncIteration
        await asyncio.sleep(due - loop_time())
