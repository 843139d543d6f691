"""Checks of a request before its body is read, and the answers. No I/O; the same for every server.

Order of the checks:
    1. Key: without a valid key every request gets a 404 with an empty object, so the answer does not reveal the allowed
       methods or the size limit.
    2. Method (405), encoding (415) and size (413), before the body is read: 200 kB of gzip can be gigabytes of text.

The body of an answer is always `{}`. Truecaller takes exactly 200 as a confirmation; according to a third party the
body must be JSON. A rejection closes the connection, so the rest of the body is neither read nor decompressed.

From "Truecaller for Business: Webhooks, error scenarios".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import attrs

from truecaller_async.webhooks.keys import Keyring

BODY_MAX_BYTES = 64 * 1024
"""Maximum size of a body. The documented ones are below 1 KiB."""

EMPTY_OBJECT = b"{}"
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Type": "application/json",
        "Content-Length": str(len(EMPTY_OBJECT)),
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
    }
)


@attrs.frozen
class WebhookResponse:
    """Answer: a status, `{}` as the body, and headers."""

    status: int
    """HTTP status."""
    extra: Mapping[str, str] = MappingProxyType({})
    """Headers in addition to the common ones."""
    body: bytes = EMPTY_OBJECT
    """Body in bytes."""

    @property
    def closes(self) -> bool:
        """True if the connection must be closed: after every status except 200."""
        return self.status != 200

    @property
    def headers(self) -> dict[str, str]:
        """All headers."""
        return {**HEADERS, **self.extra, **({"Connection": "close"} if self.closes else {})}


RECEIVED = WebhookResponse(200)
BAD_EVENT = WebhookResponse(400)
WRONG_ACCOUNT = WebhookResponse(403)
NOT_FOUND = WebhookResponse(404)
METHOD_NOT_ALLOWED = WebhookResponse(405, MappingProxyType({"Allow": "POST"}))
TIMED_OUT = WebhookResponse(408)
TOO_LARGE = WebhookResponse(413)
UNSUPPORTED_ENCODING = WebhookResponse(415)
NOT_STORED = WebhookResponse(503)
"""The event could not be stored; the sender must repeat it."""


@attrs.frozen
class RequestHead:
    """Request without its body."""

    method: str
    """HTTP method."""
    path: bytes
    """Path as received, percent-encoded."""
    query: bytes
    """Query as received, percent-encoded."""
    headers: Mapping[str, str]
    """Headers with lower-case names."""


def rejection(head: RequestHead, keys: Keyring) -> WebhookResponse | None:
    """Return the answer that rejects the request; None if its body may be read."""
    if not keys.accepts(head.path, head.query):
        return NOT_FOUND
    if head.method != "POST":
        return METHOD_NOT_ALLOWED
    if head.headers.get("content-encoding", "identity").strip().lower() not in ("identity", ""):
        return UNSUPPORTED_ENCODING
    declared = head.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:20]) > BODY_MAX_BYTES:
        return TOO_LARGE
    return None


class Receiver(Protocol):
    """Interface of the receiver for HTTP servers."""

    async def start(self) -> None:
        """Open the receiver.

        Raises:
            ConfigError: The store cannot be used.
        """
        ...

    async def aclose(self) -> None:
        """Close the receiver."""
        ...

    def rejection(self, head: RequestHead) -> WebhookResponse | None:
        """Return the answer that rejects the request; None if its body may be read."""
        ...

    async def accept(self, body: bytes) -> WebhookResponse:
        """Store the event of this body and return the answer. Raises nothing."""
        ...


class RequestBody:
    """Body that is read in pieces, up to `BODY_MAX_BYTES`."""

    def __init__(self) -> None:
        self._pieces = bytearray()

    def add(self, piece: bytes) -> bool:
        """Append a piece; return False if the body is too large and reading must stop."""
        if len(self._pieces) + len(piece) > BODY_MAX_BYTES:
            return False
        self._pieces += piece
        return True

    def content(self) -> bytes:
        """Return the bytes so far."""
        return bytes(self._pieces)
