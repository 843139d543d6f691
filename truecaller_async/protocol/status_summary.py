"""Parse only those fields of a batch status that a campaign needs.

Purpose:
    A status repeats all fields of the batch, about 400 bytes for each record. A campaign needs both numbers, the row
    id and the status with its message. Reading these alone takes a small part of the time of a full reading.

Invariants:
    - Only the documented form is read, and only if every row surely belongs to the expected batch. In any other case
      the result is None, and the caller reads the answer in full (`batch_status.read_rows`).
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from msgspec import UNSET, Struct, json

from truecaller_async.models import BatchStatus, Outcome
from truecaller_async.models.batches import FINAL_STATUSES
from truecaller_async.protocol.batch_status import ROWS_MAX, ExpectedBatch
from truecaller_async.protocol.json_codec import UNREADABLE


class StatusInfoSummary(Struct, gc=False):
    """`status_info` of a row."""

    status: str | None
    """Status as the server wrote it."""
    message: str | None = None
    """Text for people."""
    field: str | None = None
    """Field that was rejected."""


class StatusRowSummary(Struct, gc=False, rename={"caller": "caller_number", "receiver": "receiver_number"}):
    """Summary of one row, with the attribute names of `RecordStatus`."""

    caller: str
    """Number that calls."""
    receiver: str
    """Number that is called."""
    status_info: StatusInfoSummary
    """Status, message and field."""
    id: str | None = None
    """Id of the row."""
    batch_id: object = UNSET
    """Set only in forms that are not read here."""
    client_account_id: object = UNSET
    """Set only in forms that are not read here."""

    @property
    def status(self) -> str | None:
        """Return the status as the server wrote it."""
        return self.status_info.status

    @property
    def message(self) -> str | None:
        """Return the text for people."""
        return self.status_info.message

    @property
    def field(self) -> str | None:
        """Return the field that was rejected."""
        return self.status_info.field

    @property
    def outcome(self) -> Outcome | None:
        """Return `delivered` or `failed`; None if the status is not final."""
        return FINAL_STATUSES.get(self.status_info.status or "")


class _Answer(Struct, gc=False):
    batch_id: str
    data: list[StatusRowSummary]
    client_account_id: str | None = None


@attrs.frozen(eq=False)
class StatusView:
    """Status of a batch as a campaign uses it."""

    summaries: list[StatusRowSummary] | None
    """Summaries of all rows; None if the answer must be read in full."""
    in_full: Callable[[], BatchStatus]
    """Read the same answer in full. Raises `DecodeError` if it is not readable."""


_decode = json.Decoder(_Answer).decode


def read_summaries(body: bytes, expected: ExpectedBatch) -> list[StatusRowSummary] | None:
    """Return the summaries of all rows of a status; None if the body must be read in full.

    Args:
        body: body of a successful answer.
        expected: the batch that the answer must be about.
    """
    try:
        answer = _decode(body)
    except UNREADABLE:
        return None
    if answer.batch_id != expected.batch_id or not expected.is_account(answer.client_account_id):
        return None
    rows = answer.data
    unset_count = [row.batch_id for row in rows].count(UNSET) + [row.client_account_id for row in rows].count(UNSET)
    return rows if len(rows) <= ROWS_MAX and unset_count == 2 * len(rows) else None
