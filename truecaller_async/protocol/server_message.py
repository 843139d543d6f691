"""What an answer says, in whichever of the documented shapes it says it.

    {"slug", "message"}                            token, batch, status, labels, numbers, version 1
    {"status_info": {"status", "field", "message"}}  version 2 real-time; once also as `statusInfo`
    {"status", "field", "message"}                 version 2 real-time, earliest copy
    {"status", "message": "... BatchID: <uuid>"}   version 1, for yes and for no
    {"batch_id"}                                   a batch that was taken
    {"message"}                                    the exports

The statuses that carry them are poorly documented, and a 200 may say no; so the shape is read first, out of any
answer. Reading never fails: a body that is missing, or is anything else, says nothing.
"""

from __future__ import annotations

import re

import attrs

from truecaller_async.models import Outcome
from truecaller_async.models.batches import FINAL_STATUSES
from truecaller_async.protocol.json_codec import readable, text_of

SUCCESS_STATUSES = frozenset(word for word, outcome in FINAL_STATUSES.items() if outcome is Outcome.DELIVERED)
REJECTION_STATUSES = frozenset(word for word, outcome in FINAL_STATUSES.items() if outcome is Outcome.FAILED)

BATCH_ID = re.compile(r"(?!.*\.\.[/\\])[!-~](?:[ -~]{0,198}[!-~])?", re.ASCII)
BATCH_ID_IN_TEXT = re.compile(
    r"batch[ _-]?id\W{0,5}([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})", re.ASCII | re.IGNORECASE
)


@attrs.frozen
class ServerMessage:
    """The words of an answer; each is None where it does not have it. `word` is the status word, verbatim."""

    slug: str | None = None
    status: str | None = None
    field: str | None = None
    message: str | None = None
    batch_id: str | None = None

    @property
    def is_rejection(self) -> bool:
        """Whether it says no to the record or the batch: by a word of failure in any case, or by naming a field."""
        word = (self.status or "").casefold()
        return word in REJECTION_STATUSES or (self.field is not None and word not in SUCCESS_STATUSES)


def read_message(body: bytes) -> ServerMessage:
    """What this body says."""
    return message_from(readable(body))


def message_from(value: object) -> ServerMessage:
    """What this plain value says."""
    if not isinstance(value, dict):
        return ServerMessage()
    envelope = value.get("status_info", value.get("statusInfo"))
    inner = envelope if isinstance(envelope, dict) else value
    return ServerMessage(
        slug=_words(value, "slug"),
        status=_words(inner, "status"),
        field=_words(inner, "field"),
        message=_words(inner, "message") or _words(value, "message"),
        batch_id=_usable(value.get("batch_id")),
    )


def is_batch_id(batch_id: str) -> bool:
    """Whether it may be asked for. Batch ids are opaque, not always UUIDs.

    It has 1 to 200 printable ASCII characters and no step up (`../`), which something on the way might follow.
    """
    return BATCH_ID.fullmatch(batch_id) is not None


def batch_id_in(message: str | None) -> str | None:
    """The id at the end of a version 1 message, where it has one."""
    found = BATCH_ID_IN_TEXT.search(message or "")
    return found[1] if found else None


def _words(value: dict[str, object], key: str) -> str | None:
    return text_of(value.get(key)) or None


def _usable(value: object) -> str | None:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    return text if isinstance(text, str) and is_batch_id(text) else None
