"""Make one call with a token of the pool: wait for a permit, send it, and repeat it if that is safe.

Algorithm:
    What follows a failed attempt:
    - not sent: retry after a backoff, for every call;
    - 429: retry at once with another token, while this one is in cooldown;
    - rejected token: retry once, with another token;
    - 5xx, lost or unreadable answer: retry after a backoff, reads only. A write is not repeated, because it may have
      been applied; `ResponseLost` says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from truecaller_async.clock import loop_time
from truecaller_async.errors import (
    AuthenticationFailed,
    DeadlineExceeded,
    DecodeError,
    NotSent,
    RateLimited,
    ResponseLost,
    ServerError,
    TruecallerError,
    WaitTooLong,
)
from truecaller_async.models import Answer, Request, Token
from truecaller_async.options import COOLDOWN_MAX_SECONDS
from truecaller_async.resilience.backoff import cooldown_seconds
from truecaller_async.resilience.service_guard import Grant
from truecaller_async.resources.executor import ClientSettings, RequestExecutor
from truecaller_async.resources.retry import NextAttempt, Retries, call_with_retries
from truecaller_async.tokens import TokenPermit, TokenPool

T = TypeVar("T")
Result = TypeVar("Result")


class PooledCall(Generic[T]):
    """One call to the API, with all its attempts. `deadline` is on the loop's clock."""

    def __init__(
        self,
        executor: RequestExecutor,
        pool: TokenPool,
        settings: ClientSettings,
        request: Request,
        read: Callable[[Answer], T],
        deadline: float | None,
    ) -> None:
        self._executor = executor
        self._pool = pool
        self._settings = settings
        self._request = request
        self._read = read
        self._deadline = deadline
        self._retries = Retries(settings.retry, executor.rng, deadline)
        self._token_rejections = 0

    async def run(self) -> T:
        """Return the decoded answer, or raise the error of the last attempt."""
        return await call_with_retries(self._retries, self._acquire, self._send, self._after_failure)

    async def _acquire(self) -> tuple[TokenPermit, Grant]:
        executor, retries = self._executor, self._retries
        while True:
            await executor.wait_for_guard(retries, self._deadline, is_closed=lambda: self._pool.binding.closed)
            permit = await self._permit()
            # Acquire the grant last: while a call with a probe grant waits for a permit, no other call can probe.
            grant = executor.guard.try_acquire(loop_time(), is_retry=retries.is_retry)
            if grant is not None:
                return permit, grant
            permit.cancel()

    async def _permit(self) -> TokenPermit:
        deadline, retries = self._deadline, self._retries
        try:
            end = deadline if retries.last_failure is None else retries.end
            return await self._with_deadline(self._recorded_permit(end), in_flight=False)
        except DeadlineExceeded:
            # After a failure the retry policy bounds the wait too; then that failure is the better explanation.
            if retries.last_failure is None or retries.end == deadline:
                raise
            raise retries.last_failure from None
        except (ServerError, ResponseLost) as error:
            # The mint failed. The request that needs the token was not sent, so it may be repeated.
            error.sent, error.retryable = "no", True
            raise

    async def _recorded_permit(self, deadline: float | None) -> TokenPermit:
        """Wait for a permit whose request is recorded in the token store."""
        while True:
            permit = await self._pool.acquire_for_call(self._request.call, deadline=deadline)
            try:
                if permit.noted is not None:
                    await permit.noted
            except BaseException:
                permit.cancel()
                raise
            if self._pool.is_usable(permit.token_id):
                return permit
            permit.cancel()

    async def _send(self, acquired: tuple[TokenPermit, Grant]) -> T:
        permit, grant = acquired
        attempt = self._executor.attempt(self._request, permit.token, self._settings.timeouts, self._read, permit)
        result = await self._executor.send_with_grant(grant, self._with_deadline(attempt, in_flight=True))
        self._pool.record_success(permit.token_id)
        return result

    async def _after_failure(self, acquired: tuple[TokenPermit, Grant], error: TruecallerError) -> NextAttempt:
        token = acquired[0].token
        if isinstance(error, AuthenticationFailed):
            await self._pool.discard(token.token_id, error)
            self._token_rejections += 1
            is_last = self._token_rejections > 1 or self._settings.retry.attempts == 1
            return NextAttempt.NONE if is_last else NextAttempt.UNCOUNTED
        if isinstance(error, RateLimited):
            self._start_cooldown(token, error)
            return NextAttempt.COUNTED
        return NextAttempt.AFTER_BACKOFF if is_repeatable(error, self._request) else NextAttempt.NONE

    def _start_cooldown(self, token: Token, error: RateLimited) -> None:
        pool = self._pool
        in_a_row = pool.record_throttled(token.token_id)
        cooldown = cooldown_seconds(error.retry_after, in_a_row, self._executor.rng)
        pool.start_cooldown(token.token_id, cooldown)
        if cooldown > COOLDOWN_MAX_SECONDS and pool.cooling_down_count() == len(pool.live()):
            raise WaitTooLong(cooldown, COOLDOWN_MAX_SECONDS) from None

    async def _with_deadline(self, work: Awaitable[Result], *, in_flight: bool) -> Result:
        try:
            async with asyncio.timeout_at(self._deadline):
                return await work
        except TimeoutError:
            pass  # raised below, because the frames of this one hold the request's headers
        if in_flight:
            # A write that is cut off here may have been applied.
            raise DeadlineExceeded("the deadline passed while the request was in flight", sent="maybe")
        raise DeadlineExceeded("the deadline passed before sending", sent="no")


def is_repeatable(error: TruecallerError, request: Request) -> bool:
    """Return whether a request may be sent again after this error. Not for a 429 or a rejected token."""
    if isinstance(error, NotSent):
        return error.retryable
    return request.is_read and isinstance(error, ResponseLost | ServerError | DecodeError)
