"""Errors of the transport hold no secret, however an attempt ends."""

from __future__ import annotations

import pickle
import socket
import traceback

import aiohttp
import pytest

from truecaller_async.errors import ConfigError, TruecallerError
from truecaller_async.models import Request, Secret
from truecaller_async.options import Timeouts
from truecaller_async.transport import AiohttpTransport

from .conftest import Opener
from .raw_server import Connection, RawServer, Script

CANARY = "c4n4ry-0f-4-t0k3n"
BRIEF = Timeouts(connect=0.5, read=0.2)


def assert_shows_no_canary(error: BaseException) -> None:
    shown = [
        str(error),
        repr(error),
        repr(error.args),
        repr(vars(error)),
        "".join(traceback.format_exception(error)),
        "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()),
        pickle.dumps(error).decode("latin-1"),
    ]
    slices = {CANARY[start : start + 8] for start in range(len(CANARY) - 7)}
    assert not [text for text in shown if any(part in text for part in slices)]
    assert error.__cause__ is None
    assert error.__context__ is None


def request(token: str = CANARY) -> Request:
    return Request("push", "POST", "/push", b"{}", token=Secret(token))


async def hang_up(connection: Connection) -> None:
    await connection.request()
    connection.writer.close()


async def reset(connection: Connection) -> None:
    await connection.request()
    connection.reset()


async def garbage(connection: Connection) -> None:
    await connection.request()
    await connection.write(b"no status line\r\n\r\n")


async def cut(connection: Connection) -> None:
    await connection.request()
    await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")


async def too_large(connection: Connection) -> None:
    await connection.request()
    await connection.answer(b"x" * 70_000)


@pytest.mark.fault("S01")
@pytest.mark.parametrize("borrowed", [False, True])
@pytest.mark.parametrize("script", [hang_up, reset, garbage, cut, too_large, Connection.until_closed])
async def test_broken_answer_shows_no_token(script: Script, borrowed: bool) -> None:
    session = aiohttp.ClientSession() if borrowed else None
    async with RawServer(script) as server:
        transport = AiohttpTransport(server.url, session=session)
        with pytest.raises(TruecallerError) as caught:
            await transport.send(request(), BRIEF)
        await transport.aclose()
        if session is not None:
            await session.close()
    assert CANARY.encode() in server.received
    assert_shows_no_canary(caught.value)


@pytest.mark.fault("S01")
async def test_refused_connection_shows_no_token(transport_to: Opener) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        transport = transport_to(f"http://127.0.0.1:{holder.getsockname()[1]}")
        with pytest.raises(TruecallerError) as caught:
            await transport.send(request(), BRIEF)
    assert_shows_no_canary(caught.value)


@pytest.mark.fault("S01")
async def test_refused_header_shows_no_token(transport_to: Opener) -> None:
    with pytest.raises(ConfigError) as caught:
        await transport_to("https://api.example").send(request(CANARY + "\r\n"), BRIEF)
    assert_shows_no_canary(caught.value)
