"""Tokens and ledger of one process: gone when it ends.

The ledger is a sliding log of mints. A claim is written before the request is made, because a request whose answer
is lost may have created a token all the same. A stamp from the future, by more than processes
may write out of turn, tells that the wall clock was set back: it is taken for one of now, so that nobody waits longer
than one window for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from truecaller_async.models import Token
from truecaller_async.models.tokens import StoredToken, StoreSnapshot

OUT_OF_TURN = 60.0
"""Seconds by which a stamp may be ahead of the one that is written after it."""


def taken_for(stamp: float, now: float) -> float:
    """The moment for which a stamp of the ledger counts."""
    return now if stamp > now + OUT_OF_TURN else stamp


class MemoryTokenStore:
    """The `TokenStore` behind `state="memory:"`."""

    def __init__(self) -> None:
        self._mints: list[float] = []
        self._tokens: dict[str, StoredToken] = {}

    async def adopt(self, now: float) -> Sequence[Token]:
        """A new process has no tokens."""
        return ()

    async def add(self, token: Token) -> None:
        """The pool holds the token; kept here is only that there is one."""
        self._tokens[token.token_id] = StoredToken(token.token_id, token.created_at, token.expires_at, "this")

    async def discard(self, token_id: str) -> None:
        """Forget it."""
        self._tokens.pop(token_id, None)

    async def claim_mint(self, limit: int, per: float, now: float) -> float:
        """0.0 and written down, or the seconds until a mint is lawful."""
        self._mints = [taken_for(at, now) for at in self._mints if at > now - per]
        if len(self._mints) < limit:
            self._mints.append(now)
            return 0.0
        return max(sorted(self._mints)[-limit] + per - now, 0.001)

    async def refund_mint(self, now: float) -> None:
        """Strike out the mint claimed at `now`."""
        if now in self._mints:
            self._mints.remove(now)

    async def record_release(self, token_id: str, rule: str, at: float) -> None:
        """The limiter of this process remembers for itself."""

    async def releases(self, token_id: str, since: float) -> Mapping[str, Sequence[float]]:
        """Nothing of an earlier process is known."""
        return {}

    async def snapshot(self, now: float, since: float) -> StoreSnapshot:
        """What this process knows: there is no other."""
        live = sorted(
            (token for token in self._tokens.values() if token.expires_at > now), key=lambda token: token.created_at
        )
        return StoreSnapshot(tuple(live), tuple(sorted(taken_for(at, now) for at in self._mints if at > since)))

    async def release_all(self, now: float) -> None:
        """There is no next process to have them."""
        self._tokens.clear()

    async def aclose(self) -> None:
        """Nothing to close."""
