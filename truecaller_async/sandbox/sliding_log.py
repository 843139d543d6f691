"""How requests are counted: an exact sliding log.

For each limit, and for each token where the limit is a token's, the moments of the admitted requests are kept. One
more is admitted while fewer than `limit` of them lie in the `per` seconds up to now; a moment leaves its window
exactly `per` seconds later. There is no bucket, no rate and no margin here, and nothing is shared with the client's
limiter: where the two disagree, one of them is wrong, and this one can be checked by counting.

A request must find room under every limit that counts its call, and is then charged to all of them. A refused
request is charged to none. Without enforcement a request over a limit is a violation and is admitted and charged
all the same, so the peaks show what a client really sent.
"""

from __future__ import annotations

from collections import Counter, deque

from truecaller_async.options import Limits, RateLimit

ACCOUNT_HOLDER_ID = 0
"""The holder of limits that are the account's; tokens are numbered from 1."""


class SlidingLog:
    """The moments of the admitted requests in the last `per` seconds. `peak` is the most that were ever in it."""

    __slots__ = ("_limit", "_per", "_timestamps", "peak")

    def __init__(self, limit: int, per: float) -> None:
        self._limit = limit
        self._per = per
        self._timestamps: deque[float] = deque()
        self.peak = 0

    def wait(self, now: float) -> float:
        """Seconds until one more request has room; 0.0 if it has now. `now` never runs backwards."""
        moments = self._timestamps
        while moments and moments[0] + self._per <= now:
            moments.popleft()
        over = len(moments) - self._limit
        return 0.0 if over < 0 else moments[over] + self._per - now

    def admit(self, now: float) -> None:
        """One request is charged, whether it has room or not."""
        self._timestamps.append(now)
        self.peak = max(self.peak, len(self._timestamps))


class AdmissionControl:
    """All limits of an account, for all of its tokens. `admitted` counts the requests that passed."""

    def __init__(self, limits: Limits, *, enforce: bool) -> None:
        self._rules = tuple(limits)
        self._enforce = enforce
        self._logs: dict[tuple[str, int], SlidingLog] = {}
        self._removed_peaks: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.admitted = 0

    def admit(self, call: str, token: int, now: float) -> float:
        """Charge one request: 0.0 means admitted; else the seconds until it would be, and nothing was charged."""
        rules = [rule for rule in self._rules if _applies_to(rule, call)]
        logs = [self._log(rule, token) for rule in rules]
        waits = [log.wait(now) for log in logs]
        for rule, wait in zip(rules, waits, strict=True):
            if wait:
                self.violations[rule.name] += 1
        longest = max(waits, default=0.0)
        if longest and self._enforce:
            return longest
        for log in logs:
            log.admit(now)
        self.admitted += 1
        return 0.0

    def remove(self, token: int) -> None:
        """The token is gone; its peaks are remembered."""
        for rule in self._rules:
            log = self._logs.pop((rule.name, token), None)
            if log is not None:
                self._removed_peaks[rule.name] = max(self._removed_peaks[rule.name], log.peak)

    def peaks(self) -> dict[str, int]:
        """By limit: the most requests that were ever admitted in one window, of whichever token."""
        peaks = {rule.name: self._removed_peaks[rule.name] for rule in self._rules}
        for (name, _), log in self._logs.items():
            peaks[name] = max(peaks[name], log.peak)
        return peaks

    def _log(self, rule: RateLimit, token: int) -> SlidingLog:
        holder = ACCOUNT_HOLDER_ID if rule.scope == "account" else token
        log = self._logs.get((rule.name, holder))
        if log is None:
            log = self._logs[rule.name, holder] = SlidingLog(rule.limit, rule.per)
        return log


def _applies_to(rule: RateLimit, call: str) -> bool:
    return call in rule.calls or ("*" in rule.calls and call != "mint")
