"""Whatever stands between a client and the sandbox: it lets a request through, or answers in the server's place.

A `Rule` is asked about each request when it comes in, and says what becomes of it:

    None             the server's own answer
    an `Answer`      this answer, and the server never sees the request
    an exception     this failure, and the server never sees the request
    `Behind(what)`   the request takes effect, and the client is told this in the place of the answer
    `Silence()`      nothing is ever said, so the client's patience ends it

Every request is written down with its end, as the gateway saw it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any, TypeAlias, TypeVar

import attrs

from tests.engine.world import World
from tests.resources.script import answer
from tests.virtual import SwiftLoop
from truecaller_async import (
    CampaignStream,
    NotSent,
    RecordResult,
    ResponseLost,
    Summary,
    Timeouts,
    TruecallerError,
)
from truecaller_async.engine import CampaignRequest
from truecaller_async.journal import MemoryJournal
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.ports import Transport, Write

T = TypeVar("T")

REFUSED_TOKEN = answer(401, {"slug": "authorization-error", "message": "please login again"})
UNPARSED_TOKEN = answer(500, {"slug": "internal-server-error", "message": "500/50011 - Failed to parse token"})
FORBIDDEN = answer(403, {"slug": "forbidden-error", "message": "not authorized. please contact your admin."})
UNAVAILABLE = Answer(503, {"content-type": "text/html"}, b"<html>unavailable</html>")
PORTAL = Answer(200, {"content-type": "text/html"}, b"<html>please sign in to this network</html>")


@attrs.frozen
class Behind:
    """The request takes effect, and the client is told something else."""

    end: Answer | Exception


@attrs.frozen
class Silence:
    """The request takes no effect, and nothing is said."""


End: TypeAlias = "Answer | Exception | Behind | Silence | None"
Rule: TypeAlias = Callable[[Request, float], End]
"""Given a request and the loop's time: what becomes of it."""


@attrs.frozen
class Passage:
    """One request: when it came in, when its end was known, and the status of the answer (None: there was none).

    `again`: the last request that was the same to the byte did not end well.
    """

    came: float
    call: str
    token: str | None
    went: float
    status: int | None
    tampered: bool
    again: bool


def throttled(retry_after: str | None = None, **headers: str) -> Answer:
    """A 429, with this `Retry-After` and these other headers."""
    asked = {} if retry_after is None else {"retry-after": retry_after}
    return Answer(429, {**asked, **headers}, b'{"slug": "too-many-requests", "message": "slow down"}')


@attrs.define
class Gateway:
    """The `Transport` port, in front of another."""

    server: Transport
    rule: Rule
    latency: float = 0.05
    seen: list[Passage] = attrs.field(factory=list)
    most_open: dict[str, int] = attrs.field(factory=dict)
    """The most requests of one call that were ever in flight together."""
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
            self.seen.append(Passage(came, call, token, went, status, end is not None, again))
            (self._failed.discard if status == 200 else self._failed.add)(same)

    async def _end(self, end: End, request: Request, timeouts: Timeouts) -> Answer:
        if isinstance(end, NotSent):
            raise end
        if isinstance(end, Silence):
            await asyncio.sleep(timeouts.read)
            raise ResponseLost(f"no answer within {timeouts.read:g} s")
        if end is None or isinstance(end, Behind):
            own = await self.server.send(request, timeouts)
            end = own if end is None else end.end
        else:
            await asyncio.sleep(self.latency)
        if isinstance(end, Exception):
            raise end
        return end

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], cap: int
    ) -> Answer:
        raise AssertionError("nothing here downloads a file")

    async def aclose(self) -> None:
        await self.server.aclose()

    def of(self, call: str) -> list[Passage]:
        """The requests of one call, in the order of their coming."""
        return sorted((passage for passage in self.seen if passage.call == call), key=lambda passage: passage.came)

    def between(self, since: float, until: float) -> list[Passage]:
        """The requests that came in this time."""
        return [passage for passage in self.seen if since <= passage.came < until]


def world_behind(rule: Rule, **world: Any) -> tuple[World, Gateway]:
    """A world whose client reaches its sandbox through a gateway with this rule."""
    made = World(**world)
    gateway = Gateway(made.transport, rule)
    made.client._shared.executor._transport = gateway
    return made, gateway


async def run_journaled(
    world: World, journal: MemoryJournal, source: object, *, drain_after: float | None = None
) -> tuple[list[RecordResult], Summary, Exception | None]:
    """A whole campaign as `World.run`, that begins in this journal or goes on from it, and is told to drain then."""
    known = journal.standing.started is not None
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


def run_swiftly(work: Callable[..., Coroutine[Any, Any, T]], *args: Any) -> T:
    """As `run_virtual`, for hours in a second: nothing here waits for a thread. No task may be left over."""
    loop = SwiftLoop()
    try:
        result = loop.run_until_complete(work(*args))
        assert not asyncio.all_tasks(loop)
        return result
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def pass_all(request: Request, now: float) -> None:
    """A day without faults."""
