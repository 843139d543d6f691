"""The receiver in an aiohttp application.

aiohttp unpacks a packed body as it comes in, and goes on doing so after the answer, for as long as it lingers for the
rest. 200 kB of gzip would so stop the loop for half a second, however soon it was refused. So a refusal closes the
connection with its own hand, right behind the answer.
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
"""What reading a body raises that is no body."""


def routes(receiver: Receiver, path: str) -> list[web.RouteDef]:
    """This path, and this path with one more segment. Raises `ConfigError` where it does not begin with a slash."""
    if not isinstance(path, str) or not path.startswith("/") or any(mark in path for mark in "?#{}"):
        raise ConfigError("path must begin with a slash and have no ?, #, { or } in it, such as /truecaller")

    async def handle(request: web.Request) -> web.StreamResponse:
        reply = await _answer(receiver, request)
        return await _send_response(reply, request)

    plain = path.rstrip("/")
    return [web.route("*", place, handle) for place in (plain or "/", f"{plain}/{{key}}")]


def add(receiver: Receiver, app: web.Application, path: str) -> None:
    """The routes, and the receiver's life with the application's."""

    async def live(_: web.Application) -> AsyncIterator[None]:
        await receiver.start()
        yield
        await receiver.aclose()

    app.add_routes(routes(receiver, path))
    app.cleanup_ctx.append(live)


async def _answer(receiver: Receiver, request: web.Request) -> WebhookResponse:
    if refused := receiver.refusal(_head(request)):
        return refused
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
    """None where it is too large."""
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
    with contextlib.suppress(ConnectionError):  # whoever was refused may have hung up already
        await response.prepare(request)
        await response.write_eof()
    if request.transport is not None:
        request.transport.close()
    return response
