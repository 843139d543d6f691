"""What an error may quote of an answer.

The server's own words help, and they may carry what must not be printed: a number it echoes, a header a gateway
shows on its error page, a signed link, a line break that forges a line of the log. So what an error quotes is short and
printable, links are without their query, and numbers show their last four digits only, also where spaces, hyphens, dots
or parentheses stand between the digits. UUIDs, dates and addresses stay whole: people look for them. The answer to a
mint is quoted with more care, because it is about credentials.
"""

from __future__ import annotations

import re

from truecaller_async.errors import BODY_KEPT
from truecaller_async.models import mask_number

TEXT_KEPT = 500
"""Characters of a message that an error keeps."""

MARGIN = 64
"""Characters read beyond those kept, so that no number is cut before it is masked."""

UUID_LIKE = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
DATE = r"(?<!\d)(?:19|20)\d\d-[01]\d-[0-3]\d(?=T| \d\d:|(?![ ().-]*\d))"
ADDRESS = r"(?<![\d.])[0-2]?\d?\d(?:\.[0-2]?\d?\d){3}(?![ ().-]*\d)"
NUMBER = r"(?P<number>\d(?:[ ().-]{0,3}\d){6,})"
KEPT_OR_NUMBER = re.compile(f"{UUID_LIKE}|{DATE}|{ADDRESS}|{NUMBER}", re.IGNORECASE)
QUERY = re.compile(r"(?P<link>https?:[^\s?\"'<>]*\?)[^\s\"'<>]+", re.IGNORECASE)
BEARER = re.compile(r"(?P<scheme>bearer\s+)\S+", re.IGNORECASE)
CREDENTIAL_LIKE = re.compile(r"(?=\S*[0-9A-Z])\S{16,}")
"""Slugs and plain words have no digits and no capitals."""


def quote_text(text: str | None, kept: int = TEXT_KEPT) -> str | None:
    """The text as an error may carry it."""
    if text is None:
        return None
    printable = "".join(char if char.isprintable() else " " for char in text[: kept + MARGIN])
    spared = QUERY.sub(r"\g<link>***", BEARER.sub(r"\g<scheme>***", printable))
    masked = KEPT_OR_NUMBER.sub(_mask, spared)
    return masked[:kept]


def quote_body(body: bytes) -> str:
    """The beginning of a body as an error may carry it."""
    return quote_text(body[: BODY_KEPT + MARGIN].decode("utf-8", "replace"), BODY_KEPT) or ""


def quote_cautiously(text: str | None) -> str | None:
    """The text without any word that could be a token or a key."""
    return None if text is None else CREDENTIAL_LIKE.sub("***", quote_text(text) or "")


def _mask(found: re.Match[str]) -> str:
    return mask_number(found[0]) if found["number"] else found[0]
