"""Rate limits of the sandbox: an exact sliding log of admitted requests.

Algorithm:
    For each limit, and for each token if the limit applies per token, the log keeps the times of the admitted requests.
    A request is admitted if fewer than `limit` requests were admitted in the last `per` seconds. A time leaves the
    window exactly `per` seconds later. There are no buckets, rates or margins.
Invariants:
    - A request needs capacity under every limit that applies to its call, and is then counted by all of them. A
      rejected request is counted by none.
    - Without enforcement, a request over a limit is a violation, but is admitted and counted. So the peaks show what
      the client sent.
    - No code is shared with the client's limiter, so both can be compared.
"""

from __future__ import annotations

from collections import Counter, deque

from truecaller_async.options import Limits, RateLimit

ACCOUNT_HOLDER_ID = 0
"""Key for limits of the account; tokens are numbered from 1."""


class SlidingLog:
    """Times of the requests admitted in the last `per` seconds; `peak` is the largest number of them."""

    __slots__ = ("_limit", "_per", "_timestamps", "peak")

    def __init__(self, limit: int, per: float) -> None:
        self._limit = limit
        self._per = per
        self._timestamps: deque[float] = deque()
        self.peak = 0

    def wait(self, now: float) -> float:
        """Return the seconds until one more request is admitted; 0.0 if it is admitted now.

        `now` must not decrease between calls.
        """
        moments = self._timestamps
        while moments and moments[0] + self._per <= now:
            moments.popleft()
        over = len(moments) - self._limit
        return 0.0 if over < 0 else moments[over] + self._per - now

    def admit(self, now: float) -> None:
        """Count one request, even if it exceeds the limit."""
        self._timestamps.append(now)
        self.peak = max(self.peak, len(self._timestamps))


class AdmissionControl:
    """All limits of an account and its tokens; `admitted` counts the admitted requests."""

    def __init__(self, limits: Limits, *, enforce: bool) -> None:
        self._rules = tuple(limits)
        self._enforce = enforce
        self._logs: dict[tuple[str, int], SlidingLog] = {}
        self._removed_peaks: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.admitted = 0

    def admit(self, call: str, token: int, now: float) -> float:
        """Count one request if all its limits have capacity.

        Args:
            call: name of the call.
            token: number of the token.
            now: wall-clock seconds.

        Returns:
            0.0 if the request was admitted. Otherwise the seconds until it would be admitted; nothing was counted.
        """
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
        """Delete the logs of an expired token; keep its peaks."""
        for rule in self._rules:
            log = self._logs.pop((rule.name, token), None)
            if log is not None:
                self._removed_peaks[rule.name] = max(self._removed_peaks[rule.name], log.peak)

    def peaks(self) -> dict[str, int]:
        """Return, by limit, the most requests admitted in one window of any token."""
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
