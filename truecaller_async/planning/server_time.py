"""What time it is at the server.

A window closes by the server's clock, and ours may be wrong, or be set while a campaign runs. Every answer has a `Date`
header, so the server's clock is known to a second: the median of the last five answers, kept as a distance from the
monotonic clock, which nobody can set. One lying answer does not move it; after a suspend, in which the monotonic clock
may stand still, three answers do.

The header has whole seconds, so our own clock is the finer one: it is believed as long as the two agree to two seconds.
"""

from __future__ import annotations

from collections import deque
from statistics import median

SAMPLES = 5
AGREEMENT = 2.0
"""Seconds up to which our own clock is taken to be right."""

HALF_A_SECOND = 0.5
"""What the header cuts off, on average."""


class ServerTime:
    """The server's clock, as heard. `at` is always a time of the monotonic clock, `wall` one of our own wall clock."""

    def __init__(self) -> None:
        self._distances: deque[float] = deque(maxlen=SAMPLES)

    @property
    def is_known(self) -> bool:
        """Whether the server was heard at all."""
        return bool(self._distances)

    def hear(self, date: float, at: float) -> None:
        """An answer came whose `Date` header is this, in seconds since the epoch."""
        self._distances.append(date + HALF_A_SECOND - at)

    def offset(self, at: float, wall: float) -> float:
        """Seconds by which the server's clock is ahead of ours; 0.0 where they agree, or nothing was heard yet."""
        if not self._distances:
            return 0.0
        offset = median(self._distances) + at - wall
        return offset if abs(offset) > AGREEMENT else 0.0
