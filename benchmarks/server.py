"""Sandbox in a process of its own, and the records that are sent to it.

The child reports its address through a pipe, waits for the request for its counters, returns them and ends. If the
parent dies, the pipe closes and the child ends.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from time import time
from typing import TypeVar

import attrs

from truecaller_async import CallRecord, Limits
from truecaller_async.sandbox import Sandbox, SandboxSettings, Stats

T = TypeVar("T")

TIMEOUT_SECONDS = 30.0
"""Time for the child to start or end; a hang is an error and gives no figure."""

LABEL = SandboxSettings().labels[0].id
HOUR_MS = 3_600_000
SPAWN = multiprocessing.get_context("spawn")
"""Start method: with fork, a child would have a copy of the parent's memory."""


@attrs.frozen
class Server:
    """Running sandbox: environment variables for a client, and counters."""

    environment: Mapping[str, str]
    pipe: Connection

    def stats(self) -> Stats:
        """Return the counters of the sandbox. Call once, at the end: the sandbox stops listening."""
        self.pipe.send("stats")
        return _received(self.pipe, Stats)


@contextmanager
def sandbox(*, limits: Limits, resolve_after: float, truth_limit: int = 2_000_000) -> Iterator[Server]:
    """Run a new sandbox in another process on loopback for the duration of the block."""
    parent_end, child_end = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(child_end, limits, resolve_after, truth_limit), daemon=True)
    process.start()
    child_end.close()
    try:
        yield Server(_received(parent_end, dict), parent_end)
    finally:
        parent_end.close()
        process.join(TIMEOUT_SECONDS)
        if process.is_alive():
            process.terminate()


def records(count: int) -> Iterator[CallRecord]:
    """Yield this number of different records. A receiver that ends in 0 is delivered by the sandbox."""
    now = int(time() * 1000)
    return (
        CallRecord(
            caller="911234567898",
            receiver=f"9198{number:07d}0",
            starts_at=now,
            ends_at=now + 4 * HOUR_MS,
            label_id=LABEL,
            reason="Calling you for KYC",
        )
        for number in range(count)
    )


def _received(pipe: Connection, kind: type[T]) -> T:
    if not pipe.poll(TIMEOUT_SECONDS):
        raise TimeoutError(f"the sandbox did not answer within {TIMEOUT_SECONDS:g} seconds")
    answer = pipe.recv()
    assert isinstance(answer, kind)
    return answer


def _serve(pipe: Connection, limits: Limits, resolve_after: float, truth_limit: int) -> None:
    settings = SandboxSettings(limits=limits, resolve_after=resolve_after, truth_limit=truth_limit)
    asyncio.run(_listen(pipe, settings))


async def _listen(pipe: Connection, settings: SandboxSettings) -> None:
    async with await Sandbox.start(settings) as server:
        pipe.send(server.environment())
        try:
            await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        pipe.send(server.stats())
