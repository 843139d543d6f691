"""Runner of one campaign in a process of its own, which measures its cost.

The child imports only the library and the records, so that its memory is that of a program that pushes. It creates its
tokens, pushes a few thousand records to warm up, reports that it is ready and waits, so several children can start at
the same moment. Then it streams records from a generator and reads each result without keeping it. CPU time, seconds
and peak memory are measured from the start signal to the last result.

The peak is the one that the system keeps for this program (`VmHWM`). Without such a file it is `ru_maxrss`, which
starts with the peak of the parent process.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import ssl
import subprocess
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time

import attrs

from benchmarks import workload
from truecaller_async import (
    CampaignOptions,
    CampaignStream,
    Limits,
    Outcome,
    PollPolicy,
    TokenBudgetExhausted,
    TruecallerClient,
)

NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""Arguments that are not for the child: compiling its imports would be its memory peak."""

STATUS = Path("/proc/self/status")
MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024
"""Unit of `ru_maxrss`."""

LIMITS = Limits.documented().replace(token=(10_000, 1.0), batch=(300_000, 60.0))
"""Enforced limits that never delay a request: 5,000 batches per second and token.

Like the documented ones they have a window that is long enough for each batch to be recorded in a state file.
"""

PROMPT = PollPolicy(first=0.05)
"""Polls for a server that resolves at once, so that few records are unresolved."""

AS_SHIPPED = PollPolicy()
"""Default polls, two seconds after sending: the number of unresolved records reaches its maximum."""

WINDOW_START_MS = workload.hour()
"""Start of all windows; equal for all children, because the server answers with the first one."""

WARM_UP_RECORDS = 2_000
POLL_INTERVAL_SECONDS = 0.1


@attrs.frozen(kw_only=True)
class Campaign:
    """Task of a child.

    `certificate`: file with the server's certificate if it uses TLS. `prompt`: poll as soon as a batch is resolved.
    `pause`: after this number of results the reader waits until the maximum number of results is ready. `mints`: tokens
    that can be created in half an hour. `hungry`: at the end, request tokens until none can be created, as competing
    processes do.
    """

    url: str
    records: int
    certificate: str | None = None
    start: int = WINDOW_START_MS
    core: int = 0
    tokens: int = 1
    mints: int = 10
    state: str = "memory:"
    journal: str | None = None
    warm: int = WARM_UP_RECORDS
    prompt: bool = True
    pause: int = 0
    hungry: bool = False


@attrs.frozen
class Cost:
    """Cost of a campaign: wall-clock and CPU seconds, and memory in MB (a million bytes).

    `loaded` is the memory peak after the imports, `before` the peak at the start of the campaign. `open` is the largest
    observed number of unresolved records.
    """

    delivered: int
    seconds: float
    cpu: float
    generator: float
    loaded: float
    before: float
    peak: float
    open: int
    minted: int


class Child:
    """Started campaign; call `ready`, then `begin`, then `cost`."""

    def __init__(self, campaign: Campaign) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - a fixed command
            [sys.executable, "-m", __spec__.name, json.dumps(attrs.asdict(campaign))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != NO_BYTECODE},
            text=True,
        )

    def ready(self) -> None:
        """Wait until the child is warm."""
        self._line()

    def begin(self) -> None:
        """Start the campaign."""
        self._say()

    def cost(self) -> Cost:
        """Wait for the end of the campaign and return its cost."""
        return Cost(**json.loads(self._line()))

    def release(self) -> int:
        """Let the child finish; return the number of tokens that it created."""
        self._say()
        return int(self._line())

    def end(self) -> None:
        """End the process in any case."""
        if self._process.poll() is None:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._process.communicate(timeout=10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _say(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def _line(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a campaign ended with {self._process.wait()} and reported no cost")
        return line


@contextlib.contextmanager
def started(campaigns: Sequence[Campaign]) -> Iterator[list[Child]]:
    """Run warm children for the duration of the block."""
    children = [Child(campaign) for campaign in campaigns]
    try:
        for child in children:
            child.ready()
        yield children
    finally:
        for child in children:
            child.end()


def cost_of(campaign: Campaign) -> Cost:
    """Run one campaign and return its cost."""
    with started([campaign]) as children:
        children[0].begin()
        cost = children[0].cost()
        children[0].release()
    return cost


async def _run(campaign: Campaign, loaded: float) -> None:
    async with TruecallerClient(
        client_account_id=workload.ACCOUNT,
        key_id="key",
        api_key="secret",
        base_url=campaign.url,
        limits=LIMITS.replace(mint=(campaign.mints, 1800.0)),
        max_tokens=20,
        state=campaign.state,
        ssl=ssl.create_default_context(cafile=campaign.certificate) if campaign.certificate else None,
    ) as client:
        minted = await _minted(client, campaign.tokens)
        generator = _generator_cost()
        await _push(client, attrs.evolve(campaign, records=campaign.warm, journal=None))
        before = peak_mb()
        _wait_for_line("ready")
        cpu, clock = process_time(), perf_counter()
        delivered, most = await _push(client, campaign)
        seconds, spent = perf_counter() - clock, process_time() - cpu
        cost = Cost(delivered, seconds, spent, generator, loaded, before, peak_mb(), most, minted)
        _wait_for_line(json.dumps(attrs.asdict(cost)))
        if campaign.hungry:
            minted += await _minted(client, campaign.mints)
    print(minted, flush=True)


async def _push(client: TruecallerClient, campaign: Campaign) -> tuple[int, int]:
    """Return the number of delivered records and the largest observed number of unresolved ones."""
    delivered, pause = 0, campaign.pause
    options = CampaignOptions(poll=PROMPT if campaign.prompt else AS_SHIPPED)
    records = workload.records(campaign.records, campaign.start)
    async with client.push_many(records, options=options, journal=campaign.journal) as results:
        looking = asyncio.create_task(_most_open(results))
        async for result in results:
            delivered += result.outcome is Outcome.DELIVERED
            if delivered == pause:
                await _pile_up(results, delivered + options.max_unresolved)
                pause += campaign.pause
        return delivered, await looking


async def _most_open(results: CampaignStream) -> int:
    most = 0
    while not (progress := results.progress).finished:
        most = max(most, progress.read - progress.resolved)
        await asyncio.sleep(POLL_INTERVAL_SECONDS)
    return most


async def _pile_up(results: CampaignStream, most: int) -> None:
    """Wait until about this number of records is resolved, or the source has ended."""
    while not (progress := results.progress).finished and progress.resolved < most - workload.BATCH:  # noqa: ASYNC110
        await asyncio.sleep(POLL_INTERVAL_SECONDS)


async def _minted(client: TruecallerClient, count: int) -> int:
    """Create this number of tokens, or as many as the budget allows."""
    with contextlib.suppress(TokenBudgetExhausted):
        for made in range(count):
            if await client.tokens.make() is None:
                return made
        return count
    return made


def _generator_cost(count: int = 20_000) -> float:
    """Return the CPU seconds in which the generator creates one record."""
    began = process_time()
    for _ in islice(workload.records(count), count):
        pass
    return (process_time() - began) / count


def _wait_for_line(message: str) -> None:
    print(message, flush=True)
    sys.stdin.readline()


def peak_mb() -> float:
    """Return the memory peak of this program in MB (a million bytes)."""
    if STATUS.exists():
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1_000_000 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT_BYTES / 1_000_000


def client_cores() -> list[int]:
    """Return the usable cores except the last, which the server uses; empty without core selection."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    return cores[:-1] or cores


def pin_to_client_core(number: int) -> None:
    """Run this process on one of the client cores."""
    if cores := client_cores():
        os.sched_setaffinity(0, {cores[number % len(cores)]})


if __name__ == "__main__":
    campaign = Campaign(**json.loads(sys.argv[1]))
    at_first = peak_mb()
    pin_to_client_core(campaign.core)
    asyncio.run(_run(campaign, at_first))
