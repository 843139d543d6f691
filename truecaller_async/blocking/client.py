"""The blocking client: it makes the async client, passes calls to it and waits."""

from __future__ import annotations

import os
import ssl as ssl_module
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from types import TracebackType
from typing import NoReturn, Self

from truecaller_async.blocking.campaign import Campaign
from truecaller_async.blocking.loop_thread import LoopThreadRegistry
from truecaller_async.blocking.portal import Portal
from truecaller_async.blocking.resources import Batches, Calls, Exports, FeatureSets, Labels, Numbers, Tokens
from truecaller_async.client import BASE_URL
from truecaller_async.client import TruecallerClient as AsyncClient
from truecaller_async.errors import ClientClosed
from truecaller_async.models import Secret
from truecaller_async.options import CampaignOptions, Limits, RetryPolicy, Timeouts
from truecaller_async.ports import Observer
from truecaller_async.settings import settings_from


class TruecallerClient:
    """A blocking client of the Truecaller for Business API.

    It has the methods of `truecaller_async.TruecallerClient`, without `await`. Making it does no I/O and starts no
    thread; the first call does. Use it in a `with` block, or call `close()`.

    Args:
        All arguments are those of `truecaller_async.TruecallerClient`. There is no `session`, because an aiohttp
        session belongs to one event loop, and this client runs a loop of its own.

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
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | None = None,
        user_agent: str | None = None,
        observer: Observer | None = None,
    ) -> None:
        api_key = api_key if isinstance(api_key, Secret) else Secret(api_key)  # a plain str would appear in tracebacks
        make_client = partial(
            AsyncClient,
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
            proxy=proxy,
            ssl=ssl,
            user_agent=user_agent,
            observer=observer,
        )
        self._attach_resources(Portal(LoopThreadRegistry(make_client)))

    def _attach_resources(self, portal: Portal) -> None:
        self._portal = portal
        self.calls = Calls(portal)
        self.batches = Batches(portal)
        self.labels = Labels(portal)
        self.feature_sets = FeatureSets(portal)
        self.numbers = Numbers(portal)
        self.exports = Exports(portal)
        self.tokens = Tokens(portal)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Self:
        """Make a client from environment variables, as `truecaller_async.TruecallerClient.from_env` does.

        Args:
            environ: The variables; `os.environ` if None.
            **overrides: Arguments of the constructor. They have priority over the variables.

        Raises:
            ConfigError: A variable is missing or wrong; the message names it.
        """
        found = settings_from(os.environ if environ is None else environ, overrides.keys())
        return cls(**{**found, **overrides})  # type: ignore[arg-type]

    def with_options(
        self, *, retry: RetryPolicy | None = None, timeouts: Timeouts | None = None, api_version: str | None = None
    ) -> TruecallerClient:
        """Make a copy with other settings.

        The copy shares session, tokens, limits and thread. Closing one closes both.

        Args:
            retry: The retry policy of the copy; unchanged if None.
            timeouts: The timeouts of the copy; unchanged if None.
            api_version: "v1", "v2" or "v3"; unchanged if None.

        Raises:
            ConfigError: The version does not exist, or a value has the wrong type.
            ClientClosed: The client was closed.
        """
        portal = Portal(
            self._portal.registry,
            partial(_with_options, self._portal.configure, retry=retry, timeouts=timeouts, api_version=api_version),
        )
        portal.client()  # raises now what a wrong setting would raise at every call
        copy = object.__new__(type(self))
        copy._attach_resources(portal)
        return copy

    def push_many(
        self,
        source: object,
        *,
        journal: str | os.PathLike[str] | None = None,
        options: CampaignOptions | None = None,
    ) -> Campaign:
        """Push every record of a source, as `truecaller_async.TruecallerClient.push_many` does.

        Args:
            source: The records or mappings. A generator, cursor or query set is read in a thread of its own, no further
                than the campaign needs. Lists, readers (`read_csv`) and async iterables are read on the client's loop.
            journal: The path of the file from which `resume()` can continue; no file if None.
            options: How the campaign runs; the defaults if None.

        Returns:
            A `Campaign`. Enter its `with` block and iterate it: one `RecordResult` for each record read.

        Raises:
            ConfigError: An argument is wrong.
            ClientClosed: The client was closed.
        """
        stream = self._portal.client().push_many(_off_the_loop(source), journal=journal, options=options)
        return Campaign(self._portal.registry, stream)

    def resume(
        self, journal: str | os.PathLike[str], *, source: object = None, options: CampaignOptions | None = None
    ) -> Campaign:
        """Continue a campaign whose process ended, as `truecaller_async.TruecallerClient.resume` does.

        Args:
            journal: The path that `push_many` was given.
            source: The same rows again, in the same order, if the journal cannot reopen the source.
            options: How the campaign runs; those of the journal if None.

        Returns:
            A `Campaign`: one `RecordResult` for each row without a final outcome. Entering its block raises
            `JournalBusy`, `JournalError`, `SourceChanged` and `SourceError`.

        Raises:
            ConfigError: An argument is wrong.
            ClientClosed: The client was closed.
        """
        stream = self._portal.client().resume(
            journal, source=None if source is None else _off_the_loop(source), options=options
        )
        return Campaign(self._portal.registry, stream)

    def close(self) -> None:
        """Abort running campaigns, release the tokens, close the session and stop the thread.

        It may be called twice and from any thread. Calls that wait in other threads end with `ClientClosed`, or with
        `ResponseLost` if their request was in flight. In a forked child it closes the child's own client only.

        Raises:
            ConfigError: The state file cannot be written, or the caller runs on the client's own event loop.
        """
        self._portal.registry.close()

    def __enter__(self) -> Self:
        self._portal.registry.current()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> NoReturn:
        raise TypeError(
            "truecaller_async.blocking.TruecallerClient is not asynchronous: write 'with', not 'async with'"
        )

    async def __aexit__(self, *_: object) -> None:
        """Unreachable: `async with` looks up both methods, so that `__aenter__` can raise its message."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a TruecallerClient cannot be pickled or copied: it holds a key, tokens and sockets; "
            "make one in each worker, such as with TruecallerClient.from_env(), or use with_options() for a copy"
        )

    def __repr__(self) -> str:
        portal = getattr(self, "_portal", None)
        if portal is None:
            return "<blocking TruecallerClient, refused>"  # a crash reporter prints a client whose constructor raised
        try:
            return f"<blocking {portal.client()!r}>"
        except ClientClosed:
            return "<blocking TruecallerClient, closed>"


def _with_options(
    configure: Callable[[AsyncClient], AsyncClient],
    client: AsyncClient,
    retry: RetryPolicy | None,
    timeouts: Timeouts | None,
    api_version: str | None,
) -> AsyncClient:
    return configure(client).with_options(retry=retry, timeouts=timeouts, api_version=api_version)


def _off_the_loop(source: object) -> object:
    """Wrap a source whose iteration may block, so that a thread reads it and not the event loop."""
    # Imported here, not above: a program that runs no campaign must not load the readers of files
    # (tests/architecture/test_import_cost.py).
    from truecaller_async.sources import ThreadSource

    if isinstance(source, Iterable) and not isinstance(source, str | bytes | Mapping | list | tuple):
        return ThreadSource(source)
    return source
