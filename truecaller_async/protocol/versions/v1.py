"""Version 1, deprecated: short field names, numbers as digits, paths without a version segment."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from truecaller_async.models import RecordColumns
from truecaller_async.protocol.wire_fields import milliseconds, replace_none

PREFIX = ""


class WireRecordV1(Struct, gc=False):
    """One record as in "Truecaller for Business: Call personalisation v1", with its names in its order."""

    call_reason: str | UnsetType
    caller: str
    ends_at: int
    label_id: str | UnsetType
    label_name: str | UnsetType
    receiver: str
    starts_at: int


def wire_records(columns: RecordColumns) -> list[WireRecordV1]:
    """Return the records as objects of the wire. A field that is None is left out."""
    return list(
        map(
            WireRecordV1,
            replace_none(columns.reason, UNSET),
            columns.caller,
            milliseconds(columns.ends_at, "ends_at"),
            replace_none(columns.label_id, UNSET),
            replace_none(columns.label_name, UNSET),
            columns.receiver,
            milliseconds(columns.starts_at, "starts_at"),
        )
    )
