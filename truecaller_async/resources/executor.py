"""Send single requests: one attempt each, observed, counted and guarded by the circuit breaker.

Purpose:
    `attempt()` makes one attempt with a given token: it sends, decodes and informs the observer. Campaigns call it
    directly, because they have their own retry policy. All other calls use `pooled_call`, new tokens `minting_call`.
Invariants:
    - All requests of a client and of its campaigns share one `ServiceGuard`. A retry uses the retry budget of the
      guard. While the breaker is open, a call waits until it may probe, at most until its deadline or for the `total`
      of its retry policy.
    - A permit ends with its attempt, whatever happens. A request whose answer did not come because of a timeout, a
      deadline or a cancellation may still arrive, so its permit is lost.
    - The `Date` of each answer of the API updates the server clock (`server_time()`).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from random import Random
from typing import TypeVar

import attrs

from truecaller_async.clock import Clock, loop_time
from truecaller_async.errors import ClientClosed, DeadlineExceeded, ResponseLost, TruecallerError, WaitTooLong
from truecaller_async.models import Answer, Request, Secret, Token
from truecaller_async.options import Credentials, RetryPolicy, Timeouts
from truecaller_async.ports import Observer, Permit, Transport, Write
from truecaller_async.protocol.responses import read_download
from truecaller_async.protocol.retry_after import http_date
from truecaller_async.resilience.server_clock import ServerClock
from truecaller_async.resilience.service_guard import RECHECK_SECONDS, Grant, ServiceGuard
from truecaller_async.resources.retry import Retries
from truecaller_async.user_warnings import Deprecations

T = TypeVar("T")

CLOCK_OFFSET_MIN_SECONDS = 30.0
"""The offset between the local clock and the server's from which the observer is informed."""


@attrs.frozen
class ClientSettings:
    """The settings that `with_options` may change on a copy of the client; everything else is shared."""

    credentials: Credentials
    api_version: str
    retry: RetryPolicy
    timeouts: Timeouts


class RequestExecutor:
    """Sends requests over a transport. Shared by all resources and all campaigns of a client."""

    def __init__(self, transport: Transport, *, clock: Clock, rng: Random, observer: Observer) -> None:
        self._transport = transport
        self._clock = clock
        self._observer = observer
        self._server_clock = ServerClock()
        self._offset_reported = False
        self.rng = rng
        self.guard = ServiceGuard()
        self.counts: Counter[str] = Counter()
        """Requests sent so far, by the name of the call."""
        self.deprecations = Deprecations()

    def server_time(self) -> float:
        """Return the best estimate of the server's wall-clock time, in seconds since the epoch."""
        wall = self._clock.wall()
        return wall + self._server_clock.offset(loop_time(), wall)

    def server_time_is_known(self) -> bool:
        """Return whether `server_time()` is exact enough to decide whether a window has closed."""
        return self._server_clock.is_sure(loop_time(), self._clock.wall())

    async def attempt(
        self,
        request: Request,
        token: Token | None,
        timeouts: Timeouts,
        read: Callable[[Answer], T],
        permit: Permit | None = None,
    ) -> T:
        """Make one attempt.

        Args:
            request: The request, without a token.
            token: The token to send it with, if any.
            timeouts: The timeouts of this attempt, in seconds.
            read: Decodes the answer, or raises its error.
            permit: The permit of this request, if it has one. It has ended when this returns or raises.

        Returns:
            The decoded answer.

        Raises:
            TruecallerError: What the transport or `read` raises.
        """
        if token is not None:
            request = request.with_token(token.secret)
        token_id = token.token_id if token is not None else None
        return await self._observed(request.call, token_id, self._send(request, timeouts, permit), read)

    async def _send(self, request: Request, timeouts: Timeouts, permit: Permit | None) -> Answer:
        try:
            answer = await self._transport.send(request, timeouts)
        except BaseException as error:
            if permit is not None:
                end_permit(permit, error, loop_time())
            raise
        if permit is not None:
            permit.done(loop_time() if answer.headers_at is None else answer.headers_at)
        return answer

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], max_bytes: int
    ) -> None:
        """Download the file behind a link, in one attempt and without a token. See `Transport.download`."""
        await self._observed(
            "download",
            None,
            self._transport.download(link, write, timeouts, hosts=hosts, max_bytes=max_bytes),
            lambda answer: read_download(answer, now=self._clock.wall()),
        )

    async def wait_for_guard(
        self,
        retries: Retries,
        deadline: float | None = None,
        *,
        may_probe: Callable[[], bool] = lambda: True,
        is_closed: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait until a grant may be available.

        Args:
            retries: Retry state of the call that needs the grant.
            deadline: The caller's deadline, on the loop's clock.
            may_probe: Whether this call may be the one that probes an open breaker.
            is_closed: Whether the client was closed meanwhile.

        Raises:
            TruecallerError: The last failure of the call, if a retry cannot start in time.
            DeadlineExceeded: The first attempt cannot start before the caller's deadline.
            WaitTooLong: The first attempt cannot start within the `total` of the retry policy.
            ClientClosed: The client was closed.
        """
        while True:
            wait = self.guard.wait(loop_time(), is_retry=retries.is_retry)
            if self.guard.is_open and not may_probe():
                wait = max(wait, RECHECK_SECONDS)
            if wait <= 0:
                return
            if is_closed():
                raise ClientClosed("the client was closed while a request waited for the service; nothing was sent")
            left = retries.end - loop_time()
            if wait > left:
                if retries.last_failure is not None:
                    raise retries.last_failure
                if retries.end == deadline:
                    raise DeadlineExceeded(
                        f"the service fails and is only probed. The next probe is in {wait:.1f} s, after the deadline; "
                        "nothing was sent. Try again later"
                    )
                raise WaitTooLong(wait, max(left, 0.0))
            # In short steps: the breaker may close early, and another request may take the probe.
            await asyncio.sleep(min(wait, RECHECK_SECONDS))

    async def send_with_grant(self, grant: Grant, sending: Awaitable[T]) -> T:
        """Await a request that has a grant, and record how it ends."""
        began = loop_time()
        try:
            result = await sending
        except BaseException as failure:
            self.record_end(grant, failure, loop_time() - began)
            raise
        self.record_end(grant, None)
        return result

    def record_end(self, grant: Grant, failure: BaseException | None, seconds: float = 0.0) -> None:
        """Record the end of a request that had a grant. Inform the observer if the breaker opens or closes."""
        was_open = self.guard.is_open
        self.guard.record(grant, failure, loop_time(), seconds)
        if self.guard.is_open and not was_open:
            self._observer.event("breaker.opened", {"error": type(failure).__name__})
        elif was_open and not self.guard.is_open:
            self._observer.event("breaker.closed", {})

    async def _observed(
        self, call: str, token_id: str | None, sending: Awaitable[Answer], read: Callable[[Answer], T]
    ) -> T:
        began = loop_time()
        status, failure = None, None
        self.counts[call] += 1
        try:
            answer = await sending
            status = answer.status
            if call != "download":
                self._update_server_clock(answer)
            return read(answer)
        except TruecallerError as error:
            failure = type(error).__name__
            raise error.with_traceback(None)  # noqa: B904 - the frames behind it hold text of the server
        finally:
            self._observer.request(call, token_id, status, loop_time() - began, failure)

    def _update_server_clock(self, answer: Answer) -> None:
        date = http_date(answer.headers.get("date", ""))
        # Not the `Date` of an intermediary: the error page of a gateway, a redirect, a copy out of a cache.
        if date is None or 300 <= answer.status < 400 or answer.status >= 500 or "age" in answer.headers:
            return
        wall = self._clock.wall()
        self._server_clock.record(date, loop_time())
        offset = self._server_clock.offset(loop_time(), wall)
        if abs(offset) > CLOCK_OFFSET_MIN_SECONDS and self.server_time_is_known() and not self._offset_reported:
            self._offset_reported = True
            self._observer.event("clock.offset_detected", {"server_ahead_seconds": round(offset)})


def end_permit(permit: Permit, error: BaseException, at: float) -> None:
    """End the permit of a request that failed with this error at this loop time."""
    if not isinstance(error, TruecallerError) or (isinstance(error, ResponseLost) and error.given_up):
        permit.lost(at)
    elif error.sent == "no":
        permit.cancel()
    else:
        permit.done(at)
