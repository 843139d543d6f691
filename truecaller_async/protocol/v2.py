"""Version 2: the long names, and numbers as digits.

The documentation contradicts itself about the `+`: one of its samples has it for the caller alone, all others have
digits. Digits are the form on which all samples agree for at least one side.
"""

from __future__ import annotations

import attrs
from msgspec import UNSET, UnsetType

from truecaller_async.models import CallRecord
from truecaller_async.protocol.canonical import milliseconds

PREFIX = "/v2"


@attrs.define(slots=False)  # slots would sort the names on the wire
class WireRecord:
    """One record as "Truecaller for Business: Call personalisation v2" spells it, in the order it prints."""

    label_id: str | UnsetType
    dynamic_label_name: str | UnsetType
    dynamic_call_reason: str | UnsetType
    caller_number: str
    receiver_number: str
    starts_at: int
    ends_at: int


def wire_record(record: CallRecord) -> WireRecord:
    """The record on the wire; what it does not say is left out."""
    return between(record.caller, record.receiver, record)


def between(caller: str, receiver: str, record: CallRecord) -> WireRecord:
    """The record on the wire, with its two numbers in the form that the version wants."""
    return WireRecord(
        UNSET if record.label_id is None else record.label_id,
        UNSET if record.label_name is None else record.label_name,
        UNSET if record.reason is None else record.reason,
        caller,
        receiver,
        milliseconds(record.starts_at, "starts_at"),
        milliseconds(record.ends_at, "ends_at"),
    )
