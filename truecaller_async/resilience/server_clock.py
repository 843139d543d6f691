"""What time it is at the server.

A window closes by the server's clock, and ours may be wrong, or be set while a campaign runs. Every answer has a `Date`
header, so the server's clock is known to a second: the median of the last five answers, kept as a distance from the
monotonic clock, which nobody can set. After a suspend, in which that clock may stand still, three answers move it.

A header may lie: a proxy without a clock, a cache, one odd machine among many. So the median counts only where most of
the answers agree with it, and not where it is a month away; and a clock that differs from ours is *sure* only
when two answers have said the same. Whoever decides for good waits for that.

The header has whole seconds, so our own clock is the finer one: it is believed as long as the two agree to two seconds.
"""

from __future__ import annotations

from collections import deque
from statistics import median

SAMPLES_MAX = 5
AGREEMENT_MAX_SECONDS = 2.0
"""Seconds up to which two clocks are taken to be the same."""

OFFSET_MAX_SECONDS = 30 * 86_400.0
"""Seconds: a clock that is so far away tells of itself, not of the time."""

DATE_ROUNDING_SECONDS = 0.5
"""What the header cuts off, on average."""


class ServerClock:
    """The server's clock, as heard. `at` is always a time of the monotonic clock, `wall` one of our own wall clock."""

    def __init__(self) -> None:
        self._offsets: deque[float] = deque(maxlen=SAMPLES_MAX)

    def record(self, date: float, at: float) -> None:
        """An answer came whose `Date` header is this, in seconds since the epoch."""
        self._offsets.append(date + DATE_ROUNDING_SECONDS - at)

    def offset(self, at: float, wall: float) -> float:
        """Seconds by which the server's clock is ahead of ours; 0.0 where they agree, or nothing is known of it."""
        if 2 * self._agreement_count() <= len(self._offsets):
            return 0.0
        offset = median(self._offsets) + at - wall
        return offset if AGREEMENT_MAX_SECONDS < abs(offset) < OFFSET_MAX_SECONDS else 0.0

    def is_sure(self, at: float, wall: float) -> bool:
        """Whether what `offset` says is more than one answer's word, or agrees with our own clock."""
        if not self._offsets:
            return False
        return self._agreement_count() >= 2 or abs(median(self._offsets) + at - wall) <= AGREEMENT_MAX_SECONDS

    def _agreement_count(self) -> int:
        """How many of the answers heard agree with the median."""
        if not self._offsets:
            return 0
        middle = median(self._offsets)
        return sum(abs(distance - middle) <= AGREEMENT_MAX_SECONDS for distance in self._offsets)
