"""A server of one machine that answers every request with what it was told, and keeps what it was asked."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext

from tests.transport.raw_server import Connection, RawServer, Script
from truecaller_async.options import RetryPolicy, Timeouts
from truecaller_async.verification import ServiceOptions

QUICKLY_AGAIN = RetryPolicy(attempts=2, total=30, initial=0.001, cap=0.001)
PATIENT = Timeouts(connect=5, read=5)


def says(body: bytes, status: str = "200 OK", headers: str = "") -> Script:
    """One answer, and the end of the connection."""

    async def answer(connection: Connection) -> None:
        await connection.request()
        await connection.answer(
            body, status=status, headers=f"Content-Type: application/json\r\n{headers}Connection: close\r\n"
        )

    return answer


async def falls_silent(connection: Connection) -> None:
    """Take the request and break off."""
    await connection.request()


@asynccontextmanager
async def serving(*scripts: Script, ssl: SSLContext | None = None) -> AsyncIterator[RawServer]:
    """The n-th connection plays the n-th script."""
    async with RawServer(*scripts, ssl=ssl) as server:
        yield server


def options_for(server: RawServer) -> ServiceOptions:
    """Options that lead to this server."""
    return ServiceOptions(base_url=server.url, retry=QUICKLY_AGAIN, timeouts=PATIENT)


def header(head: bytes, name: str) -> str | None:
    """The value of a header in what a server received."""
    found = re.search(rf"^{name}: (.*?)\r$".encode(), head, re.IGNORECASE | re.MULTILINE)
    return found[1].decode() if found else None
