"""A batch before the server knows it.

A `OutgoingBatch` keeps three lists of one length: the row numbers, the records as the caller gave them, and the
records as they are sent (canonical form; one and the same list where nothing had to be formed). Its `columns` are the
same records by field. Batches are the unit inside the engine; records appear singly only at its edges.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from truecaller_async.models import CallRecord, RecordColumns
from truecaller_async.planning.batch_state import AttemptCounts, BatchEvent, BatchState, advance

NO_EXPIRY_MS = 2**63


@attrs.define(eq=False)
class OutgoingBatch(AttemptCounts):
    """Up to 500 records that go out together, and how far they got.

    `closes` is the earliest end of a window in it (milliseconds). `via` says by which call it is sent: "submit", or
    "push" for a single record that is isolated. `root` is the batch from which it was split in order to find a bad
    record. `again`: its next attempt repeats one that failed, and draws on the retry budget. `lost_at`: when its answer
    was lost, on the loop's clock; an answer that an earlier process lost was lost long ago. `is_distinct`: all its
    pairs of caller and receiver are different, as far as somebody has looked.
    """

    seq: int
    rows: Sequence[int]
    originals: list[CallRecord]
    wire_records: list[CallRecord]
    expires_ms: int
    call: str = "submit"
    root_batch: int | None = None
    state: BatchState = BatchState.PLANNED
    not_before: float = 0.0
    is_retry: bool = False
    is_distinct: bool = False
    lost_at: float = float("-inf")
    blocked_by: set[int] = attrs.field(factory=set)
    _columns: RecordColumns | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> RecordColumns:
        """The records by field, made when they are first asked for."""
        if self._columns is None:
            self._columns = RecordColumns.of(self.wire_records)
        return self._columns

    @property
    def keys(self) -> list[str | None]:
        """The callers' own keys, as they were given."""
        return self.columns.key if self.originals is self.wire_records else [given.key for given in self.originals]

    def apply(self, event: BatchEvent) -> None:
        """Move to the state that follows."""
        self.state = advance(self.state, event)

    def remove(self, indexes: Collection[int]) -> list[tuple[int, CallRecord]]:
        """Take out the records at these places."""
        if not indexes:
            return []
        gone = set(indexes)
        taken = [(self.rows[index], self.originals[index]) for index in sorted(gone)]
        keep = [index for index in range(len(self.rows)) if index not in gone]
        self.rows = [self.rows[index] for index in keep]
        self.originals = [self.originals[index] for index in keep]
        self.wire_records = [self.wire_records[index] for index in keep]
        self._columns = None
        self.expires_ms = earliest_expiry(self.wire_records)
        return taken

    def part(self, seq: int, start: int, stop: int, call: str) -> OutgoingBatch:
        """A new draft of the records from `start` to `stop`, which remembers where it came from."""
        records = self.wire_records[start:stop]
        return OutgoingBatch(
            seq=seq,
            rows=self.rows[start:stop],
            originals=self.originals[start:stop],
            wire_records=records,
            expires_ms=earliest_expiry(records),
            call=call,
            root_batch=self.seq if self.root_batch is None else self.root_batch,
            maybe_received=self.maybe_received,
            possibly_duplicated=self.possibly_duplicated,
        )


def earliest_expiry(records: list[CallRecord]) -> int:
    """The earliest end of a window among canonical records, 0 for none."""
    return min(expiry_times(records), default=0)


def expiry_times(records: list[CallRecord]) -> list[int]:
    """The ends of the windows in milliseconds; what is no number (`validate=False`) is left for the wire to refuse."""
    return [record.ends_at if isinstance(record.ends_at, int) else NO_EXPIRY_MS for record in records]
