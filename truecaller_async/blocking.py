"""The client for programs that are not asynchronous.

    from truecaller_async.blocking import TruecallerClient

    with TruecallerClient.from_env() as client:
        client.calls.push(record)
        with client.push_many(read_csv("campaign.csv")) as results:
            for result in results:
                ...
        print(results.summary)

The same names as on `truecaller_async.TruecallerClient`, without `await`: every method here hands its arguments to the
async one and waits. What a call does, which page of the documentation it comes from and what it raises is said there.

The work is done by one event loop in one background thread (`backstage`). So a client may be used where a loop runs
already (a notebook), by many threads at a time, and on both sides of a fork: a child finds a fresh client behind the
same object. Ctrl-C while waiting cancels the call; a campaign that it interrupts ends in good order when its block is
left.
"""

from __future__ import annotations

import os
import ssl as ssl_module
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Generic, NoReturn, Self, TypeVar

from truecaller_async import client as asynchronous
from truecaller_async.backstage import House, Stage
from truecaller_async.client import BASE_URL
from truecaller_async.configuration import settings_from
from truecaller_async.errors import ClientClosed, ConfigError
from truecaller_async.models import (
    Batch,
    BatchStatus,
    CallRecord,
    FeatureSet,
    Label,
    Number,
    NumberJob,
    Page,
    Progress,
    PushAnswer,
    RecordResult,
    Secret,
    Summary,
)
from truecaller_async.options import CampaignOptions, Limits, PollPolicy, RetryPolicy, Timeouts
from truecaller_async.ports import Observer
from truecaller_async.resources.exports import CAP

if TYPE_CHECKING:
    from truecaller_async.engine import CampaignStream
    from truecaller_async.models.tokens import TokenStatus
    from truecaller_async.protocol.export_requests import Unit
    from truecaller_async.protocol.number_requests import Id
    from truecaller_async.resources import Listing as AsyncListing

__all__ = ["Campaign", "Listing", "TruecallerClient"]

T = TypeVar("T")
Item = TypeVar("Item")


class _Way:
    """The way from one client here to its async one: the house they share, and the options of this copy."""

    def __init__(
        self,
        house: House,
        copy: Callable[[asynchronous.TruecallerClient], asynchronous.TruecallerClient] = lambda client: client,
    ) -> None:
        self.house = house
        self.copy = copy

    def client(self) -> asynchronous.TruecallerClient:
        return self.copy(self.house.stage().client)

    def run(self, work: Callable[[asynchronous.TruecallerClient], Awaitable[T]]) -> T:
        stage = self.house.stage()
        return stage.run(lambda: work(self.copy(stage.client)))


class TruecallerClient:
    """A blocking client of the Truecaller for Business API.

    The arguments are those of `truecaller_async.TruecallerClient`, without `session`: a session belongs to one event
    loop, and the loop here is the client's own. Raises `ConfigError`, and does no I/O and starts no thread.
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
        api_key = api_key if isinstance(api_key, Secret) else Secret(api_key)  # from here on no frame shows it
        make = partial(
            asynchronous.TruecallerClient,
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
        self._hang(_Way(House(make)))

    def _hang(self, way: _Way) -> None:
        self._way = way
        self.calls = Calls(way)
        self.batches = Batches(way)
        self.labels = Labels(way)
        self.feature_sets = FeatureSets(way)
        self.numbers = Numbers(way)
        self.exports = Exports(way)
        self.tokens = Tokens(way)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **overrides: object) -> Self:
        """A client from the environment, read as by `truecaller_async.TruecallerClient.from_env`, with the same errors.

        Raises `ConfigError` that names what is missing.
        """
        found = settings_from(os.environ if environ is None else environ, overrides.keys())
        return cls(**{**found, **overrides})  # type: ignore[arg-type]

    def with_options(
        self, *, retry: RetryPolicy | None = None, timeouts: Timeouts | None = None, api_version: str | None = None
    ) -> TruecallerClient:
        """A copy with these settings; session, tokens, limits and thread are shared, and closing either closes both.

        Raises `ConfigError` for a version that does not exist.
        """
        change = partial(_with_options, self._way.copy, retry=retry, timeouts=timeouts, api_version=api_version)
        way = _Way(self._way.house, change)
        way.client()
        copy = object.__new__(type(self))
        copy._hang(way)
        return copy

    def push_many(
        self,
        source: object,
        *,
        journal: str | os.PathLike[str] | None = None,
        options: CampaignOptions | None = None,
    ) -> Campaign:
        """Push every record of `source`, as `truecaller_async.TruecallerClient.push_many` does.

        A generator, cursor or query set is read in one thread of its own, no further than it is asked for; lists,
        readers (`read_csv`) and async iterables are read on the client's loop. Returns a `Campaign`: `with` it, `for`
        one `RecordResult` for each record read. Raises `ConfigError`.
        """
        stream = self._way.client().push_many(_off_the_loop(source), journal=journal, options=options)
        return Campaign(self._way.house, stream)

    def resume(
        self, journal: str | os.PathLike[str], *, source: object = None, options: CampaignOptions | None = None
    ) -> Campaign:
        """Go on with a campaign whose process ended, as `truecaller_async.TruecallerClient.resume` does.

        Raises `ConfigError`; entering the block raises `JournalBusy`, `JournalError`, `SourceChanged` and
        `SourceError`.
        """
        stream = self._way.client().resume(
            journal, source=None if source is None else _off_the_loop(source), options=options
        )
        return Campaign(self._way.house, stream)

    def close(self) -> None:
        """End campaigns that still run, give up the tokens, close the session, end the thread.

        May be called twice and from any thread; calls that wait elsewhere end with `ClientClosed`, or `ResponseLost`
        for what was in flight. In a forked child it closes the child's own client. Raises `ConfigError` where the state
        file cannot be written.
        """
        self._way.house.close()

    def __enter__(self) -> Self:
        self._way.house.stage()
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
        """Never reached; here so that `async with` finds both methods and `__aenter__` can say what to do."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a TruecallerClient cannot be pickled or copied: it holds a key, tokens and sockets; "
            "make one in each worker, such as with TruecallerClient.from_env(), or use with_options() for a copy"
        )

    def __repr__(self) -> str:
        way = getattr(self, "_way", None)
        if way is None:
            return "<blocking TruecallerClient, refused>"
        try:
            return f"<blocking {way.client()!r}>"
        except ClientClosed:
            return "<blocking TruecallerClient, closed>"


class Calls:
    """`client.calls`: real-time records, pushed one by one just before the call."""

    def __init__(self, way: _Way) -> None:
        self._way = way

    def push(self, record: CallRecord, *, deadline: float | None = None) -> PushAnswer:
        """Push one record, `deadline` in seconds. Does and raises what `calls.push` of the async client does."""
        return self._way.run(lambda client: client.calls.push(record, deadline=deadline))


class Batches:
    """`client.batches`: batches by hand. For more than a few, `client.push_many` does all of this by itself."""

    def __init__(self, way: _Way) -> None:
        self._way = way

    def submit(self, records: Iterable[CallRecord]) -> Batch:
        """Post 1 to 500 records in one request. Does and raises what `batches.submit` of the async client does."""
        given = _listed(records)
        return self._way.run(lambda client: client.batches.submit(given))

    def status(self, batch_id: str) -> BatchStatus:
        """The status of every record of a batch. Does and raises what `batches.status` of the async client does."""
        return self._way.run(lambda client: client.batches.status(batch_id))

    def wait(self, batch_id: str, *, timeout: float, poll: PollPolicy | None = None) -> BatchStatus:
        """Wait until every record is final, `timeout` in seconds. Does and raises what `batches.wait` of the async
        client does."""
        return self._way.run(lambda client: client.batches.wait(batch_id, timeout=timeout, poll=poll))


class Labels:
    """`client.labels`: the dynamic labels that call records may name. They are made in the console."""

    def __init__(self, way: _Way) -> None:
        self._way = way

    def list(self, *, page: int = 1, limit: int = 1000) -> Listing[Label]:
        """The dynamic labels of the account. Raises what `labels.list` of the async client does."""
        return Listing(self._way, self._way.client().labels.list(page=page, limit=limit))


class FeatureSets:
    """`client.feature_sets`: what numbers are listed under. They are made in the console."""

    def __init__(self, way: _Way) -> None:
        self._way = way

    def list(
        self,
        *,
        department_id: Id | None = None,
        operation_id: Id | None = None,
        process_id: Id | None = None,
        page: int = 1,
        limit: int | None = None,
    ) -> Listing[FeatureSet]:
        """The feature sets of the account. Raises what `feature_sets.list` of the async client does."""
        return Listing(
            self._way,
            self._way.client().feature_sets.list(
                department_id=department_id, operation_id=operation_id, process_id=process_id, page=page, limit=limit
            ),
        )


class Numbers:
    """`client.numbers`: the business's own numbers, listed under feature sets."""

    def __init__(self, way: _Way) -> None:
        self._way = way

    def list(
        self,
        *,
        feature_set_id: Id | None = None,
        department_id: Id | None = None,
        operation_id: Id | None = None,
        process_id: Id | None = None,
        page: int = 1,
        limit: int | None = None,
    ) -> Listing[Number]:
        """The numbers of the account and their details. Raises what `numbers.list` of the async client does."""
        return Listing(
            self._way,
            self._way.client().numbers.list(
                feature_set_id=feature_set_id,
                department_id=department_id,
                operation_id=operation_id,
                process_id=process_id,
                page=page,
                limit=limit,
            ),
        )

    def publish(self, feature_set_id: Id, numbers: Iterable[str]) -> NumberJob:
        """List numbers under a feature set. Does and raises what `numbers.publish` of the async client does."""
        given = _listed(numbers)
        return self._way.run(lambda client: client.numbers.publish(feature_set_id, given))

    def delist(self, feature_set_id: Id, numbers: Iterable[str]) -> NumberJob:
        """Take numbers off a feature set. Does and raises what `numbers.delist` of the async client does."""
        given = _listed(numbers)
        return self._way.run(lambda client: client.numbers.delist(feature_set_id, given))

    def wait_listed(
        self, feature_set_id: Id, numbers: Iterable[str], *, timeout: float, poll: PollPolicy | None = None
    ) -> tuple[Number, ...]:
        """Wait until all of these numbers are listed, `timeout` in seconds. Does and raises what `numbers.wait_listed`
        of the async client does."""
        given = _listed(numbers)
        return self._way.run(
            lambda client: client.numbers.wait_listed(feature_set_id, given, timeout=timeout, poll=poll)
        )


class Exports:
    """`client.exports`: the two downloads that the vendor deprecated."""

    def __init__(self, way: _Way) -> None:
        self._way = way

    def user_feedback(
        self,
        survey_id: str,
        path: str | os.PathLike[str],
        *,
        from_date: datetime,
        hosts: Collection[str] = (),
        overwrite: bool = False,
        cap: int = CAP,
    ) -> Path:
        """Save the answers of a feedback campaign to `path`, at most `cap` bytes. Does and raises what
        `exports.user_feedback` of the async client does."""
        return self._way.run(
            lambda client: client.exports.user_feedback(
                survey_id, path, from_date=from_date, hosts=hosts, overwrite=overwrite, cap=cap
            )
        )

    def call_me_back(
        self,
        path: str | os.PathLike[str],
        *,
        start: datetime,
        end: datetime,
        unit: Unit = "seconds",
        hosts: Collection[str] = (),
        overwrite: bool = False,
        cap: int = CAP,
    ) -> Path:
        """Save the call-me-back log to `path`, at most `cap` bytes; `unit` is that of the times on the wire. Does and
        raises what `exports.call_me_back` of the async client does."""
        return self._way.run(
            lambda client: client.exports.call_me_back(
                path, start=start, end=end, unit=unit, hosts=hosts, overwrite=overwrite, cap=cap
            )
        )


class Tokens:
    """`client.tokens`: what there is, and what may still be made. Requests take care of tokens by themselves."""

    def __init__(self, way: _Way) -> None:
        self._way = way

    def status(self) -> TokenStatus:
        """The live tokens and the budget of new ones. Does and raises what `tokens.status` of the async client does."""
        return self._way.run(lambda client: client.tokens.status())

    def make(self) -> str | None:
        """Create one more token. Does and raises what `tokens.make` of the async client does."""
        return self._way.run(lambda client: client.tokens.make())


class Listing(Generic[Item]):
    """A list that comes in pages: `page()` is the one asked for; iterated, every item from that page on.

    Asks for nothing until then. Raises what the call raises, as the async `Listing` does.
    """

    def __init__(self, way: _Way, listing: AsyncListing[Item]) -> None:
        self._way = way
        self._listing = listing

    def page(self) -> Page[Item]:
        """The page asked for. Raises what the call raises."""
        return self._way.run(lambda _: self._listing)

    def pages(self) -> Iterator[Page[Item]]:
        """Every page from the one asked for on. Raises what the call raises."""
        pages = aiter(self._listing.pages())
        while (page := self._way.run(lambda _: anext(pages, None))) is not None:
            yield page

    def __iter__(self) -> Iterator[Item]:
        for page in self.pages():
            yield from page.items

    def __repr__(self) -> str:
        return f"<blocking {type(self._listing).__name__}; call page(), or use 'for'>"


class Campaign:
    """The results of a campaign, in the order in which they become known, one for each record read.

    `with` it, and `for` its results. Leaving the block ends the campaign, as with the async `CampaignStream`: what is
    in flight is awaited, never cancelled. For one thread at a time. The iteration raises faults of the whole run, after
    the last result; everything raises `ClientClosed` once the client is closed, but `summary` and `progress` of a
    campaign whose block was left.
    """

    def __init__(self, house: House, stream: CampaignStream) -> None:
        self._house = house
        self._stream = stream
        self._stage: Stage | None = None
        self._found: deque[RecordResult] = deque()
        self._end: tuple[Summary, Progress] | None = None

    def __enter__(self) -> Self:
        self._stage = stage = self._house.stage()
        stage.keep(self._stream)
        stage.run(self._stream.__aenter__)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stage = self._running()
        if stage.is_here:  # else it is the campaign of a parent, and a child that leaves the block leaves it alone
            self._end = stage.run(self._finish)
            stage.forget(self._stream)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RecordResult:
        while not self._found:
            if not self._running().run(self._fetch) and not self._found:
                raise StopIteration
        return self._found.popleft()

    def drain(self) -> None:
        """Read and send nothing more; finish what is in flight and poll on for 30 seconds. Results keep coming.

        Raises `ConfigError` before the block is entered.
        """
        self._running().run(self._stream.drain)

    def abort(self) -> None:
        """Read, send and poll nothing more; returns when what is in flight has ended and every record has its result.

        Raises `ConfigError` before the block is entered.
        """
        self._running().run(self._stream.abort)

    def note(self, name: str, value: str) -> None:
        """Keep a word of yours in the journal; `notes` has it after a resume.

        Raises `JournalError`, and `ConfigError` before the block is entered.
        """
        self._running().run(partial(self._stream.note, name, value))

    @property
    def notes(self) -> Mapping[str, str]:
        """What `note` was told, in all runs of the campaign. Raises `ConfigError` before the block is entered."""
        self._running()
        return self._stream.notes

    def __repr__(self) -> str:
        return repr(self._stream).replace("CampaignStream", "blocking.Campaign")

    @property
    def summary(self) -> Summary:
        """The account so far; final once the iteration has ended. Raises `ConfigError` before the block is entered."""
        return (self._end or self._running().run(self._account))[0]

    @property
    def progress(self) -> Progress:
        """Where the campaign is at this moment. Raises `ConfigError` before the block is entered."""
        return (self._end or self._running().run(self._account))[1]

    async def _fetch(self) -> bool:
        """Bring the next results across, a list at a time; False at the end.

        They are put where the reader finds them, and not handed back, so that a Ctrl-C loses none of them.
        """
        results = await self._stream.take()
        self._found.extend(results)
        return bool(results)

    async def _finish(self) -> tuple[Summary, Progress]:
        await self._stream.abort()
        return await self._account()

    async def _account(self) -> tuple[Summary, Progress]:
        return self._stream.summary, self._stream.progress

    def _running(self) -> Stage:
        if self._stage is None:
            raise ConfigError("a campaign starts with 'with client.push_many(...) as results:'")
        return self._stage


def _with_options(
    copy: Callable[[asynchronous.TruecallerClient], asynchronous.TruecallerClient],
    client: asynchronous.TruecallerClient,
    retry: RetryPolicy | None,
    timeouts: Timeouts | None,
    api_version: str | None,
) -> asynchronous.TruecallerClient:
    return copy(client).with_options(retry=retry, timeouts=timeouts, api_version=api_version)


def _listed(items: Iterable[Item]) -> Iterable[Item]:
    """Read here, in the caller's thread: it may be a cursor. What is no collection is refused further on."""
    is_collection = isinstance(items, Iterable) and not isinstance(items, str)
    return list(items) if is_collection else items


def _off_the_loop(source: object) -> object:
    """The source, so that nothing of it that may block is read on the event loop."""
    from truecaller_async.sources import ThreadedSource

    if isinstance(source, Iterable) and not isinstance(source, str | bytes | Mapping | list | tuple):
        return ThreadedSource(source)
    return source
