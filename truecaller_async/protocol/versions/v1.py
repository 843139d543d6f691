"""Version 1, deprecated: the short names, numbers as digits, and paths without a version segment."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from truecaller_async.models import RecordColumns
from truecaller_async.protocol.wire_fields import milliseconds, unless_none

PREFIX = ""


class WireRecordV1(Struct, gc=False):
    """One record as "Truecaller for Business: Call personalisation v1" spells it, in the order it prints."""

    call_reason: str | UnsetType
    caller: str
    ends_at: int
    label_id: str | UnsetType
    label_name: str | UnsetType
    receiver: str
    starts_at: int


def wire_records(columns: RecordColumns) -> list[WireRecordV1]:
    """The records on the wire; what they do not say is left out."""
    return list(
        map(
            WireRecordV1,
            unless_none(columns.reason, UNSET),
            columns.caller,
            milliseconds(columns.ends_at, "ends_at"),
            unless_none(columns.label_id, UNSET),
            unless_none(columns.label_name, UNSET),
            columns.receiver,
            milliseconds(columns.starts_at, "starts_at"),
        )
    )
