"""Run one process of a golden campaign on virtual time, with the real journal file and its thread.

All that golden journals need of the campaign engine is here: the world of the engine tests, and the public client.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import attrs

from tests.campaign.world import Fault, World
from tests.journal.golden.server import LoggedServer
from tests.virtual import BASE, StorageLoop
from truecaller_async import CampaignOptions, CampaignStream, RecordResult, Summary, TruecallerError
from truecaller_async.storage.sqlite_worker import SqliteWorker

T = TypeVar("T")
LATENCY = (0.002, 0.002)
NOTE = ("purpose", "a golden journal")


@attrs.frozen
class Ended:
    """The end of one process of a campaign."""

    results: list[RecordResult]
    """The results that its reader received."""
    summary: Summary
    """Its summary."""
    error: TruecallerError | None
    """The error that ended it."""


@attrs.frozen
class Order:
    """The orders of one process."""

    journal: Path
    """The file of the journal."""
    is_new: bool = False
    """Start the campaign; otherwise resume it."""
    source: object = None
    """The source. None: the journal reopens it."""
    options: CampaignOptions | None = None
    """The options. None: those of the journal."""
    fault: Fault | None = None
    """The faults between the client and the server."""
    stop: tuple[str, float] | None = None
    """Stop the run ("drain" or "abort") after so many seconds."""


@contextlib.contextmanager
def storage_loop(start: float) -> Iterator[StorageLoop]:
    """Yield a loop on virtual time, which stops while the thread of a journal works."""
    waiting: set[asyncio.Future[Any]] = set()
    submit = SqliteWorker._submit

    def counted(worker: SqliteWorker, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        future = submit(worker, *args, **kwargs)
        waiting.add(future)
        future.add_done_callback(waiting.discard)
        return future

    loop = StorageLoop(lambda: bool(waiting))
    loop._selector.now = start  # the loop has no argument for it
    with patch.object(SqliteWorker, "_submit", counted):
        try:
            yield loop
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()


def run_on_storage_loop(work: Callable[[], Coroutine[Any, Any, T]], start: float) -> T:
    """Run on a `storage_loop`; no task may be left over."""
    with storage_loop(start) as loop:
        result = loop.run_until_complete(work())
        assert not asyncio.all_tasks(loop)
        return result


async def run_process(order: Order, server: LoggedServer) -> Ended:
    """Run one process of the campaign to its end; raise the error if it cannot start."""
    world = World(state=server, latency=LATENCY, fault=order.fault, max_tokens=1)
    client = world.client
    if order.is_new:
        stream = client.push_many(order.source, journal=str(order.journal), options=order.options)
        await stream.note(*NOTE)
    else:
        stream = client.resume(order.journal, source=order.source, options=order.options)
    results: list[RecordResult] = []
    error: TruecallerError | None = None
    async with client, stream:
        stopping = asyncio.create_task(_stop(stream, order.stop)) if order.stop is not None else None
        try:
            async for result in stream:
                results.append(result)  # noqa: PERF401 - kept one by one, because the stream may raise
        except TruecallerError as caught:
            error = caught
        if stopping is not None:
            await stopping
    return Ended(results, stream.summary, error)


def now() -> float:
    """Return the wall-clock seconds of the running loop."""
    return BASE + asyncio.get_running_loop().time()


async def _stop(stream: CampaignStream, stop: tuple[str, float]) -> None:
    how, seconds = stop
    await asyncio.sleep(seconds)
    await (stream.drain() if how == "drain" else stream.abort())
