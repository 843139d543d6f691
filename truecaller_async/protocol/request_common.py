"""Parts that all requests share: the path of the account, the query, the body, the headers."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlencode

from truecaller_async.errors import ConfigError, ValidationError
from truecaller_async.models import Problem
from truecaller_async.options import UUID
from truecaller_async.protocol.json_codec import encode

LIST_MAX_BYTES = 8 * 1024 * 1024
"""Largest answer of a list: 1,000 labels or 10,000 numbers are well below 1 MiB."""

STATUS_MAX_BYTES = 2 * 1024 * 1024
"""Largest status: 500 records are about 200 KiB, and below 1 MiB if every character is escaped."""

READ_HEADERS = {"Accept": "application/json"}
WRITE_HEADERS = READ_HEADERS | {"Content-Type": "application/json"}


def account_path(client_account_id: str) -> str:
    """Return the beginning of every path.

    Raises:
        ConfigError: The account id is not a UUID.
    """
    if not UUID.fullmatch(client_account_id):
        raise ConfigError("client_account_id is not a UUID; copy it from the console page 'Manage API Keys'")
    return f"/clients/{client_account_id}"


def query(**parameters: object) -> str:
    """Return the query string with its question mark, without parameters that are None."""
    return "?" + urlencode({name: value for name, value in parameters.items() if value is not None})


def json_body(body: object) -> bytes:
    """Return the body as JSON.

    Raises:
        ValidationError: A text has an unpaired surrogate and cannot be encoded.
    """
    # The error is raised outside the handler: its context would be an exception that holds the whole text.
    with suppress(UnicodeEncodeError):
        return encode(body)
    raise ValidationError(
        [Problem("record", "encoding", "contains an unpaired surrogate", hint="fix the encoding of the text")]
    )
