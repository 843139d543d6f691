"""How hard a client may lean on a server that does not answer well: the retry budget and the breaker.

What is the theory
------------------
Retries turn a slow server into a dead one, because they come on top of what is sent anyway and come when it hurts
most. So every request of a client, whoever makes it, asks here for leave, and says here how it ended.

A first attempt always has leave, and earns a tenth of a retry. A retry costs one. The *budget* begins at ten, so that
small runs are not starved, and never holds more than a hundred, so that a quiet day buys no storm. Where it is spent
one retry at a time may go as a *probe*: after a good answer the next one at once, after a bad one ten seconds later, or
thirty after five minutes of that. While the last ten answers were all good there is nothing to protect, and a retry
costs nothing: what an outage left behind is made up for as fast as the limits allow.

The *breaker*: after twenty first attempts in a row that ended badly nothing goes but one probe every 30 seconds, first
attempt or retry, until one of them is good. A retry that fails says nothing that the failure before it did not, and one
batch whose status cannot be had is no outage. Where the answers are 429 it is ten seconds for the first five minutes.
The time counts from the beginning of the probe: one that hung for 30 seconds is followed by the next at once.

Bad is what speaks of the server's health or of the way to it: 5xx, 429, a lost answer, no connection, silence until a
deadline of seconds. An answer that says no is a good one here: somebody thought about it. A refused token, a redirect
or an unreadable answer says nothing. Nothing here turns a request into a failure; it waits, as long as its owner can.

429 is not charged to the budget: the limits and the token's hold say when it may be tried again.
"""

from __future__ import annotations

from collections import Counter
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

BUDGET_INITIAL = 10.0
BUDGET_PER_REQUEST = 0.1
BUDGET_MAX = 100.0
RECOVERY_THRESHOLD = 10
FAILURE_THRESHOLD = 20

PROBE_INTERVAL_SECONDS = 30.0
PROBE_INTERVAL_THROTTLED_SECONDS = 10.0
PROBE_INTERVAL_NO_BUDGET_SECONDS = 10.0
QUICK_PROBES_MAX = 30
"""Probes in a row after which an end is no longer thought to be near."""

SLOW_FAILURE_SECONDS = 2.0
"""Seconds after which a deadline that passes speaks of the server, and not of the caller's impatience."""

RECHECK_SECONDS = 0.5
"""Seconds after which to ask again while a probe is under way, whose end nobody knows."""


class Grant(StrEnum):
    """Why a request may go: for how it counts, and what its end means."""

    FIRST = "first"
    RETRY = "paid"
    FREE_RETRY = "free"
    PROBE = "probe"


class Health(StrEnum):
    """What the end of a request says of the server."""

    GOOD = "good"
    BAD = "bad"
    THROTTLED = "throttled"
    SILENT = "silent"


def health_of(failure: BaseException | None, seconds: float = 0.0) -> Health:
    """What this end of a request after so many seconds says; None is an answer that says yes."""
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
class ServiceGuard:
    """The budget and the breaker of one client. `now` is on the loop's clock; `granted` counts the leaves given."""

    budget: float = BUDGET_INITIAL
    grant_counts: Counter[Grant] = attrs.field(factory=Counter)
    _good: int = 0
    _bad: int = 0
    _probing: bool = False
    _probes: int = 0
    _probe_began: float = float("-inf")
    _probe_at: float = float("-inf")

    @property
    def is_open(self) -> bool:
        """Whether the breaker is open: nothing goes but probes."""
        return self._bad >= FAILURE_THRESHOLD

    @property
    def is_degraded(self) -> bool:
        """Whether retries go one at a time, or nothing goes but probes."""
        return self._needs_probe(again=True)

    @property
    def last_answer_was_good(self) -> bool:
        """Whether the latest answer was a good one."""
        return self._good > 0

    def wait(self, now: float, *, is_retry: bool = False) -> float:
        """Seconds until it is worth asking; 0.0 if there is leave now. `again`: the request repeats one that failed."""
        if not self._needs_probe(is_retry):
            return 0.0
        return RECHECK_SECONDS if self._probing else max(0.0, self._probe_at - now)

    def try_acquire(self, now: float, *, is_retry: bool = False) -> Grant | None:
        """Leave to send one request now, or None. Whoever has leave says how it `ended`, or gives it back."""
        if self.wait(now, is_retry=is_retry) > 0:
            return None
        grant = self._kind(is_retry)
        self.grant_counts[grant] += 1
        if grant is Grant.PROBE:
            self._probing, self._probe_began = True, now
            self._probes += 1
        elif grant is Grant.RETRY:
            self.budget -= 1.0
        elif grant is Grant.FIRST:
            self.budget = min(BUDGET_MAX, self.budget + BUDGET_PER_REQUEST)
        return grant

    def cancel(self, grant: Grant) -> None:
        """It was not used: nothing was sent."""
        self.grant_counts[grant] -= 1
        if grant is Grant.PROBE:
            self._probing = False
        elif grant is Grant.RETRY:
            self.budget += 1.0

    def record(self, grant: Grant, failure: BaseException | None, now: float, seconds: float = 0.0) -> None:
        """A request that had leave has ended, after so many seconds where that matters."""
        health = health_of(failure, seconds)
        was_open = self.is_open
        if health is Health.GOOD:
            self._good += 1
            self._bad = self._probes = 0
        elif health is not Health.SILENT:
            self._good = 0
            self._bad += grant is Grant.FIRST
        if grant is Grant.PROBE:
            self._probing = False
            self._probe_at = now if health is Health.GOOD else self._probe_began + self._gap(health)
        elif self.is_open and not was_open:
            self._probe_at = now + self._gap(health)

    def _needs_probe(self, again: bool) -> bool:
        return self.is_open or (again and self._good < RECOVERY_THRESHOLD and self.budget < 1.0)

    def _kind(self, again: bool) -> Grant:
        if self._needs_probe(again):
            return Grant.PROBE
        if not again:
            return Grant.FIRST
        return Grant.FREE_RETRY if self._good >= RECOVERY_THRESHOLD else Grant.RETRY

    def _gap(self, health: Health) -> float:
        if self._probes >= QUICK_PROBES_MAX:
            return PROBE_INTERVAL_SECONDS
        if not self.is_open:
            return PROBE_INTERVAL_NO_BUDGET_SECONDS
        return PROBE_INTERVAL_THROTTLED_SECONDS if health is Health.THROTTLED else PROBE_INTERVAL_SECONDS
