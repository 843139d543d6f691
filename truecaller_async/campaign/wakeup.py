"""A broadcast condition with a deadline: wait for a notification or a time, without a task for either."""

from __future__ import annotations

import asyncio

WAIT_MIN_SECONDS = 0.001
"""Shortest wait: a loop may fire a timer slightly early, and the waiter must then see a later time."""


class Wakeup:
    """Any number of waiters; `notify_all` wakes them in the order in which they began to wait.

    The order is fixed so that simulated runs are reproducible. A notification is not stored: a waiter must check its
    condition and call `wait` without an `await` in between.
    """

    def __init__(self) -> None:
        self._waiters: dict[asyncio.Future[None], None] = {}

    def notify_all(self) -> None:
        """Wake all waiters."""
        if not self._waiters:
            return
        for waiter in self._waiters:
            # Done already: its timer fired or its task was cancelled in this turn of the loop, and it has not run yet.
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def wait(self, until: float | None = None) -> None:
        """Wait until `notify_all` is called, or until the loop time `until` (seconds)."""
        # No await before the waiter is registered: a notification in between would be lost.
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        self._waiters[waiter] = None
        timer = None if until is None else loop.call_at(max(until, loop.time() + WAIT_MIN_SECONDS), _wake, waiter)
        try:
            await waiter
        finally:
            # After a timeout or a cancellation the waiter is still registered; `notify_all` has removed it otherwise.
            self._waiters.pop(waiter, None)
            if timer is not None:
                timer.cancel()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
