"""Give each request a token and a permit.

Algorithm:
    - The pool is lazy. The first request adopts the free tokens of the store (see `adoption`), and mints one if there
      are none (see `minting`). One more is minted only if a campaign or the user calls `grow()`, or if too many single
      calls wait, never more than `max_tokens`.
    - A token lives one hour and is renewed after about 80 % of it. There is no timer: `live()` starts a renewal that is
      due, and each request calls it. An idle pool lets its tokens expire.
    - A cooldown is a deadline on the loop's clock, one for each token. A longer one replaces a shorter one; nothing
      ends it early.
    - A permit is for the next token in turn that is not in cooldown and may send now.
Failure modes:
    - The server refuses a token: it is discarded by its id, so a second refusal of the same token costs no second mint.
    - The server refuses the credentials, as `credentials_verdict` decides: for 30 s no permit is granted and no token
      is minted (`refused_until`, `fatal_error`). Single calls fail with `AuthenticationFailed`. Then one mint is tried.
      A refused adopted token proves nothing, because it may have been revoked since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random

import attrs

from truecaller_async.clock import Clock, loop_time
from truecaller_async.errors import AuthenticationFailed, ClientClosed, DeadlineExceeded, TruecallerError, WaitTooLong
from truecaller_async.loop_binding import LoopBinding
from truecaller_async.models import Token
from truecaller_async.models.tokens import TokenInfo, TokenStatus
from truecaller_async.options import COOLDOWN_MAX_SECONDS, Limits
from truecaller_async.ports import Limiter, Observer, TokenStore
from truecaller_async.resilience.rate_law import calls_per_second
from truecaller_async.tokens.adoption import TokenAdoption
from truecaller_async.tokens.mint_budget import MintBudget
from truecaller_async.tokens.minting import Mint, TokenMinter, retrieve_exception
from truecaller_async.tokens.permit_queue import PermitQueue, Waiter
from truecaller_async.tokens.pool_state import PooledToken, PoolState
from truecaller_async.tokens.token_permit import RequestRecords, TokenPermit

FRESH_SECONDS = 60.0
"""The age up to which a refused token counts as fresh."""

GROWTH_PAUSE_SECONDS = 30.0
"""How long the pool does not try to grow by itself after a growth that failed."""

BACKLOG_PER_TOKEN_SECONDS = 1.0
"""Seconds of waiting work that justify one more token."""

UNEXPECTED_EVENT_INTERVAL_SECONDS = 60.0
"""Shortest time between two events about a 429 that the limits do not explain."""

CLOSED = "the client was closed while a request waited for a permit; nothing was sent"


@attrs.frozen
class PoolSettings:
    """The limits that every request must pass, and the number of tokens that may be alive at once."""

    limits: Limits
    max_tokens: int


class TokenPool:
    """Lends the tokens of one account, one permit at a time."""

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
        self._state = PoolState(store, limiter, settings.limits, settings.max_tokens, clock, rng, observer)
        self.binding = LoopBinding()
        self._budget = MintBudget(self._state)
        self._adoption = TokenAdoption(self._state)
        self._minter = TokenMinter(self._state, mint, self._budget, self._adoption, self.binding)
        self._permits = PermitQueue(self._acquire)
        self._records = RequestRecords(self._state)
        self._last_token_id = ""
        self._opening = asyncio.Lock()
        self._is_open = False
        self._closing: asyncio.Task[None] | None = None
        self._no_growth_before = float("-inf")
        self._unexpected_reported_at = float("-inf")
        self.account_verified = False
        """Whether the server has accepted a request with a token of this pool."""
        limiter.subscribe(self._state.notify)
        self.subscribe(self._permits.wake_first)

    @property
    def max_tokens(self) -> int:
        """The number of tokens that may be alive at once."""
        return self._state.max_tokens

    @property
    def limits(self) -> Limits:
        """The limits that every request must pass."""
        return self._state.limits

    @property
    def fatal_error(self) -> AuthenticationFailed | None:
        """The refusal of the credentials, until `refused_until`; otherwise None."""
        return self._state.fatal_error

    @property
    def refused_until(self) -> float:
        """The loop time until which the credentials count as refused; minus infinity if they do not.

        Then one token may be minted, within the mint budget. If it is refused too, the time is extended by 30 s.
        """
        return self._state.verdict.refused_until

    @property
    def minted(self) -> int:
        """The number of tokens minted so far."""
        return self._minter.minted

    @property
    def mints_throttled(self) -> int:
        """The number of mint requests that were answered with 429."""
        return self._budget.throttled_count

    async def open(self) -> None:
        """Adopt the live tokens of the store. The first call does it; later calls only check the loop.

        Raises:
            ClientClosed: The pool is closed, or belongs to another event loop or process.
            ConfigError: The state file cannot be used.
        """
        self.binding.bind()
        if self._is_open:
            return
        async with self._opening:
            if not self._is_open:
                await self._adoption.adopt()
                if self._state.mint_rule:
                    wall = self._state.clock.wall()
                    snapshot = await self._state.store.snapshot(wall, wall - self._budget.window_seconds)
                    self._budget.restore(snapshot, wall)
                self._is_open = True

    async def status(self) -> TokenStatus:
        """Return the live tokens and the mint budget. Adopts and creates nothing, and needs no `open()`."""
        self.binding.bind()
        rule, wall = self._state.mint_rule, self._state.clock.wall()
        snapshot = await self._state.store.snapshot(wall, wall - self._budget.window_seconds)
        return TokenStatus(
            tokens=tuple(
                TokenInfo(token.token_id, wall - token.created_at, token.expires_at - wall, token.used_by)
                for token in snapshot.tokens
            ),
            mints=len(snapshot.mints),
            mint_limit=rule.limit if rule else None,
            mint_window=rule.per if rule else None,
            next_mint_in=self._budget.next_mint_in(snapshot, wall),
        )

    def live(self) -> Sequence[Token]:
        """Return the live tokens, also those in cooldown, in the order in which they entered the pool.

        Starts a renewal that is due; nothing else does.
        """
        self._refresh(loop_time())
        return [pooled.token for pooled in self._state.tokens.values()]

    def knows(self, token_id: str) -> bool:
        """Return whether the token is in the pool."""
        return self._state.knows(token_id)

    def is_usable(self, token_id: str) -> bool:
        """Return whether the token is in the pool and not in cooldown. May change between permit and request."""
        return self.knows(token_id) and self.cooldown_until(token_id) <= loop_time()

    def cooldown_until(self, token_id: str) -> float:
        """Return the loop time at which the cooldown of the token ends; minus infinity without one."""
        return self._state.cooldown_until(token_id)

    def cooling_down_count(self) -> int:
        """Return the number of live tokens in cooldown."""
        now = loop_time()
        return sum(pooled.cooldown_until > now for pooled in self._state.tokens.values())

    def start_cooldown(self, token_id: str, seconds: float) -> None:
        """Send nothing with this token for these seconds. A longer cooldown is kept."""
        pooled = self._state.tokens.get(token_id)
        if pooled is not None:
            pooled.cooldown_until = max(pooled.cooldown_until, loop_time() + seconds)

    def record_throttled(self, token_id: str) -> int:
        """Record a 429 for this token, and slow it down.

        Returns:
            The number of 429 in a row.
        """
        pooled = self._state.tokens.get(token_id)
        if pooled is None:
            return 1
        # Only the first of a row: the token was in cooldown between them, so the second says nothing about the rate.
        if not pooled.throttled_in_a_row and not self._state.limiter.slow_down(token_id, loop_time()):
            self._report_unexpected(token_id)
        pooled.throttled_in_a_row += 1
        return pooled.throttled_in_a_row

    def _report_unexpected(self, token_id: str) -> None:
        now = loop_time()
        if now - self._unexpected_reported_at >= UNEXPECTED_EVENT_INTERVAL_SECONDS:
            self._unexpected_reported_at = now
            self._state.observer.event("rate.unexpected_429", {"token_id": token_id})

    def record_success(self, token_id: str) -> None:
        """Record that the server accepted a request with this token. It verifies the account."""
        self.account_verified = True
        pooled = self._state.tokens.get(token_id)
        if pooled is not None:
            pooled.throttled_in_a_row = 0
        if self._state.verdict.record_success():
            self._state.notify()

    async def discard(self, token_id: str, error: AuthenticationFailed) -> None:
        """Remove a token that the server refused. Does nothing if it was removed already."""
        pooled = self._state.tokens.get(token_id)
        if pooled is None:
            return
        if pooled.is_own and self._is_fresh(pooled):
            self._state.verdict.record_refusal(pooled.created_at, loop_time(), error)
        self._state.remove(token_id)
        self._state.observer.event("token.discarded", {"token_id": token_id, "reason": error.slug or error.status})
        self._state.notify()
        await self._state.store.discard(token_id)

    def _is_fresh(self, pooled: PooledToken) -> bool:
        # By both clocks: in a suspend of the machine the loop's clock may stand still, and the wall clock may be set.
        age = self._state.clock.wall() - pooled.token.created_at
        return loop_time() - pooled.created_at < FRESH_SECONDS and age < FRESH_SECONDS

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when an earlier permit may have become possible.

        That is after the end of a permit, of a renewal and of a refusal, and after a token was added or discarded. The
        end of a cooldown is a time, which `try_acquire` returns.

        Returns:
            A function that ends the subscription.
        """
        key = object()
        self._state.subscribers[key] = callback

        def unsubscribe() -> None:
            self._state.subscribers.pop(key, None)

        return unsubscribe

    def try_acquire(self, call: str, now: float, token_id: str | None = None) -> TokenPermit | float:
        """Try to acquire a permit for a campaign; never wait for it. Single calls that wait are served first.

        Args:
            call: The name of the call.
            now: The loop time.
            token_id: The only token that may be used. None: any token.

        Returns:
            The permit. Otherwise the seconds to wait; nothing was charged. Infinity: only a change can help, which
            `subscribe` reports. A token in cooldown or not in the pool gets no permit.

        Raises:
            ClientClosed: The pool is closed.
            ConfigError: The state file cannot be used.
        """
        if self.binding.closed:
            raise ClientClosed(CLOSED)
        self._refresh(now)
        if self.refused_until > now:
            return self.refused_until - now
        usable = self._usable(now)
        token_ids = usable if token_id is None else [known for known in usable if known == token_id]
        permit = self._permits.acquire_low_priority(call, token_ids, now, all_token_ids=usable)
        if isinstance(permit, TokenPermit):
            return permit
        return min(permit, self._shortest_cooldown(now, token_id))

    def _refresh(self, now: float) -> None:
        self._state.remove_expired(now)
        self._minter.start_due_renewal(now)

    def _usable(self, now: float) -> list[str]:
        """Return the tokens that are not in cooldown. The one that was used last is the last."""
        tokens = self._state.tokens
        usable = [token_id for token_id, pooled in tokens.items() if pooled.cooldown_until <= now]
        if self._last_token_id in usable:
            after = usable.index(self._last_token_id) + 1
            usable = usable[after:] + usable[:after]
        return usable

    def _shortest_cooldown(self, now: float, token_id: str | None = None) -> float:
        ends = (
            pooled.cooldown_until
            for known, pooled in self._state.tokens.items()
            if pooled.cooldown_until > now and token_id in (None, known)
        )
        return min(ends, default=float("inf")) - now

    def _acquire(self, call: str, token_ids: Sequence[str], now: float) -> TokenPermit | float:
        permit = self._state.limiter.try_acquire(call, token_ids, now)
        if isinstance(permit, float):
            return permit
        try:
            granted = TokenPermit(self._state.tokens[permit.token_id].token, permit, self._records, call)
        except BaseException:  # the store is closed
            permit.cancel()
            raise
        self._last_token_id = permit.token_id
        return granted

    async def acquire_for_call(self, call: str, *, deadline: float | None = None) -> TokenPermit:
        """Wait for a permit for a single call. Cancelled, it leaves no open permit behind.

        Calls of one kind get permits in the order of asking. They come before campaigns, except for the reserved slots
        of campaigns (see `permit_queue`).

        Args:
            call: The name of the call.
            deadline: On the loop's clock, in seconds. None: wait for a permit without a deadline, but not for the mint
                budget.

        Returns:
            A permit with which this call may be sent now. The caller awaits its `noted`, and ends it.

        Raises:
            DeadlineExceeded: The limits allow no permit before the deadline.
            WaitTooLong: The wait for a permit is longer than 300 s.
            TokenBudgetExhausted: There is no token, and the mint budget allows none before the deadline. Without a
                deadline it is raised at once.
            AuthenticationFailed: The server refuses the credentials, and did so less than 30 s ago.
            TruecallerError: What the mint raised.
        """
        await self.open()
        waiter = self._permits.add(call)
        try:
            while True:
                if not self._permits.is_first(waiter):
                    await waiter.wait()
                elif (wait := self._try_serve(waiter)) > 0:
                    await self._wait_for_permit(wait, waiter, deadline)
                if (permit := waiter.collect()) is None:
                    continue
                # Its token may have been discarded, or put into cooldown, before this task ran.
                if self.is_usable(permit.token_id):
                    return permit
                permit.cancel()
        finally:
            self._permits.remove(waiter)

    async def grow(self, *, budget_deadline: float | None = None) -> Token | None:
        """Create one more token, unless `max_tokens` are live. Continues if the caller is cancelled.

        Args:
            budget_deadline: Loop time until which the mint budget may be waited for; None: not at all.

        Returns:
            The token. None if `max_tokens` are live, or another task or process provided one meanwhile.

        Raises:
            TokenBudgetExhausted: The budget has no token before the deadline.
            TruecallerError: What the mint request raised.
        """
        await self.open()
        return await self._minter.grow(budget_deadline)

    async def aclose(self) -> None:
        """Stop renewals, release the tokens to the next process, close the store. May be called twice.

        After a fork nothing is touched: tokens and store belong to the parent process.

        Raises:
            ClientClosed: The caller runs in another event loop while the loop of the first use is still open.
        """
        if not self.binding.close() or (self._closing is not None and self._closing.done()):
            return
        loop = asyncio.get_running_loop()
        # A task of its own: if the caller is cancelled the close goes on, or the store would keep its thread and file.
        if self._closing is None or self._closing.get_loop() is not loop:
            self._closing = loop.create_task(self._close(loop))
            self._closing.add_done_callback(retrieve_exception)
        await asyncio.shield(self._closing)

    async def _close(self, loop: asyncio.AbstractEventLoop) -> None:
        await self._minter.cancel_tasks(loop)
        try:
            if self._is_open:
                # A request in flight may still arrive, so the tokens are not idle.
                idle_since = None if self._records.open_permits else self._state.clock.wall()
                await self._state.store.release_all(idle_since)
        finally:
            await self._state.store.aclose()

    def _try_serve(self, waiter: Waiter) -> float:
        """Serve the queue until this waiter has a permit.

        Returns:
            0.0 if it has one, otherwise the seconds to wait; infinity if only a change can help.
        """
        if self.binding.closed:
            raise ClientClosed(CLOSED)
        now = loop_time()
        self._refresh(now)
        if (error := self.fatal_error) is not None:
            raise credentials_refused(error, self.refused_until - now)
        denied = self._permits.dispatch(self._usable(now), now)
        if waiter.has_permit:
            return 0.0
        return min(denied.get(waiter.call, 0.0), self._shortest_cooldown(now))

    async def _wait_for_permit(self, wait: float, waiter: Waiter, deadline: float | None) -> None:
        call = waiter.call
        if not self._state.tokens:
            await waiter.run_paused(self.grow(budget_deadline=deadline))
            return
        if self._backlog_needs_token(call, wait) and await waiter.run_paused(self._grow_for_backlog()):
            return
        if COOLDOWN_MAX_SECONDS < wait < float("inf"):
            raise WaitTooLong(wait, COOLDOWN_MAX_SECONDS)
        left = float("inf") if deadline is None else deadline - loop_time()
        if wait == float("inf") and left > 0:
            wait = left  # an answer may come before the deadline
        if wait > left:
            reason = f"the limits allow one in {wait:.3f} s" if wait < float("inf") else "requests are in flight"
            raise DeadlineExceeded(f"no permit for {call!r} before the deadline: {reason}")
        await waiter.wait(wait if wait < float("inf") else None)

    def _backlog_needs_token(self, call: str, wait: float) -> bool:
        able = len(self._state.tokens) - self.cooling_down_count()
        if able == 0:
            return wait > BACKLOG_PER_TOKEN_SECONDS
        # Counted in waiting calls, not by `wait`: a token just adopted from a process that died also has to wait, and
        # that is no reason for another token.
        rate = able * calls_per_second(self.limits, call)
        return self._permits.waiting_count(call) > rate * BACKLOG_PER_TOKEN_SECONDS

    async def _grow_for_backlog(self) -> bool:
        """Try to create one more token. A failure is only reported: the waiter can wait for the other tokens."""
        if loop_time() < self._no_growth_before or len(self._state.tokens) >= self.max_tokens:
            return False
        try:
            return await self.grow() is not None
        except TruecallerError as error:
            self._no_growth_before = loop_time() + GROWTH_PAUSE_SECONDS
            self._state.observer.event("token_pool.growth_failed", {"message": str(error)})
            return False


def credentials_refused(error: AuthenticationFailed, seconds: float) -> AuthenticationFailed:
    """Return the error of a call that is not sent, because the credentials were refused before."""
    message = (
        f"{error.message or 'no explanation in the body'}. The server refused new tokens of these credentials, so "
        f"nothing was sent; the next token is requested in {max(seconds, 0.0):.0f} s. Check the API key"
    )
    refused = AuthenticationFailed(error.status, error.slug, message, field=error.field)
    refused.sent = "no"
    return refused
