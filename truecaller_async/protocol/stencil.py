"""A batch in which nothing differs but the receivers: the common one.

One record is written, and every other is the same text with another number in it. That takes a third of the time of
writing them all, and gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from truecaller_async.models import Columns
from truecaller_async.protocol.codec import encode

PLACE = "<receiver>"
"""Stands where the number goes. It needs no escape in JSON."""

NAME = "call_records"


def stencilled(records: Columns, wire_records: Callable[[Columns], Sequence[object]]) -> bytes | None:
    """The body of the batch; None where its records have to be written one by one."""
    rest = (records.caller, records.starts_at, records.ends_at, records.label_id, records.label_name, records.reason)
    if not all(values.count(values[0]) == len(values) for values in rest) or not _are_digits(records.receiver):
        return None
    first = {field.name: getattr(records, field.name)[:1] for field in attrs.fields(Columns)}
    (one,) = wire_records(Columns(**{**first, "receiver": [PLACE]}))
    try:
        before, _, behind = encode(one).decode().partition(PLACE)
    except UnicodeEncodeError:
        return None
    if PLACE in behind:
        return None
    between = f"{behind},{before}"
    return f'{{"{NAME}":[{before}{between.join(records.receiver)}{behind}]}}'.encode()


def _are_digits(numbers: list[object]) -> bool:
    try:
        line = "".join(numbers)  # type: ignore[arg-type]
    except TypeError:
        return False
    return line.isascii() and line.isdigit()
