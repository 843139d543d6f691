"""What an error may quote of an answer.

The server's own words help, and they may carry what must not be printed: a number it echoes, a header a gateway
shows on its error page, a signed link, a line break that forges a line of the log. So what an error quotes is short and
printable, links are without their query, words that look like tokens are left out, and numbers show their last four
digits only, also where spaces, hyphens, dots or parentheses stand between the digits. UUIDs, dates, addresses and
hashes stay whole: people look for them. The answer to a mint is quoted with more care, because it is about credentials.

A word that was cut can no longer be known for what it is. So more is read than is kept, and where there is more than
was read, the end of what was read is left out, however much shorter the rest has become.
"""

from __future__ import annotations

import re

from truecaller_async.errors import BODY_MAX_CHARS
from truecaller_async.models import mask_number

TEXT_MAX_CHARACTERS = 500
"""Characters of a message that an error keeps."""

MARGIN = 64
"""Characters read beyond those kept, and left out again at the end: more than a number has, however it is written."""

BYTES_OF_A_CHARACTER = 4

UUID_LIKE = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
DATE = r"(?<!\d)(?:19|20)\d\d-[01]\d-[0-3]\d(?=T| \d\d:|(?![ ().-]*\d))"
ADDRESS = r"(?<![\d.])[0-2]?\d?\d(?:\.[0-2]?\d?\d){3}(?![ ().-]*\d)"
NUMBER = r"(?P<number>\d(?:[ ().-]{0,3}\d){6,})"
KEPT_OR_NUMBER = re.compile(f"{UUID_LIKE}|{DATE}|{ADDRESS}|{NUMBER}", re.IGNORECASE)
QUERY = re.compile(r"(?P<link>https?:[^\s?\"'<>]*\?)[^\s\"'<>]+", re.IGNORECASE)
BEARER = re.compile(r"(?P<scheme>bearer\s+)\S+", re.IGNORECASE)
TOKEN_LIKE = re.compile(
    r"(?P<link>https?:\S+)|(?=[\w+/=.~-]*[A-Z])(?=[\w+/=.~-]*[a-z])(?=(?:[^\W\d]|[+/=.~-])*(?:\d(?:[^\W\d]|[+/=.~-])*){4})"
    r"[\w+/=.~-]{24,}",
    re.ASCII,
)
"""Long, and of capitals, small letters and some digits, as the documented token is; ids and paths lack one of these."""
CREDENTIAL_LIKE = re.compile(r"(?=\S*[0-9A-Z])\S{16,}")
"""Slugs and plain words have no digits and no capitals."""


def redact(text: str | None, kept: int = TEXT_MAX_CHARACTERS) -> str | None:
    """The text as an error may carry it."""
    if text is None:
        return None
    printable = "".join(char if char.isprintable() else " " for char in text[: kept + MARGIN])
    spared = TOKEN_LIKE.sub(_spare, QUERY.sub(r"\g<link>***", BEARER.sub(r"\g<scheme>***", printable)))
    masked = KEPT_OR_NUMBER.sub(_mask, spared)
    return masked[:kept] if len(text) <= kept + MARGIN else masked[: min(kept, len(masked) - MARGIN)]


def redact_body(body: bytes) -> str:
    """The beginning of a body as an error may carry it."""
    read = body[: BYTES_OF_A_CHARACTER * (BODY_MAX_CHARS + MARGIN + 1)]
    return redact(read.decode("utf-8", "replace"), BODY_MAX_CHARS) or ""


def redact_strict(text: str | None) -> str | None:
    """The text without any word that could be a token or a key."""
    return None if text is None else CREDENTIAL_LIKE.sub("***", redact(text) or "")


def _mask(found: re.Match[str]) -> str:
    return mask_number(found[0]) if found["number"] else found[0]


def _spare(found: re.Match[str]) -> str:
    return found[0] if found["link"] else "***"
