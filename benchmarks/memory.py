"""What ten times the records cost in memory: nothing, if the stream is one.

Each campaign runs in a process of its own, which streams records from a generator, looks at each result and lets it
go. The peak is the operating system's (`ru_maxrss`). That figure survives `exec`: a new process begins with the peak
of the one that started it, so a large parent would hide the child's own. The child therefore says what it began
with, and a peak that is not above it is no measurement.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor

import attrs

from benchmarks import Figure, at_most, exactly
from benchmarks.server import SPAWN, records, sandbox
from truecaller_async import TruecallerClient
from truecaller_async.sandbox import SPEEDS

SMALL = 100_000
LARGE = 1_000_000
DIFFERENCE = 40.0
REMEMBERED = 300_000
"""Applied records that the sandbox keeps: more than can be unresolved, or it would forget what is still asked for."""

RESOLVE_AFTER = 0.5
UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes in which the system counts `ru_maxrss`."""


@attrs.frozen
class Peak:
    """Memory in MB, a million bytes each: at the beginning of the process, and at its most."""

    before: float
    after: float
    delivered: int


def compare() -> list[Figure]:
    """The peak of the client with 100,000 and with 1,000,000 records, limits that nobody reaches."""
    small, large = _measured(SMALL), _measured(LARGE)
    return [
        exactly("memory: delivered, both runs", small.delivered + large.delivered, SMALL + LARGE),
        Figure(f"memory: peak with {SMALL:,} records", f"{small.after:.1f} MB"),
        Figure(f"memory: peak with {LARGE:,} records", f"{large.after:.1f} MB"),
        at_most("memory: difference", large.after - small.after, DIFFERENCE, " MB"),
    ]


def _measured(count: int) -> Peak:
    limits = SPEEDS["off"]
    with (
        sandbox(limits=limits, resolve_after=RESOLVE_AFTER, truth_limit=REMEMBERED) as server,
        ProcessPoolExecutor(1, mp_context=SPAWN) as process,
    ):
        peak = process.submit(_peak, server.environment, count).result()
    print(f"  {count:,} records: {peak.after:.1f} MB, of which {peak.before:.1f} MB at the start", flush=True)
    if peak.after <= peak.before:
        raise RuntimeError("the parent's peak hides the child's: run 'python -m benchmarks memory' alone")
    return peak


def _peak(environment: Mapping[str, str], count: int) -> Peak:
    before = _mb()
    delivered = asyncio.run(_delivered(environment, count))
    return Peak(before, _mb(), delivered)


async def _delivered(environment: Mapping[str, str], count: int) -> int:
    client = TruecallerClient.from_env(environment)
    async with client, client.push_many(records(count)) as results:
        async for _ in results:
            pass
    return results.summary.delivered


def _mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 1_000_000
