"""A real token pool on a virtual loop, whose mint requests are answered by a script."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from random import Random

import attrs

from tests.virtual import VirtualClock
from truecaller_async.errors import NotSent
from truecaller_async.limits import LocalLimiter
from truecaller_async.models import Secret, Token
from truecaller_async.options import Limits
from truecaller_async.ports import TokenStore
from truecaller_async.tokens import MemoryTokenStore, TokenPool
from truecaller_async.tokens.mint_budget import MintBudgetClaim
from truecaller_async.tokens.pool import PoolSettings


@attrs.define
class Mint:
    """A scripted token endpoint. Each request takes `seconds`."""

    seconds: float = 0.5
    answers: deque[Exception | str | None] = attrs.field(factory=deque)
    asked: list[float] = attrs.field(factory=list)

    async def __call__(self, claim: MintBudgetClaim) -> Secret:
        await claim.claim()
        self.asked.append(asyncio.get_running_loop().time())
        number = len(self.asked)
        await asyncio.sleep(self.seconds)
        answer = self.answers.popleft() if self.answers else None
        if isinstance(answer, NotSent):
            await claim.refund()
        if isinstance(answer, Exception):
            raise answer
        return Secret(answer or f"token-{number}")


def answering(*answers: Exception | str | None) -> Mint:
    """Return a token endpoint with these answers, in order; None is a new token."""
    return Mint(answers=deque(answers))


@attrs.define
class EventNames:
    """An observer that records the names of the events."""

    names: list[str] = attrs.field(factory=list)

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        """Ignore requests."""

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        self.names.append(name)


def pool_of(
    mint: Mint,
    *,
    max_tokens: int = 10,
    limits: Limits | None = None,
    store: TokenStore | None = None,
    observer: EventNames | None = None,
) -> TokenPool:
    """Make a pool on the clock of the running loop."""
    known = limits or Limits.documented()
    return TokenPool(
        store or MemoryTokenStore(),
        LocalLimiter(known),
        mint,
        PoolSettings(known, max_tokens),
        clock=VirtualClock(),
        rng=Random(5),
        observer=observer or EventNames(),
    )


async def acquired(pool: TokenPool, call: str, *, deadline: float | None = None) -> Token:
    """Acquire a permit for a single call whose answer comes at once; return its token."""
    permit = await pool.acquire_for_call(call, deadline=deadline)
    if permit.noted is not None:
        await permit.noted
    permit.done(now())
    return permit.token


def now() -> float:
    return asyncio.get_running_loop().time()
