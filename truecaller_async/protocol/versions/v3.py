"""Version 3: the names of version 2, and numbers in E.164 with `+`."""

from __future__ import annotations

from truecaller_async.models import RecordColumns
from truecaller_async.protocol.versions import v2

PREFIX = "/v3"


def wire_records(columns: RecordColumns) -> list[v2.WireRecordV2]:
    """The records on the wire. From "Truecaller for Business: Call personalisation v3"."""
    callers = [f"+{caller}" for caller in columns.caller]
    return v2.between(callers, [f"+{receiver}" for receiver in columns.receiver], columns)
