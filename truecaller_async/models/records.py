"""A call record, and what became of it.

A `CallRecord` says: when *caller* rings *receiver* between *starts_at* and *ends_at*, show this name and this
reason. It holds just what the caller gave; `validation.record_rules` says whether it may be sent and in which form. A
`RecordResult` is the one honest answer for one row of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Self

import attrs

from truecaller_async.redaction import mask_number


class Outcome(StrEnum):
    """The final word on one record. Every record read gets exactly one."""

    DELIVERED = "delivered"
    """The server says success."""
    FAILED = "failed"
    """The server says no."""
    INVALID = "invalid"
    """Refused before sending."""
    EXPIRED = "expired"
    """Its window closed before it could be sent."""
    DUPLICATE = "duplicate"
    """The same content as an earlier row of the run, which was sent once."""
    UNKNOWN = "unknown"
    """Sent, and no final word: the answer was lost, or the poll deadline passed."""
    UNSENT = "unsent"
    """The run stopped before it was sent."""


@attrs.frozen(repr=False)
class CallRecord:
    """One record of "Truecaller for Business: Values used by all call-personalisation calls".

    `caller` and `receiver` are numbers with country code, with or without `+`. `starts_at` and `ends_at` are aware
    datetimes or integer milliseconds since the epoch, at most 24 hours apart. `label_id` names a dynamic label of
    the account, `label_name` (3-40 characters) replaces its name and `reason` (10-100 characters) is the text
    below it. `key` is your own id; it is never sent and comes back on the result.
    """

    caller: str
    receiver: str
    starts_at: datetime | int
    ends_at: datetime | int
    label_id: str | None = None
    label_name: str | None = None
    reason: str | None = None
    key: str | None = None

    def __repr__(self) -> str:
        return (
            f"CallRecord(caller={mask_number(self.caller)!r}, receiver={mask_number(self.receiver)!r}, "
            f"starts_at={self.starts_at!r}, ends_at={self.ends_at!r}, label_id={self.label_id!r}, "
            f"label_name={self.label_name!r}, reason={self.reason!r}, key={self.key!r})"
        )


@attrs.frozen
class Problem:
    """One thing wrong with one record: which `field`, which `rule`, the masked `value`, and what to do (`hint`)."""

    field: str
    rule: str
    message: str
    value: str = ""
    hint: str = ""

    def __str__(self) -> str:
        shown = f" {self.value!r}" if self.value else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.field}{shown} {self.message}{hint}"


@attrs.define
class Row:
    """One data row of a source: its `number` from 1, its physical `line` in the file, and the record or the problems.

    A reader yields a row with `record=None` where the line itself could not be read as a record. `end` is how many
    physical lines and bytes (unpacked) of the file there are up to the end of the row; None where nobody could go on
    from there.
    """

    number: int
    line: int | None
    record: CallRecord | None
    problems: tuple[Problem, ...] = ()
    end: tuple[int, int] | None = None


@attrs.define(eq=False)
class Rows:
    """Rows that follow one another: the number of the `first`, and the `records`, None where one could not be read.

    `problems` says by index what is wrong with a row; `end` is the `Row.end` of the last.
    """

    first: int
    records: list[CallRecord | None]
    problems: dict[int, tuple[Problem, ...]] = attrs.field(factory=dict)
    end: tuple[int, int] | None = None

    @classmethod
    def of(cls, rows: Sequence[Row], first: int) -> Self:
        """These rows, whose numbers follow one another from `first`."""
        problems = {index: row.problems for index, row in enumerate(rows) if row.record is None}
        return cls(first, [row.record for row in rows], problems, rows[-1].end if rows else None)

    def __len__(self) -> int:
        return len(self.records)


@attrs.define
class RecordResult:
    """The answer for one row.

    `record` is the record given, None where the row could not be read as one. `row` counts the rows read from 1.
    `reason` and `field` explain every outcome but a plain delivery. `attempts` counts how often the record was
    sent. `possibly_duplicated` is true exactly where a send was ambiguous and the record was sent again. `final` is
    false where a resumed run may still say something else: the record was not sent, or its last word is not known yet.
    """

    record: CallRecord | None
    row: int
    key: str | None
    outcome: Outcome
    reason: str | None = None
    field: str | None = None
    batch_id: str | None = None
    record_id: str | None = None
    attempts: int = 0
    possibly_duplicated: bool = False
    final: bool = True
