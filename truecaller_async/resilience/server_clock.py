"""Estimate the clock of the server from the `Date` headers of its answers.

Windows end by the server's clock. The local wall clock may be wrong, or may be changed while a campaign runs.

Algorithm:
    - Each answer gives the offset between the server's clock and the local monotonic clock, which cannot be set.
    - The estimate is the median of the last five offsets. After a suspend, during which the monotonic clock may stop,
      three answers move it.
    - The header has whole seconds, so the local clock is preferred while both agree within 2 s.
Failure modes:
    - Wrong headers (a proxy without a clock, a cache, one wrong server): the estimate is used only if more than half of
      the offsets agree with the median, and if it differs from the local clock by less than 30 days.
    - A single answer: `is_sure` is false until two answers agree, or one agrees with the local clock. Final decisions
      wait for that.
"""

from __future__ import annotations

from collections import deque
from statistics import median

SAMPLES_MAX = 5
AGREEMENT_MAX_SECONDS = 2.0
"""Maximum difference of two clocks that agree."""

OFFSET_MAX_SECONDS = 30 * 86_400.0
"""Difference to the local clock from which the server's clock is ignored."""

DATE_ROUNDING_SECONDS = 0.5
"""Average part of a second that the header does not contain."""


class ServerClock:
    """Estimate the server's clock.

    `at` is a time of the monotonic clock and `wall` a time of the local wall clock, both in seconds.
    """

    def __init__(self) -> None:
        self._offsets: deque[float] = deque(maxlen=SAMPLES_MAX)
        self._median = 0.0
        self._agreement_count = 0

    def record(self, date: float, at: float) -> None:
        """Record the `Date` header of an answer, in seconds since the epoch."""
        self._offsets.append(date + DATE_ROUNDING_SECONDS - at)
        # Computed here, once for each answer: the estimate is read several times for each request.
        self._median = middle = median(self._offsets)
        self._agreement_count = sum(abs(offset - middle) <= AGREEMENT_MAX_SECONDS for offset in self._offsets)

    def offset(self, at: float, wall: float) -> float:
        """Return the seconds by which the server is ahead of the local clock; 0.0 if they agree or if unknown."""
        if 2 * self._agreement_count <= len(self._offsets):
            return 0.0
        offset = self._median + at - wall
        return offset if AGREEMENT_MAX_SECONDS < abs(offset) < OFFSET_MAX_SECONDS else 0.0

    def is_sure(self, at: float, wall: float) -> bool:
        """Return whether `offset` is confirmed by two answers, or by the local clock."""
        if not self._offsets:
            return False
        return self._agreement_count >= 2 or abs(self._median + at - wall) <= AGREEMENT_MAX_SECONDS
