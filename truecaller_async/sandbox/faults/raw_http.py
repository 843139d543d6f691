"""Writer of answers: aiohttp writes complete answers, this module writes damaged ones byte by byte.

`encode_head` and the encoders return the bytes of a delivery mode, without I/O. `RawHttp` writes them, waits if the
mode has delays, and then closes the connection: no damaged answer leaves a reusable connection. A very large body is
generated in pieces while it is written, no faster than the client reads.

Invariants:
    - No task outlives its client: aiohttp cancels the handler of a closed connection (`handler_cancellation`).
    - `RawHttp.stop` aborts each connection with an incomplete answer.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from http import HTTPStatus
from types import MappingProxyType

from aiohttp import web

from truecaller_async.sandbox.answers import DeliveryMode, SandboxResponse

MIB_BYTES = 1024 * 1024
HUGE_BODY_BYTES = 1024 * MIB_BYTES
"""Body size of `DeliveryMode.HUGE`."""
BOMB_UNPACKED_BYTES = 200 * MIB_BYTES
"""Unpacked body size of `DeliveryMode.BOMB`."""
PIECE_BYTES = 64 * 1024
"""Size of one piece of a generated body."""
EXCESS_LENGTH_BYTES = 100
"""Bytes by which a false `Content-Length` exceeds the body."""
LONG_HEADER = b"x-long: " + b"x" * 16 * 1024 + b"\r\n"

NO_LINGER = struct.pack("ii", 1, 0)
"""Value of SO_LINGER with which closing a socket resets the connection."""


def encode_head(reply: SandboxResponse, framing: bytes | None = None) -> bytes:
    """Return the status line, the headers and the framing headers of an answer."""
    phrase = next((known.phrase for known in HTTPStatus if known == reply.status), "Unknown")
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {value}" for name, value in reply.headers.items())]
    framing = _length(len(reply.body)) if framing is None else framing
    return "".join(f"{line}\r\n" for line in lines).encode() + b"connection: close\r\n" + framing + b"\r\n"


def _length(length: int) -> bytes:
    return b"content-length: %d\r\n" % length


def _cut(reply: SandboxResponse) -> bytes:
    return encode_head(reply) + reply.body[: len(reply.body) // 2]


def _cut_chunked(reply: SandboxResponse) -> bytes:
    chunk = b"%x\r\n" % len(reply.body) + reply.body[: len(reply.body) // 2]
    return encode_head(reply, b"transfer-encoding: chunked\r\n") + chunk


def _cut_unmarked(reply: SandboxResponse) -> bytes:
    return encode_head(reply, b"") + reply.body[: len(reply.body) // 2]


def _long_length(reply: SandboxResponse) -> bytes:
    return encode_head(reply, _length(len(reply.body) + EXCESS_LENGTH_BYTES)) + reply.body


def _short_length(reply: SandboxResponse) -> bytes:
    return encode_head(reply, _length(len(reply.body) // 2)) + reply.body


def _two_lengths(reply: SandboxResponse) -> bytes:
    return encode_head(reply, _length(len(reply.body)) + _length(len(reply.body) + 1)) + reply.body


def _garbage(reply: SandboxResponse) -> bytes:
    return b"HTTP/one.one OK then\r\n" + encode_head(reply).partition(b"\r\n")[2] + reply.body


def _not_http(_: SandboxResponse) -> bytes:
    return b"SSH-2.0-OpenSSH_9.6\r\n"


def _long_header(reply: SandboxResponse) -> bytes:
    return encode_head(reply, _length(len(reply.body)) + LONG_HEADER) + reply.body


def _nothing(_: SandboxResponse) -> bytes:
    return b""


RAW_ENCODERS: Mapping[DeliveryMode, Callable[[SandboxResponse], bytes]] = MappingProxyType(
    {
        DeliveryMode.RESET: _nothing,
        DeliveryMode.CLOSE: _nothing,
        DeliveryMode.STALL: _nothing,
        DeliveryMode.CUT: _cut,
        DeliveryMode.CUT_CHUNKED: _cut_chunked,
        DeliveryMode.CUT_UNMARKED: _cut_unmarked,
        DeliveryMode.LONG_LENGTH: _long_length,
        DeliveryMode.SHORT_LENGTH: _short_length,
        DeliveryMode.TWO_LENGTHS: _two_lengths,
        DeliveryMode.GARBAGE: _garbage,
        DeliveryMode.NOT_HTTP: _not_http,
        DeliveryMode.LONG_HEADER: _long_header,
    }
)
"""Encoders of the delivery modes that are written in one piece."""

LEFT_OPEN_MODES = (DeliveryMode.STALL, DeliveryMode.LONG_LENGTH)
"""Delivery modes in which the connection stays open after the last byte."""


def drip_parts(reply: SandboxResponse) -> tuple[bytes, bytes, bytes]:
    """Return the bytes written at once, the bytes written one by one, and the bytes written after them."""
    if reply.mode is DeliveryMode.DRIP:
        return encode_head(reply), reply.body, b""
    return b"", encode_head(reply), reply.body


def _huge() -> Iterator[bytes]:
    piece = b" " * PIECE_BYTES
    for _ in range(HUGE_BODY_BYTES // PIECE_BYTES):
        yield piece


def _endless() -> Iterator[bytes]:
    piece = b" " * PIECE_BYTES
    while True:
        yield piece


def _bomb() -> Iterator[bytes]:
    packer = zlib.compressobj(9, wbits=31)
    for _ in range(BOMB_UNPACKED_BYTES // MIB_BYTES):
        yield packer.compress(b" " * MIB_BYTES) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


STREAMED_BODIES: Mapping[DeliveryMode, Callable[[], Iterator[bytes]]] = MappingProxyType(
    {DeliveryMode.HUGE: _huge, DeliveryMode.ENDLESS: _endless, DeliveryMode.BOMB: _bomb}
)
"""Generators of the bodies that are produced while they are written."""


class RawHttp:
    """Writes answers to connections; `sleep` waits for delays."""

    def __init__(self, sleep: Callable[[float], Awaitable[object]]) -> None:
        self._sleep = sleep
        self._open_transports: set[asyncio.Transport] = set()

    async def answer(self, request: web.Request, reply: SandboxResponse) -> web.StreamResponse:
        """Write an answer for a request.

        Returns:
            A response for aiohttp. The connection may be closed already; then aiohttp does not send it.
        """
        transport = request.transport
        if transport is None:
            return web.Response()
        self._open_transports.add(transport)
        try:
            if reply.delay:
                await self._sleep(reply.delay)
            return await self._respond(request, transport, reply)
        finally:
            self._open_transports.discard(transport)

    def stop(self) -> None:
        """Abort all connections with an incomplete answer."""
        for transport in self._open_transports:
            transport.abort()

    async def _respond(
        self, request: web.Request, transport: asyncio.Transport, reply: SandboxResponse
    ) -> web.StreamResponse:
        if reply.mode is DeliveryMode.WHOLE:
            return full_response(reply)
        if reply.mode in STREAMED_BODIES:
            return await _stream(request, reply)
        if reply.mode in RAW_ENCODERS:
            await _write(transport, reply)
        else:
            await self._drip(transport, reply)
        transport.close()
        return web.Response()

    async def _drip(self, transport: asyncio.Transport, reply: SandboxResponse) -> None:
        head, dripped, rest = drip_parts(reply)
        transport.write(head + dripped[:1])
        for index in range(1, len(dripped)):
            await self._sleep(reply.seconds_per_byte)
            transport.write(dripped[index : index + 1])
        transport.write(rest)


def full_response(reply: SandboxResponse) -> web.Response:
    """Return a complete answer for aiohttp."""
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


async def _write(transport: asyncio.Transport, reply: SandboxResponse) -> None:
    transport.write(RAW_ENCODERS[reply.mode](reply))
    if reply.mode in LEFT_OPEN_MODES:
        await asyncio.get_running_loop().create_future()
    if reply.mode is DeliveryMode.RESET:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        transport.abort()


async def _stream(request: web.Request, reply: SandboxResponse) -> web.StreamResponse:
    """Write a generated body: huge, endless, or a compression bomb."""
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    if reply.mode is DeliveryMode.HUGE:
        response.content_length = HUGE_BODY_BYTES
    if reply.mode is DeliveryMode.BOMB:
        response.headers["content-encoding"] = "gzip"
    response.force_close()
    try:
        await response.prepare(request)
        for piece in STREAMED_BODIES[reply.mode]():
            await response.write(piece)
            await asyncio.sleep(0)  # a write without backpressure does not yield to other tasks
    except ConnectionError:
        pass  # the client closed the connection
    return response
