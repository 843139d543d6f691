"""Adopt stored tokens: those of an earlier process, and those that another open store has released.

Algorithm:
    Tokens are adopted when the pool is opened, and later if a token is needed and the mint budget has none: another
    store may have released tokens meanwhile.

    Rate limits survive a restart. Requests sent under a limit of 5 s or more are recorded in the store, and restored to
    the limiter when the token is adopted. A request without an answer counts as now. For a shorter limit the token
    counts as fully used at the moment at which its last store released it. It counts as fully used now if its process
    died, or released it while requests were in flight.
"""

from __future__ import annotations

from truecaller_async.models import Token
from truecaller_async.options import CALLS
from truecaller_async.resilience.rate_law import LATE_MAX_SECONDS
from truecaller_async.tokens.pool_state import PoolState
from truecaller_async.tokens.token_permit import PERSISTED_WINDOW_MIN_SECONDS


class TokenAdoption:
    """Moves free tokens of the store into the pool."""

    def __init__(self, state: PoolState) -> None:
        self._state = state

    async def adopt(self) -> bool:
        """Add the live tokens of the store that no other open store uses, at most up to `max_tokens`.

        The store adopts all of them. Those beyond `max_tokens` stay reserved for this pool until it is closed.

        Returns:
            Whether any was added.
        """
        state, wall = self._state, self._state.clock.wall()
        adopted = [token for token in await state.store.adopt(wall) if not state.knows(token.token_id)]
        entered = adopted[: state.max_tokens - len(state.tokens)]
        for token in entered:
            # The requests first: as soon as the token is in the pool, a waiting request may be sent with it.
            state.limiter.restore(token.token_id, await self._sent_request_ages(token, wall))
            state.add(token, is_own=False)
            state.observer.event(
                "token.adopted", {"token_id": token.token_id, "remaining_seconds": round(token.expires_at - wall)}
            )
        return bool(entered)

    async def _sent_request_ages(self, token: Token, wall: float) -> dict[str, list[float]]:
        """Return the ages in seconds of the requests of an earlier process, by the name of the limit."""
        rules = [rule for rule in self._state.limits if any(rule.counts(call) for call in CALLS if call != "mint")]
        since = wall - max((rule.per for rule in rules), default=0.0) * 2
        recorded = await self._state.store.sent_requests(token.token_id, since, wall)
        idle = wall - token.idle_since if token.idle_since is not None else 0.0
        return {
            # A time further ahead is of a wall clock that was set back.
            rule.name: [max(wall - at, -LATE_MAX_SECONDS) for at in recorded.get(rule.name, ())]
            if rule.per >= PERSISTED_WINDOW_MIN_SECONDS
            else [idle] * rule.limit
            for rule in rules
        }
