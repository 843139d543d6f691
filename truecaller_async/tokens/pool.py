"""The pool: which token a request goes out with.

What is the theory
------------------
Tokens are the scarce thing: ten may be created in half an hour, and each carries its own limits. So the pool is lazy:
it creates one token when the first request comes and one more only when its owner asks it to `grow`, never above
`max_tokens`. A mint is single-flight, and is written into the ledger of the store before it is made, so that tasks,
processes and restarts together never ask for an eleventh.

A token lives an hour, counted from the moment it was received, and is renewed at about four fifths of that life
(spread by a twentieth, so that ten tokens do not all end together). The new one is there before the old one goes.

A token that the server refuses is dropped by its id: a second task that was refused with the same token finds it gone
already and costs no second mint. Two tokens in a row that were made here and are refused within a minute mean that the
account has a problem no token can cure: from then on the pool raises `AuthenticationFailed`. An adopted token that is
refused says nothing: it may have been revoked since.

A *hold* is a deadline on the loop's clock, one for each token, merged by `max`. Nothing releases it; it passes.

Long windows survive a restart: releases under a limit of five seconds or more are noted in the store, and given back
to the limiter when a stored token is adopted. For shorter windows the token is taken as fully used when its last
process gave it up.

A mint that has begun is never cancelled: the token would be made, counted, and seen by nobody. A caller who stops
waiting leaves it to the next one. One that fails with 5xx, or whose answer is lost, may have cost a token of the budget
(`MintBudgetClaim`), so the next is asked for after a hold that grows threefold, up to two tenths of the budget's
window.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any, TypeAlias

import attrs

from truecaller_async.clock import Clock
from truecaller_async.errors import (
    APIStatusError,
    AuthenticationFailed,
    ClientClosed,
    DeadlineExceeded,
    RateLimited,
    ResponseLost,
    ServerError,
    TokenBudgetExhausted,
    TruecallerError,
    WaitTooLong,
)
from truecaller_async.loop_binding import LoopBinding
from truecaller_async.models import Secret, Token
from truecaller_async.models.tokens import TokenInfo, TokenStatus
from truecaller_async.options import CALLS, COOLDOWN_MAX_SECONDS, Limits, RateLimit
from truecaller_async.ports import Limiter, Observer, TokenStore
from truecaller_async.resilience.rate_law import SlidingWindow, calls_per_second, window_seconds
from truecaller_async.tokens.permit_queue import PermitQueue, Waiter

TOKEN_LIFE_SECONDS = 3600.0
RENEW_AT_FACTOR = 0.80
RENEW_SPREAD_FACTOR = 0.05
FRESH_SECONDS = 60.0
FRESH_REFUSALS_MAX = 2
PERSISTED_WINDOW_MIN_SECONDS = 5.0
RENEWAL_RETRY_SECONDS = 60.0
GROWTH_PAUSE_SECONDS = 30.0
MINT_COOLDOWN_SECONDS = 60.0
MINT_COOLDOWN_FACTOR = 3.0
MINT_FAILURES_MAX = 10
BACKLOG_PER_TOKEN_SECONDS = 1.0
"""Seconds of waiting work that justify one more token."""


class MintBudgetClaim:
    """Claims for the requests of one mint: each is written down before it is sent.

    `is_urgent` says whether there is no other token, so that nothing can be sent before this one is made.
    `asked` counts the requests that may have made a token: two are enough, and one where the mint before failed too.
    """

    def __init__(
        self,
        write: Callable[[], Awaitable[float]],
        strike: Callable[[float], Awaitable[None]],
        is_urgent: Callable[[], bool],
        *,
        last_failed: bool,
    ) -> None:
        self._write = write
        self._strike = strike
        self._latest: float | None = None
        self.is_urgent = is_urgent
        self._enough = 1 if last_failed else 2
        self.claimed = 0

    @property
    def is_exhausted(self) -> bool:
        """Whether no more may be spent on this mint."""
        return self.claimed >= self._enough

    async def claim(self) -> None:
        """The next request will be sent at once. Raises `TokenBudgetExhausted`."""
        self._latest = await self._write()
        self.claimed += 1

    async def refund(self) -> None:
        """The latest request made no token, or was not sent. A second time does nothing."""
        if self._latest is not None:
            self.claimed -= 1
            stamp, self._latest = self._latest, None
            await self._strike(stamp)


Mint: TypeAlias = Callable[[MintBudgetClaim], Awaitable[Secret]]
"""Makes requests for a new token and returns it; claims each of them before it is sent."""


@attrs.define(eq=False)
class PooledToken:
    """One token in the pool. Times are on the loop's clock."""

    token: Token
    created_at: float
    renew_at: float
    expires_at: float
    cooldown_until: float = float("-inf")
    refusals: int = 0
    is_own: bool = True


@attrs.frozen
class PoolSettings:
    """What the pool may do: how many tokens, under which limits."""

    limits: Limits
    max_tokens: int


class TokenPool:
    """Lends tokens, one permit at a time."""

    def __init__(
        self,
        store: TokenStore,
        limiter: Limiter,
        mint: Mint,
        settings: PoolSettings,
        *,
        clock: Clock,
        rng: Random,
        observer: Observer,
    ) -> None:
        self._store = store
        self._limiter = limiter
        self._mint = mint
        self._settings = settings
        self._clock = clock
        self._rng = rng
        self._observer = observer
        self._tokens: dict[str, PooledToken] = {}
        self._opening = asyncio.Lock()
        self._minting = asyncio.Lock()
        self._renewals: set[asyncio.Task[None]] = set()
        self._growths: set[asyncio.Task[Token | None]] = set()
        self._opened = False
        self._ending: asyncio.Task[None] | None = None
        self.binding = LoopBinding()
        self._fresh_refusals = 0
        self.account_verified = False
        self.fatal_error: AuthenticationFailed | None = None
        self._mint_cooldown_until = 0.0
        self._mint_failures = 0
        self._mint_failure: TruecallerError | None = None
        rule = self._mint_rule()
        self._mints = SlidingWindow(rule) if rule else None
        self._no_growth_before = float("-inf")
        self._persisted_rules = {call: self._rules_to_persist(call) for call in CALLS}
        self._permits = PermitQueue(self._charge)
        self.minted = 0
        self.mints_throttled = 0

    @property
    def max_tokens(self) -> int:
        """The most tokens that are alive at once."""
        return self._settings.max_tokens

    @property
    def limits(self) -> Limits:
        """The limits every request must pass."""
        return self._settings.limits

    async def open(self) -> None:
        """Adopt the live tokens that the store kept. Done once, before the first use.

        Raises `ClientClosed` after the close, and in another event loop or process than that of the first use.
        """
        self.binding.bind()
        if self._opened:
            return
        async with self._opening:
            if not self._opened:
                await self._adopt()
                self._opened = True

    async def status(self) -> TokenStatus:
        """What there is, and when the next may be made. Adopts nothing, makes nothing, and needs no `open`."""
        self.binding.bind()
        rule, wall = self._mint_rule(), self._clock.wall()
        window = window_seconds(rule) if rule else 0.0
        snapshot = await self._store.snapshot(wall, wall - window)
        wait = self._mint_cooldown_until - self._now()
        if rule and len(snapshot.mints) >= rule.limit:
            wait = max(wait, snapshot.mints[-rule.limit] + window - wall)
        return TokenStatus(
            tokens=tuple(
                TokenInfo(token.token_id, wall - token.created_at, token.expires_at - wall, token.used_by)
                for token in snapshot.tokens
            ),
            mints=len(snapshot.mints),
            mint_limit=rule.limit if rule else None,
            mint_window=rule.per if rule else None,
            next_mint_in=max(wait, 0.0),
        )

    async def _adopt(self) -> None:
        await self._adopt_one()
        if self._mints and (rule := self._mint_rule()):
            wall = self._clock.wall()
            snapshot = await self._store.snapshot(wall, wall - window_seconds(rule))
            self._mints.restore(self._now() - max(0.0, wall - at) for at in snapshot.mints)

    async def _adopt_one(self) -> bool:
        """Enter the live tokens of the store that no other living process uses; whether there were any.

        What was sent with one is remembered before it is entered: from then on whoever waits may send with it.
        """
        wall = self._clock.wall()
        adopted = [token for token in await self._store.adopt(wall) if not self.knows(token.token_id)]
        entered = adopted[: self.max_tokens - len(self._tokens)]
        for token in entered:
            self._limiter.restore(token.token_id, await self._remembered(token, wall))
            self._add(token, made_here=False)
            self._observer.event(
                "token.adopted", {"token_id": token.token_id, "remaining_seconds": round(token.expires_at - wall)}
            )
        return bool(entered)

    def live(self) -> Sequence[Token]:
        """Tokens that may be used, oldest first, held or not. Starts renewals that are due."""
        now = self._now()
        for pooled in [pooled for pooled in self._tokens.values() if pooled.expires_at <= now]:
            self._remove(pooled.token.token_id)
        for pooled in self._tokens.values():
            if pooled.renew_at <= now and not self._renewals:
                self._start_renewal(pooled)
        return [pooled.token for pooled in self._tokens.values()]

    def knows(self, token_id: str) -> bool:
        """Whether the token is still in the pool."""
        return token_id in self._tokens

    def cooldown_until(self, token_id: str) -> float:
        """The loop's time until which nothing may be sent with this token."""
        pooled = self._tokens.get(token_id)
        return pooled.cooldown_until if pooled else float("-inf")

    def cooling_down_count(self) -> int:
        """How many live tokens are on hold."""
        now = self._now()
        return sum(pooled.cooldown_until > now for pooled in self._tokens.values())

    def start_cooldown(self, token_id: str, seconds: float) -> None:
        """Send nothing with this token for so long. A longer hold stays."""
        pooled = self._tokens.get(token_id)
        if pooled is not None:
            pooled.cooldown_until = max(pooled.cooldown_until, self._now() + seconds)

    def record_throttled(self, token_id: str) -> int:
        """The server answered 429 to this token: slow it down. Returns how many times in a row that was.

        A second refusal in a row says nothing new about the rate: nothing was let through at the one before.
        """
        pooled = self._tokens.get(token_id)
        if pooled is None:
            return 1
        if not pooled.refusals:
            self._limiter.slow_down(token_id)
        pooled.refusals += 1
        return pooled.refusals

    def record_success(self, token_id: str) -> None:
        """The server took a request with this token. From then on the account is known to be good: `proven`."""
        self._fresh_refusals = 0
        self.account_verified = True
        pooled = self._tokens.get(token_id)
        if pooled is not None:
            pooled.refusals = 0

    async def discard(self, token_id: str, error: AuthenticationFailed) -> None:
        """The server refused this token. Does nothing if it is gone already."""
        pooled = self._tokens.get(token_id)
        if pooled is None:
            return
        if pooled.is_own and self._is_fresh(pooled):
            self._fresh_refusals += 1
        if self._fresh_refusals >= FRESH_REFUSALS_MAX:
            self.fatal_error = error
        self._remove(token_id)
        self._observer.event("token.discarded", {"token_id": token_id, "reason": error.slug or error.status})
        await self._store.discard(token_id)

    def _is_fresh(self, pooled: PooledToken) -> bool:
        """By both clocks: in a suspend the one may stand still, and the other may be set."""
        age = self._clock.wall() - pooled.token.created_at
        return self._now() - pooled.created_at < FRESH_SECONDS and age < FRESH_SECONDS

    async def try_acquire(self, token_id: str, call: str) -> float:
        """A permit for a campaign, with this token: 0.0 if granted, else the seconds to wait. Single calls go first."""
        pooled = self._tokens.get(token_id)
        if pooled is None or pooled.cooldown_until > self._now():
            return await self._charge(token_id, call)
        return await self._permits.acquire_low_priority(pooled.token, call)

    async def _charge(self, token_id: str, call: str) -> float:
        wait = await self._limiter.try_acquire(token_id, call)
        if wait == 0.0:
            for rule in self._persisted_rules.get(call, ()):
                await self._store.record_release(token_id, rule.name, self._clock.wall())
        return wait

    async def acquire(self, call: str, *, deadline: float | None = None) -> Token:
        """A token that may send this call now; waits for it in the order of asking, before any campaign.

        `deadline` is on the loop's clock. Raises `DeadlineExceeded`, `WaitTooLong`, `TokenBudgetExhausted`,
        `AuthenticationFailed`, or what the mint raised.
        """
        await self.open()
        place = self._permits.add(call)
        try:
            while True:
                if not self._permits.is_first(place):
                    await place.wait()
                elif (wait := await self._try_serve(place)) > 0:
                    await self._wait_for_permit(wait, place, deadline)
                token = place.collect()
                if (
                    token is not None
                    and self.knows(token.token_id)
                    and self.cooldown_until(token.token_id) <= self._now()
                ):
                    return token
        finally:
            self._permits.remove(place)

    async def grow(self, *, deadline: float | None = None) -> Token | None:
        """Create one more token, unless there are `max_tokens`; single-flight, and goes on if its caller is cancelled.

        Raises `TokenBudgetExhausted` where the budget has none before `deadline` (at once, if that is None), and
        what the request itself raised.
        """
        await self.open()
        task = asyncio.get_running_loop().create_task(self._grow(len(self._tokens), deadline))
        self._growths.add(task)
        task.add_done_callback(self._grown)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self.binding.closed and not _is_cancelled():
                raise ClientClosed("the client was closed while a token was made") from None
            raise

    def _grown(self, task: asyncio.Task[Token | None]) -> None:
        self._growths.discard(task)
        _forget(task)

    async def _grow(self, before: int, deadline: float | None) -> Token | None:
        async with self._minting:
            if self.fatal_error is not None:
                raise self.fatal_error
            if len(self._tokens) > before or len(self._tokens) >= self.max_tokens:
                return None
            try:
                return await self._mint_token(deadline)
            except TokenBudgetExhausted:
                if await self._adopt_one():  # what another process has given up since
                    return None
                raise

    async def aclose(self) -> None:
        """Stop renewals, give the tokens up to the next process, close the store. May be called twice.

        After a fork nothing is touched: tokens and store are the parent's. Raises `ClientClosed` in another event loop
        while the one of the first use is still open.
        """
        if not self.binding.close() or (self._ending is not None and self._ending.done()):
            return
        loop = asyncio.get_running_loop()
        if self._ending is None or self._ending.get_loop() is not loop:
            self._ending = loop.create_task(self._end(loop))
            self._ending.add_done_callback(_forget)
        await asyncio.shield(self._ending)

    async def _end(self, loop: asyncio.AbstractEventLoop) -> None:
        """Goes on where the one who closes is cancelled: a store that is left open keeps its thread and its file."""
        tasks = [task for task in (*self._renewals, *self._growths) if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            if self._opened:
                await self._store.release_all(self._clock.wall())
        finally:
            await self._store.aclose()

    async def _try_serve(self, place: Waiter) -> float:
        """Serve the line with every live token until this place has one: 0.0, or how long it has to wait.

        Infinity: there is no token.
        """
        if self.binding.closed:
            raise ClientClosed("the client was closed while a request waited for a permit; nothing was sent")
        if self.fatal_error is not None:
            raise self.fatal_error
        soonest = float("inf")
        for token in self.live():
            wait = self.cooldown_until(token.token_id) - self._now()
            if wait <= 0:
                wait = (await self._permits.dispatch(token)).get(place.call, 0.0)
            if place.has_token:
                return 0.0
            soonest = min(soonest, wait)
        return soonest

    async def _wait_for_permit(self, wait: float, place: Waiter, deadline: float | None) -> None:
        call = place.call
        if wait == float("inf"):
            await place.run_paused(self.grow(deadline=deadline))
            return
        if self._is_worth_a_token(call, wait) and await place.run_paused(self._has_grown()):
            return
        if wait > COOLDOWN_MAX_SECONDS:
            raise WaitTooLong(wait, COOLDOWN_MAX_SECONDS)
        if deadline is not None and self._now() + wait > deadline:
            raise DeadlineExceeded(f"no permit for {call!r} before the deadline: the limits allow one in {wait:.3f} s")
        await place.wait(wait)

    def _is_worth_a_token(self, call: str, wait: float) -> bool:
        """Whether the tokens that are not on hold need too long for what waits; if all are, whether the hold is long.

        A token just adopted from a process that died has to wait too, and is no reason for another.
        """
        able = len(self._tokens) - self.cooling_down_count()
        if able == 0:
            return wait > BACKLOG_PER_TOKEN_SECONDS
        return (
            self._permits.waiting_count(call) > able * calls_per_second(self.limits, call) * BACKLOG_PER_TOKEN_SECONDS
        )

    async def _has_grown(self) -> bool:
        """One more token for the backlog. If there is none to be had nobody is harmed: there are others to wait for."""
        if self._now() < self._no_growth_before or len(self._tokens) >= self.max_tokens:
            return False
        try:
            return await self.grow() is not None
        except TruecallerError as error:
            self._no_growth_before = self._now() + GROWTH_PAUSE_SECONDS
            self._observer.event("token_pool.growth_failed", {"message": str(error)})
            return False

    async def _mint_token(self, deadline: float | None) -> Token:
        claims = MintBudgetClaim(
            lambda: self._claim(deadline), self._refund, self._has_none, last_failed=self._mint_failure is not None
        )
        try:
            secret = await self._mint(claims)
        except (ServerError, ResponseLost) as error:
            if claims.claimed:
                self._mint_failed(error)
            raise
        except RateLimited as error:
            wait = MINT_COOLDOWN_SECONDS if error.retry_after is None else min(error.retry_after, TOKEN_LIFE_SECONDS)
            self._mint_cooldown_until = self._now() + wait
            self.mints_throttled += 1
            raise TokenBudgetExhausted(self._instant(wait)) from None
        except APIStatusError as error:
            if error.status < 500:
                await claims.refund()
            raise
        self._mint_failures, self._mint_failure = 0, None
        self.minted += 1
        token = self._token(secret, self._clock.wall())
        if self.knows(token.token_id):
            self._settings = attrs.evolve(self._settings, max_tokens=len(self._tokens))
            self._observer.event("token.reissued", {"token_id": token.token_id, "live_tokens": len(self._tokens)})
        self._add(token)
        await self._store.add(token)
        self._observer.event("token.minted", {"token_id": token.token_id, "live_tokens": len(self._tokens)})
        return token

    def _mint_failed(self, error: TruecallerError) -> None:
        """Whether a token was made nobody knows, so each failure costs a claim: they are spread over the window."""
        rule = self._mint_rule()
        most = 2 * window_seconds(rule) / rule.limit if rule else GROWTH_PAUSE_SECONDS
        hold = min(MINT_COOLDOWN_FACTOR**self._mint_failures, most) if self._mint_failures else 0.0
        self._mint_failures = min(self._mint_failures + 1, MINT_FAILURES_MAX)
        self._mint_failure = error
        self._mint_cooldown_until = max(self._mint_cooldown_until, self._now() + hold)

    def _has_none(self) -> bool:
        now = self._now()
        return not any(pooled.expires_at > now for pooled in self._tokens.values())

    async def _claim(self, deadline: float | None) -> float:
        """Write the mint into the ledger, waiting for its turn up to the deadline; returns its stamp.

        The ledger goes by the wall clock, which may be set; the mints of this process also by the loop's, which may
        not.
        """
        rule = self._mint_rule()
        while True:
            wall, now = self._clock.wall(), self._now()
            wait = max(self._mint_cooldown_until - now, self._mints.wait(now) if self._mints else 0.0)
            if wait <= 0:
                wait = await self._store.claim_mint(rule.limit, window_seconds(rule), wall) if rule else 0.0
            if wait <= 0:
                if self._mints:
                    self._mints.record(now)
                return wall
            if deadline is None or self._now() + wait > deadline:
                if self._mint_failure is not None and self._mint_cooldown_until > now:
                    raise self._mint_failure.with_traceback(None)
                raise TokenBudgetExhausted(self._instant(wait))
            await asyncio.sleep(wait)

    async def _refund(self, stamp: float) -> None:
        if self._mints:
            self._mints.undo_last()
        await self._store.refund_mint(stamp)

    def _start_renewal(self, pooled: PooledToken) -> None:
        task = asyncio.get_running_loop().create_task(self._renew(pooled))
        self._renewals.add(task)
        task.add_done_callback(self._renewals.discard)

    async def _renew(self, old: PooledToken) -> None:
        """Make the successor first, then let the old one go. What fails here is tried again a minute later."""
        try:
            async with self._minting:
                if not self.knows(old.token.token_id):
                    return
                successor = await self._mint_token(None)
            if successor.token_id != old.token.token_id:
                self._remove(old.token.token_id)
                await self._store.discard(old.token.token_id)
        except TruecallerError as error:
            old.renew_at = self._now() + RENEWAL_RETRY_SECONDS
            self._observer.event("token.renewal_failed", {"token_id": old.token.token_id, "message": str(error)})

    def _token(self, secret: Secret, wall: float) -> Token:
        token_id = hashlib.sha256(secret.reveal().encode()).hexdigest()[:12]
        return Token(token_id, secret, wall, wall + TOKEN_LIFE_SECONDS)

    def _add(self, token: Token, *, made_here: bool = True) -> None:
        now, wall = self._now(), self._clock.wall()
        renew = TOKEN_LIFE_SECONDS * (RENEW_AT_FACTOR + self._rng.uniform(-RENEW_SPREAD_FACTOR, RENEW_SPREAD_FACTOR))
        born = now - (wall - token.created_at)
        held_until = self.cooldown_until(token.token_id)
        self._tokens[token.token_id] = PooledToken(
            token, born, born + renew, born + (token.expires_at - token.created_at), held_until, is_own=made_here
        )

    def _remove(self, token_id: str) -> None:
        self._tokens.pop(token_id, None)
        self._limiter.remove(token_id)

    async def _remembered(self, token: Token, wall: float) -> dict[str, list[float]]:
        """Ages of the releases of an earlier process, for each limit that counts calls made with a token."""
        rules = [rule for rule in self.limits if any(rule.counts(call) for call in CALLS if call != "mint")]
        noted = await self._store.releases(token.token_id, wall - max((rule.per for rule in rules), default=0.0) * 2)
        idle = wall - token.idle_since if token.idle_since is not None else 0.0
        return {
            rule.name: [wall - at for at in noted.get(rule.name, ())]
            if rule.per >= PERSISTED_WINDOW_MIN_SECONDS
            else [idle] * rule.limit
            for rule in rules
        }

    def _mint_rule(self) -> RateLimit | None:
        return next((rule for rule in self.limits if rule.counts("mint")), None)

    def _rules_to_persist(self, call: str) -> tuple[RateLimit, ...]:
        return tuple(rule for rule in self.limits if rule.counts(call) and rule.per >= PERSISTED_WINDOW_MIN_SECONDS)

    def _instant(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(self._clock.wall() + seconds, UTC)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _forget(task: asyncio.Task[Any]) -> None:
    """Its failure belongs to whoever waits for it; where nobody does any more, asyncio would complain in the log."""
    if not task.cancelled():
        task.exception()


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0
