"""What a request must be to be read at all, and what it is answered. Pure; the same for every server.

The order matters. The key comes first, so that whoever has none learns nothing: not which methods there are, not how
large a body may be; every such request is answered 404 and an empty object. Then the method (405), the encoding (415)
and the size (413), all before a byte of the body is looked at: 200 kB of gzip can be gigabytes of text.

The answer's body is always `{}`. Truecaller takes exactly 200 for "received"; a third party says that the body must be
JSON. A refusal closes the connection: what is left of the body is then neither read nor unpacked by anybody.

From "Truecaller for Business: Webhooks, error scenarios".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

import attrs

from truecaller_async.webhooks.keys import Keyring

BODY_MAX_BYTES = 64 * 1024
"""Bytes of a body at most. The documented ones are below 1 KiB."""

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
    """An answer: a status, `{}`, and these headers. Anything but a 200 closes the connection."""

    status: int
    extra: Mapping[str, str] = MappingProxyType({})
    body: bytes = EMPTY_OBJECT

    @property
    def closes(self) -> bool:
        """Whether nothing more may be read from this connection."""
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
"""The event could not be written down: it must come again."""


@attrs.frozen
class RequestHead:
    """A request without its body. `path` and `query` as they came; names of headers are lower case."""

    method: str
    path: bytes
    query: bytes
    headers: Mapping[str, str]


def refusal(head: RequestHead, keys: Keyring) -> WebhookResponse | None:
    """The answer to a request that is not to be read; None where it is."""
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
    """What a server needs of the receiver."""

    async def start(self) -> None:
        """Open it. Raises `ConfigError`."""
        ...

    async def aclose(self) -> None:
        """Close it."""
        ...

    def refusal(self, head: RequestHead) -> WebhookResponse | None:
        """The answer to a request that is not to be read; None where it is."""
        ...

    async def accept(self, body: bytes) -> WebhookResponse:
        """Keep what came, and say what to answer. Raises nothing."""
        ...


class RequestBody:
    """A body that grows piece by piece, up to the cap."""

    def __init__(self) -> None:
        self._pieces = bytearray()

    def add(self, piece: bytes) -> bool:
        """Take one more piece. False means that it is too much, and nothing more should be read."""
        if len(self._pieces) + len(piece) > BODY_MAX_BYTES:
            return False
        self._pieces += piece
        return True

    def content(self) -> bytes:
        """What came."""
        return bytes(self._pieces)
