"""A local server that plays scripted answers, and options that lead to it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ssl import SSLContext

from tests.transport.raw_server import Connection, RawServer, Script
from truecaller_async.options import RetryPolicy, Timeouts
from truecaller_async.verification import ServiceOptions

FAST_RETRY = RetryPolicy(attempts=2, total=30, initial=0.001, cap=0.001)
TIMEOUTS = Timeouts(connect=5, read=5)


def answering(body: bytes, status: str = "200 OK", headers: str = "") -> Script:
    """Return a script that answers one request and closes the connection."""

    async def answer(connection: Connection) -> None:
        await connection.request()
        await connection.answer(
            body, status=status, headers=f"Content-Type: application/json\r\n{headers}Connection: close\r\n"
        )

    return answer


async def disconnecting(connection: Connection) -> None:
    """Read the request and close the connection."""
    await connection.request()


@asynccontextmanager
async def serving(*scripts: Script, ssl: SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Start a server. The n-th connection plays the n-th script."""
    async with RawServer(*scripts, ssl=ssl) as server:
        yield server


def options_for(server: RawServer) -> ServiceOptions:
    """Return options that lead to this server."""
    return ServiceOptions(base_url=server.url, retry=FAST_RETRY, timeouts=TIMEOUTS)


def header(head: bytes, name: str) -> str | None:
    """Return the value of a header in a received request."""
    found = re.search(rf"^{name}: (.*?)\r$".encode(), head, re.IGNORECASE | re.MULTILINE)
    return found[1].decode() if found else None
