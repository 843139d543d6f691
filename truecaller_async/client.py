"""The asyncio client: one account, its tokens and limits, and the calls of the API.

Invariants:
    - Making a client does no I/O and needs no event loop. The first request opens the session and binds the client to
      its loop.
    - `with_options()` returns a copy with other settings, which shares session, tokens and limits.
    - Used from another loop, after `fork()` or after `aclose()`, a client raises `ClientClosed`.

The modules that do the work are imported inside the methods: the name `TruecallerClient` must not load them
(tests/architecture/test_import_cost.py).
"""

from __future__ import annotations

import os
import ssl as ssl_module
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

import aiohttp
import attrs

from truecaller_async.errors import ConfigError
from truecaller_async.models import Secret
from truecaller_async.options import NO_RETRY, CampaignOptions, Limits, RetryPolicy, Timeouts
from truecaller_async.ports import Observer

if TYPE_CHECKING:
    from truecaller_async.campaign.run import CampaignDeps
    from truecaller_async.campaign.stream import CampaignStream
    from truecaller_async.resources import ApiContext, ClientSettings
    from truecaller_async.wiring import SharedResources

BASE_URL = "https://enterprise-portal-noneu.truecaller.com"
"""The only host that "Truecaller for Business: Transport conventions" names."""


class TruecallerClient:
    """An asynchronous client of the Truecaller for Business API.

    Its calls, in groups; `help(client.numbers)` and so on document each group:

        client.calls         push(record)                              one real-time record
        client.batches       submit(records)  status(id)  wait(id)     up to 500 records by hand
        client.push_many     (source)                                  a whole campaign, of any length
        client.resume        (journal)                                 the rest of an interrupted campaign
        client.labels        list()                                    dynamic labels
        client.feature_sets  list()
        client.numbers       list()  publish()  delist()  wait_listed()
        client.exports       user_feedback()  call_me_back()           deprecated by the vendor
        client.tokens        status()  make()

    Use it in an `async with` block, or call `aclose()`. All errors that it raises on purpose are subclasses of
    `TruecallerError`; `help(truecaller_async.errors)` shows the tree.

    Args:
        client_account_id: The UUID of the account, from the console page "Manage API Keys".
        key_id: The id of the API key, from the same page.
        api_key: The API key, from the same page.
        base_url: Scheme and host of the API. It must be https, except on this machine.
        api_version: "v1", "v2" or "v3".
        limits: The rate limits of the account; `Limits.documented()` if None.
        max_tokens: How many tokens may be alive at once, from 1 to 20. They are made only as the work needs them.
        retry: How calls are retried; `RetryPolicy()` if None. `with_options()` changes it for some calls.
        timeouts: The timeouts of one attempt, in seconds; `Timeouts()` if None.
        state: Where tokens are stored: "memory:", or "sqlite:///path" (they survive restarts).
        session: An aiohttp session to use. The client never closes it.
        proxy: The URL of a proxy.
        ssl: The TLS context, for example one that trusts a private certificate authority.
        user_agent: Appended to the User-Agent of this package.
        observer: Receives every request and event in place of the log. It has the methods of
            `truecaller_async.ports.Observer`.

    Raises:
        ConfigError: A setting is missing or wrong.
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
        from truecaller_async.wiring import ClientConfig, build_client

        api_key = api_key if isinstance(api_key, Secret) else Secret(api_key)  # a plain str would appear in tracebacks
        config = ClientConfig(
            client_account_id=client_account_id,
            key_id=key_id,
            api_key=api_key,
            base_url=base_url,
            api_version=api_version,
            limits=limits,
            max_tokens=max_tokens,
            retry=retry,
            timeouts=timeouts,
            state=state,
            session=session,
            proxy=proxy,
            ssl=ssl,
            user_agent=user_agent,
            observer=observer,
        )
        self._attach_resources(*build_client(config))

    @classmethod
    def _from_parts(cls, settings: ClientSettings, shared: SharedResources) -> Self:
        client = object.__new__(cls)
        client._attach_resources(settings, shared)
        return client

    def _attach_resources(self, settings: ClientSettings, shared: SharedResources) -> None:
        from truecaller_async import resources

        self._settings = settings
        self._shared = shared
        context = self._api_context(settings)
        self.calls = resources.Calls(context)
        self.batches = resources.Batches(context)
        self.labels = resources.Labels(context)
        self.feature_sets = resources.FeatureSets(context)
        self.numbers = resources.Numbers(context)
        self.exports = resources.Exports(context)
        self.tokens = resources.Tokens(context)

    def _api_context(self, settings: ClientSettings) -> ApiContext:
        from truecaller_async.resources import ApiContext

        shared = self._shared
        return ApiContext(shared.executor, shared.pool, settings, shared.clock, shared.rng)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Self:
        """Make a client from environment variables.

        Reads TRUECALLER_CLIENT_ACCOUNT_ID, TRUECALLER_KEY_ID and TRUECALLER_API_KEY (each also as NAME_FILE, the path
        of a file that contains it), TRUECALLER_BASE_URL, TRUECALLER_API_VERSION, TRUECALLER_STATE, TRUECALLER_LIMITS
        ("batch=60/60,token=100/1") and TRUECALLER_MAX_TOKENS.

        Args:
            environ: The variables; `os.environ` if None.
            **overrides: Arguments of the constructor. They have priority over the variables.

        Returns:
            The client.

        Raises:
            ConfigError: A variable is missing or wrong; the message names it.
        """
        from truecaller_async.settings import settings_from

        found = settings_from(os.environ if environ is None else environ, overrides.keys())
        return cls(**{**found, **overrides})  # type: ignore[arg-type]

    def with_options(
        self, *, retry: RetryPolicy | None = None, timeouts: Timeouts | None = None, api_version: str | None = None
    ) -> TruecallerClient:
        """Make a copy with other settings.

        The copy shares session, tokens and limits. Closing one closes both.

        Args:
            retry: The retry policy of the copy; unchanged if None.
            timeouts: The timeouts of the copy, in seconds; unchanged if None.
            api_version: "v1", "v2" or "v3"; unchanged if None.

        Returns:
            The copy.

        Raises:
            ConfigError: The version does not exist, or a value has the wrong type.
        """
        from truecaller_async.settings import checked_kind, checked_version

        known = self._settings
        settings = attrs.evolve(
            known,
            retry=checked_kind("retry", retry, RetryPolicy, lambda: known.retry),
            timeouts=checked_kind("timeouts", timeouts, Timeouts, lambda: known.timeouts),
            api_version=known.api_version if api_version is None else checked_version(api_version),
        )
        return self._from_parts(settings, self._shared)

    def push_many(
        self,
        source: object,
        *,
        journal: str | os.PathLike[str] | None = None,
        options: CampaignOptions | None = None,
    ) -> CampaignStream:
        """Push every record of a source in batches, at the full rate of the limits and never above it.

        From "Truecaller for Business: Batch" of the client's version. Version 1 is deprecated and warns
        `TruecallerDeprecationWarning`.

        If a connection breaks after a batch was sent, it is unknown whether Truecaller accepted the batch. Then
        `options.on_ambiguous` decides: the engine sends it again and flags its results (`possibly_duplicated`), or
        holds it.

        Args:
            source: An iterable or async iterable of `CallRecord`, or of mappings with the names of the input columns;
                or a reader (`read_csv`, `read_jsonl`).
            journal: The path of a file that stores the progress, so that `resume()` can continue after any crash. The
                file must not contain a campaign yet. None or "memory:": nothing is stored. The file contains no phone
                numbers, unless the source cannot be read again (a generator, standard input): then it keeps the records
                of each batch until the batch has its final outcomes.
            options: How the campaign runs; `CampaignOptions()` if None.

        Returns:
            A stream: enter it with `async with`, then iterate it with `async for`. It yields one `RecordResult` for
            each record read, in the order in which the results become known. Entering it raises `JournalBusy`,
            `JournalError`, and `SourceError` if a file cannot be read at all. The iteration raises an error of the
            whole campaign after the last result.

        Raises:
            ConfigError: An argument is wrong.
        """
        self._shared.executor.deprecations.warn_version("push_many", self._settings.api_version)
        return self._campaign(source, journal, options)

    def resume(
        self, journal: str | os.PathLike[str], *, source: object = None, options: CampaignOptions | None = None
    ) -> CampaignStream:
        """Continue a campaign whose process ended, in whatever way, and finish it.

        It polls the batches that the server accepted, sends the batches that were planned, treats batches that may have
        been applied by `options.on_ambiguous`, and reads the source on from the row at which it stopped. A finished
        campaign sends nothing. The API version is that of the journal. The credentials are those of this client, and
        must belong to the same account.

        Args:
            journal: The path that `push_many` was given.
            source: The same rows again, in the same order, if the journal cannot reopen the source (a list, a
                generator, a file that was moved). Without it a campaign from a generator finishes the rows that were
                read; a batch whose answer was lost, and behind which other rows were read, is not sent again.
            options: How the campaign runs; those of the journal if None.

        Returns:
            A stream as that of `push_many`, with one result for each row without a final outcome. Rows with a final
            outcome are not repeated, even if their results were never iterated. The summary counts the whole campaign.
            Entering it raises `JournalBusy` (another process has the journal), `JournalError`, `SourceChanged` (its
            `.row` is the first row that differs; nothing was sent), `SourceError` and `ConfigError`.

        Raises:
            ConfigError: An argument is wrong.
        """
        if journal in (None, "memory:"):
            raise ConfigError(f"journal is {journal!r}: a campaign is resumed from the path that push_many was given")
        return self._campaign(source, journal, options, resumed=True)

    async def aclose(self) -> None:
        """Release the tokens and close the session. May be called twice, also by two tasks at the same time.

        In a forked child the tokens and the sockets belong to the parent process; there the client is only marked as
        closed.

        Raises:
            ClientClosed: The caller runs in another event loop while the loop of the first use is still open.
            ConfigError: The state file cannot be written.
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
        """Unreachable: `with` looks up both methods, so that `__enter__` can raise its message."""

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

    def _campaign(
        self,
        source: object,
        journal: str | os.PathLike[str] | None,
        options: CampaignOptions | None,
        *,
        resumed: bool = False,
    ) -> CampaignStream:
        from truecaller_async.campaign.startup.start import CampaignRequest
        from truecaller_async.campaign.stream import CampaignStream
        from truecaller_async.settings import checked_kind
        from truecaller_async.wiring import journal_factory

        # A resumed campaign without options keeps those of its journal.
        chosen = (
            None if resumed and options is None else checked_kind("options", options, CampaignOptions, CampaignOptions)
        )
        request = CampaignRequest(self._campaign_deps, source, chosen, journal_factory(journal), resumed=resumed)
        return CampaignStream(request)

    def _campaign_deps(self, api_version: str | None = None) -> CampaignDeps:
        """Return what a campaign uses of this client. `api_version` is that of a resumed journal."""
        from truecaller_async.campaign.run import CampaignDeps
        from truecaller_async.resources import Batches, Calls
        from truecaller_async.settings import checked_version

        shared = self._shared
        shared.pool.binding.bind()
        version = checked_version(api_version or self._settings.api_version)
        # Single attempts: the engine has a retry policy of its own.
        context = self._api_context(attrs.evolve(self._settings, retry=NO_RETRY, api_version=version))
        return CampaignDeps(
            calls=Calls(context),
            batches=Batches(context),
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
