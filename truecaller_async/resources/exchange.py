"""One request, and the one place where a request is tried again.

`attempt` is a single try with a given token: send, read, tell the observer, say what the pool must know. The engine
uses only this, because it has its own policy. `call` is for everybody else: it takes a permit, tries, and tries again
as the error's class and the `RetryPolicy` allow:

- not sent: after a backoff, for every call;
- 429: at once with another token while this one is on hold;
- a refused token: once, with another;
- 5xx, a lost or unreadable answer: reads only. A write whose answer is lost is never repeated here, because nobody
  can know whether it was applied; `ResponseLost` says so.

Attempts and total time are both bounded, and the caller's own deadline bounds the total further.
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
from truecaller_async.options import MAX_HOLD, Credentials, RetryPolicy, Timeouts
from truecaller_async.planning.backoff import full_jitter, hold_after
from truecaller_async.ports import Observer, Transport, Write
from truecaller_async.protocol.decipher import decipher_download, decipher_mint
from truecaller_async.protocol.requests import mint_request
from truecaller_async.resources.deprecations import Deprecations
from truecaller_async.tokens import TokenPool

T = TypeVar("T")


@attrs.frozen
class Settings:
    """What `with_options` may change on a copy of the client; everything else is shared."""

    credentials: Credentials
    api_version: str
    retry: RetryPolicy
    timeouts: Timeouts


class Exchange:
    """Sends requests over a transport. Shared by all resources and by the engine."""

    def __init__(self, transport: Transport, *, clock: Clock, rng: Random, observer: Observer) -> None:
        self._transport = transport
        self._clock = clock
        self._rng = rng
        self._observer = observer
        self.counts: Counter[str] = Counter()
        self.deprecations = Deprecations()

    async def attempt(
        self, request: Request, token: Token | None, timeouts: Timeouts, read: Callable[[Answer], T]
    ) -> T:
        """One try: the decoded answer, or an error of the tree."""
        if token is not None:
            request = attrs.evolve(request, token=token.secret)
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
            lambda answer: decipher_download(answer, now=self._clock.wall()),
        )

    async def _observed(
        self, call: str, token_id: str | None, sending: Awaitable[Answer], read: Callable[[Answer], T]
    ) -> T:
        """Send, read, count it, and tell the observer."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        status, failure = None, None
        self.counts[call] += 1
        try:
            answer = await sending
            status = answer.status
            return read(answer)
        except TruecallerError as error:
            failure = type(error).__name__
            raise
        finally:
            self._observer.request(call, token_id, status, loop.time() - began, failure)

    async def mint(self, settings: Settings, again: Callable[[], Awaitable[object]]) -> Secret:
        """Ask for a new token; tried again where it was not sent, answered with 5xx, or its answer lost.

        In the latter two a token may have been made: `again` is awaited before the repetition, to claim one more of
        the budget of new tokens, and what it raises ends the trying.
        """
        request = mint_request(settings.credentials)
        retries = Retries(settings.retry, self._rng)
        while True:
            try:
                return await self.attempt(
                    request, None, settings.timeouts, lambda answer: decipher_mint(answer, now=self._clock.wall())
                )
            except (NotSent, ServerError, ResponseLost) as error:
                if isinstance(error, NotSent) and not error.retryable:
                    raise
                await retries.pause(error)
                if not isinstance(error, NotSent):
                    await again()

    async def call(
        self,
        request: Request,
        read: Callable[[Answer], T],
        *,
        pool: TokenPool,
        settings: Settings,
        deadline: float | None = None,
    ) -> T:
        """A permit, a try, and again where that is safe. `deadline` is on the loop's clock."""
        retries = Retries(settings.retry, self._rng, deadline)
        refused = 0
        while True:
            token = await self._permit(request.call, pool, retries, deadline)
            try:
                result = await self._within(deadline, self.attempt(request, token, settings.timeouts, read), request)
            except AuthenticationFailed as error:
                await pool.drop(token.token_id, error)
                refused += 1
                if refused > 1 or settings.retry.attempts == 1:
                    raise
            except RateLimited as error:
                times = pool.throttled(token.token_id)
                hold = hold_after(error.retry_after, times, self._rng)
                pool.hold(token.token_id, hold)
                if hold > MAX_HOLD and pool.held() == len(pool.live()):
                    raise WaitTooLong(hold, MAX_HOLD) from None
                retries.count(error)
            except TruecallerError as error:
                if not _repeatable(error, request):
                    raise
                await retries.pause(error)
            else:
                pool.worked(token.token_id)
                return result

    async def _permit(self, call: str, pool: TokenPool, retries: Retries, deadline: float | None) -> Token:
        """A token that may send. After a failure the wait ends with the retry policy, and that failure is raised."""
        if retries.failure is None:
            return await self._within(deadline, pool.permit(call, deadline=deadline))
        try:
            return await self._within(deadline, pool.permit(call, deadline=retries.end))
        except DeadlineExceeded:
            if retries.end == deadline:
                raise
            raise retries.failure from None

    async def _within(self, deadline: float | None, work: Awaitable[T], request: Request | None = None) -> T:
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
class Service:
    """What every resource works with: the exchange, the pool, and the settings of one copy of the client."""

    exchange: Exchange
    pool: TokenPool
    settings: Settings
    clock: Clock
    rng: Random

    @property
    def account(self) -> str:
        """The id that stands in every path."""
        return self.settings.credentials.client_account_id

    async def call(self, request: Request, read: Callable[[Answer], T], deadline: float | None = None) -> T:
        """The request under these settings; `deadline` is on the loop's clock."""
        return await self.exchange.call(request, read, pool=self.pool, settings=self.settings, deadline=deadline)

    async def download(self, link: Secret, write: Write, *, hosts: Collection[str], cap: int) -> None:
        """Fetch the file behind a link, in one try and without a token."""
        await self.exchange.download(link, write, self.settings.timeouts, hosts=hosts, cap=cap)

    def warn_deprecated(self, call: str, advice: str) -> None:
        """Warn that this call is deprecated, once for all copies of the client."""
        self.exchange.deprecations.tell(call, advice)

    def warn_version(self, call: str) -> None:
        """Warn that this call is deprecated in the version that the client speaks, if it is."""
        self.exchange.deprecations.tell_version(call, self.settings.api_version)

    async def attempt(self, request: Request, token: Token, read: Callable[[Answer], T]) -> T:
        """One try with this token. For the engine, which has its own policy."""
        return await self.exchange.attempt(request, token, self.settings.timeouts, read)


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
        end = asyncio.get_running_loop().time() + policy.total
        self.end = end if deadline is None else min(end, deadline)
        self.failure: TruecallerError | None = None

    def count(self, error: TruecallerError) -> None:
        """One more try failed with this; raises it when it was the last."""
        self._tries += 1
        self.failure = error
        if self._tries >= self._policy.attempts or asyncio.get_running_loop().time() >= self.end:
            raise error

    async def pause(self, error: TruecallerError) -> None:
        """Count, then wait before the next try; raises `error` where the wait would not end in time."""
        self.count(error)
        wait = full_jitter(self._tries, self._policy.initial, self._policy.cap, self._rng)
        if asyncio.get_running_loop().time() + wait > self.end:
            raise error
        await asyncio.sleep(wait)
