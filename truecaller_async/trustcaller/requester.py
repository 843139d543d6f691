"""The line to TrustCaller: one account, one token, one limit. A permit, an attempt, and again where that is safe.

TrustCaller allows 60 requests a minute and does not say whether it counts them by token, account or address; here they
are counted by client. A 429 holds the whole client, because there is no other token to go on with.

What is tried again:

- not sent, and 429 (refused unread): every call;
- 5xx, a lost or unreadable answer: reads and the ending of a key, which done twice is done once. The making of a key is
  never repeated: a second one would be a second key, and nobody would know the first.

Where a key was to be ended and an earlier try may have done it, the server's "not found" says that it has.
"""

from __future__ import annotations

import asyncio
import warnings
from random import Random
from typing import Protocol, TypeVar

import attrs

from truecaller_async.clock import Clock, loop_time
from truecaller_async.errors import (
    DecodeError,
    NotFound,
    NotSent,
    RateLimited,
    ResponseLost,
    ServerError,
    TruecallerError,
    WaitTooLong,
)
from truecaller_async.limits import LocalLimiter
from truecaller_async.loop_binding import LoopBinding
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.options import COOLDOWN_MAX_SECONDS, Limits, RateLimit, RetryPolicy, Timeouts
from truecaller_async.ports import Observer, Transport
from truecaller_async.resilience.backoff import cooldown_seconds
from truecaller_async.resources.executor import RequestExecutor
from truecaller_async.resources.retry import NextTry, Retries, call_with_retries
from truecaller_async.telemetry import SafeObserver
from truecaller_async.transport import AiohttpTransport

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

DOCUMENTED_LIMITS = Limits((RateLimit("trustcaller", 60, 60.0),))
"""60 requests a minute. From "TrustCaller API: Rate limits"."""

PATIENT_RETRY = RetryPolicy(total=150.0)
"""Four tries in 150 seconds. A `Retry-After` may be the whole minute of the limit, and must fit in."""

ACCOUNT = "trustcaller"
"""The one owner of the limit."""

NEVER_CLOSED = (
    "a TrustCallerClient was used and never closed: its connections stay open; "
    "write 'async with', or 'await client.aclose()' in a finally"
)

DOUBTFUL = (ResponseLost, ServerError, DecodeError)
"""Failures after which the request may have been applied."""


class Reader(Protocol[T_co]):
    """Decodes an answer. `now` is wall-clock seconds, for the dates in headers."""

    def __call__(self, answer: Answer, *, now: float) -> T_co: ...


@attrs.frozen
class RequestSettings:
    """How requests are made: with which token, how often, how patiently."""

    token: Secret
    limits: Limits = DOCUMENTED_LIMITS
    retry: RetryPolicy = PATIENT_RETRY
    timeouts: Timeouts = attrs.field(factory=Timeouts)


@attrs.frozen(eq=False)
class RequesterEnvironment:
    """How a line perceives: the wall clock, chance, and who is told what happens."""

    clock: Clock
    rng: Random
    observer: Observer


class TrustCallerRequester:
    """One client's way to TrustCaller. Needs no event loop until the first call."""

    def __init__(self, transport: Transport, terms: RequestSettings, senses: RequesterEnvironment) -> None:
        self.home = LoopBinding()
        self._transport = transport
        self._terms = terms
        self._clock = senses.clock
        self._rng = senses.rng
        self._exchange = RequestExecutor(
            transport, clock=senses.clock, rng=senses.rng, observer=SafeObserver(senses.observer)
        )
        self._limiter = LocalLimiter(terms.limits)
        self._held_until = 0.0
        self._refusals = 0

    async def call(self, request: Request, read: Reader[T]) -> T:
        """The decoded answer, or an error of the tree; only a read is repeated after a doubtful failure."""
        return await self._tried(request, read, self._course(), is_harmless=request.is_read)

    async def call_idempotent(self, request: Request, read: Reader[None]) -> None:
        """As `call`, for what is as well done twice. Not found counts as done where an earlier try may have done it."""
        course = self._course()
        try:
            await self._tried(request, read, course, is_harmless=True)
        except NotFound:
            if not course.is_in_doubt:
                raise

    async def aclose(self) -> None:
        """Close the session. May be called twice. Raises `ClientClosed` in another loop while its own is open."""
        if self.home.close():
            await self._transport.aclose()

    def __del__(self) -> None:
        if isinstance(self._transport, AiohttpTransport) and self.home.is_unclosed:
            warnings.warn(NEVER_CLOSED, ResourceWarning, stacklevel=2, source=self)

    def _course(self) -> _RetryState:
        self.home.bind()
        return _RetryState(self._terms.retry, self._rng)

    async def _tried(self, request: Request, read: Reader[T], course: _RetryState, *, is_harmless: bool) -> T:
        request = attrs.evolve(request, token=self._terms.token)

        def decode(answer: Answer) -> T:
            return read(answer, now=self._clock.wall())

        async def send(_: None) -> T:
            result = await self._exchange.attempt(request, None, self._terms.timeouts, decode)
            self._refusals = 0
            return result

        async def after_failure(_: None, error: TruecallerError) -> NextTry:
            if isinstance(error, RateLimited):
                self._hold(error)
                return NextTry.COUNTED
            is_repeatable = (
                error.retryable if isinstance(error, NotSent) else is_harmless and isinstance(error, DOUBTFUL)
            )
            return NextTry.AFTER_BACKOFF if is_repeatable else NextTry.NONE

        return await call_with_retries(course, lambda: self._permit(request.call, course), send, after_failure)

    async def _permit(self, call: str, course: _RetryState) -> None:
        """Wait out the hold and the limit. After a failure the wait ends with the policy: that failure is raised."""
        loop = asyncio.get_running_loop()
        while (wait := await self._wait(call)) > 0:
            if course.last_failure is not None and loop.time() + wait > course.end:
                raise course.last_failure
            await asyncio.sleep(wait)
            self.home.check()

    async def _wait(self, call: str) -> float:
        """Seconds until the next request may go; 0.0 means now, and it is charged."""
        held = self._held_until - loop_time()
        return held if held > 0 else await self._limiter.try_acquire(ACCOUNT, call)

    def _hold(self, error: RateLimited) -> None:
        """Nothing goes out before the server's time is over. Raises `WaitTooLong` where nobody would wait so long."""
        self._refusals += 1
        self._limiter.slow_down(ACCOUNT)
        hold = cooldown_seconds(error.retry_after, self._refusals, self._rng)
        self._held_until = max(self._held_until, loop_time() + hold)
        if hold > COOLDOWN_MAX_SECONDS:
            raise WaitTooLong(hold, COOLDOWN_MAX_SECONDS) from None


class _RetryState(Retries):
    """The tries of one call, and whether one of them may have been applied."""

    is_in_doubt = False

    def record_failure(self, error: TruecallerError) -> None:
        """One more try failed with this; raises it when it was the last."""
        self.is_in_doubt = self.is_in_doubt or isinstance(error, DOUBTFUL)
        super().record_failure(error)
