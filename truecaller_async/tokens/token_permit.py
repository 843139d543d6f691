"""Permits of the pool, and the records of their requests in the token store.

Algorithm:
    A request under a limit of 5 s or more is recorded in the store before its first byte is sent. So the limit holds
    if another process adopts the token. When the permit ends, the time at which the request counts is recorded too; the
    store may delay that, because a request without it counts as now at its adoption.
Invariants:
    - A permit ends once; a second end is ignored.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from truecaller_async.clock import loop_time
from truecaller_async.errors import ConfigError
from truecaller_async.models import Token
from truecaller_async.models.tokens import SentRequest
from truecaller_async.options import CALLS, Limits, RateLimit
from truecaller_async.ports import Permit
from truecaller_async.resilience.rate_law import LATE_MAX_SECONDS
from truecaller_async.tokens.pool_state import PoolState

PERSISTED_WINDOW_MIN_SECONDS = 5.0
"""Sent requests are recorded in the store for limits whose window is at least this long."""

REQUEST_NUMBER_BITS = 48
"""Size of the random number of the first request that is recorded in the store."""


def persisted_rules(limits: Limits, call: str) -> tuple[RateLimit, ...]:
    """Return the limits for which a request of this call is recorded in the store."""
    return tuple(rule for rule in limits if rule.counts(call) and rule.per >= PERSISTED_WINDOW_MIN_SECONDS)


class RequestRecords:
    """Writes the requests of one pool to its token store."""

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._rules = {call: tuple(rule.name for rule in persisted_rules(state.limits, call)) for call in CALLS}
        # Random, because earlier processes recorded requests of the same token.
        self._number = state.rng.getrandbits(REQUEST_NUMBER_BITS)
        self.open_permits = 0
        """Permits that have not ended."""

    def record_sent(self, token_id: str, call: str) -> tuple[SentRequest | None, asyncio.Future[None] | None]:
        """Begin to record a request; return it, and when its record is stored."""
        request, noted = None, None
        rules = self._rules.get(call, ())
        if rules:
            self._number += 1
            request = SentRequest(token_id, rules, self._state.clock.wall(), self._number)
            noted = self._state.store.record_sent_request(request)
            if noted is not None:
                noted.add_done_callback(_retrieve_exception)
        self.open_permits += 1
        return request, noted

    def record_end(self, request: SentRequest | None, counts_at: float | None) -> None:
        """Record the loop time from which a request counts; None if it was not sent."""
        self.open_permits -= 1
        if request is not None:
            wall = None if counts_at is None else self._state.clock.wall() + counts_at - loop_time()
            self._state.store.record_request_end(request, wall)


class TokenPermit:
    """The permission to send one request with one token of the pool. Times are on the event loop's clock.

    It must end: by `done`, `lost` or `cancel`. A second end is ignored.
    """

    __slots__ = ("_is_open", "_permit", "_records", "_request", "noted", "token")

    def __init__(self, token: Token, permit: Permit, records: RequestRecords, call: str) -> None:
        self.token = token
        """The token to send the request with."""
        self._permit = permit
        self._records = records
        self._is_open = False
        self._request, noted = records.record_sent(token.token_id, call)
        self.noted = noted
        """Done when the request is recorded in the token store. Await it before the first byte is sent.

        None: there is nothing to wait for.
        """
        self._is_open = True

    @property
    def token_id(self) -> str:
        """Short hash of the token."""
        return self._permit.token_id

    @property
    def at(self) -> float:
        """The time from which the request may be sent, in seconds."""
        return self._permit.at

    def done(self, at: float) -> None:
        """End the permit: the headers of the answer arrived at this time, or the connection broke."""
        self._end(at, lambda: self._permit.done(at))

    def lost(self, at: float) -> None:
        """End the permit: a timeout or deadline of the client gave up the request at this time."""
        self._end(at + LATE_MAX_SECONDS, lambda: self._permit.lost(at))

    def cancel(self) -> None:
        """End the permit: nothing was sent."""
        self._end(None, self._permit.cancel)

    def _end(self, counts_at: float | None, end: Callable[[], None]) -> None:
        if not self._is_open:
            return
        # First the record, then the permit: the end of the permit may start the next request.
        self._is_open = False
        try:
            # A request without a record of its end counts as now at the next adoption. The error of the store must not
            # look like an error of the request, which was answered.
            with contextlib.suppress(ConfigError):
                self._records.record_end(self._request, counts_at)
        finally:
            end()


def _retrieve_exception(noted: asyncio.Future[None]) -> None:
    # Otherwise asyncio logs the exception of a permit that was cancelled before its record was awaited.
    if not noted.cancelled():
        noted.exception()
