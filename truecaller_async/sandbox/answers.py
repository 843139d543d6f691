"""Answers of the sandbox that are common to several calls: errors, rate limits, tokens, labels.

Documented: the token answer; `{"slug", "message"}` as the form of an error; the labels. Documented texts are used
unchanged. Chosen by the sandbox: the slugs `not-found` (404), `method-not-allowed` (405) and `rate-limit-error` (429);
`Retry-After` is whole seconds, rounded up.

An answer is a `SandboxResponse` value. Its `DeliveryMode` says how it is written to the socket: complete, cut, slow,
or with wrong framing. `faults.raw_http` writes it; a transport without sockets can interpret the same value.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from enum import StrEnum

import attrs
import msgspec

from truecaller_async.sandbox.account import SandboxLabel

JSON = "application/json"
CONSOLE_EMAIL = "console@sandbox.example"
"""E-mail address shown as the creator of objects that are created in the console."""
CONSOLE_CREATED_AT = "2025-03-04T05:06:07.080910Z"
"""Creation time shown for objects that are created in the console."""

_encode = msgspec.json.Encoder().encode


class DeliveryMode(StrEnum):
    """Way in which an answer is written to the socket."""

    WHOLE = "whole"
    """The complete answer."""
    RESET = "reset"
    """No answer; the connection is reset (TCP RST)."""
    CLOSE = "close"
    """No answer; the connection is closed (TCP FIN)."""
    STALL = "stall"
    """No answer; the connection stays open until the client closes it."""
    CUT = "cut"
    """Correct `Content-Length`, half of the body, then the end of the stream."""
    CUT_CHUNKED = "cut-chunked"
    """Chunked encoding, half of the body, then the end of the stream."""
    CUT_UNMARKED = "cut-unmarked"
    """No length and no chunks, half of the body, then the end of the stream."""
    LONG_LENGTH = "long-length"
    """A `Content-Length` that is larger than the body; the connection stays open."""
    SHORT_LENGTH = "short-length"
    """A `Content-Length` of half of the body, and the whole body."""
    TWO_LENGTHS = "two-lengths"
    """Two `Content-Length` headers with different values."""
    HUGE = "huge"
    """A body of 1 GiB with the correct length."""
    ENDLESS = "endless"
    """A chunked body without end."""
    BOMB = "bomb"
    """A gzip body of about 200 kB that unpacks to 200 MiB."""
    DRIP = "drip"
    """The head at once, and the body byte by byte."""
    DRIP_HEADERS = "drip-headers"
    """The head byte by byte, and the body at once."""
    GARBAGE = "garbage"
    """A malformed status line."""
    NOT_HTTP = "not-http"
    """The greeting of another protocol."""
    LONG_HEADER = "long-header"
    """One header of 16 kB."""


@attrs.frozen(repr=False)
class SandboxResponse:
    """One HTTP answer and its delivery. Durations are seconds."""

    status: int
    """HTTP status."""
    headers: Mapping[str, str]
    """Headers; the names are lower case."""
    body: bytes
    """Body in bytes."""
    mode: DeliveryMode = DeliveryMode.WHOLE
    """Delivery mode; unless it is `WHOLE`, the client gets a damaged answer or none."""
    delay: float = 0.0
    """Seconds before the first byte."""
    seconds_per_byte: float = 0.0
    """Seconds between two bytes in the modes `DRIP` and `DRIP_HEADERS`."""

    def __repr__(self) -> str:
        late = f", {self.delay:g} s late" if self.delay else ""
        return f"Reply({self.status}, {len(self.body)} bytes, {self.mode}{late})"

    def with_date(self, now: float) -> SandboxResponse:
        """Return the answer with a `Date` header, as every answer has one."""
        return attrs.evolve(self, headers={"date": http_date(now), **self.headers})


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> SandboxResponse:
    """Return an answer with the value as JSON."""
    return SandboxResponse(status, {"content-type": JSON, **(headers or {})}, _encode(value))


def error(status: int, slug: str, message: str, headers: Mapping[str, str] | None = None) -> SandboxResponse:
    """Return an error in the documented form."""
    return answer({"slug": slug, "message": message}, status, headers)


def invalid(message: str) -> SandboxResponse:
    """Return a 400 for an invalid request."""
    return error(400, "invalid-input", message)


def not_found(message: str) -> SandboxResponse:
    """Return a 404; undocumented."""
    return error(404, "not-found", message)


def not_allowed(allowed: str) -> SandboxResponse:
    """Return a 405 with the allowed methods; undocumented."""
    return error(405, "method-not-allowed", f"this path takes {allowed}", {"allow": allowed})


def forbidden() -> SandboxResponse:
    """Return a 403. The text is documented, the status is inferred."""
    return error(403, "forbidden-error", "not authorized. please contact your admin.")


def rate_limited(wait: float) -> SandboxResponse:
    """Return a 429 with `Retry-After`.

    The documentation mentions 429 in prose only; the body is chosen by the sandbox.

    Args:
        wait: seconds until the limit has capacity for another request.
    """
    seconds = math.ceil(wait)
    return error(429, "rate-limit-error", f"too many requests, retry after {seconds} s", {"retry-after": str(seconds)})


def token_parse_failure() -> SandboxResponse:
    """Return a 500 for an unreadable token. The text is documented, the status is inferred."""
    return error(500, "internal-server-error", "500/50011 - Failed to parse token")


def token(value: str, now: float) -> SandboxResponse:
    """Return the answer with a new token."""
    return answer({"token": value, "created_at": rfc3339(now)})


def labels(page: Iterable[SandboxLabel]) -> SandboxResponse:
    """Return a page of labels; the body is a bare array."""
    return answer(
        [
            {
                "id": label.id,
                "name": label.name,
                "logo_url": f"https://media.sandbox.example/logos/{label.id}.png",
                "category": label.category,
                "sub_category": label.sub_category,
                "created_by_email": CONSOLE_EMAIL,
                "created_at": CONSOLE_CREATED_AT,
                "label_type": "dynamic",
            }
            for label in page
        ]
    )


def http_date(now: float) -> str:
    """Format a time for a header: whole seconds, rounded down."""
    return formatdate(math.floor(now), usegmt=True)


def rfc3339(now: float, digits: int = 2) -> str:
    """Format a time as RFC 3339 in UTC, rounded down.

    Args:
        now: wall-clock seconds.
        digits: number of fractional digits; the documented samples have two, three or six.
    """
    moment = datetime.fromtimestamp(now, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{f'{moment.microsecond:06d}'[:digits]}Z"
