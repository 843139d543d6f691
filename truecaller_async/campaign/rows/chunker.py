"""Group records into batches.

The chunker fills one batch at a time. It has no clock: the engine flushes an incomplete batch when its oldest record
has waited long enough.

Algorithm:
    Watermark: the index of a record in its batch is written into the millisecond digits of `ends_at`. The end of the
    window becomes less than one second earlier. So a status row can be matched even if the server masks every number.
"""

from __future__ import annotations

import attrs

from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.row_ranges import as_rows
from truecaller_async.models import CallRecord, RecordColumns
from truecaller_async.options import BATCH_MAX


class Chunker:
    """Build the contents of batches of up to `size` records."""

    def __init__(self, size: int = BATCH_MAX, *, watermark: bool = False) -> None:
        self._size = size
        self._watermark = watermark
        self._rows: list[int] = []
        self._originals: list[CallRecord] = []
        self._records: list[CallRecord] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, original: CallRecord, record: CallRecord) -> BatchContent | None:
        """Add one record. Returns the batch if it is full now."""
        if self._watermark:
            record = with_watermark(record, len(self._records))
        self._rows.append(row)
        self._originals.append(original)
        self._records.append(record)
        return self.flush() if len(self._rows) >= self._size else None

    @property
    def free_slots(self) -> int:
        """Return how many records fit into the current batch."""
        return self._size - len(self._rows)

    def add_all(self, first: int, records: list[CallRecord], columns: RecordColumns) -> BatchContent | None:
        """Add at most `free_slots` canonical records of consecutive rows. Returns the batch if it is full now."""
        # A full batch of records that need no change reuses the lists of the reader.
        if self._rows or len(records) != self._size or self._watermark:
            batches = [self.add(row, record, record) for row, record in enumerate(records, first)]
            return batches[-1]
        rows = range(first, first + len(records))
        return BatchContent(rows, records, records, min(columns.ends_at), columns=columns)

    def flush(self) -> BatchContent | None:
        """Return the current batch, None if it is empty, and begin a new one."""
        if not self._rows:
            return None
        content = BatchContent.of(as_rows(self._rows), self._originals, self._records)
        self._rows, self._originals, self._records = [], [], []
        return content


def with_watermark(record: CallRecord, index: int) -> CallRecord:
    """Write the index into the millisecond digits of `ends_at`, which becomes at most 999 ms earlier."""
    ends_at = record.ends_at
    if not isinstance(ends_at, int):
        return record
    return attrs.evolve(record, ends_at=ends_at - (ends_at - index) % 1000)
