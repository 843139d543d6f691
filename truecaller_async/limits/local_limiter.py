"""The limiter of one process.

Each limit is kept by a gate for each token (or one for the account). A gate has two parts that must both agree: an
aiolimiter bucket, which spreads the releases, and the ring of `resilience.rate_law`, which holds the window. aiolimiter
alone will not do: a bucket that admits the limit in steady state lets almost twice the limit through in the first
window. Nor will the two alone: the ring would give back the first burst, and the silence before it, in each window. So
a permit of a short window that somebody had to wait for is followed by no burst, and the silence wears off.

`take` never waits. It looks at every gate that counts the call, and only when all of them agree it charges all of
them; there is no await in between that could suspend, so the check cannot go stale. The clock is the loop's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiolimiter import AsyncLimiter

from truecaller_async.clock import loop_time
from truecaller_async.options import Limits, RateLimit
from truecaller_async.resilience.rate_law import (
    AdaptiveRate,
    ConnectionWarmup,
    SlidingWindow,
    burst_size,
    window_seconds,
)

WAIT_MIN_SECONDS = 1e-4
"""The shortest wait that is ever asked for: a shorter one may be lost in the clock's resolution."""

SPACING_SLACK_INTERVALS = 0.5
"""Intervals by which the permits of a window may follow each other faster, to make up for some that come late."""

SHORT_WINDOW_MAX_SECONDS = 5.0
"""Seconds of the longest window whose silences are spread: it takes one of them, which in a long one is worth more."""

BISECTION_STEPS_MAX = 7
"""Steps in which the fill of a bucket is found, to 1/128 of the interval between two permits."""


class _LimitState:
    """One limit for one token, or for the account."""

    __slots__ = ("_bucket", "_filled_until", "_interval", "_is_shared", "_next", "_spacing", "_warmup", "window")

    def __init__(self, rule: RateLimit) -> None:
        burst = burst_size(rule)
        self._interval = window_seconds(rule) / rule.limit
        self._bucket = AsyncLimiter(burst, burst * self._interval)
        self._spacing = (
            self._interval * (1 - SPACING_SLACK_INTERVALS / rule.limit) if rule.per <= SHORT_WINDOW_MAX_SECONDS else 0.0
        )
        self._is_shared = rule.scope == "account"
        self._filled_until = self._next = float("-inf")
        self._warmup = ConnectionWarmup(rule)
        self.window = SlidingWindow(rule)

    def wait(self, now: float, share: float) -> float:
        """Seconds until a permit; 0.0 if there is one."""
        wait = self.window.wait(now, share) or self._until_filled(now)
        if wait > 0:
            self._next = now + wait + self._spacing / (1.0 if self._is_shared else share)
        return wait

    def _until_filled(self, now: float) -> float:
        if now >= self._filled_until and not self._bucket.has_capacity():
            self._filled_until = now + self._until_capacity()
        return max(0.0, self._filled_until - now)

    def _until_capacity(self) -> float:
        """Seconds until the bucket, which only drains meanwhile, has room for one more."""
        free, short = 0.0, 1.0
        for _ in range(BISECTION_STEPS_MAX):
            middle = (free + short) / 2
            if self._bucket.has_capacity(middle):
                free = middle
            else:
                short = middle
        return (1.0 - free) * self._interval

    async def charge(self, now: float) -> None:
        """Take the permit that `wait` promised; does not suspend."""
        await self._bucket.acquire()
        self._filled_until = max(self._filled_until, self._next)
        self.window.record(self._warmup.effective_time(now))


class LocalLimiter:
    """Keeps `limits` within this process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._states: dict[tuple[str, str], _LimitState] = {}
        self._routes: dict[tuple[str, str], tuple[_LimitState, ...]] = {}
        self._rates: dict[str, AdaptiveRate] = {}

    async def try_acquire(self, token_id: str, call: str) -> float:
        """One permit for this call: 0.0 means granted; else the seconds to wait, and nothing was charged."""
        now = loop_time()
        gates = self._routes.get((token_id, call)) or self._route(token_id, call)
        tempo = self._rates.get(token_id)
        share = tempo.factor(now) if tempo else 1.0
        wait = max((gate.wait(now, share) for gate in gates), default=0.0)
        if wait > 0:
            return max(wait, WAIT_MIN_SECONDS)
        for gate in gates:
            await gate.charge(now)
        return 0.0

    def slow_down(self, token_id: str) -> None:
        """Halve the share of its limits that this token uses; it climbs back by a tenth a minute."""
        self._rates.setdefault(token_id, AdaptiveRate()).slow_down(loop_time())

    def restore(self, token_id: str, releases: Mapping[str, Sequence[float]]) -> None:
        """Count requests sent before this process began: ages in seconds, by the name of the limit."""
        now = loop_time()
        for name, ages in releases.items():
            rule = self._limits.named(name)
            if rule is not None:
                self._state(token_id, rule).window.restore(now - age for age in ages)

    def remove(self, token_id: str) -> None:
        """The token is gone. Limits of the account stay."""
        self._rates.pop(token_id, None)
        for routes in [route for route in self._routes if route[0] == token_id]:
            del self._routes[routes]
        for gates in [gate for gate in self._states if gate[0] == token_id]:
            del self._states[gates]

    def _route(self, token_id: str, call: str) -> tuple[_LimitState, ...]:
        gates = tuple(self._state(token_id, rule) for rule in self._limits if rule.counts(call))
        self._routes[token_id, call] = gates
        return gates

    def _state(self, token_id: str, rule: RateLimit) -> _LimitState:
        owner = token_id if rule.scope == "token" else ""
        gate = self._states.get((owner, rule.name))
        if gate is None:
            gate = self._states[owner, rule.name] = _LimitState(rule)
        return gate
