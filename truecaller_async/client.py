"""The client: one account, its tokens and its limits, and the calls that hang on it.

Making a client does no I/O and needs no event loop; the session is opened by the first request and belongs to that
loop. `with_options` gives a copy with other retries, timeouts or version that shares session, tokens and limits.
`aclose` may be called twice. Used from another loop, after `fork` or after `aclose`, a client says so (`ClientClosed`).
"""

from __future__ import annotations

import hashlib
import os
import ssl as ssl_module
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from random import Random
from types import TracebackType
from typing import NoReturn, Self

import aiohttp
import attrs
from yarl import URL

from truecaller_async.clock import Clock
from truecaller_async.engine import CampaignStream, Core
from truecaller_async.errors import ConfigError
from truecaller_async.journal import MemoryJournal
from truecaller_async.limits import LocalLimiter
from truecaller_async.models import Secret
from truecaller_async.options import NO_RETRY, CampaignOptions, Credentials, Limits, RetryPolicy, Timeouts
from truecaller_async.ports import Journal, Observer, TokenStore, Transport
from truecaller_async.protocol.versions import VERSIONS
from truecaller_async.resources import Batches, Calls, Exchange, Service, Settings
from truecaller_async.telemetry import GuardedObserver, LogObserver
from truecaller_async.tokens import MemoryTokenStore, SqliteTokenStore, TokenPool
from truecaller_async.tokens.pool import PoolSettings
from truecaller_async.transport import AiohttpTransport

BASE_URL = "https://enterprise-portal-noneu.truecaller.com"
"""The one host that "Truecaller for Business: Transport conventions" names."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOKENS_MAX = 20
"""Ten mints in half an hour and a life of an hour keep at most twenty tokens alive."""

DIGITS_MAX = 9
SHOWN_MAX = 40


@attrs.define(eq=False)
class Parts:
    """What copies of a client share. Tests put other adapters in."""

    transport: Transport
    pool: TokenPool
    exchange: Exchange
    clock: Clock
    rng: Random
    observer: Observer


class TruecallerClient:
    """An asynchronous client of the Truecaller for Business API.

    `client_account_id`, `key_id` and `api_key` come from the console page "Manage API Keys". `base_url` must be
    https, except on this machine. `api_version` is "v1", "v2" or "v3". `limits` are the documented ones unless given.
    `max_tokens` tokens are alive at once at the most, made only as work needs them. `state` says where tokens live:
    "memory:" or "sqlite:///path" (they survive restarts). `session`, `proxy` and `ssl` are yours to bring; a session
    that you bring is never closed here. Raises `ConfigError`, and does no I/O.
    """

    def __init__(
        self,
        *,
        client_account_id: str,
        key_id: str,
        api_key: str | Secret,
        base_url: str = BASE_URL,
        api_version: str = "v2",
        limits: Limits | None = None,
        max_tokens: int = 10,
        retry: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        state: str = "memory:",
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | None = None,
        user_agent: str | None = None,
        observer: Observer | None = None,
    ) -> None:
        api_key = api_key if isinstance(api_key, Secret) else Secret(api_key)  # from here on no frame shows it
        credentials = Credentials(client_account_id, key_id, api_key)
        settings = Settings(credentials, api_version, retry or RetryPolicy(), timeouts or Timeouts())
        url = _checked_url(base_url)
        _check_version(api_version)
        if isinstance(max_tokens, bool) or not isinstance(max_tokens, int) or not 1 <= max_tokens <= TOKENS_MAX:
            raise ConfigError(f"max_tokens is {max_tokens!r}: it must be a whole number from 1 to {TOKENS_MAX}")
        transport = AiohttpTransport(url, session=session, proxy=proxy, ssl=ssl, user_agent=user_agent)
        store = _store(state, url, credentials)
        pool = PoolSettings(limits or Limits.documented(), max_tokens)
        self._assemble(settings, transport, store, pool, observer or LogObserver(), Clock(), Random())  # noqa: S311

    def _assemble(
        self,
        settings: Settings,
        transport: Transport,
        store: TokenStore,
        pool: PoolSettings,
        observer: Observer,
        clock: Clock,
        rng: Random,
    ) -> None:
        observer = GuardedObserver(observer)
        exchange = Exchange(transport, clock=clock, rng=rng, observer=observer)
        tokens = TokenPool(
            store,
            LocalLimiter(pool.limits),
            lambda again: exchange.mint(settings, again),
            pool,
            clock=clock,
            rng=rng,
            observer=observer,
        )
        self._hang(settings, Parts(transport, tokens, exchange, clock, rng, observer))

    def _hang(self, settings: Settings, parts: Parts) -> None:
        self._settings = settings
        self._parts = parts
        service = self._service(settings)
        self.calls = Calls(service)
        self.batches = Batches(service)

    def _service(self, settings: Settings) -> Service:
        parts = self._parts
        return Service(parts.exchange, parts.pool, settings, parts.clock, parts.rng)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Self:
        """A client from the environment; keyword arguments of the constructor override it.

        Reads TRUECALLER_CLIENT_ACCOUNT_ID, TRUECALLER_KEY_ID and TRUECALLER_API_KEY (each also as NAME_FILE, the path
        of a file that holds it), TRUECALLER_BASE_URL, TRUECALLER_API_VERSION, TRUECALLER_STATE, TRUECALLER_LIMITS
        ("batch=60/60,token=100/1") and TRUECALLER_MAX_TOKENS. Raises `ConfigError` that names what is missing.
        """
        found = settings_from(os.environ if environ is None else environ, overrides.keys())
        return cls(**{**found, **overrides})  # type: ignore[arg-type]

    def with_options(
        self, *, retry: RetryPolicy | None = None, timeouts: Timeouts | None = None, api_version: str | None = None
    ) -> TruecallerClient:
        """A copy with these settings; session, tokens and limits are shared, and closing either closes both."""
        if api_version is not None:
            _check_version(api_version)
        settings = attrs.evolve(
            self._settings,
            retry=retry or self._settings.retry,
            timeouts=timeouts or self._settings.timeouts,
            api_version=api_version or self._settings.api_version,
        )
        copy = object.__new__(type(self))
        copy._hang(settings, self._parts)
        return copy

    def push_many(
        self, source: object, *, journal: str | None = None, options: CampaignOptions | None = None
    ) -> CampaignStream:
        """Push every record of `source` in batches, at the full rate the account may use and never above it.

        `source` is an iterable or async iterable of `CallRecord` or of mappings with the names of the input columns,
        or a reader (`read_csv`, `read_jsonl`). Returns a stream: `async with` it, `async for` one `RecordResult` for
        each record read, in the order in which they become known. If a connection breaks after a batch was handed
        over, nobody can know whether Truecaller took it: the engine sends it again and says so, or holds it
        (`options.on_ambiguous`). Faults of the whole run are raised from the iteration after the last result.
        """
        if journal not in (None, "memory:"):
            raise ConfigError(f"journal {journal!r} cannot be used: this version keeps journals in memory only")
        return CampaignStream(self._core, source, options or CampaignOptions(), _memory_journal)

    async def aclose(self) -> None:
        """Give up the tokens, close the session. May be called twice."""
        try:
            await self._parts.pool.aclose()
        finally:
            await self._parts.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> NoReturn:
        raise TypeError("TruecallerClient is asynchronous: write 'async with', not 'with'")

    def __exit__(self, *_: object) -> None:
        """Never reached; here so that `with` finds both methods and `__enter__` can say what to do."""

    def __repr__(self) -> str:
        settings = getattr(self, "_settings", None)
        if settings is None:
            return "<TruecallerClient, refused>"  # a crash reporter prints the client whose constructor raised
        return f"<TruecallerClient {settings.credentials.client_account_id} {settings.api_version}>"

    def _core(self) -> Core:
        """What a campaign needs: single attempts, because the engine owns the policy."""
        parts = self._parts
        single = self._service(attrs.evolve(self._settings, retry=NO_RETRY))
        return Core(
            calls=Calls(single),
            batches=Batches(single),
            pool=parts.pool,
            clock=parts.clock,
            rng=parts.rng,
            observer=parts.observer,
            retry=self._settings.retry,
        )


def settings_from(environ: Mapping[str, str], given: Collection[str] = ()) -> dict[str, object]:
    """The constructor's arguments that the environment names, without those `given`. Raises `ConfigError`."""
    readers: dict[str, Callable[[], object]] = {
        "client_account_id": lambda: _required(environ, "TRUECALLER_CLIENT_ACCOUNT_ID"),
        "key_id": lambda: _required(environ, "TRUECALLER_KEY_ID"),
        "api_key": lambda: Secret(_required(environ, "TRUECALLER_API_KEY")),
        "base_url": lambda: environ.get("TRUECALLER_BASE_URL"),
        "api_version": lambda: environ.get("TRUECALLER_API_VERSION"),
        "state": lambda: environ.get("TRUECALLER_STATE"),
        "limits": lambda: _limits(environ.get("TRUECALLER_LIMITS")),
        "max_tokens": lambda: _whole(environ.get("TRUECALLER_MAX_TOKENS"), "TRUECALLER_MAX_TOKENS"),
    }
    found = {argument: read() for argument, read in readers.items() if argument not in given}
    return {argument: value for argument, value in found.items() if value not in (None, "")}


def _limits(text: str | None) -> Limits | None:
    return Limits.documented().parse(text) if text else None


def _required(environ: Mapping[str, str], name: str) -> str:
    if value := environ.get(name, "").strip():
        return value
    path = environ.get(f"{name}_FILE", "")
    if not path:
        raise ConfigError(f"{name} is not set; set it, or {name}_FILE to the path of a file that holds it")
    try:
        value = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{name}_FILE names {path}, which cannot be read: {reason}") from None
    if not value:
        raise ConfigError(f"{name}_FILE names {path}, which is empty")
    return value


def _whole(text: str | None, name: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise ConfigError(f"{name} is {text[:SHOWN_MAX]!r}: it must be a whole number")
    return int(text)


def _check_version(api_version: str) -> None:
    if api_version not in VERSIONS:
        raise ConfigError(f"api_version is {api_version!r}: it must be one of {', '.join(sorted(VERSIONS))}")


def _checked_url(base_url: str) -> str:
    try:
        url = URL(base_url)
    except (ValueError, TypeError):
        raise ConfigError("base_url is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError("base_url must be of the form https://host")
    if url.user or url.password or url.query_string or url.fragment:
        raise ConfigError("base_url must not hold credentials, a query or a fragment")
    if url.scheme == "http" and url.host not in LOOPBACK:
        raise ConfigError(f"base_url is plain http to {url.host}: only https is used beyond this machine")
    return str(url).rstrip("/")


def _store(state: str, base_url: str, credentials: Credentials) -> TokenStore:
    if state == "memory:":
        return MemoryTokenStore()
    path = state.removeprefix("sqlite:///") if isinstance(state, str) and state.startswith("sqlite:///") else ""
    if not path:
        scheme = str(state).partition(":")[0][:SHOWN_MAX]  # the rest may hold a password
        raise ConfigError(f"state begins with {scheme!r}: it must be memory: or sqlite:///path")
    account = f"{base_url} {credentials.client_account_id} {credentials.key_id}"
    return SqliteTokenStore(Path(path).expanduser(), hashlib.sha256(account.encode()).hexdigest()[:16])


def _memory_journal() -> Journal:
    return MemoryJournal()
