"""What became of the records of a batch, by field: a `RecordResult` is made of each only when its reader comes to it.

Made all at once, 500 of them would be written and read again long after they have left the processor's cache; one by
one, each is made where the last one was. Whoever counts or keeps them wants a field or two, and asks for those.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import TypeAlias

import attrs

from truecaller_async.models.records import CallRecord, Outcome, RecordResult

OutcomeKey: TypeAlias = tuple[Outcome, str | None, str | None, int, bool]
"""All that a journal is told of a result beside its row: outcome, reason, field, attempts, possibly duplicated."""


@attrs.define(eq=False)
class BatchResults:
    """The final words on all records of one batch, one value for each record or one for all.

    `is_plain`: all of them were delivered, and nothing is said of any.
    """

    records: Sequence[CallRecord]
    rows: Sequence[int]
    keys: Sequence[str | None]
    outcomes: Sequence[Outcome]
    reasons: Sequence[str | None]
    fields: Sequence[str | None]
    record_ids: Sequence[str | None]
    batch_id: str
    attempts: int
    possibly_duplicated: bool
    is_plain: bool = False
    final: bool = True

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
        """The kind of each."""
        attempts, twice = repeat(self.attempts), repeat(self.possibly_duplicated)
        return list(zip(self.outcomes, self.reasons, self.fields, attempts, twice, strict=False))


ResultList: TypeAlias = BatchResults | list[RecordResult]
"""Results on their way to the reader."""
