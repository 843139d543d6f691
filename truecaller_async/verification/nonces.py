"""The nonces of this site: which were issued, to which browser, and what was heard of them.

A nonce ties three things that come on three ways: the browser that asked (a session), the callback that anyone could
post, and the browser that wants the result. It is fresh for some minutes and used once. So a callback counts only for a
nonce that was issued here, the first of its kind counts and no other, and what came is handed to no browser but the one
that asked.

    issue    a new nonce for this session
    note     a callback came: True where it is the first of its kind for a fresh nonce of ours
    look     what was heard of it, for its own session
    consume  the same, and the nonce is used up: of two that ask at once, one gets it

`session` is any text that only the server and this browser know, such as the value of a session cookie; stores keep its
hash. Several workers share a `SqliteNonceStore`; a single one may keep all in memory.
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
"""Seconds; Truecaller's own token lives no longer."""
NONCES_MAX = 100_000

NONCE_BYTES = 24
ISSUED_NONCE_FORM = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII)
"""The form of what `new_nonce` makes: nothing else is worth a look into a store."""


@attrs.frozen
class IssuedNonce:
    """A fresh nonce of ours, and the last callback that counted for it, None while there is none."""

    callback: KnownCallback | None = None


@attrs.frozen
class NonceRules:
    """How long a nonce is good for, in seconds (`fresh`), and how many are kept; beyond that the oldest goes."""

    lifetime: float = NONCE_LIFETIME_SECONDS
    capacity: int = NONCES_MAX

    def __attrs_post_init__(self) -> None:
        if not _is_positive(self.lifetime):
            raise ConfigError("NonceRules.lifetime must be a finite number of seconds above 0, such as 600.0")
        if not isinstance(self.capacity, int) or not _is_positive(self.capacity):
            raise ConfigError("NonceRules.capacity must be a whole number from 1, such as 100_000")


class NonceStore(Protocol):
    """Keeps the nonces. One conformance suite holds every store to it."""

    async def issue(self, session: str) -> str:
        """A new nonce, bound to this session. Raises `ValidationError` for an empty session."""
        ...

    async def record(self, callback: KnownCallback) -> bool:
        """Keep a callback; False, and nothing changed, where it does not count. Raises what the store's I/O does."""
        ...

    async def find(self, nonce: str, session: str) -> IssuedNonce | None:
        """What was heard; None for a nonce that is not this session's, not fresh, or used. Raises as `note`."""
        ...

    async def consume(self, nonce: str, session: str) -> IssuedNonce | None:
        """As `look`, and the nonce is used up. Raises as `note`."""
        ...

    async def aclose(self) -> None:
        """Close what is open. May be called twice. Raises nothing."""
        ...


def new_nonce() -> str:
    """A random nonce of 32 URL-safe characters."""
    return secrets.token_urlsafe(NONCE_BYTES)


def has_issued_form(nonce: object) -> bool:
    """Whether it has the form of our nonces."""
    return isinstance(nonce, str) and ISSUED_NONCE_FORM.fullmatch(nonce) is not None


def session_hash(session: str) -> bytes:
    """What a store keeps of a session. Raises `ValidationError` for an empty one."""
    if not isinstance(session, str) or not session:
        hint = "give what only this browser has, such as the value of its session cookie"
        raise ValidationError([Problem("session", "session.text", "is no text, or an empty one", "", hint)])
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).digest()


def is_accepted(previous: KnownCallback | None, callback: KnownCallback) -> bool:
    """Whether this callback is the first of its kind: the dialog opened, and then one final word."""
    if previous is None:
        return True
    return isinstance(previous, FlowInvoked) and isinstance(callback, ProfileReady | UserRejected)


@attrs.define
class _Entry:
    session: bytes
    issued_at: float
    callback: KnownCallback | None = None


class MemoryNonceStore:
    """Nonces of one process. `clock` is the wall clock."""

    def __init__(self, rules: NonceRules | None = None, *, clock: Clock | None = None) -> None:
        self._rules = rules or NonceRules()
        self._clock = clock or Clock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def issue(self, session: str) -> str:
        """A new nonce, bound to this session. Raises `ValidationError` for an empty session."""
        entry = _Entry(session_hash(session), self._clock.wall())
        self._delete_expired()
        while len(self._entries) >= self._rules.capacity:
            self._entries.popitem(last=False)
        nonce = new_nonce()
        self._entries[nonce] = entry
        return nonce

    async def record(self, callback: KnownCallback) -> bool:
        """Keep a callback; False, and nothing changed, where it does not count. Raises nothing."""
        entry = self._entries.get(callback.request_id)
        if entry is None or not self._is_valid(entry) or not is_accepted(entry.callback, callback):
            return False
        entry.callback = callback
        return True

    async def find(self, nonce: str, session: str) -> IssuedNonce | None:
        """What was heard; None for a nonce that is not this session's, not fresh, or used. Raises as `issue`."""
        owner, entry = session_hash(session), self._entries.get(nonce) if has_issued_form(nonce) else None
        if entry is None or not self._is_valid(entry) or not secrets.compare_digest(entry.session, owner):
            return None
        return IssuedNonce(entry.callback)

    async def consume(self, nonce: str, session: str) -> IssuedNonce | None:
        """As `look`, and the nonce is used up. Raises as `issue`."""
        issued = await self.find(nonce, session)
        if issued is not None:
            del self._entries[nonce]
        return issued

    async def aclose(self) -> None:
        """Forget everything. May be called twice. Raises nothing."""
        self._entries.clear()

    def _is_valid(self, entry: _Entry) -> bool:
        return 0 <= self._clock.wall() - entry.issued_at < self._rules.lifetime

    def _delete_expired(self) -> None:
        while self._entries and not self._is_valid(next(iter(self._entries.values()))):
            self._entries.popitem(last=False)


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0 and math.isfinite(value)
