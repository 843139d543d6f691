"""ASGI 3 interface of the receiver: `http` and `lifespan`; web sockets are closed.

ASGI servers do not decompress request bodies, so a compressed body is not expanded in memory. Every error becomes an
answer and never an exception: a server would turn an exception into a 500, and Truecaller would send the event up to
seven more times.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

from truecaller_async.errors import ConfigError
from truecaller_async.webhooks import request_checks
from truecaller_async.webhooks.request_checks import Receiver, RequestBody, RequestHead, WebhookResponse

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

BODY_TIMEOUT_SECONDS = 10.0
"""Time for a whole body. Truecaller gives up after 20 seconds."""


async def serve(receiver: Receiver, scope: Message, receive: Receive, send: Send) -> None:
    """Handle one scope of an ASGI server."""
    match scope["type"]:
        case "http":
            reply = await _answer(receiver, scope, receive)
            if reply is not None:
                await _send_response(reply, send)
        case "lifespan":
            await _run_lifespan(receiver, receive, send)
        case "websocket":
            await send({"type": "websocket.close", "code": 1008})


async def _answer(receiver: Receiver, scope: Message, receive: Receive) -> WebhookResponse | None:
    """Return the answer, or None if the client has disconnected."""
    if rejection := receiver.rejection(_head(scope)):
        return rejection
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            body = await _body(receive)
    except TimeoutError:
        return request_checks.TIMED_OUT
    return await receiver.accept(body) if isinstance(body, bytes) else body


def _head(scope: Message) -> RequestHead:
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        text, known = value.decode("latin-1"), headers.get(name.decode("latin-1").lower())
        headers[name.decode("latin-1").lower()] = text if known is None else f"{known}, {text}"
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    return RequestHead(scope["method"], path, scope.get("query_string", b""), headers)


async def _body(receive: Receive) -> bytes | WebhookResponse | None:
    body = RequestBody()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        if not body.add(message.get("body", b"")):
            return request_checks.TOO_LARGE
        if not message.get("more_body", False):
            return body.content()


async def _send_response(reply: WebhookResponse, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in reply.headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _run_lifespan(receiver: Receiver, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            try:
                await receiver.start()
            except ConfigError as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            await send({"type": "lifespan.startup.complete"})
        else:
            await receiver.aclose()
            await send({"type": "lifespan.shutdown.complete"})
            return
