"""Build the parts of a client and connect them.

Purpose:
    This module imports the whole package below the client. So it is separate from `client`, and loaded when the first
    client is made: a program that only imports the name `TruecallerClient` does not pay for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl as ssl_module
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random

import aiohttp
import attrs

from truecaller_async.clock import Clock
from truecaller_async.errors import ConfigError
from truecaller_async.limits import LocalLimiter
from truecaller_async.models import Secret
from truecaller_async.options import Credentials, Limits, RetryPolicy, Timeouts
from truecaller_async.ports import Journal, Observer, TokenStore, Transport
from truecaller_async.resources import ClientSettings, RequestExecutor
from truecaller_async.resources.minting_call import MintingCall
from truecaller_async.settings import checked_count, checked_kind, checked_url, checked_version
from truecaller_async.telemetry import LoggingObserver, SafeObserver
from truecaller_async.tokens import MemoryTokenStore, SqliteTokenStore, TokenPool
from truecaller_async.tokens.pool import PoolSettings
from truecaller_async.transport import AiohttpTransport

SHOWN_MAX_CHARS = 40
NEVER_CLOSED = (
    "a TruecallerClient was used and never closed: its connections stay open and its tokens are not released. "
    "Write 'async with', or 'await client.aclose()' in a finally block."
)


@attrs.frozen(kw_only=True)
class ClientConfig:
    """The arguments of `TruecallerClient`, not checked yet. Its repr shows none that may be secret."""

    client_account_id: str
    key_id: str
    api_key: Secret
    base_url: str = attrs.field(repr=False)
    api_version: str
    limits: Limits | None
    max_tokens: int
    retry: RetryPolicy | None
    timeouts: Timeouts | None
    state: str = attrs.field(repr=False)
    session: aiohttp.ClientSession | None
    proxy: str | None = attrs.field(repr=False)
    ssl: ssl_module.SSLContext | None
    user_agent: str | None
    observer: Observer | None

    def settings(self) -> ClientSettings:
        """Return the settings that a copy may change. Raises `ConfigError`."""
        return ClientSettings(
            Credentials(self.client_account_id, self.key_id, self.api_key),
            checked_version(self.api_version),
            checked_kind("retry", self.retry, RetryPolicy, RetryPolicy),
            checked_kind("timeouts", self.timeouts, Timeouts, Timeouts),
        )

    def transport(self, base_url: str) -> AiohttpTransport:
        """Return the transport to a checked URL. Raises `ConfigError`."""
        return AiohttpTransport(
            base_url, session=self.session, proxy=self.proxy, ssl=self.ssl, user_agent=self.user_agent
        )

    def pool_settings(self) -> PoolSettings:
        """Return the settings of the token pool. Raises `ConfigError`."""
        limits = checked_kind("limits", self.limits, Limits, Limits.documented)
        return PoolSettings(limits, checked_count(self.max_tokens))


@attrs.frozen
class Environment:
    """The sources of time and randomness of a client, and its observer."""

    clock: Clock
    rng: Random
    observer: Observer


@attrs.define(eq=False)
class SharedResources:
    """The parts that the copies of a client share."""

    transport: Transport
    pool: TokenPool
    executor: RequestExecutor
    clock: Clock
    rng: Random
    observer: Observer
    closing: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    closed: bool = False

    async def aclose(self) -> None:
        """Release the tokens, close the session. May be called twice; a second caller waits for the first."""
        async with self.closing:
            if self.closed:
                return
            try:
                await self.pool.aclose()
            finally:
                await self.transport.aclose()
            self.closed = True

    def __del__(self) -> None:
        # Other transports are those of tests: they leave nothing open.
        if isinstance(self.transport, AiohttpTransport) and self.pool.binding.is_unclosed:
            warnings.warn(NEVER_CLOSED, ResourceWarning, stacklevel=2, source=self)


def build_client(config: ClientConfig) -> tuple[ClientSettings, SharedResources]:
    """Check the configuration and build the parts of a client. Does no I/O and needs no event loop.

    Raises:
        ConfigError: A setting is wrong.
    """
    settings = config.settings()
    base_url = checked_url(config.base_url)
    transport = config.transport(base_url)
    store = token_store_from(config.state, base_url, settings.credentials)
    environment = Environment(Clock(), Random(), config.observer or LoggingObserver())  # noqa: S311 - jitter
    return settings, build_resources(settings, transport, store, config.pool_settings(), environment)


def build_resources(
    settings: ClientSettings, transport: Transport, store: TokenStore, pool: PoolSettings, environment: Environment
) -> SharedResources:
    """Connect the parts of one client. Needs no event loop."""
    clock, rng = environment.clock, environment.rng
    observer = SafeObserver(environment.observer)
    executor = RequestExecutor(transport, clock=clock, rng=rng, observer=observer)
    tokens = TokenPool(
        store,
        LocalLimiter(pool.limits),
        lambda claim: MintingCall(executor, settings, clock, claim).run(),
        pool,
        clock=clock,
        rng=rng,
        observer=observer,
    )
    return SharedResources(transport, tokens, executor, clock, rng, observer)


def token_store_from(state: str, base_url: str, credentials: Credentials) -> TokenStore:
    """Return the token store that `state` names. Opens nothing.

    Args:
        state: "memory:", or "sqlite:///path".
        base_url: The URL of the API. Tokens of another URL, account or key are not used.
        credentials: The account and the key.

    Raises:
        ConfigError: `state` has another form.
    """
    if state == "memory:":
        return MemoryTokenStore()
    path = state.removeprefix("sqlite:///") if isinstance(state, str) and state.startswith("sqlite:///") else ""
    if not path or not path.isprintable():
        scheme = str(state).partition(":")[0][:SHOWN_MAX_CHARS]  # the rest may contain a password
        raise ConfigError(f"state begins with {scheme!r}: it must be memory: or sqlite:///path")
    account = f"{base_url} {credentials.client_account_id} {credentials.key_id}"
    return SqliteTokenStore(Path(path).expanduser(), hashlib.sha256(account.encode()).hexdigest()[:16])


def journal_factory(path: str | os.PathLike[str] | None) -> Callable[[], Journal]:
    """Return a function that makes the journal at this path. Opens nothing.

    Args:
        path: The path of the file. None or "memory:": a journal in memory, which cannot be resumed.

    Raises:
        ConfigError: `path` is no path.
    """
    # Imported here, not above: only a campaign needs a journal, and only a journal file needs its SQL.
    if path is None or path == "memory:":
        from truecaller_async.journal import MemoryJournal

        return MemoryJournal
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ConfigError(f"journal is of type {type(path).__name__}: it must be the path of a file, or None")
    from truecaller_async.journal import SqliteJournal

    return partial(SqliteJournal, Path(path))
