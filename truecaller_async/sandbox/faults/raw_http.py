"""What is written on the socket for a reply: by the HTTP library where it is a whole answer, byte by byte where not.

`head_of` and `written_of` say, without any I/O, which bytes a manner is made of. `RawHttp` writes them, waits where
there is something to wait for, and ends the connection: no manner leaves one that could be used again. A body that is
too large to be built is made piece by piece while it is written, no faster than the client reads.

Nothing here outlives its client. The server cancels a request whose connection is gone (`handler_cancellation`), and
with it the waiting; and `RawHttp.stop` breaks every connection on which something is still being written or waited for.
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
BOMB_UNPACKED_BYTES = 200 * MIB_BYTES
PIECE_BYTES = 64 * 1024
EXCESS_LENGTH_BYTES = 100
"""Bytes that a lying length promises and that never come."""
LONG_HEADER = b"x-long: " + b"x" * 16 * 1024 + b"\r\n"

NO_LINGER = struct.pack("ii", 1, 0)
"""A socket that is closed with this option on resets its connection."""


def encode_head(reply: SandboxResponse, framing: bytes | None = None) -> bytes:
    """The head of an answer: its status line, its headers, and how long its body is said to be."""
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
"""The bytes of the manners that are written at once."""

LEFT_OPEN_MODES = (DeliveryMode.STALL, DeliveryMode.LONG_LENGTH)
"""After these bytes the connection stays open, and nothing more is said."""


def drip_parts(reply: SandboxResponse) -> tuple[bytes, bytes, bytes]:
    """What is written at once, what byte by byte behind it, and what at once behind that."""
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
"""The bodies that are made while they are written."""


class RawHttp:
    """Writes replies. `sleep` waits where a reply is late or comes slowly."""

    def __init__(self, sleep: Callable[[float], Awaitable[object]]) -> None:
        self._sleep = sleep
        self._open_transports: set[asyncio.Transport] = set()

    async def answer(self, request: web.Request, reply: SandboxResponse) -> web.StreamResponse:
        """Say this reply to this request. What is returned is for the library, which may find the connection gone."""
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
        """Break the connections on which an answer is not complete."""
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
        before, slowly, behind = drip_parts(reply)
        transport.write(before + slowly[:1])
        for place in range(1, len(slowly)):
            await self._sleep(reply.pace)
            transport.write(slowly[place : place + 1])
        transport.write(behind)


def full_response(reply: SandboxResponse) -> web.Response:
    """A whole answer, as the library writes it."""
    return web.Response(status=reply.status, headers=reply.headers, body=reply.body)


async def _write(transport: asyncio.Transport, reply: SandboxResponse) -> None:
    transport.write(RAW_ENCODERS[reply.mode](reply))
    if reply.mode in LEFT_OPEN_MODES:
        await asyncio.get_running_loop().create_future()
    if reply.mode is DeliveryMode.RESET:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        transport.abort()


async def _stream(request: web.Request, reply: SandboxResponse) -> web.StreamResponse:
    """A body without an end of its own, or with one that few will wait for."""
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
            await asyncio.sleep(0)  # a write that finds room gives nobody else a turn
    except ConnectionError:
        pass  # the client has had enough, as it should
    return response
