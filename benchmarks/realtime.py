"""Latency of a push just before a call while a campaign uses the same token.

The token can make `LIMIT` requests per second, and both the requests of the campaign and the push are counted. Pushes
start several intervals of the limiter apart, so that they need not wait for each other: first without a campaign, then
with an endless one. The addition to the 99th percentile is reported in intervals, the time between two permits: a push
that gets the next permit waits at most about one. The used share of the permitted rate is measured too, to show that
the campaign used all permits.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from random import Random
from time import perf_counter

import attrs

from benchmarks import workload
from benchmarks.cases import LIMITS, POLL, Target
from benchmarks.minimal_server import SPAWN, pin_to_core
from truecaller_async import CallRecord, CampaignOptions, TruecallerClient
from truecaller_async.resilience.rate_law import window_seconds

LIMIT = 20
INTERVAL_SECONDS = window_seconds(LIMITS.replace(token=(LIMIT, 1.0)).rules[0]) / LIMIT
"""Seconds between two permits."""

APART = (2 * INTERVAL_SECONDS, 4 * INTERVAL_SECONDS)
QUIET, BUSY = 30, 60
"""Pushes in one round, without the campaign and with it."""

SETTLE_SECONDS = 1.0
"""Seconds from the start of the campaign to the first push."""

ENDLESS = 10**9


@attrs.frozen
class Latencies:
    """Seconds of each push, and the used share of the permitted rate during the campaign."""

    quiet: tuple[float, ...]
    busy: tuple[float, ...]
    used: float


def measured(target: Target, seed: int) -> Latencies:
    """Run one round in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as process:
        return process.submit(_measured, target, seed).result()


def percentile(values: Sequence[float], part: float) -> float:
    """Return the smallest value that is not below this fraction of all values."""
    return sorted(values)[math.ceil(part * len(values)) - 1]


def added(quiet: Sequence[float], busy: Sequence[float]) -> float:
    """Return what the campaign adds to the 99th percentile, in intervals of the limiter."""
    return (percentile(busy, 0.99) - percentile(quiet, 0.99)) / INTERVAL_SECONDS


def _measured(target: Target, seed: int) -> Latencies:
    pin_to_core(0)
    return asyncio.run(_round(target, Random(seed)))


async def _round(target: Target, rng: Random) -> Latencies:
    async with target.client(LIMITS.replace(token=(LIMIT, 1.0))) as client:
        (record,) = islice(workload.records(1, target.start), 1)
        await _pushes(client, record, 5, rng)
        quiet = await _pushes(client, record, QUIET, rng)
        endless = workload.records(ENDLESS, target.start)
        async with client.push_many(endless, options=CampaignOptions(poll=POLL)) as campaign:
            await asyncio.sleep(SETTLE_SECONDS)
            sent, began = _sent(campaign.summary.requests), perf_counter()
            busy = await _pushes(client, record, BUSY, rng)
            sent, seconds = _sent(campaign.summary.requests) - sent, perf_counter() - began
    return Latencies(tuple(quiet), tuple(busy), (sent + len(busy)) * INTERVAL_SECONDS / seconds)


def _sent(requests: Mapping[str, int]) -> int:
    return requests.get("submit", 0) + requests.get("status", 0)


async def _pushes(client: TruecallerClient, record: CallRecord, count: int, rng: Random) -> list[float]:
    """Start each push at its time, whether the previous one has ended or not: a slow push hides no other."""
    async with asyncio.TaskGroup() as group:
        pushes = []
        for _ in range(count):
            await asyncio.sleep(rng.uniform(*APART))
            pushes.append(group.create_task(_push(client, record)))
    return [push.result() for push in pushes]


async def _push(client: TruecallerClient, record: CallRecord) -> float:
    began = perf_counter()
    await client.calls.push(record)
    return perf_counter() - began
