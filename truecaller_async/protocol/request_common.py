"""What all requests are made of: the account's path, the query, the body, the headers."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlencode

from truecaller_async.errors import ConfigError, ValidationError
from truecaller_async.models import Problem
from truecaller_async.options import UUID
from truecaller_async.protocol.json_codec import encode

LIST_MAX_BYTES = 8 * 1024 * 1024
"""Bytes of an answer that lists things: 1,000 labels or 10,000 numbers are well below 1 MiB."""

STATUS_MAX_BYTES = 2 * 1024 * 1024
"""Bytes of a status: 500 records are about 200 KiB, and below 1 MiB if every character is escaped."""

READS = {"Accept": "application/json"}
WRITES = READS | {"Content-Type": "application/json"}


def account_path(client_account_id: str) -> str:
    """The beginning of every path. Raises `ConfigError` where the account id is no UUID."""
    if not UUID.fullmatch(client_account_id):
        raise ConfigError("client_account_id is not a UUID; copy it from the console page 'Manage API Keys'")
    return f"/clients/{client_account_id}"


def query(**asked: object) -> str:
    """The query with its question mark, in the order given, without what is None."""
    return "?" + urlencode({name: value for name, value in asked.items() if value is not None})


def json_body(body: object) -> bytes:
    """The body as JSON. Raises `ValidationError` over text that is no text."""
    with suppress(UnicodeEncodeError):  # what it holds is left behind with it
        return encode(body)
    raise ValidationError(
        [Problem("record", "encoding", "has half a surrogate pair, which is no character", hint="mend the text")]
    )
