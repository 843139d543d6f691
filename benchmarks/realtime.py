"""A push just before a call, while a campaign uses up the same token: how much longer does it take?

The token may make `LIMIT` requests a second, and both the campaign's and the push are counted. Pushes come a few of the
limiter's intervals apart, so that one need not wait for the one before: first with nothing else to do, then with a
campaign that never ends. What the campaign adds to the 99th percentile is told in intervals, one of which is the time
between two permits: a push that waits for the next permit, whoever else wants it, waits about one at most. That the
campaign had used all there is to use is measured too, as the part of the permitted rate that went out meanwhile.
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
from benchmarks.cases import LIMITS, POLL, Place
from benchmarks.lean import SPAWN, sit_on
from truecaller_async import CallRecord, CampaignOptions, TruecallerClient
from truecaller_async.resilience.rate_law import window_seconds

LIMIT = 20
INTERVAL = window_seconds(LIMITS.replace(token=(LIMIT, 1.0)).rules[0]) / LIMIT
"""Seconds between two permits."""

APART = (2 * INTERVAL, 4 * INTERVAL)
QUIET, BUSY = 30, 60
"""Pushes in one round, without the campaign and with it."""

SETTLES = 1.0
"""Seconds from the campaign's beginning to the first push."""

ENDLESS = 10**9


@attrs.frozen
class Latencies:
    """Seconds of each push, and the part of the permitted rate that was used while the campaign ran."""

    quiet: tuple[float, ...]
    busy: tuple[float, ...]
    used: float


def measured(place: Place, seed: int) -> Latencies:
    """One round, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as process:
        return process.submit(_measured, place, seed).result()


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that is not below this part of all."""
    return sorted(values)[math.ceil(part * len(values)) - 1]


def added(quiet: Sequence[float], busy: Sequence[float]) -> float:
    """What the campaign adds to the 99th percentile, in intervals of the limiter."""
    return (percentile(busy, 0.99) - percentile(quiet, 0.99)) / INTERVAL


def _measured(place: Place, seed: int) -> Latencies:
    sit_on(0)
    return asyncio.run(_round(place, Random(seed)))


async def _round(place: Place, rng: Random) -> Latencies:
    async with place.client(LIMITS.replace(token=(LIMIT, 1.0))) as client:
        (record,) = islice(workload.records(1, place.start), 1)
        await _pushes(client, record, 5, rng)
        quiet = await _pushes(client, record, QUIET, rng)
        endless = workload.records(ENDLESS, place.start)
        async with client.push_many(endless, options=CampaignOptions(poll=POLL)) as campaign:
            await asyncio.sleep(SETTLES)
            sent, began = _sent(campaign.summary.requests), perf_counter()
            busy = await _pushes(client, record, BUSY, rng)
            sent, seconds = _sent(campaign.summary.requests) - sent, perf_counter() - began
    return Latencies(tuple(quiet), tuple(busy), (sent + len(busy)) * INTERVAL / seconds)


def _sent(requests: Mapping[str, int]) -> int:
    return requests.get("submit", 0) + requests.get("status", 0)


async def _pushes(client: TruecallerClient, record: CallRecord, count: int, rng: Random) -> list[float]:
    """Each is begun at its time, whether the one before has come back or not: a slow one hides no other."""
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
