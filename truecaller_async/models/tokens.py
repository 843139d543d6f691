"""Define access tokens, and views of a token store without secrets.

Times are wall-clock seconds since the epoch, counted from local receipt, because a store outlives the process.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from truecaller_async.models.secret import Secret

User: TypeAlias = Literal["this", "other", "none"]
"""User of a token: this client, another open client, or none, so that the next client can adopt it."""


@attrs.frozen
class Token:
    """A live token. From "Truecaller for Business: Generate Access Token"."""

    token_id: str
    """Short hash of the token, which may be logged and stored."""
    secret: Secret
    """The token."""
    created_at: float
    """Time of receipt."""
    expires_at: float
    """Time at which the token expires."""
    idle_since: float | None = None
    """Time at which its last process released the token; None if it is in use or this is not known."""


@attrs.frozen
class SentRequest:
    """A request in a token store, so that its limits hold across a restart."""

    token_id: str
    """Short hash of the token with which it is sent."""
    rules: tuple[str, ...]
    """Names of the limits that count it."""
    sent_at: float
    """Time of its permit."""
    number: int
    """Number that distinguishes it from other requests of the same time."""


@attrs.frozen
class StoredToken:
    """A live token in a store, without its secret."""

    token_id: str
    """Short hash of the token."""
    created_at: float
    """Time of receipt."""
    expires_at: float
    """Time at which the token expires."""
    used_by: User
    """User of the token."""


@attrs.frozen
class StoreSnapshot:
    """The content of a token store at one moment."""

    tokens: tuple[StoredToken, ...] = ()
    """The live tokens."""
    mints: tuple[float, ...] = ()
    """Times of the mints in the ledger, ascending."""


@attrs.frozen
class TokenInfo:
    """One live token of the account. Durations are in seconds."""

    token_id: str
    """Short hash of the token."""
    age: float
    """Seconds since its receipt."""
    expires_in: float
    """Seconds until it expires."""
    used_by: User
    """User of the token."""


@attrs.frozen
class TokenStatus:
    """The live tokens of the account and its mint budget. Durations are in seconds.

    From "Truecaller for Business: Generate Access Token".
    """

    tokens: tuple[TokenInfo, ...]
    """The live tokens in the store of this client."""
    mints: int
    """Number of tokens that were requested in the last `mint_window` seconds and its margin of 2 %."""
    mint_limit: int | None
    """Maximum number of mints in a window, None if no limit counts mints."""
    mint_window: float | None
    """Length of the window in seconds, None if no limit counts mints."""
    next_mint_in: float
    """Seconds until the next token can be minted; 0.0 means now."""
