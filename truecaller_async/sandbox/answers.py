"""What the server says, whatever it is about: a reply, an error, a refusal for a limit, a token, a moment.

Documented: the token; `{"slug", "message"}` for what is wrong with a call; the labels. Texts that the documentation
prints are used word by word. The sandbox's own choices, because nothing is printed: 404, 405 and 429 have the slugs
`not-found`, `method-not-allowed` and `rate-limit-error`; `Retry-After` is whole seconds, rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

import attrs
import msgspec

from truecaller_async.sandbox.account import SandboxLabel

JSON = "application/json"
EMAIL = "console@sandbox.example"
MADE_AT = "2025-03-04T05:06:07.080910Z"
"""When everything was made that the console makes, and by whom."""

_encode = msgspec.json.Encoder().encode


@attrs.frozen(repr=False)
class Reply:
    """One complete answer; header names are lower case.

    `cut` says that nothing is answered, and how the connection ends instead: reset (RST) or closed (FIN).
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    cut: Literal["reset", "close"] | None = None

    def __repr__(self) -> str:
        return f"Reply({self.cut or self.status}, {len(self.body)} bytes)"


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Any value as JSON."""
    return Reply(status, {"content-type": JSON, **(headers or {})}, _encode(value))


def error(status: int, slug: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """The common form of an error."""
    return answer({"slug": slug, "message": message}, status, headers)


def invalid(message: str) -> Reply:
    """A request that is wrong in itself."""
    return error(400, "invalid-input", message)


def not_found(message: str) -> Reply:
    """Something that is not there. Undocumented."""
    return error(404, "not-found", message)


def not_allowed(allowed: str) -> Reply:
    """Another method than the path takes. Undocumented."""
    return error(405, "method-not-allowed", f"this path takes {allowed}", {"allow": allowed})


def forbidden() -> Reply:
    """Documented text, inferred status."""
    return error(403, "forbidden-error", "not authorized. please contact your admin.")


def rate_limited(wait: float) -> Reply:
    """No room under a limit for another `wait` seconds. Undocumented: the documentation only says 429 in prose."""
    seconds = math.ceil(wait)
    return error(429, "rate-limit-error", f"too many requests, retry after {seconds} s", {"retry-after": str(seconds)})


def token(value: str, now: float) -> Reply:
    """A new token."""
    return answer({"token": value, "created_at": stamp(now)})


def labels(page: Iterable[SandboxLabel]) -> Reply:
    """A page of labels: a bare array."""
    return answer(
        [
            {
                "id": label.id,
                "name": label.name,
                "logo_url": f"https://media.sandbox.example/logos/{label.id}.png",
                "category": label.category,
                "sub_category": label.sub_category,
                "created_by_email": EMAIL,
                "created_at": MADE_AT,
                "label_type": "dynamic",
            }
            for label in page
        ]
    )


def stamp(now: float, digits: int = 2) -> str:
    """RFC 3339 in UTC, cut and not rounded, with as many fractional digits as the samples have: two, three or six."""
    moment = datetime.fromtimestamp(now, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{f'{moment.microsecond:06d}'[:digits]}Z"
