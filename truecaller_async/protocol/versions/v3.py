"""Version 3: field names of version 2, numbers in E.164 with `+`."""

from __future__ import annotations

from truecaller_async.models import RecordColumns
from truecaller_async.protocol.versions import v2

PREFIX = "/v3"


def wire_records(columns: RecordColumns) -> list[v2.WireRecordV2]:
    """Return the records as objects of the wire. From "Truecaller for Business: Call personalisation v3"."""
    callers = [f"+{caller}" for caller in columns.caller]
    return v2.wire_records_between(callers, [f"+{receiver}" for receiver in columns.receiver], columns)
