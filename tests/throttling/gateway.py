"""A component between a client and the sandbox: it forwards a request or answers it itself.

A `Rule` is called with each request and returns what happens to it:

None                  the server's own answer
an `Answer`           this answer; the server does not get the request
an exception          this failure; the server does not get the request
`AppliedThen(what)`   the request is applied, and the client gets this instead of the answer
`NoAnswer()`          no answer; the client times out

Every request is recorded with its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeAlias, TypeVar

import attrs
import pytest

from tests.campaign.durable_memory import DurableMemory
from tests.campaign.world import World
from tests.resources.script import answer
from tests.virtual import StorageLoop, SwiftLoop
from truecaller_async import (
    CampaignStream,
    NotSent,
    RecordResult,
    ResponseLost,
    Summary,
    Timeouts,
    TruecallerError,
)
from truecaller_async.campaign.startup.start import CampaignRequest
from truecaller_async.journal import MemoryJournal
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.ports import Transport, Write
from truecaller_async.storage.sqlite_worker import SqliteWorker

T = TypeVar("T")

REFUSED_TOKEN = answer(401, {"slug": "authorization-error", "message": "please login again"})
UNPARSED_TOKEN = answer(500, {"slug": "internal-server-error", "message": "500/50011 - Failed to parse token"})
FORBIDDEN = answer(403, {"slug": "forbidden-error", "message": "not authorized. please contact your admin."})
UNAVAILABLE = Answer(503, {"content-type": "text/html"}, b"<html>unavailable</html>")
PORTAL = Answer(200, {"content-type": "text/html"}, b"<html>please sign in to this network</html>")


@attrs.frozen
class AppliedThen:
    """Apply the request, and give the client another answer."""

    end: Answer | Exception


@attrs.frozen
class NoAnswer:
    """Do not apply the request, and send no answer."""


End: TypeAlias = "Answer | Exception | AppliedThen | NoAnswer | None"
Rule: TypeAlias = Callable[[Request, float], End]
"""Given a request and the loop time: what happens to it."""


@attrs.frozen
class SeenRequest:
    """One request: when it came, when it ended, and the status of the answer (None: no answer).

    `again`: the last request with the same bytes failed.
    """

    came: float
    call: str
    token: str | None
    went: float
    status: int | None
    tampered: bool
    again: bool


def throttled(retry_after: str | None = None, **headers: str) -> Answer:
    """Return a 429 with this `Retry-After` and these other headers."""
    asked = {} if retry_after is None else {"retry-after": retry_after}
    return Answer(429, {**asked, **headers}, b'{"slug": "too-many-requests", "message": "slow down"}')


@attrs.define
class Gateway:
    """The `Transport` port, in front of another one."""

    server: Transport
    rule: Rule
    latency: float = 0.05
    seen: list[SeenRequest] = attrs.field(factory=list)
    most_open: dict[str, int] = attrs.field(factory=dict)
    """Return the largest number of requests of one call that were in flight together."""
    _flying: dict[str, int] = attrs.field(factory=dict)
    _failed: set[tuple[str, bytes | None]] = attrs.field(factory=set)

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        came, call = asyncio.get_running_loop().time(), request.call
        token = request.token.reveal() if request.token is not None else None
        end = self.rule(request, came)
        same = request.path, request.body
        again = same in self._failed
        self._flying[call] = self._flying.get(call, 0) + 1
        self.most_open[call] = max(self.most_open.get(call, 0), self._flying[call])
        status: int | None = None
        try:
            given = await self._end(end, request, timeouts)
            status = given.status
            return given
        finally:
            self._flying[call] -= 1
            went = asyncio.get_running_loop().time()
            self.seen.append(SeenRequest(came, call, token, went, status, end is not None, again))
            (self._failed.discard if status == 200 else self._failed.add)(same)

    async def _end(self, end: End, request: Request, timeouts: Timeouts) -> Answer:
        if isinstance(end, NotSent):
            raise end
        if isinstance(end, NoAnswer):
            await asyncio.sleep(timeouts.read)
            raise ResponseLost(f"no answer within {timeouts.read:g} s")
        if end is None or isinstance(end, AppliedThen):
            own = await self.server.send(request, timeouts)
            end = own if end is None else end.end
        else:
            await asyncio.sleep(self.latency)
        if isinstance(end, Exception):
            raise end
        return end

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], max_bytes: int
    ) -> Answer:
        raise AssertionError("nothing here downloads a file")

    async def aclose(self) -> None:
        await self.server.aclose()

    def of(self, call: str) -> list[SeenRequest]:
        """Return the requests of one call, in the order in which they came."""
        return sorted((passage for passage in self.seen if passage.call == call), key=lambda passage: passage.came)

    def between(self, since: float, until: float) -> list[SeenRequest]:
        """Return the requests that came in this time."""
        return [passage for passage in self.seen if since <= passage.came < until]


def world_behind(rule: Rule, **world: Any) -> tuple[World, Gateway]:
    """Return a world whose client reaches its sandbox through a gateway with this rule."""
    made = World(**world)
    gateway = Gateway(made.transport, rule)
    made.client._shared.executor._transport = gateway
    return made, gateway


async def run_journaled(
    world: World, journal: MemoryJournal | DurableMemory, source: object, *, drain_after: float | None = None
) -> tuple[list[RecordResult], Summary, Exception | None]:
    """Run a campaign like `World.run`, new or resumed from this journal; drain it at a time, if given."""
    known = journal.state.started is not None
    core = world.client._campaign_deps
    results: list[RecordResult] = []
    fault: Exception | None = None
    async with world.client, CampaignStream(CampaignRequest(core, source, None, lambda: journal, resumed=known)) as run:
        stopping = asyncio.create_task(_drain(run, drain_after)) if drain_after is not None else None
        try:
            async for result in run:
                results.append(result)  # noqa: PERF401 - kept one by one, for the case that the stream raises
        except TruecallerError as error:
            fault = error
        if stopping is not None:
            await stopping
    return results, run.summary, fault


async def _drain(run: CampaignStream, after: float) -> None:
    await asyncio.sleep(after)
    await run.drain()


def run_on_swift_loop(work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """Run like `run_virtual`, for hours in a second, without threads; no task may be left over."""
    return _run(SwiftLoop(), work, *args)


def run_with_sqlite_threads(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run on virtual time that stops while a store works in its thread; no task may be left over."""
    waiting: set[asyncio.Future[Any]] = set()
    submit = SqliteWorker._submit

    def counted(worker: SqliteWorker, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        future = submit(worker, *args, **kwargs)
        waiting.add(future)
        future.add_done_callback(waiting.discard)
        return future

    monkeypatch.setattr(SqliteWorker, "_submit", counted)
    return _run(StorageLoop(lambda: bool(waiting)), work)


def _run(loop: SwiftLoop, work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    try:
        result = loop.run_until_complete(work(*args))
        assert not asyncio.all_tasks(loop)
        return result
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def pass_all(request: Request, now: float) -> None:
    """Forward every request."""
