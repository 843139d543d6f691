"""Keep the rate limits within one process.

Algorithm:
    Each limit has one state for each token, or one for the account. A permit needs the consent of two parts:
    - an aiolimiter bucket spreads the permits; alone it would let almost twice the limit through in the first window;
    - the window of `resilience.rate_law` holds the limit; alone it would repeat the first burst, and the silence before
      it, in each window.
    In a window of at most 5 s, a permit that was waited for is followed by no burst, so that the silence wears off.
Invariants:
    - `try_acquire()` never waits. It asks all limits that count the call, and charges all of them only if all agree.
      Nothing between the check and the charge suspends, so the check cannot become outdated.
    - If a caller must wait for an answer (infinity), the next permit that ends calls the subscribers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from aiolimiter import AsyncLimiter

from truecaller_async.clock import loop_time
from truecaller_async.limits.permit import LocalPermit
from truecaller_async.options import CALLS, Limits, RateLimit
from truecaller_async.resilience.rate_law import AdaptiveRate, RateWindow, RoundTrips, burst_size, window_seconds

WAIT_MIN_SECONDS = 1e-4
"""The shortest wait that is returned: a shorter one may be lost in the resolution of the clock."""

SPACING_SLACK_FACTOR = 0.5
"""Intervals, per window, by which permits may follow each other faster. They make up for permits that come late."""

SHORT_WINDOW_MAX_SECONDS = 5.0
"""The longest window whose permits are spaced. Spacing costs the time of one silence: too much in a long window."""

BISECTION_STEPS_MAX = 7
"""Steps to find the level of a bucket: exact to 1/128 of the interval between two permits."""


class _LimitState:
    """One limit for one token, or for the account."""

    __slots__ = (
        "_bucket",
        "_following_at",
        "_full_until",
        "_interval",
        "_is_shared",
        "_spacing",
        "window",
    )

    def __init__(self, rule: RateLimit) -> None:
        burst = burst_size(rule)
        self._interval = window_seconds(rule) / rule.limit
        self._bucket = AsyncLimiter(burst, burst * self._interval)
        self._spacing = (
            self._interval * (1 - SPACING_SLACK_FACTOR / rule.limit) if rule.per <= SHORT_WINDOW_MAX_SECONDS else 0.0
        )
        self._is_shared = rule.scope == "account"
        self._full_until = self._following_at = float("-inf")
        self.window = RateWindow(rule)

    def wait(self, now: float, factor: float) -> float:
        """Return the seconds until a permit, as `RateWindow.wait`. `factor` is the usable part of the limit."""
        wait = self.window.wait(now, factor) or self._bucket_wait(now)
        if 0 < wait < float("inf"):
            # Used by charge(): the permit after the one that is waited for comes one interval later, not in a burst.
            self._following_at = now + wait + self._spacing / (1.0 if self._is_shared else factor)
        return wait

    def _bucket_wait(self, now: float) -> float:
        if now >= self._full_until and not self._bucket.has_capacity():
            self._full_until = now + self._seconds_to_capacity()
        return max(0.0, self._full_until - now)

    def _seconds_to_capacity(self) -> float:
        # aiolimiter does not tell the level of the bucket, only whether an amount fits: bisect between 0 and 1 permit.
        fits, too_much = 0.0, 1.0
        for _ in range(BISECTION_STEPS_MAX):
            middle = (fits + too_much) / 2
            if self._bucket.has_capacity(middle):
                fits = middle
            else:
                too_much = middle
        return (1.0 - fits) * self._interval

    def charge(self) -> None:
        """Take the permit that `wait()` allowed."""
        acquiring = self._bucket.acquire()
        try:
            acquiring.send(None)
        except StopIteration:
            pass
        else:
            acquiring.close()
            raise RuntimeError("internal error: the bucket waits for capacity that it had a moment ago")
        self._full_until = max(self._full_until, self._following_at)
        self.window.grant()


class LocalLimiter:
    """The `Limiter` of one process. Times are on the clock of the event loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._states: dict[tuple[str, str], _LimitState] = {}
        self._states_of_call: dict[tuple[str, str], tuple[_LimitState, ...]] = {}
        self._rates: dict[str, AdaptiveRate] = {}
        rules = [rule for rule in limits if any(rule.counts(call) for call in CALLS if call != "mint")]
        self._longest_window = max(map(window_seconds, rules), default=0.0)
        self._round_trips = RoundTrips()
        self._subscribers: dict[object, Callable[[], None]] = {}

    def try_acquire(self, call: str, token_ids: Sequence[str], now: float) -> LocalPermit | float:
        """Try to acquire one permit. See `Limiter.try_acquire`."""
        soonest = float("inf")
        for token_id in token_ids:
            states = self._states_of_call.get((token_id, call)) or self._find_states(token_id, call)
            rate = self._rates.get(token_id)
            factor = rate.factor(now) if rate else 1.0
            wait = max((state.wait(now, factor) for state in states), default=0.0)
            if wait == 0.0:
                for state in states:
                    state.charge()
                return LocalPermit(
                    token_id, now, [state.window for state in states], self._round_trips, self._permit_ended
                )
            soonest = min(soonest, wait)
        return max(soonest, WAIT_MIN_SECONDS)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each permit that ends. See `Limiter.subscribe`."""
        key = object()
        self._subscribers[key] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    def slow_down(self, token_id: str, now: float) -> bool:
        """Halve the rate of this token for a while. See `Limiter.slow_down`."""
        self._rates.setdefault(token_id, AdaptiveRate(self._longest_window)).slow_down(
            now, self._round_trips.late_seconds()
        )
        return any(state.window.is_full(now) for state in self._states_of_token(token_id))

    def restore(self, token_id: str, sent_requests: Mapping[str, Sequence[float]]) -> None:
        """Count requests of an earlier process. See `Limiter.restore`."""
        now = loop_time()
        for name, ages in sent_requests.items():
            rule = self._limits.named(name)
            if rule is not None:
                self._state(token_id, rule).window.restore(now - age for age in ages)

    def remove(self, token_id: str) -> None:
        """Remove the state of a token. That of the account stays."""
        self._rates.pop(token_id, None)
        for key in [key for key in self._states_of_call if key[0] == token_id]:
            del self._states_of_call[key]
        for key in [key for key in self._states if key[0] == token_id]:
            del self._states[key]

    def _permit_ended(self) -> None:
        for callback in tuple(self._subscribers.values()):
            callback()

    def _states_of_token(self, token_id: str) -> list[_LimitState]:
        states = (self._states.get((_owner(rule, token_id), rule.name)) for rule in self._limits)
        return [state for state in states if state is not None]

    def _find_states(self, token_id: str, call: str) -> tuple[_LimitState, ...]:
        states = tuple(self._state(token_id, rule) for rule in self._limits if rule.counts(call))
        self._states_of_call[token_id, call] = states
        return states

    def _state(self, token_id: str, rule: RateLimit) -> _LimitState:
        key = (_owner(rule, token_id), rule.name)
        state = self._states.get(key)
        if state is None:
            state = self._states[key] = _LimitState(rule)
        return state


def _owner(rule: RateLimit, token_id: str) -> str:
    return token_id if rule.scope == "token" else ""
