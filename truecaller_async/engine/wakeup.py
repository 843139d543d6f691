"""Waiting until a time or a knock, whichever is first, without a task for either."""

from __future__ import annotations

import asyncio

WAIT_MIN_SECONDS = 0.001
"""The shortest sleep: a loop may fire a timer a little early, and a sleeper that looks again must see a later time."""


class Wakeup:
    """Any number of sleepers; `ring` wakes them all, in the order in which they lay down (so that runs repeat)."""

    def __init__(self) -> None:
        self._waiters: dict[asyncio.Future[None], None] = {}

    def notify_all(self) -> None:
        """Something has changed: wake everybody."""
        for sleeper in self._waiters:
            if not sleeper.done():
                sleeper.set_result(None)
        self._waiters.clear()

    async def wait(self, until: float | None = None) -> None:
        """Sleep until `ring`, or until this time of the loop's clock."""
        loop = asyncio.get_running_loop()
        sleeper = loop.create_future()
        self._waiters[sleeper] = None
        timer = None if until is None else loop.call_at(max(until, loop.time() + WAIT_MIN_SECONDS), _wake, sleeper)
        try:
            await sleeper
        finally:
            self._waiters.pop(sleeper, None)
            if timer is not None:
                timer.cancel()


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
