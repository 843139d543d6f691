"""HTTP server that contains only the receiver: aiohttp with unneeded features switched off.

Bodies are not decompressed, and connections do not linger. The access log contains the route and never the URL,
because the URL contains the key. TLS is left to a proxy.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from truecaller_async.webhooks.receiver import WebhookReceiver

SHUTDOWN_GRACE_SECONDS = 5.0
"""Time for running requests to finish when the server closes."""

logger = logging.getLogger("truecaller_async.webhooks.access")


class KeylessAccessLogger(AbstractAccessLogger):
    """Access logger for `AppRunner`: method, route, status, bytes, seconds; no query and no key."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Log one request. A path without a route is not logged, because it can contain a key."""
        resource = request.match_info.route.resource if isinstance(request, web.Request) else None
        route = resource.canonical if resource is not None else "(no route)"
        size = response.body_length
        self.logger.info("%s %s %s %d %d %.3f", request.remote, request.method, route, response.status, size, time)


class WebhookServer:
    """Running server: `async with await WebhookServer.start(receiver) as server: ... server.url`."""

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
        """Open the receiver and start listening.

        Args:
            receiver: Receiver to serve.
            host: Address to listen on.
            port: Port to listen on; 0 chooses a free port.
            path: Path of the webhook.

        Returns:
            The running server.

        Raises:
            ConfigError: The store or the path cannot be used.
            OSError: The address cannot be used.
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
