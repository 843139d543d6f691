"""Wall time, in one place.

Durations are measured on the loop's clock (`loop.time()`), so that limits, timeouts and the engine agree and a
virtual-time loop drives them all. The wall clock is read only where the outside world means it: windows of records,
HTTP dates, the life of a stored token, stamps in a journal.
"""

from __future__ import annotations

import time


class Clock:
    """The system's wall clock."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()
