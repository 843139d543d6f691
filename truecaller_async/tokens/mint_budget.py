"""Account for new tokens: the ledger of mints, and the backoff after a mint that failed.

Algorithm:
    A claim is written to the ledger of the store before each mint request, so that all mints together stay within the
    limit (10 in 30 minutes). With the SQLite store this includes other processes and earlier ones that crashed; a power
    failure may lose the last claims. With the memory store it holds within one process. The ledger uses the wall clock,
    which may be set. The mints of this process are also counted on the loop's clock, which may not. A mint counts at
    its claim, and not at its answer as other requests do. So its window is 2 % longer than the limit (36 s of 30
    minutes), which is longer than a request takes.

Failure modes:
    - Not sent, 3xx, or 4xx except 429: no token was made, and the claim is refunded.
    - 429: the claim stays, and the next mint waits for `Retry-After`, 60 s without one.
    - 5xx, or a lost answer: a token may have been made. The claim stays, and the mint may send one more request. If the
      mint fails, the next one waits: 0 s after the first failure, then 3, 9, 27 s and so on, at most twice the window
      divided by the limit (6 minutes).
    - An answer that cannot be read: the claim stays, without a wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from truecaller_async.clock import loop_time
from truecaller_async.errors import RateLimited, TokenBudgetExhausted, TruecallerError
from truecaller_async.models.tokens import StoreSnapshot
from truecaller_async.tokens.pool_state import TOKEN_LIFE_SECONDS, PoolState

WINDOW_MARGIN_FACTOR = 0.02
"""Extension of the window of the mints, for requests that arrive closer together than they were claimed."""

THROTTLED_COOLDOWN_SECONDS = 60.0
"""The wait after a 429 without `Retry-After`."""

BACKOFF_FACTOR = 3.0
BACKOFF_WITHOUT_LIMIT_MAX_SECONDS = 30.0
"""The longest wait after failed mints if no limit counts mints."""

FAILURES_MAX = 10
"""Failures in a row that are counted, so that the power of the factor stays finite."""

REQUESTS_PER_MINT_MAX = 2
"""Requests of one mint that may have made a token."""


class MintBudgetClaim:
    """Claims the requests of one mint: each is written to the ledger before it is sent.

    `claimed` counts the requests that may have made a token. Two of them exhaust the claim, one if the previous mint
    failed too. `is_urgent()` returns whether no other token is alive, so that nothing can be sent before this mint.
    """

    def __init__(
        self,
        write: Callable[[], Awaitable[float]],
        refund: Callable[[float], Awaitable[None]],
        is_urgent: Callable[[], bool],
        *,
        last_mint_failed: bool,
    ) -> None:
        self._write = write
        self._refund = refund
        self._latest: float | None = None
        self._claimed_max = 1 if last_mint_failed else REQUESTS_PER_MINT_MAX
        self.is_urgent = is_urgent
        self.claimed = 0

    @property
    def is_exhausted(self) -> bool:
        """Return whether no further request may be made for this mint."""
        return self.claimed >= self._claimed_max

    async def claim(self) -> None:
        """Claim the request that is sent next. Raises `TokenBudgetExhausted`."""
        self._latest = await self._write()
        self.claimed += 1

    async def refund(self) -> None:
        """Return the latest claim: its request made no token, or was not sent. A second call does nothing."""
        if self._latest is not None:
            self.claimed -= 1
            stamp, self._latest = self._latest, None
            await self._refund(stamp)


class MintBudget:
    """The budget of new tokens of one account, as this process knows it."""

    def __init__(self, state: PoolState) -> None:
        self._state = state
        self._rule = state.mint_rule
        self._claimed_at: list[float] = []
        self._cooldown_until = 0.0
        self._failures = 0
        self._last_failure: TruecallerError | None = None
        self.throttled_count = 0

    @property
    def window_seconds(self) -> float:
        """The length of the window in which mints are counted; 0.0 without a limit."""
        return self._rule.per * (1 + WINDOW_MARGIN_FACTOR) if self._rule else 0.0

    def restore(self, snapshot: StoreSnapshot, wall: float) -> None:
        """Count the mints of other processes that the ledger had at this wall-clock time."""
        now = loop_time()
        self._claimed_at = sorted([*self._claimed_at, *(now - max(0.0, wall - at) for at in snapshot.mints)])

    def next_mint_in(self, snapshot: StoreSnapshot, wall: float) -> float:
        """Return the seconds until the next mint is allowed; 0.0 means now."""
        wait = self._cooldown_until - loop_time()
        if self._rule and len(snapshot.mints) >= self._rule.limit:
            wait = max(wait, snapshot.mints[-self._rule.limit] + self.window_seconds - wall)
        return max(wait, 0.0)

    def claim(self, budget_deadline: float | None) -> MintBudgetClaim:
        """Return the claim of one mint.

        Args:
            budget_deadline: Loop time until which the mint budget may be waited for; None: not at all.
        """
        return MintBudgetClaim(
            lambda: self._write(budget_deadline),
            self._refund,
            lambda: not self._state.has_unexpired(),
            last_mint_failed=self._last_failure is not None,
        )

    def record_success(self) -> None:
        """End the backoff."""
        self._failures, self._last_failure = 0, None

    def record_failure(self, error: TruecallerError) -> None:
        """Start or extend the backoff: the mint may have made a token, so each failure costs a claim."""
        # With the documented limit (10 in 30 minutes) the longest wait is 6 minutes: 5 claims of a window stay free.
        longest = (
            2 * self.window_seconds / self._rule.limit if self._rule is not None else BACKOFF_WITHOUT_LIMIT_MAX_SECONDS
        )
        wait = min(BACKOFF_FACTOR**self._failures, longest) if self._failures else 0.0
        self._failures = min(self._failures + 1, FAILURES_MAX)
        self._last_failure = error
        self._cooldown_until = max(self._cooldown_until, loop_time() + wait)

    def record_throttled(self, error: RateLimited) -> TokenBudgetExhausted:
        """Start the cooldown that a 429 asks for; return the error to raise."""
        wait = THROTTLED_COOLDOWN_SECONDS if error.retry_after is None else min(error.retry_after, TOKEN_LIFE_SECONDS)
        self._cooldown_until = loop_time() + wait
        self.throttled_count += 1
        return self._exhausted(wait)

    async def _write(self, budget_deadline: float | None) -> float:
        """Write one mint to the ledger; wait for the budget up to the deadline. Return its wall-clock time."""
        while True:
            wall, now = self._state.clock.wall(), loop_time()
            wait = max(self._cooldown_until - now, self._wait(now))
            if wait <= 0 and self._rule:
                wait = await self._state.store.claim_mint(self._rule.limit, self.window_seconds, wall)
            if wait <= 0:
                if self._rule:
                    self._claimed_at.append(now)
                return wall
            if budget_deadline is None or loop_time() + wait > budget_deadline:
                if self._last_failure is not None and self._cooldown_until > now:
                    raise self._last_failure.with_traceback(None)
                raise self._exhausted(wait)
            await asyncio.sleep(wait)

    def _wait(self, now: float) -> float:
        """Return the seconds until a mint is allowed by the claims on the loop's clock."""
        if self._rule is None:
            return 0.0
        self._claimed_at = self._claimed_at[-self._rule.limit :]
        is_free = len(self._claimed_at) < self._rule.limit
        return 0.0 if is_free else self._claimed_at[0] + self.window_seconds - now

    async def _refund(self, stamp: float) -> None:
        if self._claimed_at:
            self._claimed_at.pop()
        await self._state.store.refund_mint(stamp)

    def _exhausted(self, wait: float) -> TokenBudgetExhausted:
        return TokenBudgetExhausted(datetime.fromtimestamp(self._state.clock.wall() + wait, UTC))
