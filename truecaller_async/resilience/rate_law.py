"""Specify the rate limit: the server counts at most `limit` requests in any `per` seconds.

Algorithm:
    - Rate law: a request counts as *now* from its permit to its answer, and from then on at the time of its answer. A
      permit needs fewer than `limit` requests that count in the last `per * 1.001 + 0.001` seconds.
    - Lost request: if the client gives up a request, no answer shows that it has arrived. It counts as now until `late`
      seconds after that time: twice the longest of the last 100 round trips, from 0.5 to 30 s.
    - Burst: a window alone would grant the whole limit at once and then nothing. So a limiter also has a bucket of
      `burst_size(rule)` permits, filled at the rate of the limit. It holds about 1/20 of the limit, which is enough to
      compensate a late timer.
    - Adaptive rate: a 429 halves the used fraction of the limit, down to 0.1. The fraction returns to 1 in a straight
      line in 30 s. Each 429 before that, or in the window after it, doubles the time, up to 300 s.
Invariants:
    - A request arrives at the server after its permit and before its answer. Of `limit + 1` arrivals, the last permit
      found one of the others answered more than a window ago, so they do not arrive in one window. This needs no
      assumption about network, disk or event loop. The added 0.1 % and 1 ms are for two clocks that run differently.
    - `late` is the one assumption: a request that was given up arrives no later than that.
"""

from __future__ import annotations

from bisect import insort
from collections import deque
from collections.abc import Iterable

from truecaller_async.options import Limits, RateLimit

CLOCK_RATE_FACTOR = 1.001
"""How much slower the clock of the server may run than the clock of the client."""

CLOCK_RESOLUTION_SECONDS = 0.001
"""Addition to each window, for clocks that are read with a low resolution."""

WAIT_RESOLUTION_SECONDS = 1e-6
"""A shorter wait counts as none. Otherwise rounding could deny a permit at the time that was returned before."""

ROUND_TRIPS_MAX = 100
LATE_FACTOR = 2.0
LATE_MIN_SECONDS = 0.5
LATE_MAX_SECONDS = 30.0

UNLIMITED_BURST_MAX = 64
RATE_FACTOR_MIN = 0.1
RECOVERY_INITIAL_SECONDS = 30.0
RECOVERY_MAX_SECONDS = 300.0


def window_seconds(rule: RateLimit) -> float:
    """Return how long a request counts after its answer, in seconds."""
    return rule.per * CLOCK_RATE_FACTOR + CLOCK_RESOLUTION_SECONDS


def burst_size(rule: RateLimit) -> int:
    """Return how many permits may be granted at once after idle time."""
    return max(1, min(rule.limit // 2, max(2, rule.limit // 20)))


def calls_per_second(limits: Limits, call: str) -> float:
    """Return how many calls per second one token may make; infinite if no limit counts the call."""
    rules = [rule for rule in limits if rule.scope == "token" and rule.counts(call)]
    return min((rule.limit / rule.per for rule in rules), default=float("inf"))


def burst_capacity(limits: Limits, call: str) -> int:
    """Return how many calls a new token may make at once; 64 if no limit counts the call."""
    rules = [rule for rule in limits if rule.scope == "token" and rule.counts(call)]
    return min((burst_size(rule) for rule in rules), default=UNLIMITED_BURST_MAX)


class RateWindow:
    """The requests that count under one limit, of one token or of the account."""

    __slots__ = ("_in_flight", "_limit", "_times", "_window")

    def __init__(self, rule: RateLimit) -> None:
        self._limit = rule.limit
        self._window = window_seconds(rule)
        self._in_flight = 0
        self._times: deque[float] = deque()

    def wait(self, now: float, factor: float = 1.0) -> float:
        """Return the seconds until one more permit; 0.0: now, infinity: after an answer.

        Args:
            now: The current time.
            factor: The usable fraction of the limit, up to 1.
        """
        times, allowed = self._times, max(1, int(self._limit * factor))
        begin = now - self._window
        while times and times[0] <= begin:
            times.popleft()
        excess = self._in_flight + len(times) - allowed
        if excess < 0:
            return 0.0
        if excess >= len(times):
            return float("inf")
        wait = times[excess] - begin
        return wait if wait > WAIT_RESOLUTION_SECONDS else 0.0

    def is_full(self, now: float) -> bool:
        """Return whether the whole limit is used up."""
        return self.wait(now) > 0.0

    def grant(self) -> None:
        """Count one more request in flight. Only after `wait()` returned 0.0 at the same time."""
        self._in_flight += 1

    def end(self, at: float) -> None:
        """Count one request at this time instead of in flight. A lost request has a time in the future."""
        self._in_flight -= 1
        self._add(at)

    def cancel(self) -> None:
        """No longer count one request in flight, because it was not sent."""
        self._in_flight -= 1

    def restore(self, times: Iterable[float]) -> None:
        """Count earlier requests at these times, in any order."""
        for at in times:
            self._add(at)

    def _add(self, at: float) -> None:
        times = self._times
        if times and at < times[-1]:
            insort(times, at)
        else:
            times.append(at)
        if len(times) > self._limit:
            times.popleft()  # the latest `limit` times decide when the next permit is possible


class RoundTrips:
    """The duration of the last 100 requests, from the permit to the answer."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=ROUND_TRIPS_MAX)

    def record(self, seconds: float) -> None:
        """Record one answer."""
        self._seconds.append(seconds)

    def late_seconds(self) -> float:
        """Return how long after it was given up a request may still arrive."""
        longest = max(self._seconds, default=0.0)
        return min(max(LATE_FACTOR * longest, LATE_MIN_SECONDS), LATE_MAX_SECONDS)


class AdaptiveRate:
    """Compute the fraction of its limits that one token uses: 1.0, or less after 429 answers.

    Args:
        window: The longest window of the limits, in seconds. Only after it a 429 shows the effect of the fraction.
    """

    __slots__ = ("_changed_at", "_factor", "_recovery_seconds", "_window")

    def __init__(self, window: float) -> None:
        self._window = window
        self._factor = 1.0
        self._changed_at = float("-inf")
        self._recovery_seconds = RECOVERY_INITIAL_SECONDS

    def factor(self, now: float) -> float:
        """Return the current fraction."""
        elapsed = now - self._changed_at
        if elapsed >= self._recovery_seconds:
            return 1.0
        return self._factor + (1.0 - self._factor) * elapsed / self._recovery_seconds

    def slow_down(self, now: float, quiet_seconds: float = 0.0) -> None:
        """Halve the fraction; recover twice as slowly if the last time is not longer ago than its recovery.

        Args:
            now: The current time.
            quiet_seconds: Do nothing so long after the last time: one overload answers many requests in flight with
                429.
        """
        elapsed = now - self._changed_at
        if elapsed < quiet_seconds:
            return
        is_recovered = elapsed >= self._recovery_seconds + self._window
        factor = self.factor(now)
        if is_recovered:
            self._recovery_seconds = RECOVERY_INITIAL_SECONDS
        else:
            self._recovery_seconds = min(2 * self._recovery_seconds, RECOVERY_MAX_SECONDS)
        self._factor = max(RATE_FACTOR_MIN, factor / 2)
        self._changed_at = now
