"""Hold the records of one batch: as given, as sent, and by column.

Invariants:
    - `rows`, `originals` and `wire_records` have the same length, and never change. What is sent is the content without
      the closed rows of the batch: `without`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import attrs

from truecaller_async.campaign.core.row_ranges import as_rows
from truecaller_async.models import CallRecord, RecordColumns

NO_EXPIRY_MS = 2**63
"""End of a window that is not an integer (possible with `validate=False`); the server rejects such a record."""


@attrs.define(eq=False)
class BatchContent:
    """The records of up to 500 rows that are sent in one request."""

    rows: Sequence[int]
    """Row numbers, ascending."""
    originals: list[CallRecord]
    """Records as given."""
    wire_records: list[CallRecord]
    """Records as sent (canonical form); the same list object as `originals` if no record was changed."""
    expires_ms: int
    """Earliest end of a window, in milliseconds since the epoch."""
    is_distinct: bool = False
    """Whether all pairs of caller and receiver are known to be different."""
    _columns: RecordColumns | None = None

    @classmethod
    def of(
        cls, rows: Sequence[int], originals: list[CallRecord], wire_records: list[CallRecord], *, distinct: bool = False
    ) -> BatchContent:
        """Build the content of these rows."""
        return cls(rows, originals, wire_records, min(expiry_times(wire_records), default=0), distinct)

    @classmethod
    def joined(cls, contents: Sequence[BatchContent]) -> BatchContent:
        """Build one content of several, in their order; the object itself if there is only one."""
        if len(contents) == 1:
            return contents[0]
        return cls.of(
            [row for content in contents for row in content.rows],
            [record for content in contents for record in content.originals],
            [record for content in contents for record in content.wire_records],
        )

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

    def without(self, rows: Collection[int]) -> BatchContent:
        """Return the content without these rows; this object if there are none."""
        if not rows:
            return self
        return self.at([index for index, row in enumerate(self.rows) if row not in rows])

    def at(self, indexes: Sequence[int]) -> BatchContent:
        """Return the content of these indexes, in their order."""
        return BatchContent.of(
            as_rows([self.rows[index] for index in indexes]),
            [self.originals[index] for index in indexes],
            [self.wire_records[index] for index in indexes],
            distinct=self.is_distinct,
        )


def expiry_times(records: Sequence[CallRecord]) -> list[int]:
    """Return the ends of the windows in milliseconds; `NO_EXPIRY_MS` for a value that is not an integer."""
    return [record.ends_at if isinstance(record.ends_at, int) else NO_EXPIRY_MS for record in records]
