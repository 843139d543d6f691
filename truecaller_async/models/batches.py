"""Define the answers of the call-personalisation API.

A status is kept exactly as the server wrote it. Only the documented values are final (`FINAL_STATUSES`). Any other
value, also in other case, means that the record is still pending.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from truecaller_async.models.records import Outcome
from truecaller_async.redaction import mask_number

FINAL_STATUSES = {
    "success": Outcome.DELIVERED,
    "error": Outcome.FAILED,
    "failure": Outcome.FAILED,
    "failed": Outcome.FAILED,
}


@attrs.frozen
class PushAnswer:
    """The answer to a record that was pushed in real time. From "Truecaller for Business: Real-time"."""

    status: str | None = None
    """Status as the server wrote it."""
    message: str | None = None
    """Message of the server."""
    batch_id: str | None = None
    """Batch id; returned by API version v1 only."""


@attrs.frozen
class Batch:
    """An accepted batch. From "Truecaller for Business: Batch v2"."""

    batch_id: str
    """Opaque id, used to request the status of the batch."""


@attrs.define(repr=False)
class RecordStatus:
    """One record in the status of a batch. From "Truecaller for Business: Batch v2 status".

    Each attribute is None if the answer does not contain it.
    """

    id: str | None = None
    """Id that the server gave to the record."""
    caller: str | None = None
    """Number of the caller; the server may mask it with asterisks."""
    receiver: str | None = None
    """Number of the receiver; the server may mask it with asterisks."""
    label_id: str | None = None
    """Id of the dynamic label."""
    label_name: str | None = None
    """Name shown instead of the name of the label."""
    reason: str | None = None
    """Call reason."""
    starts_at: int | None = None
    """Start of the window, in milliseconds since the epoch."""
    ends_at: int | None = None
    """End of the window, in milliseconds since the epoch."""
    status: str | None = None
    """Status as the server wrote it."""
    message: str | None = None
    """Message of the server, usually the cause of a failure."""
    field: str | None = None
    """Name of the field that caused a failure."""
    created_at: datetime | None = None
    """Time at which the server created the record."""

    @property
    def outcome(self) -> Outcome | None:
        """Return `delivered` or `failed`, or None while the status is not final."""
        return FINAL_STATUSES.get(self.status) if self.status is not None else None

    def __repr__(self) -> str:
        return (
            f"RecordStatus(id={self.id!r}, caller={mask_number(self.caller)!r}, "
            f"receiver={mask_number(self.receiver)!r}, status={self.status!r}, message={self.message!r}, "
            f"field={self.field!r})"
        )


@attrs.frozen
class BatchStatus:
    """The status of a batch, one entry for each record."""

    batch_id: str
    """Id of the batch."""
    client_account_id: str | None
    """Id of the client account, None if the answer does not contain it."""
    records: tuple[RecordStatus, ...]
    """Status of each record, in the order of the server, which can differ from the order of submission."""
    foreign: int = 0
    """Number of rows of another batch or account; they are not in `records`."""
