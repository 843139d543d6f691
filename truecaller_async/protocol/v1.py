"""Version 1, deprecated: the short names, numbers as digits, and paths without a version segment."""

from __future__ import annotations

import attrs
from msgspec import UNSET, UnsetType

from truecaller_async.models import CallRecord
from truecaller_async.protocol.canonical import milliseconds

PREFIX = ""


@attrs.define(slots=False)  # slots would sort the names on the wire
class WireRecord:
    """One record as "Truecaller for Business: Call personalisation v1" spells it, in the order it prints."""

    call_reason: str | UnsetType
    caller: str
    ends_at: int
    label_id: str | UnsetType
    label_name: str | UnsetType
    receiver: str
    starts_at: int


def wire_record(record: CallRecord) -> WireRecord:
    """The record on the wire; what it does not say is left out."""
    return WireRecord(
        UNSET if record.reason is None else record.reason,
        record.caller,
        milliseconds(record.ends_at, "ends_at"),
        UNSET if record.label_id is None else record.label_id,
        UNSET if record.label_name is None else record.label_name,
        record.receiver,
        milliseconds(record.starts_at, "starts_at"),
    )
