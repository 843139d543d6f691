"""One campaign in a process of its own, and what it cost there.

The child loads the library, the records and nothing else, so that its memory is that of a program that pushes. It makes
its tokens, pushes a few thousand records to be warm, says that it is ready and waits; so several of them can begin at
the same moment. Then it streams records from a generator, looks at each result and lets it go. Between the word to
begin and its last result are the processor time, the seconds and the peak that it tells.

The peak is the one that the system keeps for this program alone (`VmHWM`). Where there is no such file it is
`ru_maxrss`, which begins with the peak of the process that started it.
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
"""Not for the child: compiling its imports would be its peak."""

STATUS = Path("/proc/self/status")
UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which the system counts `ru_maxrss`."""

LIMITS = Limits.documented().replace(token=(10_000, 1.0), batch=(300_000, 60.0))
"""Limits that are on and do not bind: 5,000 batches a second for a token. Like the documented ones they have a window
so long that each batch is noted in a state file."""

PROMPT = PollPolicy(first=0.05)
"""The server resolves at once; so few records are unresolved at a time."""

AS_SHIPPED = PollPolicy()
"""The first polls come after two seconds: by then as many records as may be are unresolved."""

BEGAN = workload.hour()
"""The start of every window: the same for all children of one program, because the server answers with the first."""

WARM = 2_000
LOOK_EVERY = 0.1


@attrs.frozen(kw_only=True)
class Campaign:
    """What the child is to do.

    `certificate`: a file with the server's own, where it speaks TLS. `prompt`: polls come as soon as a batch is
    resolved. `pause`: each time after so many results the reader waits until as many as may be are ready. `mints`: so
    many tokens in half an hour. `hungry`: in the end it asks for tokens until none may be made any more, as processes
    do that compete for them.
    """

    url: str
    records: int
    certificate: str | None = None
    start: int = BEGAN
    core: int = 0
    tokens: int = 1
    mints: int = 10
    state: str = "memory:"
    journal: str | None = None
    warm: int = WARM
    prompt: bool = True
    pause: int = 0
    hungry: bool = False


@attrs.frozen
class Cost:
    """What it cost: seconds of the clock and of the processor, and memory in MB of a million bytes.

    `before` is the peak of the program when the campaign began, `loaded` the one when its imports were done. `open`:
    the most records that were seen unresolved at a time.
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
    """A started campaign. `ready`, then `begin`, then `cost`."""

    def __init__(self, campaign: Campaign) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own line
            [sys.executable, "-m", __spec__.name, json.dumps(attrs.asdict(campaign))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if name != NO_BYTECODE},
            text=True,
        )

    def ready(self) -> None:
        """Wait until it is warm."""
        self._line()

    def begin(self) -> None:
        """It may begin."""
        self._say()

    def cost(self) -> Cost:
        """Wait for its end."""
        return Cost(**json.loads(self._line()))

    def finish(self) -> int:
        """It may do what it does at the very end. How many tokens it made in all."""
        self._say()
        return int(self._line())

    def end(self) -> None:
        """Nothing of it stays, whatever happened."""
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
            raise RuntimeError(f"a campaign ended with {self._process.wait()} and told nothing")
        return line


@contextlib.contextmanager
def started(campaigns: Sequence[Campaign]) -> Iterator[list[Child]]:
    """Children that are warm, for the length of the block."""
    children = [Child(campaign) for campaign in campaigns]
    try:
        for child in children:
            child.ready()
        yield children
    finally:
        for child in children:
            child.end()


def cost_of(campaign: Campaign) -> Cost:
    """One campaign, from its beginning to its end."""
    with started([campaign]) as children:
        children[0].begin()
        cost = children[0].cost()
        children[0].finish()
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
        _wait_for_word("ready")
        cpu, clock = process_time(), perf_counter()
        delivered, most = await _push(client, campaign)
        seconds, spent = perf_counter() - clock, process_time() - cpu
        cost = Cost(delivered, seconds, spent, generator, loaded, before, peak_mb(), most, minted)
        _wait_for_word(json.dumps(attrs.asdict(cost)))
        if campaign.hungry:
            minted += await _minted(client, campaign.mints)
    print(minted, flush=True)


async def _push(client: TruecallerClient, campaign: Campaign) -> tuple[int, int]:
    """How many were delivered, and the most that were seen unresolved at a time."""
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
        await asyncio.sleep(LOOK_EVERY)
    return most


async def _pile_up(results: CampaignStream, most: int) -> None:
    """Wait until about so many records in all are resolved, or there are no more."""
    while not (progress := results.progress).finished and progress.resolved < most - workload.BATCH:  # noqa: ASYNC110
        await asyncio.sleep(LOOK_EVERY)


async def _minted(client: TruecallerClient, count: int) -> int:
    """Make so many tokens, or as many as may be made."""
    with contextlib.suppress(TokenBudgetExhausted):
        for made in range(count):
            if await client.tokens.make() is None:
                return made
        return count
    return made


def _generator_cost(count: int = 20_000) -> float:
    """Processor seconds in which the generator makes one record."""
    began = process_time()
    for _ in islice(workload.records(count), count):
        pass
    return (process_time() - began) / count


def _wait_for_word(said: str) -> None:
    print(said, flush=True)
    sys.stdin.readline()


def peak_mb() -> float:
    """The most memory that this program has had, in MB of a million bytes."""
    if STATUS.exists():
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 / 1_000_000 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 1_000_000


def client_cores() -> list[int]:
    """The cores of which this process may choose, but for the last, which is the server's; none without a choice."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    cores = sorted(os.sched_getaffinity(0))
    return cores[:-1] or cores


def sit_apart(number: int) -> None:
    """Run on one of these cores."""
    if cores := client_cores():
        os.sched_setaffinity(0, {cores[number % len(cores)]})


if __name__ == "__main__":
    told = Campaign(**json.loads(sys.argv[1]))
    at_first = peak_mb()
    sit_apart(told.core)
    asyncio.run(_run(told, at_first))
