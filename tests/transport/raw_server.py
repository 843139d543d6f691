"""Server below HTTP that records all received bytes and breaks a connection at a chosen place.

It knows only enough of HTTP to find the end of a request. The rest is a *script*: a coroutine function that receives
the `Connection` and reads, writes or breaks it. The n-th connection runs the n-th script; when there are no more, the
last script is repeated.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from ssl import SSLContext
from typing import Self, TypeAlias

import attrs


@attrs.define(eq=False)
class Connection:
    """One accepted connection. `received` has all bytes of the client."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: bytearray = attrs.field(factory=bytearray)

    async def head(self) -> bytes:
        """Read up to the end of the headers of a request."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        self.received += head
        return head

    async def request(self) -> bytes:
        """Read one whole request and return its head."""
        head = await self.head()
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        if length:
            self.received += await self.reader.readexactly(int(length[1]))
        return head

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"{}", *, status: str = "200 OK", headers: str = "") -> None:
        """Write one complete answer; `headers` are whole lines."""
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
        await self.write(head.encode("latin-1") + body)

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_closed(self) -> None:
        """Send nothing more, and wait until the client has closed."""
        while data := await self.reader.read(65536):
            self.received += data


Script: TypeAlias = Callable[[Connection], Awaitable[None]]


async def serve_forever(connection: Connection) -> None:
    """Answer each request on the connection with `{}`."""
    while True:
        await connection.request()
        await connection.answer()


class RawServer:
    """Server on a loopback port that runs scripts within `async with`."""

    def __init__(self, *scripts: Script, ssl: SSLContext | None = None) -> None:
        self._scripts = scripts or (serve_forever,)
        self._ssl = ssl
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.connections: list[Connection] = []

    @property
    def port(self) -> int:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        assert isinstance(port, int)
        return port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def received(self) -> bytes:
        """Return all bytes of all connections."""
        return b"".join(bytes(connection.received) for connection in self.connections)

    @property
    def requests(self) -> int:
        """Return the number of requests that began to arrive."""
        return len(re.findall(rb"[A-Z]+ \S+ HTTP/1\.1\r\n", self.received))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._ssl)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self.connections:
            connection.writer.transport.abort()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        connection = Connection(reader, writer)
        script = self._scripts[min(len(self.connections), len(self._scripts) - 1)]
        self.connections.append(connection)
        try:
            await script(connection)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client or the end of the test broke the connection
        finally:
            self._running.discard(task)
            writer.close()
