"""Records by field: what is done for a batch at once is done for a list of values, not for each record.

A loop over 500 records costs more than the work in it. The same work over one list of numbers, one of times and so on
is a few calls, and most values of a batch are the same anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import attrs

from truecaller_async.models.records import CallRecord


@attrs.frozen(eq=False)
class RecordColumns:
    """The values of some records, one list for each field, all of one length."""

    caller: list[Any]
    receiver: list[Any]
    starts_at: list[Any]
    ends_at: list[Any]
    label_id: list[Any]
    label_name: list[Any]
    reason: list[Any]
    key: list[Any]

    @classmethod
    def of(cls, records: Sequence[CallRecord]) -> Self:
        """The columns of these records."""
        return cls(
            [record.caller for record in records],
            [record.receiver for record in records],
            [record.starts_at for record in records],
            [record.ends_at for record in records],
            [record.label_id for record in records],
            [record.label_name for record in records],
            [record.reason for record in records],
            [record.key for record in records],
        )

    @property
    def content(self) -> tuple[list[Any], ...]:
        """All of them, in the order of `CallRecord`."""
        return (
            self.caller,
            self.receiver,
            self.starts_at,
            self.ends_at,
            self.label_id,
            self.label_name,
            self.reason,
            self.key,
        )

    def __len__(self) -> int:
        return len(self.receiver)
