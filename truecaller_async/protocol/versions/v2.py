"""Version 2: long field names, numbers as digits.

The documentation contradicts itself about the `+`: one sample has it for the caller alone, all other samples have
digits. In each sample at least one of the two numbers is digits only, so this form is used.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET, Struct, UnsetType

from truecaller_async.models import RecordColumns
from truecaller_async.protocol.wire_fields import milliseconds, replace_none

PREFIX = "/v2"


class WireRecordV2(Struct, gc=False):
    """One record as in "Truecaller for Business: Call personalisation v2", with its names in its order."""

    label_id: str | UnsetType
    dynamic_label_name: str | UnsetType
    dynamic_call_reason: str | UnsetType
    caller_number: str
    receiver_number: str
    starts_at: int
    ends_at: int


def wire_records(columns: RecordColumns) -> list[WireRecordV2]:
    """Return the records as objects of the wire. A field that is None is left out."""
    return wire_records_between(columns.caller, columns.receiver, columns)


def wire_records_between(
    callers: Iterable[str], receivers: Iterable[str], columns: RecordColumns
) -> list[WireRecordV2]:
    """Return the records as objects of the wire, with numbers in the form of the version.

    Args:
        callers: calling number of each record.
        receivers: called number of each record.
        columns: the records; their own numbers are not used.
    """
    return list(
        map(
            WireRecordV2,
            replace_none(columns.label_id, UNSET),
            replace_none(columns.label_name, UNSET),
            replace_none(columns.reason, UNSET),
            callers,
            receivers,
            milliseconds(columns.starts_at, "starts_at"),
            milliseconds(columns.ends_at, "ends_at"),
        )
    )
