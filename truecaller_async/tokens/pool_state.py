"""Hold the live tokens of one pool, and the collaborators that pool, minting and adoption share."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import attrs

from truecaller_async.clock import Clock, loop_time
from truecaller_async.errors import AuthenticationFailed
from truecaller_async.models import Token
from truecaller_async.options import Limits, RateLimit
from truecaller_async.ports import Limiter, Observer, TokenStore
from truecaller_async.tokens.credentials_verdict import CredentialsVerdict

TOKEN_LIFE_SECONDS = 3600.0
RENEW_AT_FACTOR = 0.80
"""The fraction of its life after which a token is renewed."""

RENEW_SPREAD_FACTOR = 0.05
"""Each token is renewed up to this fraction earlier or later, so that ten tokens do not end together."""


@attrs.define(eq=False)
class PooledToken:
    """One token in the pool. Times are on the clock of the event loop."""

    token: Token
    created_at: float
    renew_at: float
    expires_at: float
    cooldown_until: float = float("-inf")
    throttled_in_a_row: int = 0
    is_own: bool = True
    """Whether this process minted it. False: it was adopted from the store."""


@attrs.define(eq=False)
class PoolState:
    """The live tokens, the settings and the collaborators of one pool."""

    store: TokenStore
    limiter: Limiter
    limits: Limits
    max_tokens: int
    clock: Clock
    rng: Random
    observer: Observer
    tokens: dict[str, PooledToken] = attrs.field(factory=dict)
    verdict: CredentialsVerdict = attrs.field(factory=CredentialsVerdict)
    subscribers: dict[object, Callable[[], None]] = attrs.field(factory=dict)

    @property
    def fatal_error(self) -> AuthenticationFailed | None:
        """The refusal of the credentials, while the verdict holds."""
        return self.verdict.error(loop_time())

    def notify(self) -> None:
        """Call the subscribers: an earlier permit may have become possible."""
        for callback in tuple(self.subscribers.values()):
            callback()

    @property
    def mint_rule(self) -> RateLimit | None:
        """The limit that counts mints, if there is one."""
        return next((rule for rule in self.limits if rule.counts("mint")), None)

    def add(self, token: Token, *, is_own: bool = True) -> None:
        """Add a token. If the same token is there already, its cooldown is kept."""
        now, wall = loop_time(), self.clock.wall()
        renew_at = TOKEN_LIFE_SECONDS * (RENEW_AT_FACTOR + self.rng.uniform(-RENEW_SPREAD_FACTOR, RENEW_SPREAD_FACTOR))
        created_at = now - (wall - token.created_at)
        self.tokens[token.token_id] = PooledToken(
            token,
            created_at,
            created_at + renew_at,
            created_at + (token.expires_at - token.created_at),
            self.cooldown_until(token.token_id),
            is_own=is_own,
        )
        self.notify()

    def remove(self, token_id: str) -> None:
        """Remove a token and what the limiter counted for it."""
        self.tokens.pop(token_id, None)
        self.limiter.remove(token_id)

    def remove_expired(self, now: float) -> None:
        """Remove the tokens whose life is over."""
        for pooled in [pooled for pooled in self.tokens.values() if pooled.expires_at <= now]:
            self.remove(pooled.token.token_id)

    def knows(self, token_id: str) -> bool:
        """Return whether the token is in the pool."""
        return token_id in self.tokens

    def has_unexpired(self) -> bool:
        """Return whether a token is alive, in cooldown or not."""
        now = loop_time()
        return any(pooled.expires_at > now for pooled in self.tokens.values())

    def cooldown_until(self, token_id: str) -> float:
        """Return the loop time at which the cooldown of the token ends; minus infinity without one."""
        pooled = self.tokens.get(token_id)
        return pooled.cooldown_until if pooled else float("-inf")
