"""The pattern `asyncio.gather` with a semaphore in httpx: one task per batch, sixteen active."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpx

from benchmarks.peers import (
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


def push_all(url: str, token: str, rows: Sequence[Row]) -> list[Outcome]:
    """Start all batches at once, limited by the semaphore."""
    return asyncio.run(_push_all(address(url), token, rows))


async def _push_all(to: str, token: str, rows: Sequence[Row]) -> list[Outcome]:
    limits = httpx.Limits(max_connections=IN_FLIGHT, max_keepalive_connections=IN_FLIGHT)
    free = asyncio.Semaphore(IN_FLIGHT)
    async with httpx.AsyncClient(headers=headers(token), limits=limits, timeout=TIMEOUT, trust_env=False) as http:
        found = await asyncio.gather(*(_push(http, free, to, batch) for batch in batches(rows)))
    return [outcome for batch in found for outcome in batch]


async def _push(http: httpx.AsyncClient, free: asyncio.Semaphore, to: str, batch: Sequence[Row]) -> list[Outcome]:
    async with free:
        posted = await http.post(to, json={"call_records": batch})
        posted.raise_for_status()
        batch_id = posted.json()["batch_id"]
        while True:
            asked = await http.get(to, params={"batchId": batch_id})
            asked.raise_for_status()
            answer = asked.json()
            if is_final(answer):
                return outcomes(answer)
            await asyncio.sleep(POLL_EVERY)
