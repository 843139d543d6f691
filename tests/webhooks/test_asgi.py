"""The receiver in ASGI frameworks and with unusual servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Route

from truecaller_async.webhooks import WebhookReceiver

from .servers import KEY, RecordingHandler, by_aiohttp, by_uvicorn, call_me_back, listening, receiver, sample


def framework(kind: str, of: WebhookReceiver) -> Any:
    """Return an application that mounts the receiver at /hook and opens it in its lifespan."""

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        async with of:
            yield

    if kind == "Starlette, one route":
        return Starlette(routes=[Route("/hook", of), Route("/hook/{key}", of)], lifespan=lifespan)
    app = FastAPI(lifespan=lifespan)
    app.mount("/hook", of)
    return app


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("FastAPI, mounted", "/hook/?key={}"),
        ("FastAPI, mounted", "/hook/{}"),
        ("Starlette, one route", "/hook?key={}"),
        ("Starlette, one route", "/hook/{}"),
    ],
)
async def test_framework_serves_the_receiver_beside_its_own_routes(kind: str, suffix: str) -> None:
    recorder = RecordingHandler()
    async with listening(framework(kind, receiver(recorder))) as url, aiohttp.ClientSession() as http:
        for key, status in ((KEY, 200), ("n0t-th3-k3y-0f-th3-w3bh00k", 404)):
            at = url + suffix.format(key)
            async with http.post(at, data=sample("user_feedback"), allow_redirects=False) as answer:
                assert (answer.status, await answer.read()) == (status, b"{}")
        async with http.get(url + suffix.format(KEY)) as answer:
            assert answer.status == 405
        await recorder.until(1)


class Wire:
    """Connection to an ASGI application: the messages it receives, and those it sends."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self._messages = list(messages)
        self.said: list[Any] = []

    async def receive(self) -> Any:
        if self._messages:
            return self._messages.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(self, message: Any) -> None:
        self.said.append(message)


def scope(**changed: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "POST",
        "path": "/hook",
        "query_string": f"key={KEY}".encode(),
        "headers": [],
        **changed,
    }


async def test_disconnecting_sender_gets_no_answer_and_nothing_is_stored() -> None:
    wire = Wire({"type": "http.request", "body": call_me_back("e")[:9], "more_body": True}, {"type": "http.disconnect"})
    async with receiver() as of:
        await of(scope(), wire.receive, wire.send)
        assert (wire.said, (await of.stats()).received) == ([], 0)


async def test_chunked_body_is_joined_and_server_without_raw_path_works() -> None:
    body = call_me_back("e")
    pieces = [{"type": "http.request", "body": body[at : at + 7], "more_body": True} for at in range(0, len(body), 7)]
    wire = Wire(*pieces, {"type": "http.request"})
    async with receiver() as of:
        await of(scope(path=f"/hook/{KEY}", query_string=b""), wire.receive, wire.send)
        assert (wire.said[0]["status"], (await of.stats()).received) == (200, 1)


async def test_two_encoding_headers_are_an_encoding() -> None:
    wire = Wire({"type": "http.request", "body": call_me_back("e")})
    headers = [(b"content-encoding", b"gzip"), (b"Content-Encoding", b"identity")]
    async with receiver() as of:
        await of(scope(headers=headers), wire.receive, wire.send)
    assert wire.said[0]["status"] == 415


async def test_endless_body_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("truecaller_async.webhooks.asgi.BODY_TIMEOUT_SECONDS", 0.01)
    monkeypatch.setattr("truecaller_async.webhooks.routes.BODY_TIMEOUT_SECONDS", 0.01)
    head = f"POST /hook?key={KEY} HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n"
    for serve in (by_uvicorn, by_aiohttp):
        async with serve(receiver()) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[2].partition("/")[0]))
            writer.write(head.encode() + b"{")
            assert (await reader.read()).startswith(b"HTTP/1.1 408")
            writer.close()


async def test_web_socket_is_refused() -> None:
    wire = Wire()
    await receiver()({"type": "websocket"}, wire.receive, wire.send)
    assert wire.said == [{"type": "websocket.close", "code": 1008}]


async def test_lifespan_opens_and_closes_the_receiver() -> None:
    of = receiver()
    wire = Wire({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
    await of({"type": "lifespan"}, wire.receive, wire.send)
    assert [message["type"] for message in wire.said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert "not open" in repr(of)


async def test_unusable_store_fails_the_startup_with_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wire = Wire({"type": "lifespan.startup"})
    await receiver(store=tmp_path / "file" / "webhooks.db")({"type": "lifespan"}, wire.receive, wire.send)
    assert wire.said[0]["type"] == "lifespan.startup.failed"
    assert "cannot be opened" in wire.said[0]["message"]


@pytest.mark.parametrize("path", ["hook", "/hook?x", "/{hook}", ""])
def test_invalid_path_is_refused(path: str) -> None:
    from truecaller_async.errors import ConfigError

    with pytest.raises(ConfigError, match="slash"):
        receiver().routes(path)
