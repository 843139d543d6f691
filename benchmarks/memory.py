"""Memory for ten times as many records: the increase must be zero if the stream keeps nothing.

    python -m benchmarks.memory                      1,000,000 and 10,000,000 records
    python -m benchmarks.memory 100000 1000000       other sizes
    python -m benchmarks.memory --parts              memory of unresolved records by part

Each campaign runs in a process of its own (`benchmarks.campaign`), which imports only the library, streams records from
a generator, and reads each result without keeping it. The options are the defaults: the first polls come after two
seconds, so that the maximum number of records (`max_unresolved`, 100,000) is unresolved for much of the run, as with a
slow service. The peak is reported in three steps: after the imports, after the first records, and of the campaign. In a
third campaign the reader pauses from time to time until the maximum number of results is ready.

`--parts` reports the memory per source line (`tracemalloc`) while 100,000 records are in progress: all waiting for a
permit, all sent and not polled, or all resolved with unread results.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

from benchmarks import MARKS, Figure, at_most, exactly, workload
from benchmarks.campaign import LIMITS, PROMPT, Campaign, Cost, cost_of
from benchmarks.minimal_server import minimal_server
from truecaller_async import CampaignOptions, Limits, PollPolicy, Progress, TruecallerClient

SMALL = 1_000_000
LARGE = 10_000_000
PEAK = 100.0
DIFFERENCE = 20.0
PAUSED, PAUSE = 400_000, 80_000

UNRESOLVED = 100_000
LATE = PollPolicy(first=15.0)
TIGHT = Limits.documented().replace(batch=(1, 60.0))
BASES = (Path(__file__).parents[1], Path(sys.prefix), Path(sys.base_prefix))
LINES = 16


def compare(small: int = SMALL, large: int = LARGE) -> list[Figure]:
    """Return the memory peaks of both sizes with limits that never delay a request."""
    with minimal_server() as server:
        cost_of(Campaign(url=server.url, records=workload.CYCLE))  # afterwards the server knows every batch
        little, much = _measured(server.url, small), _measured(server.url, large)
        paused = cost_of(Campaign(url=server.url, records=PAUSED, warm=workload.BATCH, pause=PAUSE))
    return [
        exactly("memory: delivered, both runs", little.delivered + much.delivered, small + large),
        Figure("memory: most records unresolved at a time", f"{min(little.open, much.open):,}"),
        Figure("memory: imports", f"{little.loaded:.1f} MB"),
        Figure("memory: a client that has sent 500 records", f"{little.before:.1f} MB"),
        at_most(f"memory: peak with {small:,} records", little.peak, PEAK, " MB"),
        at_most(f"memory: peak with {large:,} records", much.peak, PEAK, " MB"),
        at_most(f"memory: peak with {PAUSED:,} records and a reader that pauses", paused.peak, PEAK, " MB"),
        at_most("memory: difference", much.peak - little.peak, DIFFERENCE, " MB"),
    ]


def _measured(url: str, count: int) -> Cost:
    cost = cost_of(Campaign(url=url, records=count, warm=workload.BATCH, prompt=False))
    print(f"  {count:,} records: {cost.peak:.1f} MB, {cost.seconds:.1f} s, {cost.open:,} unresolved", flush=True)
    return cost


def parts() -> None:
    """Print the memory of records in progress by part, in bytes per record."""
    with minimal_server() as server:
        print("waiting for a permit")
        asyncio.run(_part(server.url, TIGHT, LATE, lambda progress: progress.planned + workload.BATCH))
        print("sent, not yet polled")
        asyncio.run(_part(server.url, LIMITS, LATE, lambda progress: progress.pending))
        print("resolved, result not yet read")
        asyncio.run(_part(server.url, LIMITS, PROMPT, lambda progress: progress.resolved))


async def _part(url: str, limits: Limits, polls: PollPolicy, counted: Callable[[Progress], int]) -> None:
    client = TruecallerClient(
        client_account_id=workload.ACCOUNT, key_id="key", api_key="secret", base_url=url, limits=limits, max_tokens=1
    )
    async with client:
        await client.tokens.make()
        gc.collect()
        tracemalloc.start()
        stream = client.push_many(workload.records(UNRESOLVED), options=CampaignOptions(poll=polls))
        async with stream:
            while counted(stream.progress) < UNRESOLVED:  # noqa: ASYNC110 - no event for it
                await asyncio.sleep(0.05)
            gc.collect()
            taken = tracemalloc.take_snapshot()
            tracemalloc.stop()
    _print_parts(taken)


def _print_parts(taken: tracemalloc.Snapshot) -> None:
    found = taken.statistics("lineno")
    for line in found[:LINES]:
        place = line.traceback[0]
        print(f"  {line.size / UNRESOLVED:6.1f} B  {_short(place.filename)}:{place.lineno}")
    print(f"  {sum(line.size for line in found) / UNRESOLVED:6.1f} B  in all")


def _short(name: str) -> str:
    path = Path(name)
    return next((str(path.relative_to(base)) for base in BASES if path.is_relative_to(base)), name)


def main() -> int:
    """Measure, print the table, and exit with 1 if a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("small", nargs="?", type=int, default=SMALL, help="records of the smaller campaign")
    parser.add_argument("large", nargs="?", type=int, default=LARGE, help="records of the larger one")
    parser.add_argument("--parts", action="store_true", help="what the memory of unresolved records is made of")
    arguments = parser.parse_args()
    if arguments.parts:
        parts()
        return 0
    figures = compare(arguments.small, arguments.large)
    for figure in figures:
        print(f"| {figure.name} | {figure.value} | {figure.target} | {MARKS[figure.met]} |")
    return 1 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
