"""LIMIT: the maximum speed of the HTTP library on this machine.

Bodies that were encoded before are posted, and each status is read as bytes and dropped. Nothing is encoded, decoded,
validated, limited or returned. A program that uses this library can at best come close to it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Iterator

import aiohttp

from benchmarks.peers import IN_FLIGHT, address, headers

BEFORE_ID, BEHIND_ID = len(b'{"batch_id":"'), len(b'"}')


async def post_all(url: str, token: str, bodies: Iterable[bytes], context: ssl.SSLContext | None = None) -> None:
    """Post each body and request its status, a number of them at the same time."""
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=context or True)
    kind = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, headers=headers(token) | kind) as http:
        work = iter(bodies)
        await asyncio.gather(*(_post(http, address(url), work) for _ in range(IN_FLIGHT)))


async def _post(http: aiohttp.ClientSession, to: str, work: Iterator[bytes]) -> None:
    for body in work:
        async with http.post(to, data=body) as answer:
            said = await answer.read()
        batch_id = said[BEFORE_ID:-BEHIND_ID].decode()
        async with http.get(to, params={"batchId": batch_id}) as answer:
            await answer.read()
