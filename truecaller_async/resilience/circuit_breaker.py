"""Decide from the health of the answers whether a service is sent only probes.

Algorithm:
    - The breaker opens after 20 first attempts in a row with a bad result. Retries do not count: a retry that fails
      proves no more than the failure before it, and one batch without a status is not an outage.
    - While it is open, one probe at a time is sent. A good answer to any request closes it.
    - Interval between probes: 30 s, or 10 s if the answer was 429. If only the retry budget is empty (breaker closed):
      10 s. After 30 probes without a good answer: always 30 s. After a good probe: 0 s.
    - The interval counts from the start of a probe: a probe that took 30 s is followed by the next at once.
    Health: 5xx, a lost answer, no connection, and a deadline of 2 s or more are bad. 429 is throttled. A rejection
    (400, 403, 404, 422) is good, because the service processed the request. A refused token, a redirect and an
    unreadable answer prove nothing.
Invariants:
    - At most one probe is in flight.
    - The breaker never makes a request fail. The request waits, as long as its deadline allows.
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from truecaller_async.errors import (
    BadRequest,
    DeadlineExceeded,
    Forbidden,
    NotFound,
    NotSent,
    PushRejected,
    RateLimited,
    ResponseLost,
    ServerError,
)

FAILURE_THRESHOLD = 20

PROBE_INTERVAL_SECONDS = 30.0
PROBE_INTERVAL_THROTTLED_SECONDS = 10.0
PROBE_INTERVAL_NO_BUDGET_SECONDS = 10.0
QUICK_PROBES_MAX = 30
"""Number of probes without a good answer after which all intervals are `PROBE_INTERVAL_SECONDS`."""

SLOW_FAILURE_SECONDS = 2.0
"""Minimum duration of a request for an expired deadline to count as a failure of the service."""


class Health(StrEnum):
    """Define what the result of a request proves about the service."""

    GOOD = "good"
    BAD = "bad"
    THROTTLED = "throttled"
    SILENT = "silent"


def health_of(failure: BaseException | None, seconds: float = 0.0) -> Health:
    """Classify the result of a request that took `seconds`; None is a successful answer."""
    match failure:
        case None | BadRequest() | Forbidden() | NotFound() | PushRejected():
            return Health.GOOD
        case RateLimited():
            return Health.THROTTLED
        case ServerError() | ResponseLost() | NotSent():
            return Health.BAD
        case DeadlineExceeded() if seconds >= SLOW_FAILURE_SECONDS:
            return Health.BAD
        case _:
            return Health.SILENT


@attrs.define
class CircuitBreaker:
    """Count failed first attempts in a row and schedule probes.

    Times are seconds of the event loop's clock.
    """

    failures: int = 0
    """First attempts with a bad or throttled result since the last good answer."""
    is_probing: bool = False
    """Whether a probe is in flight."""
    next_probe_at: float = float("-inf")
    """Earliest time of the next probe."""
    _probes: int = 0
    _probe_started_at: float = float("-inf")

    @property
    def is_open(self) -> bool:
        """Return whether only probes may be sent."""
        return self.failures >= FAILURE_THRESHOLD

    def start_probe(self, now: float) -> None:
        """Record that a probe is sent."""
        self.is_probing, self._probe_started_at = True, now
        self._probes += 1

    def cancel_probe(self) -> None:
        """Record that the probe was not sent."""
        self.is_probing = False

    def record(self, health: Health, now: float, *, is_first: bool, is_probe: bool) -> None:
        """Record the result of a request: of a first attempt, of a probe, or of a retry (neither)."""
        was_open = self.is_open
        if health is Health.GOOD:
            self.failures = self._probes = 0
        elif health is not Health.SILENT:
            self.failures += is_first
        if is_probe:
            self.is_probing = False
            self.next_probe_at = now if health is Health.GOOD else self._probe_started_at + self._interval(health)
        elif self.is_open and not was_open:
            self.next_probe_at = now + self._interval(health)

    def _interval(self, health: Health) -> float:
        if self._probes >= QUICK_PROBES_MAX:
            return PROBE_INTERVAL_SECONDS
        if not self.is_open:
            return PROBE_INTERVAL_NO_BUDGET_SECONDS
        return PROBE_INTERVAL_THROTTLED_SECONDS if health is Health.THROTTLED else PROBE_INTERVAL_SECONDS
