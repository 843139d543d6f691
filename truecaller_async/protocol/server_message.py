"""Read the status, the error and the batch id of an answer in any documented shape.

Algorithm:
    The documentation says little about HTTP statuses, and an answer 200 may be a rejection. So the shape of the body is
    read first, whatever the status is. The shapes are:

        {"slug", "message"}                              token, batch, status, labels, numbers, version 1
        {"status_info": {"status", "field", "message"}}  version 2 real-time; once also as `statusInfo`
        {"status", "field", "message"}                   version 2 real-time, earliest copy
        {"status", "message": "... BatchID: <uuid>"}     version 1, for acceptance and rejection
        {"batch_id"}                                     an accepted batch
        {"message"}                                      the exports

Failure modes:
    - A missing or unreadable body is an empty `ServerMessage`; nothing is raised.
"""

from __future__ import annotations

import re

import attrs

from truecaller_async.models import Outcome
from truecaller_async.models.batches import FINAL_STATUSES
from truecaller_async.protocol.json_codec import decode_or_none, text_of

SUCCESS_STATUSES = frozenset(status for status, outcome in FINAL_STATUSES.items() if outcome is Outcome.DELIVERED)
REJECTION_STATUSES = frozenset(status for status, outcome in FINAL_STATUSES.items() if outcome is Outcome.FAILED)

BATCH_ID = re.compile(r"(?!.*\.\.[/\\])[!-~](?:[ -~]{0,198}[!-~])?", re.ASCII)
BATCH_ID_IN_TEXT = re.compile(
    r"batch[ _-]?id\W{0,5}([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", re.ASCII | re.IGNORECASE
)


@attrs.frozen
class ServerMessage:
    """The message of an answer. An attribute is None if the answer does not have it."""

    slug: str | None = None
    """Error code such as `authorization-error`."""
    status: str | None = None
    """Status of the record or the batch, as the server wrote it."""
    field: str | None = None
    """Field that was rejected."""
    message: str | None = None
    """Text for people."""
    batch_id: str | None = None
    """Id of an accepted batch."""

    @property
    def is_rejection(self) -> bool:
        """Return whether the record or the batch was rejected.

        A rejection has a status of failure, in any case, or names a field without a status of success.
        """
        status = (self.status or "").casefold()
        return status in REJECTION_STATUSES or (self.field is not None and status not in SUCCESS_STATUSES)


def read_message(body: bytes) -> ServerMessage:
    """Return the message of a body."""
    return message_from(decode_or_none(body))


def message_from(value: object) -> ServerMessage:
    """Return the message of a decoded body."""
    if not isinstance(value, dict):
        return ServerMessage()
    envelope = value.get("status_info", value.get("statusInfo"))
    inner = envelope if isinstance(envelope, dict) else value
    return ServerMessage(
        slug=_text(value, "slug"),
        status=_text(inner, "status"),
        field=_text(inner, "field"),
        message=_text(inner, "message") or _text(value, "message"),
        batch_id=_batch_id(value.get("batch_id")),
    )


def is_batch_id(batch_id: str) -> bool:
    """Return whether a text can be a batch id: 1 to 200 printable ASCII characters without `../`.

    Batch ids are opaque and not always UUIDs. A proxy on the way could follow `../` to another path.
    """
    return BATCH_ID.fullmatch(batch_id) is not None


def batch_id_in(message: str | None) -> str | None:
    """Return the batch id at the end of a version 1 message; None if it has none."""
    found = BATCH_ID_IN_TEXT.search(message or "")
    return found[1] if found else None


def _text(value: dict[str, object], key: str) -> str | None:
    return text_of(value.get(key)) or None


def _batch_id(value: object) -> str | None:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return text if isinstance(text, str) and is_batch_id(text) else None
