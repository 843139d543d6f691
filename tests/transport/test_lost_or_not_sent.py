"""Failures of real connections: `NotSent` or `ResponseLost`."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Iterator

import pytest

from tests.virtual import run_virtual
from truecaller_async.errors import ClientClosed, NotSent, ResponseLost
from truecaller_async.models import Request, Secret
from truecaller_async.options import Timeouts
from truecaller_async.transport import AiohttpTransport

from .conftest import Opener
from .raw_server import Connection, RawServer, Script

PATIENT = Timeouts(connect=5, read=5)
BRIEF = Timeouts(connect=0.2, read=0.2)
MORE_THAN_SOCKETS_HOLD = 16 * 1024 * 1024


def submit(body: bytes = b"[]") -> Request:
    return Request("submit", "POST", "/v2/batch", body, token=Secret("invented-token"))


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.mark.fault("F22")
async def test_refused_connection_is_not_sent_and_names_host_and_reason(transport_to: Opener, closed_port: int) -> None:
    with pytest.raises(
        NotSent, match=rf"127\.0\.0\.1:{closed_port}.*\(Connection refused\); nothing was sent"
    ) as caught:
        await transport_to(f"http://127.0.0.1:{closed_port}").send(submit(), PATIENT)
    assert caught.value.retryable
    assert caught.value.sent == "no"


@pytest.mark.fault("F22")
async def test_name_that_does_not_resolve_is_not_sent(transport_to: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_such_name(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_such_name)
    with pytest.raises(NotSent, match=r"api\.invalid:443.*DNS.*Name or service not known"):
        await transport_to("https://api.invalid").send(submit(), PATIENT)


@pytest.mark.fault("F22")
async def test_endless_handshake_is_not_sent_after_the_connect_timeout(transport_to: Opener) -> None:
    async with RawServer(Connection.until_closed) as server:
        with pytest.raises(NotSent, match=r"no connection was made in time \(waited 0\.2 s\)"):
            await transport_to(f"https://127.0.0.1:{server.port}").send(submit(), BRIEF)
    assert b"invented-token" not in server.received


@pytest.mark.fault("F22")
async def test_tls_to_a_plain_port_is_not_sent(transport_to: Opener) -> None:
    async def plain(connection: Connection) -> None:
        await connection.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await connection.until_closed()

    async with RawServer(plain) as server:
        with pytest.raises(NotSent, match="TLS handshake failed"):
            await transport_to(f"https://127.0.0.1:{server.port}").send(submit(), PATIENT)
    assert b"invented-token" not in server.received


@pytest.mark.fault("F22")
async def test_full_pool_is_not_sent_with_a_message(transport_to: Opener) -> None:
    arrived = asyncio.Event()

    async def hang(connection: Connection) -> None:
        await connection.request()
        arrived.set()
        await connection.until_closed()

    async with RawServer(hang) as server:
        transport = transport_to(server.url, connections=1)
        first = asyncio.create_task(transport.send(submit(), PATIENT))
        await arrived.wait()
        with pytest.raises(NotSent, match=r"all connections were in use for 0\.2 s"):
            await transport.send(submit(), BRIEF)
        first.cancel()
        await asyncio.wait([first])
    assert server.requests == 1


async def close_on_accept(connection: Connection) -> None:
    connection.writer.close()


async def reset_after_headers(connection: Connection) -> None:
    await connection.head()
    connection.reset()


async def reset_after_body(connection: Connection) -> None:
    await connection.request()
    connection.reset()


async def close_after_body(connection: Connection) -> None:
    await connection.request()
    connection.writer.close()


async def say_garbage(connection: Connection) -> None:
    await connection.request()
    await connection.write(b"\x16\x03\x01 this is no status line\r\n\r\n")


async def say_an_endless_header(connection: Connection) -> None:
    await connection.request()
    await connection.write(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n")
    await connection.until_closed()


async def say_two_lengths(connection: Connection) -> None:
    await connection.request()
    await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}")
    await connection.until_closed()


async def cut_by_length(connection: Connection) -> None:
    await connection.request()
    await connection.write(b'HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{"batch_id":')


async def cut_in_a_chunk(connection: Connection) -> None:
    await connection.request()
    await connection.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n{"batch_id":')


async def reset_in_the_body(connection: Connection) -> None:
    await cut_by_length(connection)
    connection.reset()


async def cut_in_the_gzip(connection: Connection) -> None:
    await connection.request()
    await connection.answer(b"\x1f\x8b\x08 not gzip", headers="Content-Encoding: gzip\r\n")


async def cut_an_error(connection: Connection) -> None:
    await connection.request()
    await connection.write(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 400\r\n\r\n<html>")


async def reset_on_accept(connection: Connection) -> None:
    connection.reset()


async def reset_behind_the_head_of_the_answer(connection: Connection) -> None:
    await connection.request()
    await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n")
    connection.reset()


BREAKS: dict[Script, str] = {
    reset_on_accept: "the connection broke.*Connection reset by peer|the peer closed|Broken pipe",
    close_on_accept: "the peer closed the connection|the connection broke",
    reset_after_headers: "the connection broke.*Connection reset by peer|the peer closed|Broken pipe",
    reset_after_body: "the connection broke.*Connection reset by peer|the peer closed",
    close_after_body: "the peer closed the connection",
    say_garbage: "the answer is not HTTP",
    say_an_endless_header: "the answer is not HTTP",
    say_two_lengths: "the answer is not HTTP",
    cut_by_length: "the answer was cut short",
    cut_in_a_chunk: "the answer was cut short",
    reset_behind_the_head_of_the_answer: "the answer was cut short|the connection broke",
    reset_in_the_body: "the answer was cut short|the connection broke",
    cut_in_the_gzip: "the answer was cut short",
    cut_an_error: "the answer was cut short",
}


@pytest.mark.fault("F24", "F27", "F32")
@pytest.mark.parametrize(("script", "message"), BREAKS.items(), ids=[script.__name__ for script in BREAKS])
async def test_break_after_connecting_is_lost(transport_to: Opener, script: Script, message: str) -> None:
    async with RawServer(script) as server:
        with pytest.raises(ResponseLost, match=message) as caught:
            await transport_to(server.url).send(submit(b"[" + b" " * 65_000 + b"]"), PATIENT)
    assert caught.value.sent == "maybe"
    assert not caught.value.given_up
    assert not caught.value.retryable
    assert not hasattr(caught.value, "status"), "the 400 that the HTTP library invents is nobody's"
    assert f"127.0.0.1:{server.connections[0].writer.get_extra_info('sockname')[1]}" in str(caught.value)
    assert len(server.connections) == 1


@pytest.mark.fault("F26")
async def test_silence_after_the_request_is_lost_after_the_read_timeout(transport_to: Opener) -> None:
    async with RawServer(Connection.until_closed) as server:
        with pytest.raises(ResponseLost, match=r"the peer sent no data \(waited 0\.2 s\)") as caught:
            await transport_to(server.url).send(submit(), BRIEF)
    assert caught.value.given_up
    assert server.requests == 1


@pytest.mark.fault("F26")
async def test_silence_in_the_middle_of_the_answer_is_lost(transport_to: Opener) -> None:
    async def stall(connection: Connection) -> None:
        await cut_by_length(connection)
        await connection.until_closed()

    async with RawServer(stall) as server:
        with pytest.raises(ResponseLost, match="sent no data"):
            await transport_to(server.url).send(submit(), BRIEF)


def dripping(start: bytes) -> Script:
    """Return a script that sends one byte every 0.1 s without end."""

    async def drip(connection: Connection) -> None:
        await connection.request()
        await connection.write(start)
        while True:
            await asyncio.sleep(0.1)
            await connection.write(b" ")

    return drip


async def answers_once(connection: Connection) -> None:
    await connection.request()
    await connection.answer()


@pytest.mark.fault("F25", "F26")
@pytest.mark.parametrize(
    ("script", "seconds", "message"),
    [
        (Connection.until_closed, 30, "the peer sent no data"),
        (dripping(b"HTTP/1.1 200 OK\r\nX: "), 10 + 2 * 30, "the answer came too slowly (head not complete after 70 s)"),
        (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"), 10 * 30, "(body not complete after 300 s)"),
    ],
    ids=["f26-silence", "f25-head", "f25-body"],
)
def test_slow_answer_ends_exactly_at_its_limit_and_frees_its_connection(
    script: Script, seconds: int, message: str
) -> None:
    """With the default timeouts, 10 s to connect and 30 s between two reads."""

    async def work() -> None:
        now = asyncio.get_running_loop().time
        async with RawServer(script, answers_once) as server:
            transport = AiohttpTransport(server.url, connections=1)
            started = now()
            with pytest.raises(ResponseLost, match=re.escape(message)):
                await transport.send(submit(), Timeouts())
            assert now() - started == pytest.approx(seconds, abs=0.11)
            started = now()
            assert (await transport.send(submit(), Timeouts())).status == 200
            assert now() - started < 0.01
            await transport.aclose()

    run_virtual(work)


@pytest.mark.fault("F25")
def test_overlapping_slow_answers_each_end_at_their_own_limit() -> None:
    """A failed close from another event loop must not disturb the deadlines."""

    async def work() -> None:
        now = asyncio.get_running_loop().time

        async def seconds(transport: AiohttpTransport, start: float, read: float) -> float:
            await asyncio.sleep(start)
            started = now()
            with pytest.raises(ResponseLost, match="too slowly"):
                await transport.send(submit(), Timeouts(connect=10, read=read))
            return now() - started

        async with RawServer(*[dripping(b"HTTP/1.1 200 OK\r\nX: ")] * 4) as server:
            transport = AiohttpTransport(server.url)
            first = asyncio.create_task(seconds(transport, 0, 1))
            await asyncio.sleep(1)
            with pytest.raises(ClientClosed, match="Close it there"):
                await asyncio.to_thread(asyncio.run, transport.aclose())
            later = await asyncio.gather(
                *(seconds(transport, start, read) for start, read in ((0, 20), (1, 30), (2, 5)))
            )
            assert [await first, *later] == pytest.approx([12, 50, 70, 20], abs=0.11)
            await transport.aclose()

    run_virtual(work)


@pytest.mark.fault("F26")
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_peer_that_never_reads_cannot_block_a_request_for_ever(transport_to: Opener) -> None:
    async def never_read(connection: Connection) -> None:
        await asyncio.Event().wait()

    async with RawServer(never_read) as server:
        with pytest.raises(ResponseLost, match=r"too slowly \(head not complete after 0\.6 s\)"):
            await transport_to(server.url).send(submit(b" " * MORE_THAN_SOCKETS_HOLD), BRIEF)


@pytest.mark.fault("F27")
async def test_truncation_without_a_length_is_undetectable(transport_to: Opener) -> None:
    async def cut(connection: Connection) -> None:
        await connection.request()
        await connection.write(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"batch_id":')

    async with RawServer(cut) as server:
        answer = await transport_to(server.url).send(submit(), PATIENT)
    assert answer.body == b'{"batch_id":'


@pytest.mark.fault("F24")
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_dead_keep_alive_connection_is_lost_and_never_sent_twice(transport_to: Opener, method: str) -> None:
    async def drop_the_second(connection: Connection) -> None:
        await connection.request()
        await connection.answer()
        await connection.request()
        connection.writer.close()

    async with RawServer(drop_the_second) as server:
        transport = transport_to(server.url)
        request = Request("status", method, "/v2/status")
        await transport.send(request, PATIENT)
        with pytest.raises(ResponseLost):
            await transport.send(request, PATIENT)
        assert server.requests == 2
        assert len(server.connections) == 1


async def test_cancellation_propagates_unchanged(transport_to: Opener) -> None:
    arrived = asyncio.Event()

    async def hang(connection: Connection) -> None:
        await connection.request()
        arrived.set()
        await connection.until_closed()

    async with RawServer(hang) as server:
        task = asyncio.create_task(transport_to(server.url).send(submit(), PATIENT))
        await arrived.wait()
        task.cancel("by the caller")
        with pytest.raises(asyncio.CancelledError, match="by the caller"):
            await task
