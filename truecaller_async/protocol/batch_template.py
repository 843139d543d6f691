"""A batch in which nothing differs but the receivers: the common one.

One record is written, and every other is the same text with another number in it. That takes a third of the time of
writing them all, and gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from truecaller_async.models import RecordColumns
from truecaller_async.protocol.json_codec import encode

PLACE = "<receiver>"
"""Stands where the number goes. It needs no escape in JSON."""

NAME = "call_records"


def encode_by_template(
    records: RecordColumns, wire_records: Callable[[RecordColumns], Sequence[object]]
) -> bytes | None:
    """The body of the batch; None where its records have to be written one by one."""
    rest = (records.caller, records.starts_at, records.ends_at, records.label_id, records.label_name, records.reason)
    numbers = _as_bytes(records.receiver)
    if numbers is None or not all(values.count(values[0]) == len(values) for values in rest):
        return None
    first = {field.name: getattr(records, field.name)[:1] for field in attrs.fields(RecordColumns)}
    (one,) = wire_records(RecordColumns(**{**first, "receiver": [PLACE]}))
    try:
        before, _, behind = encode(one).partition(PLACE.encode())
    except UnicodeEncodeError:
        return None
    if PLACE.encode() in behind:
        return None
    numbers[0] = b'{"%b":[%b%b' % (NAME.encode(), before, numbers[0])
    numbers[-1] += behind + b"]}"
    return (behind + b"," + before).join(numbers)  # the one large object that is made


def _as_bytes(numbers: list[str]) -> list[bytes] | None:
    """The numbers, where all of them are digits."""
    try:
        line = "\n".join(numbers)
    except TypeError:
        return None
    found = line.encode().split(b"\n") if line.isascii() else []
    return found if len(found) == len(numbers) and line.replace("\n", "").isdigit() else None
