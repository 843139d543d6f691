"""Store the results of a batch by column and create each `RecordResult` only when it is iterated.

500 objects that are created at once leave the processor cache before they are read. Created one by one, each reuses the
memory of the one before. Counters and journal need only a few columns and create no objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import TypeAlias

import attrs

from truecaller_async.models.records import CallRecord, Outcome, RecordResult

OutcomeKey: TypeAlias = tuple[Outcome, str | None, str | None, int, bool]
"""The values of a result that a journal stores: outcome, reason, field, attempts, possibly_duplicated."""


@attrs.define(eq=False)
class BatchResults:
    """The results of the records of one batch."""

    records: Sequence[CallRecord]
    """The records as given."""
    rows: Sequence[int]
    """Row number of each record."""
    keys: Sequence[str | None]
    """Key of each record."""
    outcomes: Sequence[Outcome]
    """Outcome of each record."""
    reasons: Sequence[str | None]
    """Cause of each outcome, or None."""
    fields: Sequence[str | None]
    """Field that caused each outcome, or None."""
    record_ids: Sequence[str | None]
    """Id that the server gave to each record, or None."""
    batch_id: str
    """Id of the batch."""
    attempts: int
    """Number of attempts that may have reached the server; attempts that ended with `NotSent` are not counted."""
    possibly_duplicated: bool
    """Whether an attempt was ambiguous and the batch was sent again."""
    is_plain: bool = False
    """Whether all records were delivered and have neither reason nor field."""
    final: bool = True
    """Whether no later run can change the results."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[RecordResult]:
        return map(
            RecordResult,
            self.records,
            self.rows,
            self.keys,
            self.outcomes,
            self.reasons,
            self.fields,
            repeat(self.batch_id),
            self.record_ids,
            repeat(self.attempts),
            repeat(self.possibly_duplicated),
            repeat(self.final),
        )

    def outcome_keys(self) -> list[OutcomeKey]:
        """Return the values that the journal stores for each record."""
        attempts, duplicated = repeat(self.attempts), repeat(self.possibly_duplicated)
        # strict=False: `repeat` has no end.
        return list(zip(self.outcomes, self.reasons, self.fields, attempts, duplicated, strict=False))


ResultList: TypeAlias = BatchResults | list[RecordResult]
"""Results in the form in which the engine passes them to the reader."""
