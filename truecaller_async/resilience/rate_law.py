"""The rate law: at most `limit` releases in any window of `per` seconds.

What is the theory
------------------
A server that keeps a sliding log counts arrivals, and we know only our releases. Two requests released exactly `per`
apart may arrive closer together, so the window that we keep is longer by `MARGIN`: the n-th last release must be at
least `per * (1 + MARGIN)` ago. That is the whole law, and `SlidingWindow` is its specification: every limiter (this
process's, the one in Redis) is tested against it.

The margin is for a request that goes out at once. After a quiet time there are no connections: a burst waits for all
of its handshakes, while the requests a window later find everything ready. So what is released in the first
`WARM_UP_SECONDS` seconds counts as released at their end (`ConnectionWarmup`). It costs a saturated token that time
once.

A window alone would let the whole limit out at once and then fall silent. So a limiter also spreads the releases: a
bucket of `burst_size(rule)` permits that drains at the rate of the margin. The burst is small, a twentieth of the
limit, and just large enough that a timer which fires late costs nothing.

The server may mean less than the documentation says. A refusal within the limits halves the share of the limit that
a token uses (`AdaptiveRate`), never below a tenth, and the share climbs back by a tenth of the limit a minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from truecaller_async.options import Limits, RateLimit

WINDOW_MARGIN_FACTOR = 0.02
"""The window is kept longer by this part, for arrivals that bunch up on the way."""

WARM_UP_SECONDS = 0.5
"""Seconds after a quiet time in which requests may be that late: some round trips, and the handshakes of a burst."""

IDLE_SECONDS = 10.0
"""Seconds after which connections may be gone: two windows of the limit, where these are longer."""

UNLIMITED_BURST_MAX = 64
RATE_FACTOR_MIN = 0.1
RECOVERY_FACTOR_PER_SECOND = 0.1 / 60
SLOW_DOWN_INTERVAL_SECONDS = 10.0


def window_seconds(rule: RateLimit) -> float:
    """Seconds that the n-th last release must lie back."""
    return rule.per * (1 + WINDOW_MARGIN_FACTOR)


def burst_size(rule: RateLimit) -> int:
    """Permits that may be released at once after a quiet time."""
    return max(1, min(rule.limit // 2, max(2, rule.limit // 20)))


def calls_per_second(limits: Limits, call: str) -> float:
    """Calls a second that one token may make; infinite where no limit counts them."""
    rules = [rule for rule in limits if rule.scope == "token" and rule.counts(call)]
    return min((rule.limit / rule.per for rule in rules), default=float("inf"))


def burst_capacity(limits: Limits, call: str) -> int:
    """Calls that one fresh token may make at once; a large number where no limit counts them."""
    rules = [rule for rule in limits if rule.scope == "token" and rule.counts(call)]
    return min((burst_size(rule) for rule in rules), default=UNLIMITED_BURST_MAX)


class SlidingWindow:
    """The last `limit` releases of one rule for one token (or for the account)."""

    __slots__ = ("_limit", "_releases", "_window")

    def __init__(self, rule: RateLimit) -> None:
        self._limit = rule.limit
        self._window = window_seconds(rule)
        self._releases: deque[float] = deque(maxlen=rule.limit)

    def wait(self, now: float, factor: float = 1.0) -> float:
        """Seconds until one more release is lawful; 0.0 if it is now."""
        allowed = max(1, int(self._limit * factor))
        if len(self._releases) < allowed:
            return 0.0
        return max(0.0, self._releases[-allowed] + self._window - now)

    def record(self, now: float) -> None:
        """One request goes out."""
        self._releases.append(now)

    def undo_last(self) -> None:
        """The latest release did not take place."""
        self._releases.pop()

    def restore(self, releases: Iterable[float]) -> None:
        """Put in releases of an earlier time, in any order."""
        merged = sorted([*self._releases, *releases])
        self._releases.clear()
        self._releases.extend(merged)


class ConnectionWarmup:
    """When a request that is released now may reach the server at the latest, but for the margin."""

    __slots__ = ("_last_release_at", "_idle_seconds", "_warm_at")

    def __init__(self, rule: RateLimit) -> None:
        self._idle_seconds = max(IDLE_SECONDS, 2 * window_seconds(rule))
        self._last_release_at = self._warm_at = float("-inf")

    def effective_time(self, now: float) -> float:
        """The moment at which this release counts."""
        if now - self._last_release_at > self._idle_seconds:
            self._warm_at = now + WARM_UP_SECONDS
        self._last_release_at = now
        return max(now, self._warm_at)


class AdaptiveRate:
    """The share of its limits that one token uses: 1.0, less after refusals."""

    __slots__ = ("_changed_at", "_factor")

    def __init__(self) -> None:
        self._factor = 1.0
        self._changed_at = float("-inf")

    def factor(self, now: float) -> float:
        """The share in force."""
        if self._factor == 1.0:
            return 1.0
        return min(1.0, self._factor + (now - self._changed_at) * RECOVERY_FACTOR_PER_SECOND)

    def slow_down(self, now: float) -> None:
        """Halve it, at most once in ten seconds: one overload answers many requests in flight."""
        if now - self._changed_at < SLOW_DOWN_INTERVAL_SECONDS:
            return
        self._factor = max(RATE_FACTOR_MIN, self.factor(now) / 2)
        self._changed_at = now
