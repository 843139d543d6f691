"""Send requests to TrustCaller: one account, one token, one rate limit, with retries.

Algorithm:
    1. Wait for the rate limit: 60 requests a minute. The server does not document what it counts by; here it is the
        client.
    2. Send one attempt.
    3. Repeat it if that is safe. Not sent, or 429: every call. 5xx, lost or unreadable answer: reads, and the
        revocation of a key, which is idempotent. The creation of a key is never repeated, because it would create a
        second key and the token of the first would be lost.
Invariants:
    - A 429 stops the whole client for the time that the server names, because there is no other token.
Failure modes:
    - Revoke: after an ambiguous attempt, 404 counts as success.
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
from truecaller_async.ports import Observer, Permit, Transport
from truecaller_async.resilience.backoff import cooldown_seconds
from truecaller_async.resources.executor import RequestExecutor
from truecaller_async.resources.retry import NextAttempt, Retries, call_with_retries
from truecaller_async.telemetry import SafeObserver
from truecaller_async.transport import AiohttpTransport

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

DOCUMENTED_LIMITS = Limits((RateLimit("trustcaller", 60, 60.0),))
"""60 requests a minute. From "TrustCaller API: Rate limits"."""

PATIENT_RETRY = RetryPolicy(total=150.0)
"""Up to 4 attempts within 150 seconds, so that a `Retry-After` of a whole minute fits in."""

LIMIT_OWNER = "trustcaller"
"""The key under which the limiter counts."""

NEVER_CLOSED = (
    "a TrustCallerClient was used and never closed: its connections stay open. "
    "Use 'async with', or 'await client.aclose()' in a finally"
)

AMBIGUOUS_ERRORS = (ResponseLost, ServerError, DecodeError)
"""Errors after which the request may have been applied."""


class Reader(Protocol[T_co]):
    """Decodes an answer. `now` is the wall-clock time in seconds, for dates in headers."""

    def __call__(self, answer: Answer, *, now: float) -> T_co: ...


@attrs.frozen
class RequestSettings:
    """Token, limits, retry policy and timeouts of all requests."""

    token: Secret
    limits: Limits = DOCUMENTED_LIMITS
    retry: RetryPolicy = PATIENT_RETRY
    timeouts: Timeouts = attrs.field(factory=Timeouts)


# Not `wiring.Environment`: importing `wiring` would load the whole client of Truecaller for Business.
@attrs.frozen(eq=False)
class RequesterEnvironment:
    """The wall clock, the random generator and the observer of a requester."""

    clock: Clock
    rng: Random
    observer: Observer


class TrustCallerRequester:
    """Sends the requests of one client. Needs no event loop until the first call."""

    def __init__(self, transport: Transport, settings: RequestSettings, environment: RequesterEnvironment) -> None:
        self.binding = LoopBinding()
        self._transport = transport
        self._settings = settings
        self._clock = environment.clock
        self._rng = environment.rng
        self._executor = RequestExecutor(
            transport, clock=environment.clock, rng=environment.rng, observer=SafeObserver(environment.observer)
        )
        self._limiter = LocalLimiter(settings.limits)
        self._cooldown_until = 0.0
        self._refusals = 0

    async def call(self, request: Request, read: Reader[T]) -> T:
        """Return the decoded answer. Only a read is repeated after an ambiguous error."""
        return await self._call(request, read, self._new_retry_state(), is_harmless=request.is_read)

    async def call_idempotent(self, request: Request, read: Reader[None]) -> None:
        """Send an idempotent request. After an ambiguous attempt, 404 counts as success."""
        retry_state = self._new_retry_state()
        try:
            await self._call(request, read, retry_state, is_harmless=True)
        except NotFound:
            if not retry_state.may_be_applied:
                raise

    async def aclose(self) -> None:
        """Close the session. May be called twice.

        Raises `ClientClosed` in another loop while the loop of the first use is open.
        """
        if self.binding.close():
            await self._transport.aclose()

    def __del__(self) -> None:
        if isinstance(self._transport, AiohttpTransport) and self.binding.is_unclosed:
            warnings.warn(NEVER_CLOSED, ResourceWarning, stacklevel=2, source=self)

    def _new_retry_state(self) -> _RetryState:
        self.binding.bind()
        return _RetryState(self._settings.retry, self._rng)

    async def _call(self, request: Request, read: Reader[T], retry_state: _RetryState, *, is_harmless: bool) -> T:
        request = attrs.evolve(request, token=self._settings.token)

        def decode(answer: Answer) -> T:
            return read(answer, now=self._clock.wall())

        async def send(permit: Permit) -> T:
            result = await self._executor.attempt(request, None, self._settings.timeouts, decode, permit)
            self._refusals = 0
            return result

        async def after_failure(_: Permit, error: TruecallerError) -> NextAttempt:
            if isinstance(error, RateLimited):
                self._start_cooldown(error)
                return NextAttempt.COUNTED
            is_repeatable = (
                error.retryable if isinstance(error, NotSent) else is_harmless and isinstance(error, AMBIGUOUS_ERRORS)
            )
            return NextAttempt.AFTER_BACKOFF if is_repeatable else NextAttempt.NONE

        return await call_with_retries(
            retry_state, lambda: self._permit(request.call, retry_state), send, after_failure
        )

    async def _permit(self, call: str, retry_state: _RetryState) -> Permit:
        """Wait for the cooldown and the limit. After a failure, raise it if the wait exceeds the policy."""
        while isinstance(permit := self._try_acquire(call), float):
            is_bounded = permit < float("inf")
            if is_bounded and retry_state.last_failure is not None and loop_time() + permit > retry_state.end:
                raise retry_state.last_failure
            await self._wait(permit if is_bounded else None)
            self.binding.check()
        return permit

    def _try_acquire(self, call: str) -> Permit | float:
        now = loop_time()
        if self._cooldown_until > now:
            return self._cooldown_until - now
        return self._limiter.try_acquire(call, (LIMIT_OWNER,), now)

    async def _wait(self, seconds: float | None) -> None:
        """Wait so long, or without a time until a permit ends."""
        if seconds is not None:
            await asyncio.sleep(seconds)
            return
        ended = asyncio.Event()
        unsubscribe = self._limiter.subscribe(ended.set)
        try:
            await ended.wait()
        finally:
            unsubscribe()

    def _start_cooldown(self, error: RateLimited) -> None:
        """Send nothing before the server's cooldown ends. Raise `WaitTooLong` if it is too long."""
        self._refusals += 1
        self._limiter.slow_down(LIMIT_OWNER, loop_time())
        cooldown = cooldown_seconds(error.retry_after, self._refusals, self._rng)
        self._cooldown_until = max(self._cooldown_until, loop_time() + cooldown)
        if cooldown > COOLDOWN_MAX_SECONDS:
            raise WaitTooLong(cooldown, COOLDOWN_MAX_SECONDS) from None


class _RetryState(Retries):
    """The attempts of one call, and whether one of them may have been applied."""

    may_be_applied = False

    def record_failure(self, error: TruecallerError) -> None:
        """Count a failed attempt. Raise its error if it was the last one."""
        self.may_be_applied = self.may_be_applied or isinstance(error, AMBIGUOUS_ERRORS)
        super().record_failure(error)
