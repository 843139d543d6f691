"""The rate law: at most `limit` releases in any window of `per` seconds.

What is the theory
------------------
A server that keeps a sliding log counts arrivals, and we know only our releases. Two requests released exactly `per`
apart may arrive closer together, so the window that we keep is longer by `MARGIN`: the n-th last release must be at
least `per * (1 + MARGIN)` ago. That is the whole law, and `Ring` is its specification: every limiter (this process's,
the one in Redis) is tested against it.

The margin is for a request that goes out at once. After a quiet time there are no connections: a burst waits for all
of its handshakes, while the requests a window later find everything ready. So what is released in the first `WARM_UP`
seconds counts as released at their end (`Warmth`). It costs a saturated token that time once.

A window alone would let the whole limit out at once and then fall silent. So a limiter also spreads the releases: a
bucket of `burst_of(rule)` permits that drains at the rate of the margin. The burst is small, a twentieth of the
limit, and just large enough that a timer which fires late costs nothing.

The server may mean less than the documentation says. A refusal within the limits halves the share of the limit that
a token uses (`Tempo`), never below a tenth, and the share climbs back by a tenth of the limit a minute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from truecaller_async.options import Limits, RateLimit

MARGIN = 0.02
"""The window is kept longer by this part, for arrivals that bunch up on the way."""

WARM_UP = 0.5
"""Seconds after a quiet time in which requests may be that late: some round trips, and the handshakes of a burst."""

QUIET = 10.0
"""Seconds after which connections may be gone: two windows of the limit, where these are longer."""

BURST_FREE = 64
SHARE_FLOOR = 0.1
SHARE_PER_SECOND = 0.1 / 60
SLOW_DOWN_EVERY = 10.0


def window_of(rule: RateLimit) -> float:
    """Seconds that the n-th last release must lie back."""
    return rule.per * (1 + MARGIN)


def burst_of(rule: RateLimit) -> int:
    """Permits that may be released at once after a quiet time."""
    return max(1, min(rule.limit // 2, max(2, rule.limit // 20)))


def rate_of(limits: Limits, call: str) -> float:
    """Calls a second that one token may make; infinite where no limit counts them."""
    rules = [rule for rule in limits if rule.scope == "token" and rule.counts(call)]
    return min((rule.limit / rule.per for rule in rules), default=float("inf"))


def at_once(limits: Limits, call: str) -> int:
    """Calls that one fresh token may make at once; a large number where no limit counts them."""
    rules = [rule for rule in limits if rule.scope == "token" and rule.counts(call)]
    return min((burst_of(rule) for rule in rules), default=BURST_FREE)


class Ring:
    """The last `limit` releases of one rule for one token (or for the account)."""

    __slots__ = ("_limit", "_releases", "_window")

    def __init__(self, rule: RateLimit) -> None:
        self._limit = rule.limit
        self._window = window_of(rule)
        self._releases: deque[float] = deque(maxlen=rule.limit)

    def wait(self, now: float, share: float = 1.0) -> float:
        """Seconds until one more release is lawful; 0.0 if it is now."""
        allowed = max(1, int(self._limit * share))
        if len(self._releases) < allowed:
            return 0.0
        return max(0.0, self._releases[-allowed] + self._window - now)

    def release(self, now: float) -> None:
        """One request goes out."""
        self._releases.append(now)

    def withdraw(self) -> None:
        """The latest release did not take place."""
        self._releases.pop()

    def remember(self, releases: Iterable[float]) -> None:
        """Put in releases of an earlier time, in any order."""
        merged = sorted([*self._releases, *releases])
        self._releases.clear()
        self._releases.extend(merged)


class Warmth:
    """When a request that is released now may reach the server at the latest, but for the margin."""

    __slots__ = ("_last", "_quiet", "_warm")

    def __init__(self, rule: RateLimit) -> None:
        self._quiet = max(QUIET, 2 * window_of(rule))
        self._last = self._warm = float("-inf")

    def moment(self, now: float) -> float:
        """The moment at which this release counts."""
        if now - self._last > self._quiet:
            self._warm = now + WARM_UP
        self._last = now
        return max(now, self._warm)


class Tempo:
    """The share of its limits that one token uses: 1.0, less after refusals."""

    __slots__ = ("_changed", "_share")

    def __init__(self) -> None:
        self._share = 1.0
        self._changed = float("-inf")

    def share(self, now: float) -> float:
        """The share in force."""
        if self._share == 1.0:
            return 1.0
        return min(1.0, self._share + (now - self._changed) * SHARE_PER_SECOND)

    def slow_down(self, now: float) -> None:
        """Halve it, at most once in ten seconds: one overload answers many requests in flight."""
        if now - self._changed < SLOW_DOWN_EVERY:
            return
        self._share = max(SHARE_FLOOR, self.share(now) / 2)
        self._changed = now
