"""Processes that die, on virtual time: each has a loop of its own; the journal and the server survive.

A `DyingJournal` is the journal handle of one process. At its n-th write the process dies: the entries are stored or
not, the writer never returns, and requests on their way to the server arrive or not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import looptime

from tests.campaign.world import World
from truecaller_async import CampaignOptions, CampaignStream, RecordResult, TruecallerError
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.start import CampaignRequest
from truecaller_async.journal import MemoryJournal
from truecaller_async.models import JournalEntry, RowsRead, RowsSettled


@attrs.define
class Death:
    """Death of a process at its n-th journal write, before or after the entries are stored."""

    write: int
    kept: bool


class Survivor(MemoryJournal):
    """Journal that survives its process; it checks that each row gets one final outcome."""

    def __init__(self) -> None:
        super().__init__(resumable=True)
        self.words: dict[int, RowsSettled] = {}

    async def write(self, *entries: JournalEntry) -> None:
        await super().write(*entries)
        for entry in entries:
            if isinstance(entry, RowsSettled):
                assert self.words.keys().isdisjoint(entry.rows), "a second final outcome"
                self.words.update(dict.fromkeys(entry.rows, entry))


class DyingJournal:
    """The `Journal` port, in front of a journal that survives."""

    resumable = True

    def __init__(self, survivor: Survivor, death: Death | None) -> None:
        self._survivor = survivor
        self._death = death
        self._writes = 0
        self.died = asyncio.Event()

    async def open(self, *, is_new: bool) -> CampaignState:
        return await self._survivor.open(is_new=is_new)

    async def write(self, *entries: JournalEntry) -> None:
        if self.died.is_set():
            await asyncio.Event().wait()
        self._writes += 1
        if self._death is not None and self._writes >= self._death.write:
            if self._death.kept:
                await self._survivor.write(*entries)
            self.died.set()
            await asyncio.Event().wait()
        await self._survivor.write(*entries)
        await asyncio.sleep(0.0005)

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        return await self._survivor.read_blocks(after, limit)

    async def aclose(self) -> None:
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
        survivor._is_open = False
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
