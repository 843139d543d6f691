"""Routes of the receiver for aiohttp.

aiohttp decompresses a body while it arrives, and continues after the answer until the lingering time ends: 200 kB of
gzip would block the event loop for half a second, even if the request was rejected at once. So a rejection closes the
connection directly after the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from truecaller_async.errors import ConfigError
from truecaller_async.webhooks import request_checks
from truecaller_async.webhooks.asgi import BODY_TIMEOUT_SECONDS
from truecaller_async.webhooks.request_checks import Receiver, RequestBody, RequestHead, WebhookResponse

BODY_ERRORS = (HttpProcessingError, web.RequestPayloadError, ClientError, ConnectionError)
"""Exceptions that reading an invalid body raises."""


def routes(receiver: Receiver, path: str) -> list[web.RouteDef]:
    """Return routes for the path, and for the path followed by one more segment.

    Raises:
        ConfigError: The path cannot be used.
    """
    if not isinstance(path, str) or not path.startswith("/") or any(mark in path for mark in "?#{}"):
        raise ConfigError("path must begin with a slash and have no ?, #, { or } in it, such as /truecaller")

    async def handle(request: web.Request) -> web.StreamResponse:
        reply = await _answer(receiver, request)
        return await _send_response(reply, request)

    plain = path.rstrip("/")
    return [web.route("*", pattern, handle) for pattern in (plain or "/", f"{plain}/{{key}}")]


def add(receiver: Receiver, app: web.Application, path: str) -> None:
    """Add the routes to the application, and open and close the receiver with it."""

    async def lifespan(_: web.Application) -> AsyncIterator[None]:
        await receiver.start()
        yield
        await receiver.aclose()

    app.add_routes(routes(receiver, path))
    app.cleanup_ctx.append(lifespan)


async def _answer(receiver: Receiver, request: web.Request) -> WebhookResponse:
    if rejection := receiver.rejection(_head(request)):
        return rejection
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            body = await _body(request)
    except TimeoutError:
        return request_checks.TIMED_OUT
    except BODY_ERRORS:
        return request_checks.BAD_EVENT
    return request_checks.TOO_LARGE if body is None else await receiver.accept(body)


def _head(request: web.Request) -> RequestHead:
    path, _, query = request.raw_path.encode("utf-8", "surrogateescape").partition(b"?")
    headers = {name.lower(): ", ".join(request.headers.getall(name)) for name in request.headers}
    return RequestHead(request.method, path, query, headers)


async def _body(request: web.Request) -> bytes | None:
    """Return the body; None if it is too large."""
    body = RequestBody()
    while piece := await request.content.readany():
        if not body.add(piece):
            return None
    return body.content()


async def _send_response(reply: WebhookResponse, request: web.Request) -> web.StreamResponse:
    response = web.Response(status=reply.status, body=reply.body, headers=reply.headers)
    if not reply.closes:
        return response
    response.force_close()
    with contextlib.suppress(ConnectionError):  # the client may have disconnected
        await response.prepare(request)
        await response.write_eof()
    if request.transport is not None:
        request.transport.close()
    return response
