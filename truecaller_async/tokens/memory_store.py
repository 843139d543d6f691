"""Store tokens and the ledger of mints of one process; both are gone when it ends.

Algorithm:
    The ledger is a sliding log of mints. A claim is written before the request is sent, because a request whose answer
    is lost may have created a token.
Failure modes:
    - The wall clock is set back: mints then have times in the future. One that is further ahead than
      `OUT_OF_ORDER_SECONDS` counts as made now, so no mint waits longer for it than one window plus 60 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from truecaller_async.models import Token
from truecaller_async.models.tokens import SentRequest, StoredToken, StoreSnapshot

OUT_OF_ORDER_SECONDS = 60.0
"""How far a time in the ledger may be ahead, because processes do not write in the order of their clocks."""

WAIT_MIN_SECONDS = 0.001
"""The shortest wait for the budget: 0.0 would mean that the mint is allowed."""


def effective_mint_time(at: float, now: float) -> float:
    """Return the time at which a mint of the ledger counts: `now` if its own is too far in the future."""
    return now if at > now + OUT_OF_ORDER_SECONDS else at


def wait_for_budget(mints: Sequence[float], limit: int, per: float, now: float) -> float:
    """Return the seconds until a mint is allowed. `mints` has at least `limit` times, in ascending order."""
    return max(mints[-limit] + per - now, WAIT_MIN_SECONDS)


class MemoryTokenStore:
    """The `TokenStore` of `state="memory:"`."""

    def __init__(self) -> None:
        self._mints: list[float] = []
        self._tokens: dict[str, StoredToken] = {}

    async def adopt(self, now: float) -> Sequence[Token]:
        """Return no token: there was no earlier process."""
        return ()

    async def add(self, token: Token) -> None:
        """Add a token to the snapshot. The secret stays in the pool."""
        self._tokens[token.token_id] = StoredToken(token.token_id, token.created_at, token.expires_at, "this")

    async def discard(self, token_id: str) -> None:
        """Remove a token from the snapshot."""
        self._tokens.pop(token_id, None)

    async def claim_mint(self, limit: int, per: float, now: float) -> float:
        """Claim one mint. See `TokenStore.claim_mint`."""
        self._mints = [effective_mint_time(at, now) for at in self._mints if at > now - per]
        if len(self._mints) < limit:
            self._mints.append(now)
            return 0.0
        return wait_for_budget(sorted(self._mints), limit, per, now)

    async def refund_mint(self, claimed_at: float) -> None:
        """Remove the mint claimed at `claimed_at`."""
        if claimed_at in self._mints:
            self._mints.remove(claimed_at)

    def record_sent_request(self, request: SentRequest) -> None:
        """Do nothing: the limiter of this process counts its own requests."""

    def record_request_end(self, request: SentRequest, counts_at: float | None) -> None:
        """Do nothing."""

    async def sent_requests(self, token_id: str, since: float, now: float) -> Mapping[str, Sequence[float]]:
        """Return no request: there was no earlier process."""
        return {}

    async def snapshot(self, now: float, since: float) -> StoreSnapshot:
        """Return the live tokens and the recent mints of this process."""
        live = sorted(
            (token for token in self._tokens.values() if token.expires_at > now), key=lambda token: token.created_at
        )
        mints = sorted(effective_mint_time(at, now) for at in self._mints if at > since)
        return StoreSnapshot(tuple(live), tuple(mints))

    async def release_all(self, idle_since: float | None) -> None:
        """Remove all tokens from the snapshot: no other process can use them."""
        self._tokens.clear()

    async def aclose(self) -> None:
        """Do nothing: no file is open."""
