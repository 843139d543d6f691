"""A complete answer is returned unchanged, up to the limit of its size."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import tracemalloc
import zlib

import pytest

from truecaller_async.errors import DecodeError
from truecaller_async.models import Request
from truecaller_async.options import Timeouts

from .conftest import Opener
from .raw_server import Connection, RawServer

PATIENT = Timeouts(connect=5, read=5)
MIB = 1024 * 1024


async def test_status_headers_and_body_come_back_with_lower_case_names(transport_to: Opener) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"slow down", status="429 Too Many", headers="Retry-After: 7\r\nRETRY-AFTER: 9\r\n")

    async with RawServer(refuse) as server:
        answer = await transport_to(server.url).send(Request("push", "POST", "/push", b"{}"), PATIENT)
    assert (answer.status, answer.body) == (429, b"slow down")
    assert type(answer.headers) is dict
    assert answer.headers == {"content-length": "9", "retry-after": "7"}


async def test_body_and_the_path_arrive_byte_for_byte(transport_to: Opener) -> None:
    body = '{"reason":"Überprüfung"}'.encode()
    async with RawServer() as server:
        transport = transport_to(f"{server.url}/api/")
        await transport.send(Request("push", "POST", "/v1/%41%2Fb/../c?q=%C3%9C&x=a+b", body), PATIENT)
    assert server.received.startswith(b"POST /api/v1/%41%2Fb/../c?q=%C3%9C&x=a+b HTTP/1.1\r\n")
    assert server.received.endswith(b"\r\n\r\n" + body)


@pytest.mark.fault("F31")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_an_answer_and_target_host_gets_no_request(transport_to: Opener, status: int) -> None:
    async with RawServer() as other:

        async def redirect(connection: Connection) -> None:
            await connection.request()
            await connection.answer(b"", status=f"{status} Elsewhere", headers=f"Location: {other.url}/taken\r\n")

        async with RawServer(redirect) as server:
            answer = await transport_to(server.url).send(Request("submit", "POST", "/batch", b"[1]"), PATIENT)
    assert answer.status == status
    assert answer.headers["location"].endswith("/taken")
    assert other.connections == []


async def test_compressed_answer_is_decompressed(transport_to: Opener) -> None:
    async def packed(connection: Connection) -> None:
        await connection.request()
        await connection.answer(gzip.compress(b"[1, 2]"), headers="Content-Encoding: gzip\r\n")

    async with RawServer(packed) as server:
        answer = await transport_to(server.url).send(Request("labels", "GET", "/labels"), PATIENT)
    assert answer.body == b"[1, 2]"
    assert b"Accept-Encoding: gzip, deflate\r\n" in server.received


@pytest.mark.fault("F29")
async def test_answer_of_exactly_the_cap_is_read_and_one_byte_more_is_not(transport_to: Opener) -> None:
    async def thousand(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.answer(b"x" * 1000)

    async with RawServer(thousand) as server:
        transport = transport_to(server.url)
        answer = await transport.send(Request("labels", "GET", "/labels", body_max_bytes=1000), PATIENT)
        assert len(answer.body) == 1000
        with pytest.raises(DecodeError, match="answer larger than 999 bytes") as caught:
            await transport.send(Request("labels", "GET", "/labels", body_max_bytes=999), PATIENT)
    assert caught.value.sent == "yes"
    assert caught.value.status == 200


@pytest.mark.fault("F29")
async def test_gzip_bomb_is_bounded_in_memory_and_its_connection_is_closed(transport_to: Opener) -> None:
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(200)) + packer.flush()
    closed = asyncio.Event()

    async def drop_it(connection: Connection) -> None:
        await connection.request()
        try:
            await connection.answer(bomb, headers="Content-Encoding: gzip\r\n")
            await connection.until_closed()
        finally:
            closed.set()

    async with RawServer(drop_it) as server:
        transport = transport_to(server.url)
        tracemalloc.start()
        try:
            with pytest.raises(DecodeError, match="answer larger than 64 KiB"):
                await transport.send(Request("labels", "GET", "/labels"), PATIENT)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        await closed.wait()
    assert len(bomb) < MIB
    assert peak < 16 * MIB


@pytest.mark.parametrize(("cap", "shown"), [(8 * MIB, "8 MiB"), (65_536, "64 KiB"), (MIB + 1, "1,048,577 bytes")])
async def test_cap_is_formatted_for_people(transport_to: Opener, cap: int, shown: str) -> None:
    async def more(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"x" * (cap + 1))

    async with RawServer(more) as server:
        with pytest.raises(DecodeError, match=f"answer larger than {shown} "):
            await transport_to(server.url).send(Request("labels", "GET", "/labels", body_max_bytes=cap), PATIENT)


@pytest.mark.fault("F29")
async def test_endless_answer_ends_at_the_cap(transport_to: Opener) -> None:
    async def endless(connection: Connection) -> None:
        await connection.request()
        await connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await connection.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    async with RawServer(endless) as server:
        with pytest.raises(DecodeError, match="answer larger than"):
            await transport_to(server.url).send(Request("exports", "GET", "/exports"), PATIENT)


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_answer_before_the_body_was_read_is_an_answer(transport_to: Opener) -> None:
    async def too_large(connection: Connection) -> None:
        await connection.head()
        await connection.answer(b"", status="413 Too Large")
        await asyncio.Event().wait()

    async def normal(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b"fine")

    async with RawServer(too_large, normal) as server:
        transport = transport_to(server.url)
        answer = await transport.send(Request("submit", "POST", "/batch", b" " * 16 * MIB), PATIENT)
        assert answer.status == 413
        assert (await transport.send(Request("labels", "GET", "/labels"), PATIENT)).body == b"fine"


async def test_long_answer_is_not_limited_while_the_peer_keeps_sending(transport_to: Opener) -> None:
    async def dribble(connection: Connection) -> None:
        await connection.request()
        await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")
        for _ in range(12):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(connection.reader.read(1), 0.1)
            await connection.write(b"x")

    async with RawServer(dribble) as server:
        answer = await transport_to(server.url).send(Request("labels", "GET", "/labels"), Timeouts(0.1, 0.4))
    assert answer.body == b"x" * 12


async def test_cookies_are_not_kept(transport_to: Opener) -> None:
    async def bake(connection: Connection) -> None:
        while True:
            await connection.request()
            await connection.answer(headers="Set-Cookie: session=1; Path=/\r\n")

    async with RawServer(bake) as server:
        transport = transport_to(server.url.replace("127.0.0.1", "localhost"))
        for _ in range(2):
            await transport.send(Request("labels", "GET", "/labels"), PATIENT)
    assert server.requests == 2
    assert b"cookie" not in server.received.lower()
