"""Build records and batches for tests."""

from __future__ import annotations

from typing import Any

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.models import CallRecord
from truecaller_async.models.journal_entries import SourcePosition

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


def content(*records: CallRecord, first_row: int = 1) -> BatchContent:
    """Build the content of consecutive rows, with the records as given and as sent."""
    return BatchContent.of(range(first_row, first_row + len(records)), list(records), list(records))


def batch(seq: int, *records: CallRecord, first_row: int = 1, **other: Any) -> CampaignBatch:
    """Build a batch of records with consecutive row numbers."""
    held = content(*records, first_row=first_row)
    return CampaignBatch(seq, held.rows, SourcePosition(first_row - 1, 0, 0), content=held, **other)
