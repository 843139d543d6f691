"""Use aiohttp with a limiter before each request and retries around it, a widely recommended pattern."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import aiohttp
from aiolimiter import AsyncLimiter
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

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


def push_all(url: str, token: str, rows: Sequence[Row]) -> list[Outcome]:
    """Push with sixteen workers on one session and one limiter."""
    return asyncio.run(_push_all(address(url), token, rows))


async def _push_all(to: str, token: str, rows: Sequence[Row]) -> list[Outcome]:
    connector, timeout = aiohttp.TCPConnector(limit=IN_FLIGHT), aiohttp.ClientTimeout(total=TIMEOUT)
    found: list[Outcome] = []
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers(token), raise_for_status=True
    ) as http:
        account = Account(http, to)
        work = batches(rows)
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(_work(account, work, found))
    return found


async def _work(account: Account, work: Iterator[Sequence[Row]], found: list[Outcome]) -> None:
    for batch in work:
        batch_id = await account.post(batch)
        while True:
            answer = await account.status(batch_id)
            if is_final(answer):
                break
            await asyncio.sleep(POLL_EVERY)
        found += outcomes(answer)


class Account:
    """The two requests, rate-limited and retried."""

    def __init__(self, http: aiohttp.ClientSession, to: str) -> None:
        self._http = http
        self._to = to
        self._limiter = AsyncLimiter(ENOUGH, 1.0)

    @retry(
        retry=retry_if_exception_type(aiohttp.ClientError), stop=stop_after_attempt(5), wait=wait_random_exponential()
    )
    async def post(self, batch: Sequence[Row]) -> str:
        """Post a batch and return its id."""
        async with self._limiter, self._http.post(self._to, json={"call_records": batch}) as answer:
            said = await answer.json()
        return str(said["batch_id"])

    @retry(
        retry=retry_if_exception_type(aiohttp.ClientError), stop=stop_after_attempt(5), wait=wait_random_exponential()
    )
    async def status(self, batch_id: str) -> dict[str, Any]:
        """Return the status of a batch."""
        async with self._limiter, self._http.get(self._to, params={"batchId": batch_id}) as answer:
            said: dict[str, Any] = await answer.json()
        return said
