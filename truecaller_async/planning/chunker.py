"""Rows in, batches out.

The chunker fills one draft at a time, up to `size` records. It knows no clock: the engine flushes a part-filled
draft when its oldest record has lingered long enough. With `watermark`, the place of a record in its batch is written
into the millisecond digits of `ends_at`, which moves the end of its window earlier by less than a second and lets a
status row be matched even where the server masks every number.
"""

from __future__ import annotations

import attrs

from truecaller_async.models import CallRecord, RecordColumns
from truecaller_async.options import BATCH_MAX
from truecaller_async.planning.outgoing_batch import OutgoingBatch, earliest_expiry


class Chunker:
    """Forms drafts of up to `size` records, numbered from the one that follows `last_seq`."""

    def __init__(self, size: int = BATCH_MAX, *, watermark: bool = False, last_seq: int = 0) -> None:
        self._size = size
        self._watermark = watermark
        self._seq = last_seq
        self._rows: list[int] = []
        self._originals: list[CallRecord] = []
        self._records: list[CallRecord] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, row: int, original: CallRecord, record: CallRecord) -> OutgoingBatch | None:
        """Put in one record; returns the draft that is full with it."""
        if self._watermark:
            record = with_watermark(record, len(self._records))
        self._rows.append(row)
        self._originals.append(original)
        self._records.append(record)
        return self.flush() if len(self._rows) >= self._size else None

    @property
    def free_slots(self) -> int:
        """Records until the draft is full."""
        return self._size - len(self._rows)

    def add_all(self, first: int, records: list[CallRecord], columns: RecordColumns) -> OutgoingBatch | None:
        """Put in at most `room` canonical records of rows that follow one another, as they stand where they fill it."""
        if self._rows or len(records) != self._size or self._watermark:
            batches = [self.add(row, record, record) for row, record in enumerate(records, first)]
            return batches[-1]
        rows = range(first, first + len(records))
        return OutgoingBatch(self.next_seq(), rows, records, records, min(columns.ends_at), columns=columns)

    def flush(self) -> OutgoingBatch | None:
        """The draft as far as it is filled, None if it is empty."""
        if not self._rows:
            return None
        batch = OutgoingBatch(
            self.next_seq(), self._rows, self._originals, self._records, earliest_expiry(self._records)
        )
        self._rows, self._originals, self._records = [], [], []
        return batch

    def next_seq(self) -> int:
        """A number for a draft that is split from another."""
        self._seq += 1
        return self._seq


def with_watermark(record: CallRecord, index: int) -> CallRecord:
    """The record with its index in the millisecond digits of `ends_at`, never later than before."""
    ends_at = record.ends_at
    if not isinstance(ends_at, int):
        return record
    return attrs.evolve(record, ends_at=ends_at - (ends_at - index) % 1000)
