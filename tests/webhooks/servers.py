"""The receiver in each kind of server on a real socket, and event bodies."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import uvicorn
from aiohttp import web

from truecaller_async.options import RetryPolicy
from truecaller_async.webhooks import Event, WebhookOptions, WebhookReceiver
from truecaller_async.webhooks.server import WebhookServer

SAMPLES = Path(__file__).parents[1] / "samples" / "webhooks"
KEY = "k3y-0f-th3-w3bh00k-wh1ch-n0b0dy-s33s"
OTHER_KEY = "th3-n3xt-k3y-4ft3r-th3-r0t4t10n"
BUSINESS, CLIENT = "910000000001", "919900000007"

FAST_RETRIES = WebhookOptions(retry=RetryPolicy(attempts=3, total=60, initial=0.001, cap=0.001))

Serve: TypeAlias = Callable[[WebhookReceiver], AbstractAsyncContextManager[str]]


def sample(name: str) -> bytes:
    """Return a documented body."""
    return (SAMPLES / f"webhook_{name}.json").read_bytes()


def call_me_back(event_id: str, created_at: int = 1_753_945_760, business: str = BUSINESS, **changed: Any) -> bytes:
    """Return a generated body."""
    payload = {"business_number": business, "client_number": CLIENT, "is_interested": True}
    event = {"event_id": event_id, "event_type": "cmb", "created_at": str(created_at), "cmb_payload": payload}
    return json.dumps({**event, **changed}).encode()


class RecordingHandler:
    """Handler that records event ids and can be awaited."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._news = asyncio.Event()

    async def __call__(self, event: Event) -> None:
        self.seen.append(event.event_id)
        self._news.set()

    async def until(self, count: int) -> list[str]:
        """Wait for this number of events."""
        while len(self.seen) < count:
            self._news.clear()
            await self._news.wait()
        return self.seen


async def ignore(event: Event) -> None:
    """Handle an event without an effect."""


def receiver(handler: Any = ignore, store: str | Path = "memory:", **settings: Any) -> WebhookReceiver:
    """Return a receiver with the key of this module."""
    return WebhookReceiver(handler, [KEY], store, **{"options": FAST_RETRIES, **settings})


@asynccontextmanager
async def listening(app: Any, **settings: Any) -> AsyncIterator[str]:
    """Run uvicorn with an application on loopback; yield the URL without a final slash."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = {"log_config": None, "ws": "none", "timeout_graceful_shutdown": 5, **settings}
        server = uvicorn.Server(uvicorn.Config(app, **options))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
                await asyncio.sleep(0)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@asynccontextmanager
async def by_uvicorn(of: WebhookReceiver) -> AsyncIterator[str]:
    """Serve the receiver as the whole application, with its own lifespan."""
    async with listening(of) as url:
        yield f"{url}/hook"


@asynccontextmanager
async def by_aiohttp(of: WebhookReceiver) -> AsyncIterator[str]:
    """Serve the receiver in an aiohttp application with default settings."""
    app = web.Application()
    of.add_to(app, "/hook")
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def by_own_server(of: WebhookReceiver) -> AsyncIterator[str]:
    """Serve the receiver with `WebhookServer`."""
    async with await WebhookServer.start(of, path="/hook") as server:
        yield server.url


SERVERS: dict[str, Serve] = {"uvicorn": by_uvicorn, "aiohttp": by_aiohttp, "alone": by_own_server}
