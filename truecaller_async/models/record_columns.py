"""Store the records of a batch by column, so that a batch is processed with a few calls per field.

A Python loop over 500 records costs more than the work in it, and most values of a batch are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import attrs

from truecaller_async.models.records import CallRecord


@attrs.frozen(eq=False)
class RecordColumns:
    """The values of records, one list for each field of `CallRecord`. All lists have the same length."""

    caller: list[Any]
    """Values of `CallRecord.caller`."""
    receiver: list[Any]
    """Values of `CallRecord.receiver`."""
    starts_at: list[Any]
    """Values of `CallRecord.starts_at`."""
    ends_at: list[Any]
    """Values of `CallRecord.ends_at`."""
    label_id: list[Any]
    """Values of `CallRecord.label_id`."""
    label_name: list[Any]
    """Values of `CallRecord.label_name`."""
    reason: list[Any]
    """Values of `CallRecord.reason`."""
    key: list[Any]
    """Values of `CallRecord.key`."""

    @classmethod
    def of(cls, records: Sequence[CallRecord]) -> Self:
        """Build the columns of records."""
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
        """Return all columns, in the order of the fields of `CallRecord`."""
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
