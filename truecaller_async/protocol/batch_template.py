"""Encode a batch whose records differ only in the receiver, the common case.

Algorithm:
    One record is encoded with a placeholder as its receiver. The text around the placeholder is then joined with the
    receivers. This takes about a third of the time of encoding each record.

Invariants:
    - The bytes are the same as those of encoding all records.
    - Receivers are only ASCII digits, so that they need no escape in JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from truecaller_async.models import RecordColumns
from truecaller_async.protocol.json_codec import encode

PLACEHOLDER = "<receiver>"
"""Encoded as the receiver of the template. JSON needs no escape for it."""

RECORDS_KEY = "call_records"
"""Name of the array of records in the body."""


def encode_by_template(
    records: RecordColumns, wire_records: Callable[[RecordColumns], Sequence[object]]
) -> bytes | None:
    """Return the body of the batch; None if its records must be encoded one by one.

    Args:
        records: the records of the batch.
        wire_records: conversion of records to the objects of the wire.
    """
    other = (records.caller, records.starts_at, records.ends_at, records.label_id, records.label_name, records.reason)
    receivers = _as_bytes(records.receiver)
    if receivers is None or not all(values.count(values[0]) == len(values) for values in other):
        return None
    first = {field.name: getattr(records, field.name)[:1] for field in attrs.fields(RecordColumns)}
    (template,) = wire_records(RecordColumns(**{**first, "receiver": [PLACEHOLDER]}))
    try:
        before, _, behind = encode(template).partition(PLACEHOLDER.encode())
    except UnicodeEncodeError:
        return None
    if PLACEHOLDER.encode() in behind:  # another field has this very text
        return None
    receivers[0] = b'{"%b":[%b%b' % (RECORDS_KEY.encode(), before, receivers[0])
    receivers[-1] += behind + b"]}"
    return (behind + b"," + before).join(receivers)  # the only large object that is created


def _as_bytes(numbers: list[str]) -> list[bytes] | None:
    try:
        joined = "\n".join(numbers)
    except TypeError:
        return None
    found = joined.encode().split(b"\n") if joined.isascii() else []
    return found if len(found) == len(numbers) and joined.replace("\n", "").isdigit() else None
