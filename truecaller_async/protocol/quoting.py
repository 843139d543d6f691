"""What an error may quote of an answer.

The server's own words help, and they may carry what must not be printed: a number it echoes, a header a gateway
shows on its error page, a line break that forges a line of the log. So what an error quotes is short, printable, and
long runs of digits show their last four only. UUIDs stay whole: they name batches and labels, and people look for
them. The answer to a mint is quoted with more care, because it is about credentials.
"""

from __future__ import annotations

import re

from truecaller_async.errors import BODY_KEPT
from truecaller_async.models import mask_number

TEXT_KEPT = 500
"""Characters of a message that an error keeps."""

MARGIN = 64
"""Characters read beyond those kept, so that no number is cut before it is masked."""

UUID_OR_NUMBER = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|(?P<number>[0-9]{8,})", re.ASCII | re.IGNORECASE
)
BEARER = re.compile(r"(?P<scheme>bearer\s+)\S+", re.IGNORECASE)
CREDENTIAL_LIKE = re.compile(r"(?=\S*[0-9A-Z])\S{16,}")
"""Slugs and plain words have no digits and no capitals."""


def quote_text(text: str | None, kept: int = TEXT_KEPT) -> str | None:
    """The text as an error may carry it."""
    if text is None:
        return None
    printable = "".join(char if char.isprintable() else " " for char in text[: kept + MARGIN])
    masked = UUID_OR_NUMBER.sub(_mask, BEARER.sub(r"\g<scheme>***", printable))
    return masked[:kept]


def quote_body(body: bytes) -> str:
    """The beginning of a body as an error may carry it."""
    return quote_text(body[: BODY_KEPT + MARGIN].decode("utf-8", "replace"), BODY_KEPT) or ""


def quote_cautiously(text: str | None) -> str | None:
    """The text without any word that could be a token or a key."""
    return None if text is None else CREDENTIAL_LIKE.sub("***", quote_text(text) or "")


def _mask(found: re.Match[str]) -> str:
    return mask_number(found[0]) if found["number"] else found[0]
