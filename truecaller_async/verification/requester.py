"""What the calls of this room share: how a server is reached, and when a call is made again.

The policy is that of the rest of the library. An error says itself whether the same call may be made again
(`.retryable`), so a read is repeated after a lost answer and a 5xx, and the exchange of an authorization code only
where it was certainly not sent. A 429 is not waited out here: a user stands before a screen. The caller is told, with
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
from truecaller_async.resources.retry import NextTry, Retries, call_with_retries
from truecaller_async.settings import checked_url
from truecaller_async.telemetry import LoggingObserver
from truecaller_async.transport import AiohttpTransport

T = TypeVar("T")

CAP = 64 * 1024
"""Bytes of an answer that are read at most."""


@attrs.frozen(kw_only=True)
class ServiceOptions:
    """How a server is reached. `base_url` is the documented host where it is None.

    The timeouts are in seconds. `clock` is the wall clock, `observer` is told of every request, `proxy` and `ssl` are
    as for `TruecallerClient`.
    """

    base_url: str | None = None
    retry: RetryPolicy = attrs.field(factory=lambda: RetryPolicy(attempts=3, total=15.0, initial=0.3, cap=2.0))
    timeouts: Timeouts = attrs.field(factory=lambda: Timeouts(connect=5.0, read=10.0))
    proxy: str | None = attrs.field(default=None, repr=False)
    ssl: SSLContext | None = None
    observer: Observer = attrs.field(factory=LoggingObserver)
    clock: Clock = attrs.field(factory=Clock)

    def exchange(self, transport: Transport) -> RequestExecutor:
        """An exchange over this transport."""
        return RequestExecutor(transport, clock=self.clock, rng=Random(), observer=self.observer)  # noqa: S311 - jitter


class VerificationRequester:
    """One server, and the calls made to it."""

    def __init__(self, usual_url: str, options: ServiceOptions | None) -> None:
        self.options = options or ServiceOptions()
        url = checked_url(self.options.base_url or usual_url)
        self._transport = AiohttpTransport(url, proxy=self.options.proxy, ssl=self.options.ssl)
        self._exchange = self.options.exchange(self._transport)

    async def call(self, request: Request, read: Callable[[Answer], T]) -> T:
        """The request, again where its error says so. Raises errors of the tree."""
        timeouts = self.options.timeouts
        return await with_retries(lambda: self._exchange.attempt(request, None, timeouts, read), self.options.retry)

    async def aclose(self) -> None:
        """Close the connections. May be called twice. Raises `ClientClosed` in another event loop."""
        await self._transport.aclose()


async def with_retries(attempt: Callable[[], Awaitable[T]], policy: RetryPolicy) -> T:
    """The result of the first attempt that has one. Raises the last error, or the first that is not `.retryable`."""

    async def prepare() -> None:
        """Wait for nothing: these calls have no limit."""

    async def after_failure(_: None, error: TruecallerError) -> NextTry:
        is_repeatable = error.retryable and not isinstance(error, RateLimited)
        return NextTry.AFTER_BACKOFF if is_repeatable else NextTry.NONE

    retries = Retries(policy, Random())  # noqa: S311 - jitter
    return await call_with_retries(retries, prepare, lambda _: attempt(), after_failure)
