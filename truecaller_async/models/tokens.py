"""An access token as the pool knows it, and what may be told of tokens.

`token_id` is a short hash that may be logged and stored; the token itself is a `Secret`. `born` and `expires` are
wall-clock seconds since the epoch, counted from local receipt, because a store must outlive the process.
`idle_since` is the instant at which its last process gave it up in good order; None means it is in use, or nobody
knows.

What a store shows to a looker has no secret in it: `StoreSnapshot` is that view with the store's own stamps,
`TokenStatus` the same as a person asks for it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from truecaller_async.models.secret import Secret

User: TypeAlias = Literal["this", "other", "nobody"]
"""Who uses a token: this client, another one that is alive, or nobody, so that the next may have it."""


@attrs.frozen
class Token:
    """A live token. From "Truecaller for Business: Generate Access Token"."""

    token_id: str
    secret: Secret
    created_at: float
    expires_at: float
    idle_since: float | None = None


@attrs.frozen
class StoredToken:
    """A live token in a store, without its secret. Times are wall-clock seconds."""

    token_id: str
    created_at: float
    expires_at: float
    used_by: User


@attrs.frozen
class StoreSnapshot:
    """What a store holds at one moment: the live tokens, and the instants of the mints in its ledger, ascending."""

    tokens: tuple[StoredToken, ...] = ()
    mints: tuple[float, ...] = ()


@attrs.frozen
class TokenInfo:
    """What is known of one live token. `age` and `expires_in` are seconds."""

    token_id: str
    age: float
    expires_in: float
    used_by: User


@attrs.frozen
class TokenStatus:
    """The tokens of the account in this client's state, and its budget of new ones.

    `mints` tokens were asked for in the last `mint_window` seconds, of the `mint_limit` that may be; the next may be
    made in `next_mint_in` seconds, 0.0 is now. `mint_limit` and `mint_window` are None where no limit counts mints.
    From "Truecaller for Business: Generate Access Token".
    """

    tokens: tuple[TokenInfo, ...]
    mints: int
    mint_limit: int | None
    mint_window: float | None
    next_mint_in: float
