"""Send the requests of the verification flows, with retries.

Algorithm:
    - `.retryable` of an error states whether the same call may be repeated. A read is repeated after a lost answer and
      after a 5xx. The exchange of an authorization code is repeated only if it was certainly not sent.
    - After a 429 the call does not wait, because a user waits for the result. It raises the error with its
      `.retry_after`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from ssl import SSLContext
from typing import TypeVar

import attrs

from truecaller_async.clock import Clock
from truecaller_async.errors import RateLimited, TruecallerError
from truecaller_async.models import Answer, Request
from truecaller_async.options import RetryPolicy, Timeouts
from truecaller_async.ports import Observer, Transport
from truecaller_async.resources import RequestExecutor
from truecaller_async.resources.retry import NextAttempt, Retries, call_with_retries
from truecaller_async.settings import checked_url
from truecaller_async.telemetry import LoggingObserver
from truecaller_async.transport import AiohttpTransport

T = TypeVar("T")

ANSWER_MAX_BYTES = 64 * 1024
"""Largest answer body that is read."""


@attrs.frozen(kw_only=True)
class ServiceOptions:
    """Options of the connection to a verification server."""

    base_url: str | None = None
    """Base address; None means the documented host."""
    retry: RetryPolicy = attrs.field(factory=lambda: RetryPolicy(attempts=3, total=15.0, initial=0.3, cap=2.0))
    """Retry policy, in seconds: 3 attempts within 15."""
    timeouts: Timeouts = attrs.field(factory=lambda: Timeouts(connect=5.0, read=10.0))
    """Timeouts in seconds: 5 to connect, 10 to read."""
    proxy: str | None = attrs.field(default=None, repr=False)
    """HTTP proxy, as for `TruecallerClient`."""
    ssl: SSLContext | None = None
    """TLS settings, as for `TruecallerClient`."""
    observer: Observer = attrs.field(factory=LoggingObserver)
    """Receives an event for each request."""
    clock: Clock = attrs.field(factory=Clock)
    """Source of the wall-clock time."""

    def executor(self, transport: Transport) -> RequestExecutor:
        """Return a request executor that uses this transport."""
        return RequestExecutor(transport, clock=self.clock, rng=Random(), observer=self.observer)  # noqa: S311 - jitter


class VerificationRequester:
    """Sends requests to one server."""

    def __init__(self, default_url: str, options: ServiceOptions | None) -> None:
        self.options = options or ServiceOptions()
        url = checked_url(self.options.base_url or default_url)
        self._transport = AiohttpTransport(url, proxy=self.options.proxy, ssl=self.options.ssl)
        self._executor = self.options.executor(self._transport)

    async def call(self, request: Request, read: Callable[[Answer], T]) -> T:
        """Send a request, with retries if its error allows them. Raises the last `TruecallerError`."""
        timeouts = self.options.timeouts
        return await with_retries(lambda: self._executor.attempt(request, None, timeouts, read), self.options.retry)

    async def aclose(self) -> None:
        """Close the connections. May be called twice. Raises `ClientClosed` in another event loop."""
        await self._transport.aclose()


async def with_retries(attempt: Callable[[], Awaitable[T]], policy: RetryPolicy) -> T:
    """Return the result of the first successful attempt.

    Raises the error of the last attempt. An error that is not `.retryable`, or is a 429, ends the retries.
    """

    async def prepare() -> None:
        """Wait for nothing: these calls have no limit."""

    async def after_failure(_: None, error: TruecallerError) -> NextAttempt:
        is_repeatable = error.retryable and not isinstance(error, RateLimited)
        return NextAttempt.AFTER_BACKOFF if is_repeatable else NextAttempt.NONE

    retries = Retries(policy, Random())  # noqa: S311 - jitter
    return await call_with_retries(retries, prepare, lambda _: attempt(), after_failure)
