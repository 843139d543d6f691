"""Client side of `rates`: a campaign, or single pushes, that need more permits than there are.

The client runs in a process of its own on the first core, as a program would use it: tokens are created, then
`push_many` reads an endless source, or 200 tasks push one record after the other. At the end of the time the campaign
is aborted. Only the rule under test binds; the other limits are so high that they never delay a request.

Disturbances: the loop is blocked now and then, or commits of the journal are slow for some seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic

import attrs

from benchmarks import workload
from benchmarks.minimal_server import SPAWN, pin_to_core
from truecaller_async import (
    CallRecord,
    CampaignOptions,
    CampaignStream,
    Limits,
    PollPolicy,
    RateLimit,
    RateLimited,
    TruecallerClient,
    journal,
)

UNLIMITED = (1_000_000, 1.0)
POLL = PollPolicy(first=0.05)
ENDLESS_COUNT = 10**9
GRACE_SECONDS = 60.0
"""Seconds that a client may take longer than planned before the run fails."""

PUSHERS_COUNT = 200
"""Concurrent pushes: enough that ten tokens never wait for one, too few for an eleventh token."""

BLOCK_GAP_SECONDS = (0.02, 0.2)
"""Shortest and longest time between two blocks of the loop."""

SLOW_COMMIT_SECONDS = 0.5
SLOW_PHASE_SECONDS = (7.0, 11.0)
"""Start and end of the slow commits, after the start of the campaign."""


@attrs.frozen
class ClientBehaviour:
    """What is special about a client."""

    uses_pushes: bool = False
    """Push single records instead of a campaign."""
    uses_uvloop: bool = False
    """Run on uvloop."""
    block_max_seconds: float = 0.0
    """Longest time for which the loop is blocked now and then; 0: never."""
    has_slow_commits: bool = False
    """Write a journal on disk, whose commits are slow for some seconds."""


@attrs.frozen
class ClientSetup:
    """What one client does."""

    rule: RateLimit
    """The limit that binds."""
    tokens: int
    """Tokens that the client creates."""
    seconds: float
    """Time in which requests are wanted."""
    start: int
    """Start of the records' windows, in ms."""
    behaviour: ClientBehaviour
    """What is special about it."""


def run_client(url: str, setup: ClientSetup) -> float:
    """Run the client in a process of its own; return the monotonic time at which it wanted no more requests."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as process:
        return process.submit(_run, url, setup).result()


async def push_all(client: TruecallerClient, record: CallRecord, seconds: float) -> None:
    """Push more than all tokens can send for this time. The server counts the refusals."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def push() -> None:
        while loop.time() < end:
            with contextlib.suppress(RateLimited):
                await client.calls.push(record)

    async with asyncio.TaskGroup() as pushers:
        for _ in range(PUSHERS_COUNT):
            pushers.create_task(push())


def only(rule: RateLimit) -> Limits:
    """Return the documented limits with the figures of this rule, and without a bound for the other calls."""
    figures = {"token": UNLIMITED, "batch": UNLIMITED, rule.name: (rule.limit, rule.per)}
    return Limits.documented().replace(**figures)


class SlowCommits(sqlite3.Connection):
    """Connection whose commits are slow in one phase."""

    slow_from = slow_until = float("inf")
    slow_count = 0

    def commit(self) -> None:
        """Commit, in the phase after a delay."""
        if SlowCommits.slow_from <= monotonic() < SlowCommits.slow_until:
            SlowCommits.slow_count += 1
            time.sleep(SLOW_COMMIT_SECONDS)
        super().commit()


def _run(url: str, setup: ClientSetup) -> float:
    pin_to_core(0)
    work = _bounded(_client(url, setup), setup.seconds + GRACE_SECONDS)
    if not setup.behaviour.uses_uvloop:
        return asyncio.run(work)
    import uvloop

    return uvloop.run(work)


async def _bounded(work: Coroutine[object, object, float], seconds: float) -> float:
    async with asyncio.timeout(seconds):
        return await work


async def _client(url: str, setup: ClientSetup) -> float:
    client = TruecallerClient(
        client_account_id=workload.ACCOUNT,
        key_id="invented",
        api_key="invented",
        base_url=url,
        limits=only(setup.rule),
        max_tokens=setup.tokens,
    )
    async with client:
        for _ in range(setup.tokens):
            await client.tokens.make()
        disturbance = asyncio.create_task(_block_loop(setup.behaviour.block_max_seconds))
        try:
            return await (_pushes if setup.behaviour.uses_pushes else _campaign)(client, setup)
        finally:
            disturbance.cancel()


async def _pushes(client: TruecallerClient, setup: ClientSetup) -> float:
    end = monotonic() + setup.seconds
    (record,) = workload.records(1, setup.start)
    await push_all(client, record, setup.seconds)
    return end


async def _campaign(client: TruecallerClient, setup: ClientSetup) -> float:
    records = workload.records(ENDLESS_COUNT, setup.start)
    with _journal(setup) as path:
        end = monotonic() + setup.seconds
        async with client.push_many(records, journal=path, options=CampaignOptions(poll=POLL)) as results:
            stop = asyncio.create_task(_abort_later(results, setup.seconds))
            async for _ in results:
                pass
            await stop
    return end


async def _abort_later(results: CampaignStream, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await results.abort()


@contextlib.contextmanager
def _journal(setup: ClientSetup) -> Iterator[Path | None]:
    """Yield the path of the journal with slow commits, or None without one."""
    if not setup.behaviour.has_slow_commits:
        yield None
        return
    # A path is all that `push_many` accepts, so the journal that it opens gets another connection class.
    vars(journal)["SqliteJournal"] = partial(journal.SqliteJournal, factory=SlowCommits)
    now = monotonic()
    SlowCommits.slow_from, SlowCommits.slow_until = (now + seconds for seconds in SLOW_PHASE_SECONDS)
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "campaign.db"
    if SlowCommits.slow_count == 0:
        raise RuntimeError("no commit was slow, so this is no measurement: the journal no longer uses `factory`")


async def _block_loop(longest: float) -> None:
    rng = Random(0)
    while longest > 0:
        await asyncio.sleep(rng.uniform(*BLOCK_GAP_SECONDS))
        _block(rng.uniform(0.0, longest))


def _block(seconds: float) -> None:
    time.sleep(seconds)
