"""What a client is made of, and how the parts are put together.

Kept apart from the client so that its name costs little: the parts are loaded when the first client is made, which is
at the start of a program, and not when a module is imported that may never make one.
"""

from __future__ import annotations

import asyncio
import hashlib
import warnings
from pathlib import Path
from random import Random

import attrs

from truecaller_async.clock import Clock
from truecaller_async.errors import ConfigError
from truecaller_async.limits import LocalLimiter
from truecaller_async.options import Credentials
from truecaller_async.ports import Observer, TokenStore, Transport
from truecaller_async.resources import ClientSettings, RequestExecutor
from truecaller_async.resources.minting_call import MintingCall
from truecaller_async.telemetry import SafeObserver
from truecaller_async.tokens import MemoryTokenStore, SqliteTokenStore, TokenPool
from truecaller_async.tokens.pool import PoolSettings
from truecaller_async.transport import AiohttpTransport

SHOWN_MAX = 40
NEVER_CLOSED = (
    "a TruecallerClient was used and never closed: its connections stay open and its tokens are not given up; "
    "write 'async with', or 'await client.aclose()' in a finally"
)


@attrs.define(eq=False)
class SharedResources:
    """What copies of a client share. Tests put other adapters in, which leave nothing open and need no warning."""

    transport: Transport
    pool: TokenPool
    executor: RequestExecutor
    clock: Clock
    rng: Random
    observer: Observer
    closing: asyncio.Lock = attrs.field(factory=asyncio.Lock)
    closed: bool = False

    async def aclose(self) -> None:
        """Give up the tokens, close the session. May be called twice; who comes second waits for the first."""
        async with self.closing:
            if self.closed:
                return
            try:
                await self.pool.aclose()
            finally:
                await self.transport.aclose()
            self.closed = True

    def __del__(self) -> None:
        if isinstance(self.transport, AiohttpTransport) and self.pool.binding.is_unclosed:
            warnings.warn(NEVER_CLOSED, ResourceWarning, stacklevel=2, source=self)


@attrs.frozen
class Environment:
    """How a client perceives: the wall clock, chance, and who is told what happens."""

    clock: Clock
    rng: Random
    observer: Observer


def build_resources(
    settings: ClientSettings, transport: Transport, store: TokenStore, pool: PoolSettings, senses: Environment
) -> SharedResources:
    """The parts of one client, wired. Needs no event loop."""
    observer = SafeObserver(senses.observer)
    exchange = RequestExecutor(transport, clock=senses.clock, rng=senses.rng, observer=observer)
    tokens = TokenPool(
        store,
        LocalLimiter(pool.limits),
        lambda claim: MintingCall(exchange, settings, senses.clock, claim).run(),
        pool,
        clock=senses.clock,
        rng=senses.rng,
        observer=observer,
    )
    return SharedResources(transport, tokens, exchange, senses.clock, senses.rng, observer)


def token_store_from(state: str, base_url: str, credentials: Credentials) -> TokenStore:
    """The token store that `state=` names. Raises `ConfigError`, and opens nothing."""
    if state == "memory:":
        return MemoryTokenStore()
    path = state.removeprefix("sqlite:///") if isinstance(state, str) and state.startswith("sqlite:///") else ""
    if not path or not path.isprintable():
        scheme = str(state).partition(":")[0][:SHOWN_MAX]  # the rest may hold a password
        raise ConfigError(f"state begins with {scheme!r}: it must be memory: or sqlite:///path")
    account = f"{base_url} {credentials.client_account_id} {credentials.key_id}"
    return SqliteTokenStore(Path(path).expanduser(), hashlib.sha256(account.encode()).hexdigest()[:16])
