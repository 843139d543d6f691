"""The session: opened late, bound to one loop and one process, closed once; a lent one is never closed."""

from __future__ import annotations

import asyncio
import os
import socket

import aiohttp
import pytest

from truecaller_async.errors import ClientClosed, ConfigError, NotSent, ResponseLost
from truecaller_async.models import Request
from truecaller_async.options import Timeouts
from truecaller_async.transport import AiohttpTransport

from .conftest import Opener
from .raw_server import Connection, RawServer

PATIENT = Timeouts(connect=5, read=5)
LABELS = Request("labels", "GET", "/labels")


def closed_url() -> str:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{holder.getsockname()[1]}"


async def knock(transport: AiohttpTransport) -> None:
    """Open the session without a connection."""
    with pytest.raises(NotSent):
        await transport.send(LABELS, PATIENT)


def test_transport_is_created_and_closed_without_a_running_loop() -> None:
    transport = AiohttpTransport("https://api.example")
    asyncio.run(transport.aclose())


async def test_connections_are_reused(transport_to: Opener) -> None:
    async with RawServer() as server:
        transport = transport_to(server.url)
        for _ in range(5):
            await transport.send(LABELS, PATIENT)
        assert len(server.connections) == 1
        await asyncio.gather(*(transport.send(LABELS, PATIENT) for _ in range(3)))
        assert len(server.connections) == 3
    assert server.requests == 8


async def test_no_more_connections_are_opened_than_allowed(transport_to: Opener) -> None:
    async with RawServer() as server:
        transport = transport_to(server.url, connections=2)
        await asyncio.gather(*(transport.send(LABELS, PATIENT) for _ in range(20)))
        assert len(server.connections) == 2
    assert server.requests == 20


async def test_closed_transport_raises() -> None:
    async with RawServer() as server:
        transport = AiohttpTransport(server.url)
        await transport.send(LABELS, PATIENT)
        await transport.aclose()
        await transport.aclose()
        with pytest.raises(ClientClosed, match="is closed"):
            await transport.send(LABELS, PATIENT)


def test_another_loop_is_refused_with_advice() -> None:
    transport = AiohttpTransport(closed_url())
    asyncio.run(knock(transport))
    with pytest.raises(ClientClosed, match="another event loop"):
        asyncio.run(knock(transport))
    asyncio.run(transport.aclose())


def test_transport_is_not_closed_from_another_loop_while_its_own_runs() -> None:
    transport = AiohttpTransport(closed_url())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(knock(transport))
    with pytest.raises(ClientClosed, match="Close it there"):
        asyncio.run(transport.aclose())
    loop.run_until_complete(transport.aclose())
    loop.close()


async def test_forked_child_is_refused_and_parent_sockets_are_untouched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with RawServer() as server:
        transport = AiohttpTransport(server.url)
        await transport.send(LABELS, PATIENT)
        with monkeypatch.context() as child:
            parent = os.getpid()
            child.setattr(os, "getpid", lambda: parent + 1)
            with pytest.raises(ClientClosed, match="another process"):
                await transport.send(LABELS, PATIENT)
            await transport.aclose()
        assert transport._session is not None
        assert not transport._session.closed
        await transport.aclose()
        assert transport._session.closed


async def test_borrowed_session_is_used_and_never_closed() -> None:
    async with RawServer() as server, aiohttp.ClientSession() as session:
        transport = AiohttpTransport(server.url, session=session)
        await transport.send(LABELS, PATIENT)
        await transport.aclose()
        assert not session.closed
        with pytest.raises(ClientClosed, match="is closed"):
            await transport.send(LABELS, PATIENT)


async def test_borrowed_session_that_its_owner_closed_is_named() -> None:
    session = aiohttp.ClientSession()
    transport = AiohttpTransport(closed_url(), session=session)
    await session.close()
    with pytest.raises(ClientClosed, match="session="):
        await transport.send(LABELS, PATIENT)


async def test_borrowed_session_failures_are_classified_by_class() -> None:
    async def drop(connection: Connection) -> None:
        await connection.request()
        connection.writer.close()

    async with RawServer(drop) as server, aiohttp.ClientSession() as session:
        with pytest.raises(NotSent):
            await AiohttpTransport(closed_url(), session=session).send(LABELS, PATIENT)
        with pytest.raises(ResponseLost):
            await AiohttpTransport(server.url, session=session).send(Request("push", "POST", "/push", b"{}"), PATIENT)
        with pytest.raises(ResponseLost):
            await AiohttpTransport(server.url, session=session).send(
                Request("push", "POST", "/push", b"{}"), Timeouts(connect=5, read=0.2)
            )


async def test_borrowed_session_follows_no_redirect() -> None:
    async with RawServer() as other:

        async def redirect(connection: Connection) -> None:
            await connection.request()
            await connection.answer(status="307 Elsewhere", headers=f"Location: {other.url}/\r\n")

        async with RawServer(redirect) as server, aiohttp.ClientSession() as session:
            answer = await AiohttpTransport(server.url, session=session).send(LABELS, PATIENT)
    assert answer.status == 307
    assert other.connections == []


async def test_close_ends_waiting_calls_as_closed_and_requests_in_flight_as_lost() -> None:
    arrived = asyncio.Event()

    async def hang(connection: Connection) -> None:
        await connection.request()
        arrived.set()
        await connection.until_closed()

    async with RawServer(hang) as server:
        transport = AiohttpTransport(server.url, connections=1)
        flying = asyncio.create_task(transport.send(LABELS, PATIENT))
        await arrived.wait()
        waiting = asyncio.create_task(transport.send(LABELS, PATIENT))
        # After one iteration of the loop the second request waits for the only connection.
        await asyncio.sleep(0)
        await transport.aclose()
        with pytest.raises(ClientClosed, match="waited for a connection; nothing was sent"):
            await waiting
        with pytest.raises(ResponseLost) as caught:
            await flying
        assert caught.value.given_up
    assert server.requests == 1


@pytest.mark.parametrize("wrong", [{"ssl": False}, {"ssl": True}, {"connections": 0}, {"connections": True}])
def test_unusable_settings_are_refused_by_the_constructor(wrong: dict[str, bool]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        AiohttpTransport("https://api.example", **wrong)  # type: ignore[arg-type]
