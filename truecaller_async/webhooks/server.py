"""A server with nothing but the receiver in it: aiohttp, with all that this job does not need switched off.

Nothing is unpacked, nothing is lingered for, and the access log names the route and never the URL, because the key is
in the URL. TLS is the proxy's matter.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from truecaller_async.webhooks.receiver import WebhookReceiver

SHUTDOWN_GRACE_SECONDS = 5.0
"""Seconds that requests in progress are given when the server closes."""

logger = logging.getLogger("truecaller_async.webhooks.access")


class KeylessAccessLogger(AbstractAccessLogger):
    """An access log without query and key: method, route, status, bytes, seconds. For `AppRunner`."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """One line for one request. Of a path that leads nowhere nothing is told: there may be a key in it."""
        resource = request.match_info.route.resource if isinstance(request, web.Request) else None
        route = resource.canonical if resource is not None else "(no route)"
        size = response.body_length
        self.logger.info("%s %s %s %d %d %.3f", request.remote, request.method, route, response.status, size, time)


class WebhookServer:
    """A running server: `async with await WebhookServer.start(receiver) as server: ... server.url`."""

    def __init__(self, receiver: WebhookReceiver, path: str) -> None:
        self.url = ""
        self.receiver = receiver
        self._path = path
        app = web.Application()
        receiver.add_to(app, path)
        self._runner = web.AppRunner(
            app,
            access_log_class=KeylessAccessLogger,
            access_log=logger,
            auto_decompress=False,
            lingering_time=0,
            shutdown_timeout=SHUTDOWN_GRACE_SECONDS,
        )

    @classmethod
    async def start(
        cls, receiver: WebhookReceiver, host: str = "127.0.0.1", port: int = 0, path: str = "/truecaller"
    ) -> Self:
        """Open the receiver and listen. Port 0 takes a free one.

        Raises `ConfigError` where the store or the path cannot be used, OSError where the port cannot be had.
        """
        server = cls(receiver, path)
        try:
            await server._runner.setup()
            await web.TCPSite(server._runner, host, port).start()
        except BaseException:
            await server.aclose()
            raise
        at = f"[{host}]" if ":" in host else host
        server.url = f"http://{at}:{server._runner.addresses[0][1]}{path}"
        return server

    async def aclose(self) -> None:
        """Stop listening, then close the receiver."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
