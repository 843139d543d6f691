"""Processes that die, on virtual time: each has a loop of its own; the journal and the server survive.

A `DyingJournal` is the journal handle of one process. At its n-th write the process dies: the entries are stored or
not, the writer never returns, and requests on their way to the server arrive or not.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
import looptime

from tests.campaign.durable_memory import DurableMemory
from tests.campaign.world import World
from truecaller_async import CampaignOptions, CampaignStream, RecordResult, TruecallerError
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.startup.start import CampaignRequest
from truecaller_async.models.journal_entries import JournalEntry, RowsRead


@attrs.define
class Death:
    """Death of a process at its n-th journal write, before or after the entries are stored."""

    write: int
    kept: bool


class Survivor(DurableMemory):
    """Journal that survives its process."""


class DyingJournal:
    """The `Journal` port, in front of a journal that survives. A write takes half a millisecond."""

    resumable = True

    def __init__(self, survivor: Survivor, death: Death | None) -> None:
        self._survivor = survivor
        self._death = death
        self._writes = 0
        self._waiting: deque[tuple[asyncio.Future[None], Sequence[JournalEntry]]] = deque()
        self.died = asyncio.Event()

    async def open(self, *, is_new: bool) -> CampaignState:
        return await self._survivor.open(is_new=is_new)

    def append(self, entries: Sequence[JournalEntry], changed: Iterable[CampaignBatch]) -> asyncio.Future[None]:
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((stored, entries))
        asyncio.get_running_loop().call_later(0.0005, self._store_next)
        return stored

    def _store_next(self) -> None:
        stored, entries = self._waiting.popleft()
        if self.died.is_set():
            return
        self._writes += 1
        is_last = self._death is not None and self._writes >= self._death.write
        if not is_last or (self._death is not None and self._death.kept):
            self._survivor.store(entries)
        if is_last:
            self.died.set()
        elif not stored.done():
            stored.set_result(None)

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        return await self._survivor.read_blocks(after, limit)

    async def aclose(self) -> None:
        while self._waiting and not self.died.is_set():  # noqa: ASYNC110 - a dead process ends no future
            await asyncio.sleep(0.0005)
        if not self.died.is_set():
            await self._survivor.aclose()


@attrs.define
class Life:
    """Results of one process."""

    results: list[RecordResult]
    stream: CampaignStream
    fault: TruecallerError | None = None
    died: bool = False


def live(
    make_world: Callable[[], World],
    survivor: Survivor,
    source: object,
    options: CampaignOptions | None,
    *,
    death: Death | None = None,
    start: float = 0.0,
    meanwhile: Callable[[CampaignStream], Any] | None = None,
) -> tuple[Life, float]:
    """Run one process until its end or its death; return its results and the loop time."""
    loop = looptime.new_event_loop(start=start)
    resumed = survivor.state.started is not None

    async def main() -> Life:
        world = make_world()
        journal = DyingJournal(survivor, death)
        asked = CampaignRequest(world.client._campaign_deps, source, options, lambda: journal, resumed=resumed)
        life = Life([], CampaignStream(asked))
        working = asyncio.create_task(_work(world, life, meanwhile))
        dying = asyncio.create_task(journal.died.wait())
        await asyncio.wait((working, dying), return_when=asyncio.FIRST_COMPLETED)
        life.died = journal.died.is_set()
        if life.died:
            world.transport.dead = True
        else:
            dying.cancel()
            await working
        return life

    try:
        life = loop.run_until_complete(main())
        end = loop.time()
        assert life.died or not asyncio.all_tasks(loop)
    finally:
        while tasks := asyncio.all_tasks(loop):
            for task in tasks:
                task.cancel()
            loop.run_until_complete(_wait(tasks))
        loop.close()
    if life.died:
        survivor.abandon()
    return life, end


async def _work(world: World, life: Life, meanwhile: Callable[[CampaignStream], Any] | None) -> None:
    async with world.client:
        try:
            async with life.stream:
                beside = asyncio.create_task(meanwhile(life.stream)) if meanwhile is not None else None
                try:
                    async for result in life.stream:
                        life.results.append(result)
                finally:
                    if beside is not None:
                        beside.cancel()
        except TruecallerError as error:
            life.fault = error
    await asyncio.sleep(0)


async def _wait(tasks: set[asyncio.Task[Any]]) -> None:
    """Let cancelled tasks reach their next await."""
    await asyncio.wait(tasks, timeout=0.001)
