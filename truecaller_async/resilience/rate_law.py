"""Specify the rate limit: at most `limit` requests in any window of `per` seconds.

Algorithm:
    - Sliding window: the server counts arrivals, the client knows only when it sends. Two requests sent `per` seconds
      apart can arrive closer together. So the n-th last request must have been sent at least `per * 1.02` seconds ago.
    - Warm-up: after idle time there are no connections, and a burst waits for its handshakes, while the requests one
      window later do not. So a request sent in the first 0.5 s after idle time counts as sent at the end of this time.
    - Burst: a window alone would grant the whole limit at once and then nothing. So a limiter also has a bucket of
      `burst_size(rule)` permits, filled at the rate of the extended window. It holds about 1/20 of the limit, which is
      enough to compensate a late timer.
    - Adaptive rate: a 429 within the configured limit means that the real limit is lower. It halves the used fraction
      of the limit, down to 0.1. The fraction grows by 0.1 per minute.
Invariants:
    - `SlidingWindow` is the specification: every limiter is tested against it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from truecaller_async.options import Limits, RateLimit

WINDOW_MARGIN_FACTOR = 0.02
"""Extension of the window, for requests that arrive closer together than they were sent."""

WARM_UP_SECONDS = 0.5
"""Time after idle time in which requests can be delayed by the handshakes of a burst."""

IDLE_SECONDS = 10.0
"""Minimum idle time after which connections may be closed; two windows of the limit if these are longer."""

UNLIMITED_BURST_MAX = 64
RATE_FACTOR_MIN = 0.1
RECOVERY_FACTOR_PER_SECOND = 0.1 / 60
SLOW_DOWN_INTERVAL_SECONDS = 10.0


def window_seconds(rule: RateLimit) -> float:
    """Return the minimum age of the n-th last request, in seconds."""
    return rule.per * (1 + WINDOW_MARGIN_FACTOR)


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


class SlidingWindow:
    """Store when the last `limit` requests were sent under one limit, of one token or of the account."""

    __slots__ = ("_limit", "_sent_times", "_window")

    def __init__(self, rule: RateLimit) -> None:
        self._limit = rule.limit
        self._window = window_seconds(rule)
        self._sent_times: deque[float] = deque(maxlen=rule.limit)

    def wait(self, now: float, factor: float = 1.0) -> float:
        """Return the seconds until one more permit; 0.0 if there is one now."""
        allowed = max(1, int(self._limit * factor))
        if len(self._sent_times) < allowed:
            return 0.0
        return max(0.0, self._sent_times[-allowed] + self._window - now)

    def record(self, now: float) -> None:
        """Record one request that is sent now."""
        self._sent_times.append(now)

    def undo_last(self) -> None:
        """Remove the latest request, because it was not sent."""
        self._sent_times.pop()

    def restore(self, sent_times: Iterable[float]) -> None:
        """Add the times of earlier requests, in any order."""
        merged = sorted([*self._sent_times, *sent_times])
        self._sent_times.clear()
        self._sent_times.extend(merged)


class ConnectionWarmup:
    """Compute at which time a request counts, considering delayed handshakes after idle time."""

    __slots__ = ("_idle_seconds", "_last_sent_at", "_warm_at")

    def __init__(self, rule: RateLimit) -> None:
        self._idle_seconds = max(IDLE_SECONDS, 2 * window_seconds(rule))
        self._last_sent_at = self._warm_at = float("-inf")

    def effective_time(self, now: float) -> float:
        """Return the time at which a request sent at `now` counts."""
        if now - self._last_sent_at > self._idle_seconds:
            self._warm_at = now + WARM_UP_SECONDS
        self._last_sent_at = now
        return max(now, self._warm_at)


class AdaptiveRate:
    """Compute the fraction of its limits that one token uses: 1.0, or less after 429 answers."""

    __slots__ = ("_changed_at", "_factor")

    def __init__(self) -> None:
        self._factor = 1.0
        self._changed_at = float("-inf")

    def factor(self, now: float) -> float:
        """Return the current fraction."""
        if self._factor == 1.0:
            return 1.0
        return min(1.0, self._factor + (now - self._changed_at) * RECOVERY_FACTOR_PER_SECOND)

    def slow_down(self, now: float) -> None:
        """Halve the fraction, at most once in 10 s: one overload answers many requests in flight with 429."""
        if now - self._changed_at < SLOW_DOWN_INTERVAL_SECONDS:
            return
        self._factor = max(RATE_FACTOR_MIN, self.factor(now) / 2)
        self._changed_at = now
