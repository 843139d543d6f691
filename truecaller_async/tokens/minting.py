"""Mint tokens: one at a time, to grow the pool or to renew a token.

Invariants:
    - Single flight: one mint runs at a time. A caller that waited for it gets None if the pool has grown meanwhile.
    - A mint that has begun is never cancelled by its caller: the token would be made, counted, and lost. Only the close
      of the pool cancels it.
    - A renewal makes the successor first, then removes the old token.
Failure modes:
    - A renewal that fails is tried again 60 s later.
    - The server returns a token that the pool has already: the server gives this account no further token, so
      `max_tokens` becomes the number of live tokens.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from truecaller_async.cancellation import is_being_cancelled
from truecaller_async.clock import loop_time
from truecaller_async.errors import (
    APIStatusError,
    ClientClosed,
    RateLimited,
    ResponseLost,
    ServerError,
    TokenBudgetExhausted,
    TruecallerError,
)
from truecaller_async.loop_binding import LoopBinding
from truecaller_async.models import Secret, Token
from truecaller_async.tokens.adoption import TokenAdoption
from truecaller_async.tokens.mint_budget import MintBudget, MintBudgetClaim
from truecaller_async.tokens.pool_state import TOKEN_LIFE_SECONDS, PooledToken, PoolState

RENEWAL_RETRY_SECONDS = 60.0
TOKEN_ID_CHARS = 12

Mint: TypeAlias = Callable[[MintBudgetClaim], Awaitable[Secret]]
"""Requests a new token and returns it; claims each request before it is sent."""


class TokenMinter:
    """Mints the tokens of one pool."""

    def __init__(
        self, state: PoolState, mint: Mint, budget: MintBudget, adoption: TokenAdoption, binding: LoopBinding
    ) -> None:
        self._state = state
        self._mint = mint
        self._budget = budget
        self._adoption = adoption
        self._binding = binding
        self._lock = asyncio.Lock()
        self._renewals: set[asyncio.Task[None]] = set()
        self._growths: set[asyncio.Task[Token | None]] = set()
        self.minted = 0

    async def grow(self, budget_deadline: float | None) -> Token | None:
        """Mint one more token in a task that continues if the caller is cancelled. See `TokenPool.grow`."""
        task = asyncio.get_running_loop().create_task(self._grow(len(self._state.tokens), budget_deadline))
        self._growths.add(task)
        task.add_done_callback(self._growth_ended)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if self._binding.closed and not is_being_cancelled():
                raise ClientClosed("the client was closed while a token was made") from None
            raise

    def start_due_renewal(self, now: float) -> None:
        """Start the renewal of one token that is due, unless a renewal runs."""
        if self._renewals:
            return
        due = next((pooled for pooled in self._state.tokens.values() if pooled.renew_at <= now), None)
        if due is not None:
            task = asyncio.get_running_loop().create_task(self._renew(due))
            self._renewals.add(task)
            task.add_done_callback(self._renewal_ended)

    async def cancel_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel the mints of this loop and wait until they have ended."""
        tasks = [task for task in (*self._renewals, *self._growths) if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _renewal_ended(self, task: asyncio.Task[None]) -> None:
        self._renewals.discard(task)
        self._state.notify()

    def _growth_ended(self, task: asyncio.Task[Token | None]) -> None:
        self._growths.discard(task)
        retrieve_exception(task)

    async def _grow(self, live_before: int, budget_deadline: float | None) -> Token | None:
        state = self._state
        async with self._lock:
            if (error := state.fatal_error) is not None:
                raise error.with_traceback(None)
            if len(state.tokens) > live_before or len(state.tokens) >= state.max_tokens:
                return None
            try:
                return await self._mint_token(budget_deadline)
            except TokenBudgetExhausted:
                # Another store may have released tokens since this pool was opened.
                if await self._adoption.adopt():
                    return None
                raise

    async def _mint_token(self, budget_deadline: float | None) -> Token:
        claim = self._budget.claim(budget_deadline)
        try:
            secret = await self._mint(claim)
        except (ServerError, ResponseLost) as error:
            if claim.claimed:
                self._budget.record_failure(error)
            raise
        except RateLimited as error:
            raise self._budget.record_throttled(error) from None
        except APIStatusError as error:
            if error.status < 500:
                await claim.refund()
            raise
        self._budget.record_success()
        self.minted += 1
        return await self._add(_token(secret, self._state.clock.wall()))

    async def _add(self, token: Token) -> Token:
        state = self._state
        if state.knows(token.token_id):
            state.max_tokens = len(state.tokens)
            state.observer.event("token.reissued", {"token_id": token.token_id, "live_tokens": len(state.tokens)})
        state.add(token)
        await state.store.add(token)
        state.observer.event("token.minted", {"token_id": token.token_id, "live_tokens": len(state.tokens)})
        return token

    async def _renew(self, old: PooledToken) -> None:
        state, old_id = self._state, old.token.token_id
        try:
            async with self._lock:
                if not state.knows(old_id):
                    return
                successor = await self._mint_token(None)
            if successor.token_id != old_id:
                state.remove(old_id)
                await state.store.discard(old_id)
        except TruecallerError as error:
            old.renew_at = loop_time() + RENEWAL_RETRY_SECONDS
            state.observer.event("token.renewal_failed", {"token_id": old_id, "message": str(error)})


def retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Mark the exception of an ended task as retrieved. Otherwise asyncio logs it if no caller awaits it."""
    if not task.cancelled():
        task.exception()


def _token(secret: Secret, wall: float) -> Token:
    token_id = hashlib.sha256(secret.reveal().encode()).hexdigest()[:TOKEN_ID_CHARS]
    return Token(token_id, secret, wall, wall + TOKEN_LIFE_SECONDS)
