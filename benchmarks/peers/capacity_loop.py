"""Loop with capacity counters, the pattern of well-known scripts for parallel requests.

Each iteration takes a work item, from the queue of retries and polls or from the source. It refills its request counter
by the elapsed time, starts a task if there is capacity, and sleeps for a millisecond. The loop ends when there is
neither work nor a task.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator, Sequence

import aiohttp
import attrs

from benchmarks.peers import (
    ENOUGH,
    IN_FLIGHT,
    POLL_EVERY,
    TIMEOUT,
    Outcome,
    Row,
    address,
    batches,
    headers,
    is_final,
    outcomes,
)

PAUSE = 0.001
ATTEMPTS = 5
PAUSE_AFTER_REFUSAL = 15.0


@attrs.define
class Work:
    """A batch to post or, if it has an id, to poll."""

    batch: Sequence[Row]
    attempts_left: int = ATTEMPTS
    batch_id: str | None = None
    due: float = 0.0


@attrs.define
class Tracker:
    """Counters of the loop's tasks."""

    again: deque[Work] = attrs.field(factory=deque)
    found: list[Outcome] = attrs.field(factory=list)
    failed: list[Work] = attrs.field(factory=list)
    tasks: set[asyncio.Task[None]] = attrs.field(factory=set)
    refused_at: float = float("-inf")


def push_all(url: str, token: str, rows: Sequence[Row]) -> list[Outcome]:
    """Run the loop until all batches are done."""
    return asyncio.run(_push_all(address(url), token, rows))


async def _push_all(to: str, token: str, rows: Sequence[Row]) -> list[Outcome]:
    connector, timeout = aiohttp.TCPConnector(limit=IN_FLIGHT), aiohttp.ClientTimeout(total=TIMEOUT)
    tracker = Tracker()
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=headers(token)) as http:
        await _loop(http, to, tracker, batches(rows))
    if tracker.failed:
        raise RuntimeError(f"{len(tracker.failed)} batches failed")
    return tracker.found


async def _loop(http: aiohttp.ClientSession, to: str, tracker: Tracker, source: Iterator[Sequence[Row]]) -> None:
    capacity, filled = float(ENOUGH), time.monotonic()
    work: Work | None = None
    is_read = False
    while True:
        if work is None:
            work = _due(tracker)
        if work is None and not is_read:
            batch = next(source, None)
            is_read = batch is None
            work = None if batch is None else Work(batch)
        now = time.monotonic()
        capacity, filled = min(ENOUGH, capacity + (now - filled) * ENOUGH), now
        if work is not None and capacity >= 1:
            capacity -= 1
            task = asyncio.create_task(_call(http, to, tracker, work))
            tracker.tasks.add(task)
            task.add_done_callback(tracker.tasks.discard)
            work = None
        if work is None and is_read and not tracker.tasks and not tracker.again:
            return
        await asyncio.sleep(PAUSE)
        if time.monotonic() - tracker.refused_at < PAUSE_AFTER_REFUSAL:
            await asyncio.sleep(PAUSE_AFTER_REFUSAL)


def _due(tracker: Tracker) -> Work | None:
    if tracker.again and tracker.again[0].due <= time.monotonic():
        return tracker.again.popleft()
    return None


async def _call(http: aiohttp.ClientSession, to: str, tracker: Tracker, work: Work) -> None:
    try:
        if work.batch_id is None:
            async with http.post(to, json={"call_records": work.batch}, raise_for_status=True) as answer:
                work.batch_id = (await answer.json())["batch_id"]
            tracker.again.append(work)
            return
        async with http.get(to, params={"batchId": work.batch_id}, raise_for_status=True) as answer:
            said = await answer.json()
    except (aiohttp.ClientError, TimeoutError) as error:
        _try_again(tracker, work, error)
        return
    if is_final(said):
        tracker.found += outcomes(said)
    else:
        work.due = time.monotonic() + POLL_EVERY
        tracker.again.append(work)


def _try_again(tracker: Tracker, work: Work, error: Exception) -> None:
    if isinstance(error, aiohttp.ClientResponseError) and error.status == 429:
        tracker.refused_at = time.monotonic()
    work.attempts_left -= 1
    (tracker.again if work.attempts_left else tracker.failed).append(work)
