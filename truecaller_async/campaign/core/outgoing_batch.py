"""Define a batch that is sent to the server. The engine processes batches, never single records."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from truecaller_async.campaign.core.batch_state import AttemptCounts, BatchEvent, BatchState, advance
from truecaller_async.models import CallRecord, RecordColumns

NO_EXPIRY_MS = 2**63


@attrs.define(eq=False)
class OutgoingBatch(AttemptCounts):
    """Up to 500 records that are sent in one request, with their state.

    `rows`, `originals` and `wire_records` have the same length.
    """

    seq: int
    """Number of the batch."""
    rows: Sequence[int]
    """Row numbers."""
    originals: list[CallRecord]
    """Records as given."""
    wire_records: list[CallRecord]
    """Records as sent (canonical form); the same list object as `originals` if no record was changed."""
    expires_ms: int
    """Earliest end of a window, in milliseconds since the epoch."""
    call: str = "submit"
    """Call that sends the batch: "submit", or "push" for a single record that is isolated."""
    root_batch: int | None = None
    """Number of the batch from which it was split to find a bad record, or None."""
    state: BatchState = BatchState.PLANNED
    """State of the batch."""
    not_before: float = 0.0
    """Earliest time of the next attempt, on the event loop's clock."""
    is_retry: bool = False
    """Whether the next attempt repeats a failed one, and needs the retry budget."""
    is_distinct: bool = False
    """Whether all pairs of caller and receiver are known to be different."""
    lost_at: float = float("-inf")
    """Time at which its answer was lost, on the event loop's clock; `-inf` if an earlier process lost it."""
    blocked_by: set[int] = attrs.field(factory=set)
    """Numbers of the batches that must be settled first, because they hold earlier records of the same pairs."""
    _columns: RecordColumns | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def columns(self) -> RecordColumns:
        """Return the wire records by column; built at the first access."""
        if self._columns is None:
            self._columns = RecordColumns.of(self.wire_records)
        return self._columns

    @property
    def keys(self) -> list[str | None]:
        """Return the key of each record as given."""
        return self.columns.key if self.originals is self.wire_records else [record.key for record in self.originals]

    def apply(self, event: BatchEvent) -> None:
        """Change the state. Raises `AssertionError` if the event is not possible."""
        self.state = advance(self.state, event)

    def remove(self, indexes: Collection[int]) -> list[tuple[int, CallRecord]]:
        """Remove the records at these indexes. Returns their row numbers and originals, in order."""
        if not indexes:
            return []
        removed_indexes = set(indexes)
        removed = [(self.rows[index], self.originals[index]) for index in sorted(removed_indexes)]
        keep = [index for index in range(len(self.rows)) if index not in removed_indexes]
        self.rows = [self.rows[index] for index in keep]
        self.originals = [self.originals[index] for index in keep]
        self.wire_records = [self.wire_records[index] for index in keep]
        self._columns = None
        self.expires_ms = earliest_expiry(self.wire_records)
        return removed

    def part(self, seq: int, start: int, stop: int, call: str) -> OutgoingBatch:
        """Build a new batch of the records from `start` to `stop`, with this batch or its root as root."""
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
    """Return the earliest end of a window of canonical records in milliseconds, 0 if there are none."""
    return min(expiry_times(records), default=0)


def expiry_times(records: list[CallRecord]) -> list[int]:
    """Return the ends of the windows in milliseconds.

    A value that is not an integer (possible with `validate=False`) counts as `NO_EXPIRY_MS`; the server rejects it.
    """
    return [record.ends_at if isinstance(record.ends_at, int) else NO_EXPIRY_MS for record in records]
