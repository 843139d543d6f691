"""Build records and batches for tests."""

from __future__ import annotations

from typing import Any

from truecaller_async.campaign.core.outgoing_batch import OutgoingBatch, earliest_expiry
from truecaller_async.models import CallRecord

START = 1_752_760_800_000
HOUR = 3_600_000


def record(number: int = 0, **other: Any) -> CallRecord:
    """Build a canonical record to receiver `number`."""
    values: dict[str, Any] = {
        "caller": "910000000001",
        "receiver": f"9199{number:08d}",
        "starts_at": START,
        "ends_at": START + HOUR,
    }
    return CallRecord(**{**values, **other})


def outgoing_batch(seq: int, *records: CallRecord, first_row: int = 1, **other: Any) -> OutgoingBatch:
    """Build a batch of records with consecutive row numbers."""
    rows = list(range(first_row, first_row + len(records)))
    return OutgoingBatch(seq, rows, list(records), list(records), earliest_expiry(list(records)), **other)
