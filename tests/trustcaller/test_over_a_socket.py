"""TrustCaller over real connections that fail: what is repeated, and what an error contains."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

import pytest

from tests.transport.raw_server import Connection, RawServer, Script
from truecaller_async.errors import ResponseLost, TruecallerError, UnexpectedRedirect
from truecaller_async.options import RetryPolicy, Timeouts
from truecaller_async.trustcaller import TrustCallerClient

from .scripted_client import SAMPLES, TOKEN

FAST_RETRY = RetryPolicy(attempts=3, initial=0.001, cap=0.001)
TIMEOUTS = Timeouts(connect=5, read=5)
NEW_TOKEN = "7|aBcD"


async def disconnecting(connection: Connection) -> None:
    """Read the request and reset the connection."""
    await connection.request()
    connection.reset()


def answering(name: str, status: str = "200 OK", headers: str = "") -> Script:
    """Return a script that answers with a sample and closes the connection."""

    async def script(connection: Connection) -> None:
        await connection.request()
        body = (SAMPLES / f"{name}.json").read_bytes()
        await connection.answer(body, status=status, headers=f"{headers}Connection: close\r\n")

    return script


async def result_of(
    call: Callable[[TrustCallerClient], Awaitable[object]], server: RawServer
) -> tuple[object, TruecallerError | None]:
    """Return the result of a call, or its error, which must not contain a token."""
    client = TrustCallerClient(token=TOKEN, base_url=f"{server.url}/api/v1", retry=FAST_RETRY, timeouts=TIMEOUTS)
    async with client:
        try:
            return await call(client), None
        except TruecallerError as error:
            collected = traceback.TracebackException.from_exception(error, capture_locals=True)
            frames = [str(frame.locals) for frame in collected.stack if "truecaller_async" in frame.filename]
            shown = " ".join([str(error), repr(vars(error)), *frames, *traceback.format_exception(error)])
            assert TOKEN not in shown
            assert NEW_TOKEN not in shown
            return None, error


async def test_read_is_retried_with_the_documented_headers() -> None:
    async with RawServer(disconnecting, answering("calls_check_response")) as server:
        landed, error = await result_of(lambda client: client.calls.check("120000486562997"), server)
        assert (landed, error) == (True, None)
        assert server.requests == 2
        head = bytes(server.connections[-1].received).decode()
        assert head.startswith("GET /api/v1/calls/check?number=120000486562997 HTTP/1.1\r\n")
        assert f"Authorization: Bearer {TOKEN}\r\n" in head
        assert "Accept: application/json\r\n" in head


async def test_key_creation_with_a_lost_answer_is_sent_once_and_reported() -> None:
    async with RawServer(disconnecting, answering("create_key_response", "201 Created")) as server:
        _, error = await result_of(lambda client: client.keys.create("Production server"), server)
        assert type(error) is ResponseLost
        assert error.sent == "maybe"
        assert server.requests == 1


async def test_revocation_with_a_lost_answer_succeeds_if_the_key_is_gone() -> None:
    async with RawServer(disconnecting, answering("call_error_404", "404 Not Found")) as server:
        assert await result_of(lambda client: client.keys.revoke(7), server) == (None, None)
        assert server.requests == 2


async def test_unreadable_new_key_shows_nothing_of_its_token() -> None:
    async def cut(connection: Connection) -> None:
        await connection.request()
        body = (SAMPLES / "create_key_response.json").read_bytes().replace(b'"id": 7', b'"id": null')
        await connection.answer(body, status="201 Created", headers="Connection: close\r\n")

    async with RawServer(cut) as server:
        _, error = await result_of(lambda client: client.keys.create("Production server"), server)
        assert error is not None
        assert server.requests == 1


@pytest.mark.parametrize("status", ["302 Found", "308 Permanent Redirect"])
async def test_redirect_is_not_followed(status: str) -> None:
    location = "Location: https://elsewhere.example/login?token=x\r\n"
    async with RawServer(answering("error_401", status, location)) as server:
        _, error = await result_of(lambda client: client.numbers.list(), server)
        assert isinstance(error, UnexpectedRedirect)
        assert error.location == "https://elsewhere.example/login"
        assert server.requests == 1
