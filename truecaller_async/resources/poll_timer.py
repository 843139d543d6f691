"""Looking again and again until something is done: when, and when no more.

looks = Looks(policy, timeout, rng)
async for _ in looks:      # sleeps until the next look is due
    ...                    # look; return what was waited for
# no look is left in `looks.span` seconds
"""

from __future__ import annotations

import asyncio
from random import Random
from typing import Self

from truecaller_async.options import PollPolicy
from truecaller_async.planning.poll_schedule import PollSchedule


class PollTimer:
    """The looks of one wait, from now on: as the policy says, within `timeout` seconds and the policy's deadline."""

    def __init__(self, poll: PollPolicy | None, timeout: float, rng: Random) -> None:
        policy = poll if poll is not None else PollPolicy()
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._plan = PollSchedule(policy, self._began, policy.first)
        self._first: float | None = self._began + min(policy.first, timeout / 2)
        self._rng = rng
        self.span = min(timeout, policy.deadline)

    @property
    def end(self) -> float:
        """When looking ends, on the loop's clock."""
        return self._began + self.span

    @property
    def age(self) -> float:
        """Seconds since the wait began."""
        return self._loop.time() - self._began

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> None:
        due = self._first if self._first is not None else self._plan.next_due(self._loop.time(), self._rng)
        self._first = None
        if due >= self.end:
            raise StopAsyncIteration
        await asyncio.sleep(due - self._loop.time())
