"""Read the two clocks of the package: wall time and loop time.

Purpose:
    Durations are measured on the clock of the event loop (`loop_time()`), so that limits, timeouts and campaigns agree
    and a virtual-time loop drives them all. The wall clock is read only if the outside world means it: validity windows
    of records, HTTP dates, the life of a stored token, timestamps in a journal.
"""

from __future__ import annotations

import asyncio
import time


class Clock:
    """The wall clock of the system."""

    def wall(self) -> float:
        """Return the wall-clock time in seconds since the epoch."""
        return time.time()


def loop_time() -> float:
    """Return the time of the running event loop, in seconds. Its zero is arbitrary."""
    return asyncio.get_running_loop().time()
