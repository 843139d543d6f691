"""Download of a file: piece by piece, without token, only from trusted hosts."""

from __future__ import annotations

import asyncio
import gzip
import logging
import tracemalloc
from traceback import TracebackException

import aiohttp
import pytest

from truecaller_async.errors import ClientClosed, ConfigError, DecodeError, NotSent, ResponseLost
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.options import Timeouts
from truecaller_async.transport import AiohttpTransport

from .conftest import Opener
from .raw_server import Connection, RawServer, Script

PATIENT = Timeouts(connect=5, read=5)
HASTY = Timeouts(connect=5, read=0.2)
API = "https://enterprise-portal-noneu.truecaller.com"
MIB = 1024 * 1024


class Sink:
    """Stores the pieces of a file."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    async def write(self, piece: bytes) -> None:
        self.pieces.append(piece)

    @property
    def content(self) -> bytes:
        return b"".join(self.pieces)


def serving(body: bytes, *, status: str = "200 OK", headers: str = "") -> Script:
    async def script(connection: Connection) -> None:
        await connection.request()
        await connection.answer(body, status=status, headers=headers)

    return script


async def fetch(
    transport: AiohttpTransport, server: RawServer, sink: Sink, timeouts: Timeouts = PATIENT, cap: int = MIB
) -> Answer:
    """Download from a server that the caller allowed."""
    link = Secret(f"{server.url}/log.csv?X-Signature=s3cr3t")
    return await transport.download(link, sink.write, timeouts, hosts=[f"127.0.0.1:{server.port}"], max_bytes=cap)


async def test_file_is_passed_on_and_the_answer_is_empty(transport_to: Opener) -> None:
    sink = Sink()
    async with RawServer(serving(b"caller,answer\n", headers="X-Kind: log\r\n")) as server:
        answer = await fetch(transport_to(API), server, sink)
    assert (answer.status, answer.body, answer.headers["x-kind"]) == (200, b"", "log")
    assert sink.content == b"caller,answer\n"
    assert server.received.startswith(b"GET /log.csv?X-Signature=s3cr3t HTTP/1.1\r\n")


async def test_other_host_gets_no_token_and_no_cookie(transport_to: Opener) -> None:
    set_cookie = serving(b"x", headers="Set-Cookie: a=b\r\nConnection: close\r\n")
    async with RawServer(set_cookie) as server:
        transport = transport_to(server.url)
        await transport.send(Request("labels", "GET", "/labels", token=Secret("invented-token")), PATIENT)
        await fetch(transport, server, Sink())
    first, second = (bytes(connection.received) for connection in server.connections)
    assert b"Authorization: Bearer invented-token" in first
    assert b"authorization" not in second.lower()
    assert b"invented-token" not in second
    assert b"cookie" not in second.lower()


async def test_api_host_needs_no_permission(transport_to: Opener) -> None:
    async with RawServer(serving(b"x")) as server:
        sink = Sink()
        link = Secret(f"{server.url}/files/1")
        await transport_to(f"{server.url}/api").download(link, sink.write, PATIENT, hosts=(), max_bytes=MIB)
    assert sink.content == b"x"


@pytest.mark.parametrize("base", [API, "http://127.0.0.1:1"])
async def test_host_not_allowed_gets_no_request(transport_to: Opener, base: str) -> None:
    async with RawServer() as server:
        link = Secret(f"{server.url}/log.csv")
        with pytest.raises(ConfigError, match="not followed"):
            await transport_to(base).download(link, Sink().write, PATIENT, hosts=["files.example"], max_bytes=MIB)
    assert server.connections == []


@pytest.mark.fault("S11")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_not_followed(transport_to: Opener, status: int) -> None:
    sink = Sink()
    async with RawServer() as other:
        redirect = serving(b"moved", status=f"{status} Elsewhere", headers=f"Location: {other.url}/x\r\n")
        async with RawServer(redirect) as server:
            answer = await fetch(transport_to(API), server, sink)
    assert (answer.status, sink.pieces, other.connections) == (status, [], [])
    assert answer.headers["location"].endswith("/x")


@pytest.mark.parametrize("status", ["206 Partial", "403 Forbidden", "404 Not Found", "503 Unavailable"])
async def test_body_of_another_status_is_not_passed_on(transport_to: Opener, status: str) -> None:
    sink = Sink()
    async with RawServer(serving(b"<Error>", status=status)) as server:
        answer = await fetch(transport_to(API), server, sink)
    assert (str(answer.status), answer.body, sink.pieces) == (status[:3], b"", [])


@pytest.mark.fault("S13")
async def test_file_larger_than_the_cap_is_aborted(transport_to: Opener) -> None:
    async with RawServer(serving(b"x" * 1001)) as server:
        with pytest.raises(DecodeError, match="larger than 1000 bytes"):
            await fetch(transport_to(API), server, Sink(), cap=1000)
    sink = Sink()
    async with RawServer(serving(b"x" * 1000)) as server:
        await fetch(transport_to(API), server, sink, cap=1000)
    assert len(sink.content) == 1000


@pytest.mark.fault("S13")
async def test_cap_counts_decompressed_bytes(transport_to: Opener) -> None:
    packed = serving(gzip.compress(b"x" * MIB), headers="Content-Encoding: gzip\r\n")
    sink = Sink()
    async with RawServer(packed) as server:
        await fetch(transport_to(API), server, sink, cap=MIB)
        with pytest.raises(DecodeError):
            await fetch(transport_to(API), server, Sink(), cap=MIB - 1)
    assert sink.content == b"x" * MIB


async def test_large_file_needs_little_memory(transport_to: Opener) -> None:
    size = 32 * MIB

    async def large(connection: Connection) -> None:
        await connection.request()
        await connection.write(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        piece = bytes(MIB)
        for _ in range(size // MIB):
            await connection.write(piece)

    taken = 0

    async def count(piece: bytes) -> None:
        nonlocal taken
        taken += len(piece)

    async with RawServer(large) as server:
        transport = transport_to(server.url)
        tracemalloc.start()
        try:
            await transport.download(Secret(f"{server.url}/x"), count, PATIENT, hosts=(), max_bytes=size)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert taken == size
    assert peak < 8 * MIB


async def test_truncated_file_is_lost(transport_to: Opener) -> None:
    async def cut(connection: Connection) -> None:
        await connection.request()
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")

    async with RawServer(cut) as server:
        with pytest.raises(ResponseLost, match=f"127.0.0.1:{server.port}") as caught:
            await fetch(transport_to(API), server, Sink())
    assert caught.value.retryable, "a download changes nothing, so it may be asked for again"


async def test_silent_host_is_abandoned(transport_to: Opener) -> None:
    async def silent(connection: Connection) -> None:
        await connection.request()
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
        await connection.until_closed()

    async with RawServer(silent) as server:
        with pytest.raises(ResponseLost):
            await fetch(transport_to(API), server, Sink(), HASTY)


async def test_unreachable_host_is_not_sent(transport_to: Opener) -> None:
    async with RawServer() as server:
        gone = server.port
    with pytest.raises(NotSent, match="nothing was sent"):
        await transport_to(API).download(
            Secret(f"http://127.0.0.1:{gone}/x"), Sink().write, PATIENT, hosts=[f"127.0.0.1:{gone}"], max_bytes=MIB
        )


async def test_writer_exception_propagates_and_ends_the_connection(transport_to: Opener) -> None:
    closed = asyncio.Event()

    async def endless(connection: Connection) -> None:
        await connection.request()
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhalf")
        await connection.until_closed()
        closed.set()

    async def refuse(piece: bytes) -> None:
        raise ConfigError("the disk is full")

    async with RawServer(endless) as server:
        transport = transport_to(server.url)
        with pytest.raises(ConfigError, match="the disk is full"):
            await transport.download(Secret(f"{server.url}/x"), refuse, PATIENT, hosts=(), max_bytes=MIB)
        await closed.wait()


async def test_link_is_in_no_error_and_no_log(transport_to: Opener, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def broken(connection: Connection) -> None:
        await connection.request()
        connection.reset()

    async with RawServer(broken) as server:
        with pytest.raises(ResponseLost) as caught:
            await fetch(transport_to(API), server, Sink())
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "s3cr3t" not in f"{error!r} {vars(error)} {caplog.text}"


async def test_link_is_in_no_traceback_frame(transport_to: Opener) -> None:
    async def refuse(piece: bytes) -> None:
        raise ConfigError("the disk is full")

    for write, cap in ((Sink().write, 10), (refuse, MIB)):
        async with RawServer(serving(b"x" * 1000)) as server:
            link = Secret(f"{server.url}/log.csv?X-Signature=s3cr3t")
            allowed = [f"127.0.0.1:{server.port}"]
            with pytest.raises((DecodeError, ConfigError)) as caught:
                await transport_to(API).download(link, write, PATIENT, hosts=allowed, max_bytes=cap)
        captured = TracebackException.from_exception(caught.value, capture_locals=True)
        assert "s3cr3t" not in "".join(captured.format())


async def test_closed_transport_downloads_nothing(transport_to: Opener) -> None:
    transport = transport_to(API)
    await transport.aclose()
    with pytest.raises(ClientClosed):
        await transport.download(
            Secret("https://files.truecaller.com/x"), Sink().write, PATIENT, hosts=(), max_bytes=MIB
        )


async def test_borrowed_session_downloads_files(transport_to: Opener) -> None:
    sink = Sink()
    async with aiohttp.ClientSession() as session, RawServer(serving(b"x")) as server:
        await fetch(transport_to(API, session=session), server, sink)
        assert not session.closed
    assert sink.content == b"x"


async def test_given_proxy_is_used_for_files(transport_to: Opener) -> None:
    async with RawServer(serving(b"from the proxy")) as proxy:
        sink = Sink()
        transport = transport_to("http://127.0.0.1:1", proxy=proxy.url)
        link = Secret("http://127.0.0.1:1/x")
        await transport.download(link, sink.write, PATIENT, hosts=(), max_bytes=MIB)
    assert sink.content == b"from the proxy"
    assert proxy.received.startswith(b"GET http://127.0.0.1:1/x HTTP/1.1\r\n")


async def test_environment_proxy_is_selected_by_the_host_of_the_link(
    transport_to: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "files.truecaller.com")
    transport = transport_to(API)
    assert transport._proxy_to(Secret("https://files.truecaller.com/x")) is None
    proxy = transport._proxy_to(Secret("https://other.truecaller.com/x"))
    assert proxy is not None
    assert proxy.host == "proxy.example"
