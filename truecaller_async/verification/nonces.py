"""Store the nonces of a site: each is bound to a browser session, expires, and is used once.

A nonce connects three things that arrive separately: the browser that asked (a session), a callback that any client
could have posted, and the browser that requests the result.

    issue    create a nonce for a session
    record   store a callback; True if it is accepted
    find     return the state of a nonce, for its own session only
    consume  as find, and delete the nonce; of two concurrent calls one gets the state

Invariants:
    - A callback is accepted only for a nonce that was issued here and has not expired: `FlowInvoked` first, then one of
      `ProfileReady` and `UserRejected`. The final callback is also accepted without the first.
    - The state is returned only to the session that the nonce was issued to.
    - `session` is a text that only the server and the browser know, such as a session cookie. Only its SHA-256 is
      stored.

Several workers share a `SqliteNonceStore`. A single process can use a `MemoryNonceStore`.
"""

from __future__ import annotations

import hashlib
import math
import re
import secrets
from collections import OrderedDict
from typing import Protocol

import attrs

from truecaller_async.clock import Clock
from truecaller_async.errors import ConfigError, ValidationError
from truecaller_async.models import Problem
from truecaller_async.verification.callbacks import FlowInvoked, KnownCallback, ProfileReady, UserRejected

NONCE_LIFETIME_SECONDS = 600.0
"""Default lifetime, equal to the lifetime of Truecaller's access token."""
NONCES_MAX = 100_000

NONCE_BYTES = 24
ISSUED_NONCE_FORM = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII)
"""Form of the nonces that `new_nonce` returns. Other values are rejected without access to the store."""


@attrs.frozen
class IssuedNonce:
    """A valid nonce and the last accepted callback."""

    callback: KnownCallback | None = None
    """The last accepted callback; None before the first."""


@attrs.frozen
class NonceRules:
    """Lifetime and number of nonces.

    Raises:
        ConfigError: A value is out of range.
    """

    lifetime: float = NONCE_LIFETIME_SECONDS
    """Seconds from the issue to the expiry of a nonce."""
    capacity: int = NONCES_MAX
    """Largest number of stored nonces. Beyond it the oldest is deleted."""

    def __attrs_post_init__(self) -> None:
        if not _is_positive(self.lifetime):
            raise ConfigError("NonceRules.lifetime must be a finite number of seconds above 0, such as 600.0")
        if not isinstance(self.capacity, int) or not _is_positive(self.capacity):
            raise ConfigError("NonceRules.capacity must be a whole number from 1, such as 100_000")


class NonceStore(Protocol):
    """Storage of nonces. One conformance test suite applies to every implementation."""

    async def issue(self, session: str) -> str:
        """Create a nonce, bound to this session.

        Args:
            session: The value that only the server and the browser know.

        Returns:
            The nonce, 32 URL-safe characters.

        Raises:
            ValidationError: `session` is empty.
            Exception: As raised by the I/O of the store.
        """
        ...

    async def record(self, callback: KnownCallback) -> bool:
        """Store a callback if it is accepted for its nonce.

        Args:
            callback: The callback.

        Returns:
            True if it was stored. False if its nonce is unknown or has expired, or a final callback is stored already.

        Raises:
            Exception: As raised by the I/O of the store.
        """
        ...

    async def find(self, nonce: str, session: str) -> IssuedNonce | None:
        """Return the state of a nonce.

        Args:
            nonce: The nonce.
            session: The session that it was issued to.

        Returns:
            The state; None if the nonce belongs to another session, has expired, or was used.

        Raises:
            ValidationError: `session` is empty.
            Exception: As raised by the I/O of the store.
        """
        ...

    async def consume(self, nonce: str, session: str) -> IssuedNonce | None:
        """Return the state of a nonce as `find` does, and delete the nonce.

        Args:
            nonce: The nonce.
            session: The session that it was issued to.

        Returns:
            The state; None if the nonce belongs to another session, has expired, or was used. Of two concurrent calls
            one gets the state.

        Raises:
            ValidationError: `session` is empty.
            Exception: As raised by the I/O of the store.
        """
        ...

    async def aclose(self) -> None:
        """Close the store. May be called twice. Raises nothing."""
        ...


def new_nonce() -> str:
    """Return a random nonce of 32 URL-safe characters."""
    return secrets.token_urlsafe(NONCE_BYTES)


def has_issued_form(nonce: object) -> bool:
    """Return whether a value has the form of the nonces of `new_nonce`."""
    return isinstance(nonce, str) and ISSUED_NONCE_FORM.fullmatch(nonce) is not None


def session_hash(session: str) -> bytes:
    """Return the SHA-256 of a session. Raise `ValidationError` if the session is empty."""
    if not isinstance(session, str) or not session:
        hint = "give a value that only this browser has, such as the value of its session cookie"
        raise ValidationError([Problem("session", "session.text", "is empty or not a text", "", hint)])
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).digest()


def is_accepted(previous: KnownCallback | None, callback: KnownCallback) -> bool:
    """Return whether a callback may follow the previous one: the dialog opens, then one final callback."""
    if previous is None:
        return True
    return isinstance(previous, FlowInvoked) and isinstance(callback, ProfileReady | UserRejected)


@attrs.define
class _Entry:
    session: bytes
    issued_at: float
    callback: KnownCallback | None = None


class MemoryNonceStore:
    """Nonces in the memory of one process.

    Args:
        rules: Lifetime and number of nonces.
        clock: The wall clock.
    """

    def __init__(self, rules: NonceRules | None = None, *, clock: Clock | None = None) -> None:
        self._rules = rules or NonceRules()
        self._clock = clock or Clock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def issue(self, session: str) -> str:
        """Create a nonce, bound to this session.

        Raises:
            ValidationError: `session` is empty.
        """
        entry = _Entry(session_hash(session), self._clock.wall())
        self._delete_expired()
        while len(self._entries) >= self._rules.capacity:
            self._entries.popitem(last=False)
        nonce = new_nonce()
        self._entries[nonce] = entry
        return nonce

    async def record(self, callback: KnownCallback) -> bool:
        """Store a callback and return whether it was accepted. Raises nothing."""
        entry = self._entries.get(callback.request_id)
        if entry is None or not self._is_valid(entry) or not is_accepted(entry.callback, callback):
            return False
        entry.callback = callback
        return True

    async def find(self, nonce: str, session: str) -> IssuedNonce | None:
        """Return the state of a nonce; None if it is not valid for this session.

        Raises:
            ValidationError: `session` is empty.
        """
        owner, entry = session_hash(session), self._entries.get(nonce) if has_issued_form(nonce) else None
        if entry is None or not self._is_valid(entry) or not secrets.compare_digest(entry.session, owner):
            return None
        return IssuedNonce(entry.callback)

    async def consume(self, nonce: str, session: str) -> IssuedNonce | None:
        """Return the state of a nonce as `find` does, and delete the nonce.

        Raises:
            ValidationError: `session` is empty.
        """
        issued = await self.find(nonce, session)
        if issued is not None:
            del self._entries[nonce]
        return issued

    async def aclose(self) -> None:
        """Delete all nonces. May be called twice. Raises nothing."""
        self._entries.clear()

    def _is_valid(self, entry: _Entry) -> bool:
        return 0 <= self._clock.wall() - entry.issued_at < self._rules.lifetime

    def _delete_expired(self) -> None:
        while self._entries and not self._is_valid(next(iter(self._entries.values()))):
            self._entries.popitem(last=False)


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and math.isfinite(value)
