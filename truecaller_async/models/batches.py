"""What the call-personalisation calls answer.

Status words are kept as the server wrote them. Only the documented words are final (`outcome`); any other word, in
any other case, means "not yet".
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
    """A real-time record was taken. From "Truecaller for Business: Real-time". `batch_id` is known in v1 only."""

    status: str | None = None
    message: str | None = None
    batch_id: str | None = None


@attrs.frozen
class Batch:
    """A batch was taken. `batch_id` is an opaque string. From "Truecaller for Business: Batch v2"."""

    batch_id: str


@attrs.define(repr=False)
class RecordStatus:
    """One record in the status of a batch. From "Truecaller for Business: Batch v2 status".

    Numbers may be masked with asterisks by the server. `starts_at` and `ends_at` are milliseconds since the epoch,
    as the server wrote them. `status` is kept verbatim; `outcome` is None until it is final.
    """

    id: str | None = None
    caller: str | None = None
    receiver: str | None = None
    label_id: str | None = None
    label_name: str | None = None
    reason: str | None = None
    starts_at: int | None = None
    ends_at: int | None = None
    status: str | None = None
    message: str | None = None
    field: str | None = None
    created_at: datetime | None = None

    @property
    def outcome(self) -> Outcome | None:
        """`delivered`, `failed`, or None where the server has not said its final word."""
        return FINAL_STATUSES.get(self.status) if self.status is not None else None

    def __repr__(self) -> str:
        return (
            f"RecordStatus(id={self.id!r}, caller={mask_number(self.caller)!r}, "
            f"receiver={mask_number(self.receiver)!r}, status={self.status!r}, message={self.message!r}, "
            f"field={self.field!r})"
        )


@attrs.frozen
class BatchStatus:
    """The status of a batch: one entry per record, in the server's order, which nobody promises to be ours.

    `foreign` counts rows that named another batch or account; they are not among `records`.
    """

    batch_id: str
    client_account_id: str | None
    records: tuple[RecordStatus, ...]
    foreign: int = 0
