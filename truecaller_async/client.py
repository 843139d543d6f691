"""The client: one account, its tokens and its limits, and the calls that hang on it.

Making a client does no I/O and needs no event loop; the session is opened by the first request and belongs to that
loop. `with_options` gives a copy with other retries, timeouts or version that shares session, tokens and limits.
`aclose` may be called twice. Used from another loop, after `fork` or after `aclose`, a client says so (`ClientClosed`).
"""

from __future__ import annotations

import os
import ssl as ssl_module
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from random import Random
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

import aiohttp
import attrs

from truecaller_async.clock import Clock
from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.options import NO_RETRY, CampaignOptions, Credentials, Limits, RetryPolicy, Timeouts
from truecaller_async.ports import Journal, Observer, TokenStore, Transport

if TYPE_CHECKING:
    from truecaller_async.engine import CampaignDeps, CampaignStream
    from truecaller_async.resources import ApiContext, ClientSettings
    from truecaller_async.tokens.pool import PoolSettings
    from truecaller_async.wiring import SharedResources

BASE_URL = "https://enterprise-portal-noneu.truecaller.com"
"""The one host that "Truecaller for Business: Transport conventions" names."""


class TruecallerClient:
    """An asynchronous client of the Truecaller for Business API.

    What it can do hangs on it; `help(client.numbers)` and so on say more of each:

        client.calls         push(record)                              one real-time record
        client.batches       submit(records)  status(id)  wait(id)     up to 500 records by hand
        client.push_many     (source)                                  a whole campaign, of any length
        client.resume        (journal)                                 the rest of one that was interrupted
        client.labels        list()                                    dynamic labels
        client.feature_sets  list()
        client.numbers       list()  publish()  delist()  wait_listed()
        client.exports       user_feedback()  call_me_back()           deprecated by the vendor
        client.tokens        status()  make()

    `client_account_id` (a UUID), `key_id` and `api_key` come from the console page "Manage API Keys". `base_url` must
    be https, except on this machine. `api_version` is "v1", "v2" or "v3". `limits` are the documented ones unless
    given. `max_tokens` tokens, 1 to 20, are alive at once at the most, made only as work needs them. `retry` and
    `timeouts` hold for each call; `with_options` changes them for some. `state` says where tokens live: "memory:" or
    "sqlite:///path" (they survive restarts). `session`, `proxy` (a URL) and `ssl` are yours to bring; a session that
    you bring is never closed here. `user_agent` is put behind our own, and `observer`, with the methods of
    `truecaller_async.ports.Observer`, is told of every request and stage in place of the log.

    Raises `ConfigError`, and does no I/O. Everything that it and its calls raise on purpose is a `TruecallerError`;
    the tree is in `help(truecaller_async.errors)`.
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
        from truecaller_async import wiring
        from truecaller_async.resources import ClientSettings
        from truecaller_async.settings import checked_count, checked_kind, checked_url, checked_version
        from truecaller_async.telemetry import LoggingObserver
        from truecaller_async.tokens.pool import PoolSettings
        from truecaller_async.transport import AiohttpTransport

        api_key = api_key if isinstance(api_key, Secret) else Secret(api_key)  # from here on no frame shows it
        credentials = Credentials(client_account_id, key_id, api_key)
        settings = ClientSettings(
            credentials,
            checked_version(api_version),
            checked_kind("retry", retry, RetryPolicy, RetryPolicy),
            checked_kind("timeouts", timeouts, Timeouts, Timeouts),
        )
        url = checked_url(base_url)
        transport = AiohttpTransport(url, session=session, proxy=proxy, ssl=ssl, user_agent=user_agent)
        store = wiring.token_store_from(state, url, credentials)
        known = checked_kind("limits", limits, Limits, Limits.documented)
        pool = PoolSettings(known, checked_count(max_tokens))
        self._build(settings, transport, store, pool, observer or LoggingObserver(), Clock(), Random())  # noqa: S311

    def _build(
        self,
        settings: ClientSettings,
        transport: Transport,
        store: TokenStore,
        pool: PoolSettings,
        observer: Observer,
        clock: Clock,
        rng: Random,
    ) -> None:
        from truecaller_async.wiring import Environment, build_resources

        self._attach_resources(
            settings, build_resources(settings, transport, store, pool, Environment(clock, rng, observer))
        )

    def _attach_resources(self, settings: ClientSettings, shared: SharedResources) -> None:
        from truecaller_async import resources
        from truecaller_async.resources.tokens import Tokens

        self._settings = settings
        self._shared = shared
        service = self._api_context(settings)
        self.calls = resources.Calls(service)
        self.batches = resources.Batches(service)
        self.labels = resources.Labels(service)
        self.feature_sets = resources.FeatureSets(service)
        self.numbers = resources.Numbers(service)
        self.exports = resources.Exports(service)
        self.tokens = Tokens(service)

    def _api_context(self, settings: ClientSettings) -> ApiContext:
        from truecaller_async.resources import ApiContext

        shared = self._shared
        return ApiContext(shared.executor, shared.pool, settings, shared.clock, shared.rng)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Self:
        """A client from the environment; keyword arguments of the constructor override it.

        Reads TRUECALLER_CLIENT_ACCOUNT_ID, TRUECALLER_KEY_ID and TRUECALLER_API_KEY (each also as NAME_FILE, the path
        of a file that holds it), TRUECALLER_BASE_URL, TRUECALLER_API_VERSION, TRUECALLER_STATE, TRUECALLER_LIMITS
        ("batch=60/60,token=100/1") and TRUECALLER_MAX_TOKENS. Raises `ConfigError` that names what is missing.
        """
        from truecaller_async.settings import settings_from

        found = settings_from(os.environ if environ is None else environ, overrides.keys())
        return cls(**{**found, **overrides})  # type: ignore[arg-type]

    def with_options(
        self, *, retry: RetryPolicy | None = None, timeouts: Timeouts | None = None, api_version: str | None = None
    ) -> TruecallerClient:
        """A copy with these settings; session, tokens and limits are shared, and closing either closes both.

        None leaves a setting as it is. Raises `ConfigError` for a version that does not exist and for values that are
        no `RetryPolicy` or `Timeouts`.
        """
        from truecaller_async.settings import checked_kind, checked_version

        known = self._settings
        settings = attrs.evolve(
            known,
            retry=checked_kind("retry", retry, RetryPolicy, lambda: known.retry),
            timeouts=checked_kind("timeouts", timeouts, Timeouts, lambda: known.timeouts),
            api_version=known.api_version if api_version is None else checked_version(api_version),
        )
        copy = object.__new__(type(self))
        copy._attach_resources(settings, self._shared)
        return copy

    def push_many(
        self,
        source: object,
        *,
        journal: str | os.PathLike[str] | None = None,
        options: CampaignOptions | None = None,
    ) -> CampaignStream:
        """Push every record of `source` in batches, at the full rate the account may use and never above it.

        `source` is an iterable or async iterable of `CallRecord` or of mappings with the names of the input columns,
        or a reader (`read_csv`, `read_jsonl`). Returns a stream: `async with` it, `async for` one `RecordResult` for
        each record read, in the order in which they become known. If a connection breaks after a batch was handed
        over, nobody can know whether Truecaller took it: the engine sends it again and says so, or holds it
        (`options.on_ambiguous`). Faults of the whole run are raised from the iteration after the last result. From
        "Truecaller for Business: Batch" of the client's version; version 1 warns `TruecallerDeprecationWarning`.

        `journal` is the path of a file that remembers the campaign, so that it can be resumed after any crash; None or
        "memory:" keeps nothing. The file must not hold a campaign yet. It has no phone number in it, unless `source`
        cannot be read again (a generator, standard input): then the records of each batch are kept until it has its
        last word. Entering the block raises `JournalBusy`, `JournalError`, and `SourceError` for a file that cannot be
        read at all.
        """
        self._shared.executor.deprecations.warn_version("push_many", self._settings.api_version)
        from truecaller_async.engine import CampaignRequest, CampaignStream
        from truecaller_async.settings import checked_kind

        chosen = checked_kind("options", options, CampaignOptions, CampaignOptions)
        return CampaignStream(CampaignRequest(self._core, source, chosen, _journal_of(journal)))

    def resume(
        self, journal: str | os.PathLike[str], *, source: object = None, options: CampaignOptions | None = None
    ) -> CampaignStream:
        """Go on with a campaign whose process ended, however it ended, and finish it.

        `journal` is the path that `push_many` was given. What the server accepted is asked for, what was planned is
        sent, what may have been applied without our knowing goes by `options.on_ambiguous`, and the source is read on
        from the row where it stopped. The stream yields one result for each row that had no final word; a row that had
        it is not told again, even where the reader had not come to it. Its summary counts the whole campaign. A
        finished campaign sends nothing.

        `source` is only for what the journal cannot open again: a list, a generator, a file that was moved. It must be
        the same rows in the same order; without it, a campaign from a generator finishes what had been read, and sends
        no batch again whose answer was lost and behind which other rows were read. `options` are those of the journal
        unless given. The version of the API is the journal's, the credentials are this
        client's, and must be of the same account.

        Entering the block raises `JournalBusy` (another process works on it), `JournalError`, `SourceChanged` (the
        first row that differs is its `.row`; nothing was sent), `SourceError` and `ConfigError`.
        """
        from truecaller_async.engine import CampaignRequest, CampaignStream
        from truecaller_async.settings import checked_kind

        if journal in (None, "memory:"):
            raise ConfigError(f"journal is {journal!r}: a campaign is resumed from the path that push_many was given")
        chosen = None if options is None else checked_kind("options", options, CampaignOptions, CampaignOptions)
        return CampaignStream(CampaignRequest(self._core, source, chosen, _journal_of(journal), resumed=True))

    async def aclose(self) -> None:
        """Give up the tokens, close the session. May be called twice, and at the same time from two tasks.

        In a forked child the tokens and the sockets are the parent's: there it only closes the client to this process.
        Raises `ClientClosed` in another event loop while the one of the first use is still open.
        """
        await self._shared.aclose()

    async def __aenter__(self) -> Self:
        self._shared.pool.binding.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __enter__(self) -> NoReturn:
        raise TypeError("TruecallerClient is asynchronous: write 'async with', not 'with'")

    def __exit__(self, *_: object) -> None:
        """Never reached; here so that `with` finds both methods and `__enter__` can say what to do."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a TruecallerClient cannot be pickled or copied: it holds a key, tokens and sockets; "
            "make one in each worker, such as with TruecallerClient.from_env(), or use with_options() for a copy"
        )

    def __repr__(self) -> str:
        settings = getattr(self, "_settings", None)
        if settings is None:
            return "<TruecallerClient, refused>"  # a crash reporter prints the client whose constructor raised
        return f"<TruecallerClient {settings.credentials.client_account_id} {settings.api_version}>"

    def _core(self, api_version: str | None = None) -> CampaignDeps:
        """What a campaign needs: single attempts, because the engine owns the policy; a version, where one is kept."""
        from truecaller_async.engine import CampaignDeps
        from truecaller_async.resources import Batches, Calls
        from truecaller_async.settings import checked_version

        shared = self._shared
        shared.pool.binding.bind()
        version = checked_version(api_version or self._settings.api_version)
        single = self._api_context(attrs.evolve(self._settings, retry=NO_RETRY, api_version=version))
        return CampaignDeps(
            calls=Calls(single),
            batches=Batches(single),
            pool=shared.pool,
            clock=shared.clock,
            rng=shared.rng,
            observer=shared.observer,
            retry=self._settings.retry,
            guard=shared.executor.guard,
            record_end=shared.executor.record_end,
            server_time=shared.executor.server_time,
            server_time_is_known=shared.executor.server_time_is_known,
            requests=shared.executor.counts,
            account=self._settings.credentials.client_account_id,
            api_version=version,
        )


def _journal_of(path: str | os.PathLike[str] | None) -> Callable[[], Journal]:
    """What makes the journal that was asked for; it opens nothing yet. Raises `ConfigError`."""
    if path is None or path == "memory:":
        from truecaller_async.journal import MemoryJournal

        return MemoryJournal
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise ConfigError(f"journal is of type {type(path).__name__}: it must be the path of a file, or None")
    from truecaller_async.journal import SqliteJournal

    return partial(SqliteJournal, Path(path))
