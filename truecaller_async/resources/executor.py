"""One request, and the one place where a request is tried again.

`attempt` is a single try with a given token: send, read, tell the observer, say what the pool must know. The engine
uses only this, because it has its own policy. `call` is for everybody else: it takes a permit, tries, and tries again
as the error's class and the `RetryPolicy` allow:

- not sent: after a backoff, for every call;
- 429: at once with another token while this one is on hold;
- a refused token: once, with another;
- 5xx, a lost or unreadable answer: reads only. A write whose answer is lost is never repeated here, because nobody
  can know whether it was applied; `ResponseLost` says so.

Attempts and total time are both bounded, and the caller's own deadline bounds the total further. Beyond that all
requests of a client, those of its campaigns too, share one `ServiceGuard`: a retry draws on its budget, and while its
breaker is open a call waits for its turn to probe, up to its deadline or the policy's total.

Every answer also tells what time it is at the server.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from random import Random
from typing import TypeVar

import attrs

from truecaller_async.clock import Clock
from truecaller_async.errors import (
    AuthenticationFailed,
    ClientClosed,
    DeadlineExceeded,
    DecodeError,
    NotSent,
    RateLimited,
    ResponseLost,
    ServerError,
    TruecallerError,
    WaitTooLong,
)
from truecaller_async.models import Answer, Request, Secret, Token
from truecaller_async.options import COOLDOWN_MAX_SECONDS, Credentials, RetryPolicy, Timeouts
from truecaller_async.ports import Observer, Transport, Write
from truecaller_async.protocol.requests import mint_request
from truecaller_async.protocol.responses import read_download, read_mint
from truecaller_async.protocol.retry_after import http_date
from truecaller_async.resilience.backoff import cooldown_seconds, full_jitter
from truecaller_async.resilience.server_clock import ServerClock
from truecaller_async.resilience.service_guard import RECHECK_SECONDS, Grant, ServiceGuard
from truecaller_async.resources.deprecations import Deprecations
from truecaller_async.tokens import MintBudgetClaim, TokenPool

T = TypeVar("T")

CLOCK_OFFSET_SECONDS = 30.0
"""Seconds between our clock and the server's that are worth a word."""


@attrs.frozen
class ClientSettings:
    """What `with_options` may change on a copy of the client; everything else is shared."""

    credentials: Credentials
    api_version: str
    retry: RetryPolicy
    timeouts: Timeouts


class RequestExecutor:
    """Sends requests over a transport. Shared by all resources and by the engine."""

    def __init__(self, transport: Transport, *, clock: Clock, rng: Random, observer: Observer) -> None:
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._observer = observer
        self._server_clock = ServerClock()
        self._offset_reported = False
        self.guard = ServiceGuard()
        self.counts: Counter[str] = Counter()
        self.deprecations = Deprecations()

    def server_time(self) -> float:
        """What time it is at the server, as far as is known: seconds since the epoch."""
        wall = self._clock.wall()
        return wall + self._server_clock.offset(_now(), wall)

    def server_time_is_known(self) -> bool:
        """Whether `server_time` is sure enough to decide by."""
        return self._server_clock.is_sure(_now(), self._clock.wall())

    def record_end(self, grant: Grant, failure: BaseException | None, seconds: float = 0.0) -> None:
        """A request that had leave has ended. When the breaker opens or closes, the observer hears of it."""
        was_open = self.guard.is_open
        self.guard.record(grant, failure, _now(), seconds)
        if self.guard.is_open and not was_open:
            self._observer.event("breaker.opened", {"error": type(failure).__name__})
        elif was_open and not self.guard.is_open:
            self._observer.event("breaker.closed", {})

    async def attempt(
        self, request: Request, token: Token | None, timeouts: Timeouts, read: Callable[[Answer], T]
    ) -> T:
        """One try: the decoded answer, or an error of the tree."""
        if token is not None:
            request = request.with_token(token.secret)
        token_id = token.token_id if token is not None else None
        return await self._observed(request.call, token_id, self._transport.send(request, timeouts), read)

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], cap: int
    ) -> None:
        """Fetch the file behind a link, in one try and without a token. See `Transport.download`."""
        await self._observed(
            "download",
            None,
            self._transport.download(link, write, timeouts, hosts=hosts, cap=cap),
            lambda answer: read_download(answer, now=self._clock.wall()),
        )

    async def _observed(
        self, call: str, token_id: str | None, sending: Awaitable[Answer], read: Callable[[Answer], T]
    ) -> T:
        """Send, read, count it, and tell the observer."""
        began = _now()
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
            raise error.with_traceback(None)  # noqa: B904 - the frames behind it hold the server's words
        finally:
            self._observer.request(call, token_id, status, _now() - began, failure)

    def _update_server_clock(self, answer: Answer) -> None:
        """Not from what stands in between: a gateway's error page, a redirect, a copy out of a cache."""
        date = http_date(answer.headers.get("date", ""))
        if date is None or 300 <= answer.status < 400 or answer.status >= 500 or "age" in answer.headers:
            return
        wall = self._clock.wall()
        self._server_clock.record(date, _now())
        offset = self._server_clock.offset(_now(), wall)
        if abs(offset) > CLOCK_OFFSET_SECONDS and self.server_time_is_known() and not self._offset_reported:
            self._offset_reported = True
            self._observer.event("clock.offset_detected", {"server_ahead_seconds": round(offset)})

    async def mint(self, settings: ClientSettings, claims: MintBudgetClaim) -> Secret:
        """Ask for a new token; tried again where it was not sent, answered with 5xx, or its answer lost.

        Each attempt is claimed of the budget of new tokens: after the latter two a token may have been made, so they
        are followed by one more at the most. What the claim raises ends the trying.
        """
        request = mint_request(settings.credentials)
        retries = Retries(settings.retry, self._rng)
        while True:
            grant = await self._acquire_claimed(claims, retries)
            try:
                return await self._record_outcome(
                    grant, self.attempt(request, None, settings.timeouts, self._read_mint)
                )
            except NotSent as error:
                await claims.refund()
                if not error.retryable:
                    raise
                await retries.pause(error)
            except (ServerError, ResponseLost) as error:
                if claims.is_exhausted:
                    raise
                await retries.pause(error)

    def _read_mint(self, answer: Answer) -> Secret:
        return read_mint(answer, now=self._clock.wall())

    async def _acquire_claimed(self, claims: MintBudgetClaim, retries: Retries) -> Grant:
        """Leave to ask for a token, claimed no earlier than it is asked for.

        Only a token that everything waits for is worth a probe: each one that fails costs a claim.
        """
        while True:
            await self._wait_for_breaker(retries, may_probe=claims.is_urgent)
            await claims.claim()
            grant = self.guard.try_acquire(_now(), is_retry=retries.again)
            if grant is not None:
                return grant
            await claims.refund()

    async def call(
        self,
        request: Request,
        read: Callable[[Answer], T],
        *,
        pool: TokenPool,
        settings: ClientSettings,
        deadline: float | None = None,
    ) -> T:
        """A permit, a try, and again where that is safe. `deadline` is on the loop's clock."""
        retries = Retries(settings.retry, self._rng, deadline)
        refused = 0
        while True:
            token, grant = await self._acquire(request.call, pool, retries, deadline)
            sending = self._with_deadline(deadline, self.attempt(request, token, settings.timeouts, read), request)
            try:
                result = await self._record_outcome(grant, sending)
            except AuthenticationFailed as error:
                await pool.discard(token.token_id, error)
                refused += 1
                if refused > 1 or settings.retry.attempts == 1:
                    raise
            except RateLimited as error:
                times = pool.record_throttled(token.token_id)
                hold = cooldown_seconds(error.retry_after, times, self._rng)
                pool.start_cooldown(token.token_id, hold)
                if hold > COOLDOWN_MAX_SECONDS and pool.cooling_down_count() == len(pool.live()):
                    raise WaitTooLong(hold, COOLDOWN_MAX_SECONDS) from None
                retries.count(error)
            except TruecallerError as error:
                if not _repeatable(error, request):
                    raise
                await retries.pause(error)
            else:
                pool.record_success(token.token_id)
                return result

    async def _acquire(
        self, call: str, pool: TokenPool, retries: Retries, deadline: float | None
    ) -> tuple[Token, Grant]:
        """A token with a permit, and leave to use it; the leave is asked for last, because it must not lie idle."""
        while True:
            await self._wait_for_breaker(retries, deadline, is_closed=lambda: pool.binding.closed)
            token = await self._permit(call, pool, retries, deadline)
            grant = self.guard.try_acquire(_now(), is_retry=retries.again)
            if grant is not None:
                return token, grant

    async def _wait_for_breaker(
        self,
        retries: Retries,
        deadline: float | None = None,
        *,
        may_probe: Callable[[], bool] = lambda: True,
        is_closed: Callable[[], bool] = lambda: False,
    ) -> None:
        """Wait until there may be leave. Raises the last failure, or what says best why the wait is too long."""
        while True:
            wait = self.guard.wait(_now(), is_retry=retries.again)
            if self.guard.is_open and not may_probe():
                wait = max(wait, RECHECK_SECONDS)
            if wait <= 0:
                return
            if is_closed():
                raise ClientClosed("the client was closed while a request waited for the service; nothing was sent")
            left = retries.end - _now()
            if wait > left:
                if retries.failure is not None:
                    raise retries.failure
                if retries.end == deadline:
                    raise DeadlineExceeded(
                        "the deadline passed before sending: the service does not answer well, and is only probed "
                        f"until it does; the next probe is in {wait:.1f} s"
                    )
                raise WaitTooLong(wait, max(left, 0.0))
            await asyncio.sleep(min(wait, RECHECK_SECONDS))

    async def _record_outcome(self, grant: Grant, sending: Awaitable[T]) -> T:
        """What was sent with this leave; how it ends is told."""
        began = _now()
        try:
            result = await sending
        except BaseException as failure:
            self.record_end(grant, failure, _now() - began)
            raise
        self.record_end(grant, None)
        return result

    async def _permit(self, call: str, pool: TokenPool, retries: Retries, deadline: float | None) -> Token:
        """A token that may send. After a failure the wait ends with the retry policy, and that failure is raised.

        A request for a token that failed is not the request that wanted one: of that, nothing was sent.
        """
        try:
            end = deadline if retries.failure is None else retries.end
            return await self._with_deadline(deadline, pool.acquire(call, deadline=end))
        except DeadlineExceeded:
            if retries.failure is None or retries.end == deadline:
                raise
            raise retries.failure from None
        except (ServerError, ResponseLost) as error:
            error.sent, error.retryable = "no", True
            raise

    async def _with_deadline(self, deadline: float | None, work: Awaitable[T], request: Request | None = None) -> T:
        """The work, or `DeadlineExceeded`; a write that is cut off in flight may have been applied."""
        try:
            async with asyncio.timeout_at(deadline):
                return await work
        except TimeoutError:
            sent = request is not None  # raised below, because this one's frames hold the request's headers
        raise DeadlineExceeded(
            "the deadline passed while the request was in flight" if sent else "the deadline passed before sending",
            sent="maybe" if sent else "no",
        )


@attrs.frozen(eq=False)
class ApiContext:
    """What every resource works with: the exchange, the pool, and the settings of one copy of the client."""

    executor: RequestExecutor
    pool: TokenPool
    settings: ClientSettings
    clock: Clock
    rng: Random

    @property
    def account(self) -> str:
        """The id that stands in every path."""
        return self.settings.credentials.client_account_id

    def now_ms(self) -> int:
        """The server's clock, by which windows are judged, in the wire's milliseconds."""
        return int(self.executor.server_time() * 1000)

    async def call(self, request: Request, read: Callable[[Answer], T], deadline: float | None = None) -> T:
        """The request under these settings; `deadline` is on the loop's clock."""
        return await self.executor.call(request, read, pool=self.pool, settings=self.settings, deadline=deadline)

    async def download(self, link: Secret, write: Write, *, hosts: Collection[str], cap: int) -> None:
        """Fetch the file behind a link, in one try and without a token."""
        await self.executor.download(link, write, self.settings.timeouts, hosts=hosts, cap=cap)

    def warn_deprecated(self, call: str, advice: str) -> None:
        """Warn that this call is deprecated, once for all copies of the client."""
        self.executor.deprecations.warn(call, advice)

    def warn_version(self, call: str) -> None:
        """Warn that this call is deprecated in the version that the client speaks, if it is."""
        self.executor.deprecations.warn_version(call, self.settings.api_version)

    async def attempt(self, request: Request, token: Token, read: Callable[[Answer], T]) -> T:
        """One try with this token. For the engine, which has its own policy."""
        return await self.executor.attempt(request, token, self.settings.timeouts, read)


def _repeatable(error: TruecallerError, request: Request) -> bool:
    if isinstance(error, NotSent):
        return error.retryable
    return request.is_read and isinstance(error, ResponseLost | ServerError | DecodeError)


class Retries:
    """Counts the tries of one call and sits out the backoff between them."""

    def __init__(self, policy: RetryPolicy, rng: Random, deadline: float | None = None) -> None:
        self._policy = policy
        self._rng = rng
        self._tries = 0
        end = _now() + policy.total
        self.end = end if deadline is None else min(end, deadline)
        self.failure: TruecallerError | None = None
        self.again = False
        """Whether the next try repeats one that failed, and draws on the budget. A 429 is paid for by waiting."""

    def count(self, error: TruecallerError) -> None:
        """One more try failed with this; raises it when it was the last."""
        self._tries += 1
        self.failure = error
        self.again = not isinstance(error, RateLimited)
        if self._tries >= self._policy.attempts or _now() >= self.end:
            raise error

    async def pause(self, error: TruecallerError) -> None:
        """Count, then wait before the next try; raises `error` where the wait would not end in time."""
        self.count(error)
        wait = full_jitter(self._tries, self._policy.initial, self._policy.cap, self._rng)
        if _now() + wait > self.end:
            raise error
        await asyncio.sleep(wait)


def _now() -> float:
    return asyncio.get_running_loop().time()
