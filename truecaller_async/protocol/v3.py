"""Version 3: the names of version 2, and numbers in E.164 with `+`."""

from __future__ import annotations

from truecaller_async.models import CallRecord
from truecaller_async.protocol import v2

PREFIX = "/v3"


def wire_record(record: CallRecord) -> v2.WireRecord:
    """The record on the wire. From "Truecaller for Business: Call personalisation v3"."""
    return v2.between(f"+{record.caller}", f"+{record.receiver}", record)
