"""Give each request a token and a permit.

Algorithm:
    - The pool is lazy. The first request adopts the free tokens of the store (see `adoption`), and mints one if there
      are none (see `minting`). One more is minted only if a campaign or the user calls `grow()`, or if too many single
      calls wait, never more than `max_tokens`.
    - A token lives one hour and is renewed after about 80 % of it. There is no timer: `live()` starts a renewal that is
      due, and each request calls it. An idle pool lets its tokens expire.
    - A cooldown is a deadline on the loop's clock, one for each token. A longer one replaces a shorter one; nothing
      ends it early.
Failure modes:
    - The server refuses a token: it is discarded by its id, so a second refusal of the same token costs no second mint.
    - The server refuses two tokens in a row that this process minted less than 60 s ago: no token can help, and the
      pool raises `AuthenticationFailed` from then on (`fatal_error`). A refused adopted token proves nothing, because
      it may have been revoked since.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random

import attrs

from truecaller_async.clock import Clock, loop_time
from truecaller_async.errors import AuthenticationFailed, ClientClosed, DeadlineExceeded, TruecallerError, WaitTooLong
from truecaller_async.loop_binding import LoopBinding
from truecaller_async.models import Token
from truecaller_async.models.tokens import TokenInfo, TokenStatus
from truecaller_async.options import CALLS, COOLDOWN_MAX_SECONDS, Limits
from truecaller_async.ports import Limiter, Observer, TokenStore
from truecaller_async.resilience.rate_law import calls_per_second
from truecaller_async.tokens.adoption import TokenAdoption, persisted_rules
from truecaller_async.tokens.mint_budget import MintBudget
from truecaller_async.tokens.minting import Mint, TokenMinter, retrieve_exception
from truecaller_async.tokens.permit_queue import PermitQueue, Waiter
from truecaller_async.tokens.pool_state import PooledToken, PoolState

FRESH_SECONDS = 60.0
"""The age up to which a refused token counts as fresh."""

FRESH_REFUSALS_MAX = 2
"""Refusals in a row of fresh tokens after which the account counts as refused."""

GROWTH_PAUSE_SECONDS = 30.0
"""How long the pool does not try to grow by itself after a growth that failed."""

BACKLOG_PER_TOKEN_SECONDS = 1.0
"""Seconds of waiting work that justify one more token."""


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
        self._permits = PermitQueue(self._charge)
        self._persisted_rules = {call: persisted_rules(settings.limits, call) for call in CALLS}
        self._opening = asyncio.Lock()
        self._is_open = False
        self._closing: asyncio.Task[None] | None = None
        self._fresh_refusals = 0
        self._no_growth_before = float("-inf")
        self.account_verified = False
        """Whether the server has accepted a request with a token of this pool."""

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
        """The refusal that ends all use of the account, once it is certain."""
        return self._state.fatal_error

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
        self._state.remove_expired()
        self._minter.start_due_renewal()
        return [pooled.token for pooled in self._state.tokens.values()]

    def knows(self, token_id: str) -> bool:
        """Return whether the token is in the pool."""
        return self._state.knows(token_id)

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
        if not pooled.throttled_in_a_row:
            self._state.limiter.slow_down(token_id)
        pooled.throttled_in_a_row += 1
        return pooled.throttled_in_a_row

    def record_success(self, token_id: str) -> None:
        """Record that the server accepted a request with this token. It verifies the account."""
        self._fresh_refusals = 0
        self.account_verified = True
        pooled = self._state.tokens.get(token_id)
        if pooled is not None:
            pooled.throttled_in_a_row = 0

    async def discard(self, token_id: str, error: AuthenticationFailed) -> None:
        """Remove a token that the server refused. Does nothing if it was removed already."""
        pooled = self._state.tokens.get(token_id)
        if pooled is None:
            return
        if pooled.is_own and self._is_fresh(pooled):
            self._fresh_refusals += 1
        if self._fresh_refusals >= FRESH_REFUSALS_MAX:
            self._state.fatal_error = error
        self._state.remove(token_id)
        self._state.observer.event("token.discarded", {"token_id": token_id, "reason": error.slug or error.status})
        await self._state.store.discard(token_id)

    def _is_fresh(self, pooled: PooledToken) -> bool:
        # By both clocks: in a suspend of the machine the loop's clock may stand still, and the wall clock may be set.
        age = self._state.clock.wall() - pooled.token.created_at
        return loop_time() - pooled.created_at < FRESH_SECONDS and age < FRESH_SECONDS

    async def try_acquire_for_campaign(self, token_id: str, call: str) -> float:
        """Try to acquire a permit for a campaign, with this token. Single calls have priority.

        Returns:
            0.0 if granted, otherwise the seconds to wait; then nothing was charged.
        """
        pooled = self._state.tokens.get(token_id)
        # Without the queue: a single call must not get a discarded token or one in cooldown. The campaign checks both
        # after the permit.
        if pooled is None or pooled.cooldown_until > loop_time():
            return await self._charge(token_id, call)
        return await self._permits.acquire_low_priority(pooled.token, call)

    async def _charge(self, token_id: str, call: str) -> float:
        wait = await self._state.limiter.try_acquire(token_id, call)
        if wait == 0.0:
            for rule in self._persisted_rules.get(call, ()):
                await self._state.store.record_sent_request(token_id, rule.name, self._state.clock.wall())
        return wait

    async def acquire_for_call(self, call: str, *, deadline: float | None = None) -> Token:
        """Wait for a permit for a single call.

        Calls of one kind get permits in the order of asking. They come before campaigns, except for the reserved slots
        of campaigns (see `permit_queue`).

        Args:
            call: The name of the call.
            deadline: On the loop's clock, in seconds. None: wait for a permit without a deadline, but not for the mint
                budget.

        Returns:
            A token with which this call may be sent now.

        Raises:
            DeadlineExceeded: The limits allow no permit before the deadline.
            WaitTooLong: The wait for a permit is longer than 300 s.
            TokenBudgetExhausted: There is no token, and the mint budget allows none before the deadline. Without a
                deadline it is raised at once.
            AuthenticationFailed: The server refuses the account.
            TruecallerError: What the mint raised.
        """
        await self.open()
        waiter = self._permits.add(call)
        try:
            while True:
                if not self._permits.is_first(waiter):
                    await waiter.wait()
                elif (wait := await self._try_serve(waiter)) > 0:
                    await self._wait_for_permit(wait, waiter, deadline)
                token = waiter.collect()
                # A token with a permit may have been discarded, or put into cooldown, before this task ran.
                if token and self.knows(token.token_id) and self.cooldown_until(token.token_id) <= loop_time():
                    return token
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
                await self._state.store.release_all(self._state.clock.wall())
        finally:
            await self._state.store.aclose()

    async def _try_serve(self, waiter: Waiter) -> float:
        """Serve the queue with every live token until this waiter has a permit.

        Returns:
            0.0 if it has one, otherwise the seconds to wait; infinity if there is no token.
        """
        if self.binding.closed:
            raise ClientClosed("the client was closed while a request waited for a permit; nothing was sent")
        if self.fatal_error is not None:
            raise self.fatal_error
        soonest = float("inf")
        for token in self.live():
            wait = self.cooldown_until(token.token_id) - loop_time()
            if wait <= 0:
                wait = (await self._permits.dispatch(token)).get(waiter.call, 0.0)
            if waiter.has_token:
                return 0.0
            soonest = min(soonest, wait)
        return soonest

    async def _wait_for_permit(self, wait: float, waiter: Waiter, deadline: float | None) -> None:
        call = waiter.call
        if wait == float("inf"):
            await waiter.run_paused(self.grow(budget_deadline=deadline))
            return
        if self._backlog_needs_token(call, wait) and await waiter.run_paused(self._grow_for_backlog()):
            return
        if wait > COOLDOWN_MAX_SECONDS:
            raise WaitTooLong(wait, COOLDOWN_MAX_SECONDS)
        if deadline is not None and loop_time() + wait > deadline:
            raise DeadlineExceeded(f"no permit for {call!r} before the deadline: the limits allow one in {wait:.3f} s")
        await waiter.wait(wait)

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
