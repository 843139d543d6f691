"""What the server says, whatever it is about: a reply, an error, a refusal for a limit, a token, a moment.

Documented: the token; `{"slug", "message"}` for what is wrong with a call; the labels. Texts that the documentation
prints are used word by word. The sandbox's own choices, because nothing is printed: 404, 405 and 429 have the slugs
`not-found`, `method-not-allowed` and `rate-limit-error`; `Retry-After` is whole seconds, rounded up.

A reply is a value, and so is the `DeliveryMode` in which it goes on the wire: a whole answer, or one that is cut,
dripped, hidden or lied about. `wire` does what it says; a transport without sockets can read it just as well.
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
CONSOLE_CREATED_AT = "2025-03-04T05:06:07.080910Z"
"""When everything was made that the console makes, and by whom."""

_encode = msgspec.json.Encoder().encode


class DeliveryMode(StrEnum):
    """How a reply goes on the wire."""

    WHOLE = "whole"
    RESET = "reset"
    """Nothing is said, and the connection is reset (TCP RST)."""
    CLOSE = "close"
    """Nothing is said, and the connection is closed (TCP FIN)."""
    STALL = "stall"
    """Nothing is said, and the connection stays open until the client gives up."""
    CUT = "cut"
    """The length is told; half of the body comes, then the end of the stream."""
    CUT_CHUNKED = "cut-chunked"
    """In chunks; half of the body comes, then the end of the stream."""
    CUT_UNMARKED = "cut-unmarked"
    """The end of the stream is the only end there is; half of the body comes before it."""
    LONG_LENGTH = "long-length"
    """A longer length than the body's is told, and the connection stays open."""
    SHORT_LENGTH = "short-length"
    """Half of the body's length is told, and the whole body comes."""
    TWO_LENGTHS = "two-lengths"
    """Two different lengths are told."""
    HUGE = "huge"
    """A body of 1 GiB, and its true length."""
    ENDLESS = "endless"
    """A body in chunks, without an end."""
    BOMB = "bomb"
    """A body of 200 MiB, packed into 200 kB."""
    DRIP = "drip"
    """The head at once, and the body byte by byte."""
    DRIP_HEADERS = "drip-headers"
    """The head byte by byte, and the body at once."""
    GARBAGE = "garbage"
    """The status line is none."""
    NOT_HTTP = "not-http"
    """The greeting of another protocol."""
    LONG_HEADER = "long-header"
    """One header of 16 kB."""


@attrs.frozen(repr=False)
class SandboxResponse:
    """One answer, and how it goes on the wire. Header names are lower case.

    `manner`: where it is not `WHOLE`, the client gets a part of the answer, or nothing of it. `delay`: seconds before
    the first byte. `pace`: seconds between two bytes that are dripped.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    mode: DeliveryMode = DeliveryMode.WHOLE
    delay: float = 0.0
    pace: float = 0.0

    def __repr__(self) -> str:
        late = f", {self.delay:g} s late" if self.delay else ""
        return f"Reply({self.status}, {len(self.body)} bytes, {self.mode}{late})"

    def with_date(self, now: float) -> SandboxResponse:
        """With the server's clock on it, as every answer has."""
        return attrs.evolve(self, headers={"date": http_date(now), **self.headers})


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> SandboxResponse:
    """Any value as JSON."""
    return SandboxResponse(status, {"content-type": JSON, **(headers or {})}, _encode(value))


def error(status: int, slug: str, message: str, headers: Mapping[str, str] | None = None) -> SandboxResponse:
    """The common form of an error."""
    return answer({"slug": slug, "message": message}, status, headers)


def invalid(message: str) -> SandboxResponse:
    """A request that is wrong in itself."""
    return error(400, "invalid-input", message)


def not_found(message: str) -> SandboxResponse:
    """Something that is not there. Undocumented."""
    return error(404, "not-found", message)


def not_allowed(allowed: str) -> SandboxResponse:
    """Another method than the path takes. Undocumented."""
    return error(405, "method-not-allowed", f"this path takes {allowed}", {"allow": allowed})


def forbidden() -> SandboxResponse:
    """Documented text, inferred status."""
    return error(403, "forbidden-error", "not authorized. please contact your admin.")


def rate_limited(wait: float) -> SandboxResponse:
    """No room under a limit for another `wait` seconds. Undocumented: the documentation only says 429 in prose."""
    seconds = math.ceil(wait)
    return error(429, "rate-limit-error", f"too many requests, retry after {seconds} s", {"retry-after": str(seconds)})


def token_parse_failure() -> SandboxResponse:
    """A token that cannot be read. Documented text, inferred status."""
    return error(500, "internal-server-error", "500/50011 - Failed to parse token")


def token(value: str, now: float) -> SandboxResponse:
    """A new token."""
    return answer({"token": value, "created_at": rfc3339(now)})


def labels(page: Iterable[SandboxLabel]) -> SandboxResponse:
    """A page of labels: a bare array."""
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
    """The form of dates in headers: whole seconds, cut and not rounded."""
    return formatdate(math.floor(now), usegmt=True)


def rfc3339(now: float, digits: int = 2) -> str:
    """RFC 3339 in UTC, cut and not rounded, with as many fractional digits as the samples have: two, three or six."""
    moment = datetime.fromtimestamp(now, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{f'{moment.microsecond:06d}'[:digits]}Z"
