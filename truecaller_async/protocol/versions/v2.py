"""Version 2: the long names, and numbers as digits.

The documentation contradicts itself about the `+`: one of its samples has it for the caller alone, all others have
digits. Digits are the form on which all samples agree for at least one side.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET, Struct, UnsetType

from truecaller_async.models import RecordColumns
from truecaller_async.protocol.wire_fields import milliseconds, unless_none

PREFIX = "/v2"


class WireRecordV2(Struct, gc=False):
    """One record as "Truecaller for Business: Call personalisation v2" spells it, in the order it prints."""

    label_id: str | UnsetType
    dynamic_label_name: str | UnsetType
    dynamic_call_reason: str | UnsetType
    caller_number: str
    receiver_number: str
    starts_at: int
    ends_at: int


def wire_records(columns: RecordColumns) -> list[WireRecordV2]:
    """The records on the wire; what they do not say is left out."""
    return between(columns.caller, columns.receiver, columns)


def between(callers: Iterable[str], receivers: Iterable[str], columns: RecordColumns) -> list[WireRecordV2]:
    """The records on the wire, with their numbers in the form that the version wants."""
    return list(
        map(
            WireRecordV2,
            unless_none(columns.label_id, UNSET),
            unless_none(columns.label_name, UNSET),
            unless_none(columns.reason, UNSET),
            callers,
            receivers,
            milliseconds(columns.starts_at, "starts_at"),
            milliseconds(columns.ends_at, "ends_at"),
        )
    )
