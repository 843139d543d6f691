"""Define a call record, the rows of a source, and the result of a row.

A `CallRecord` states: if `caller` rings `receiver` between `starts_at` and `ends_at`, show this name and this reason.
It stores the values as given. `validation.record_rules` checks them, and `validation.normalise` brings them into the
form that is sent. Each row of a source gets exactly one `RecordResult`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Self

import attrs

from truecaller_async.redaction import mask_number


class Outcome(StrEnum):
    """Define the outcomes of a record. Every record that was read gets exactly one."""

    DELIVERED = "delivered"
    """The server reported success."""
    FAILED = "failed"
    """The server rejected the record or reported a failure."""
    INVALID = "invalid"
    """The record breaks a rule and was not sent."""
    EXPIRED = "expired"
    """The window of the record closed before it could be sent."""
    DUPLICATE = "duplicate"
    """The record has the content of an earlier row of the run, which was sent once."""
    UNKNOWN = "unknown"
    """The record may have been sent and has no final status: lost answer, or end of the poll deadline."""
    UNSENT = "unsent"
    """The run stopped before the record was sent."""


@attrs.frozen(repr=False)
class CallRecord:
    """One record of "Truecaller for Business: Values used by all call-personalisation calls".

    The window from `starts_at` to `ends_at` has at most 24 hours.
    """

    caller: str
    """Number that calls, with country code, with or without `+`; masked in the `repr`."""
    receiver: str
    """Number that is called, with country code, with or without `+`; masked in the `repr`."""
    starts_at: datetime | int
    """Start of the window: a datetime with time zone, or integer milliseconds since the epoch."""
    ends_at: datetime | int
    """End of the window: a datetime with time zone, or integer milliseconds since the epoch."""
    label_id: str | None = None
    """Id of a dynamic label of the account."""
    label_name: str | None = None
    """Name that is shown instead of the name of the label, 3 to 40 characters."""
    reason: str | None = None
    """Call reason that is shown below the name, 10 to 100 characters."""
    key: str | None = None
    """Id chosen by the caller of the API. It is never sent, and is returned with the result."""

    def __repr__(self) -> str:
        return (
            f"CallRecord(caller={mask_number(self.caller)!r}, receiver={mask_number(self.receiver)!r}, "
            f"starts_at={self.starts_at!r}, ends_at={self.ends_at!r}, label_id={self.label_id!r}, "
            f"label_name={self.label_name!r}, reason={self.reason!r}, key={self.key!r})"
        )


@attrs.frozen
class Problem:
    """One rule that a record or an argument breaks."""

    field: str
    """Name of the field or the argument."""
    rule: str
    """Id of the rule, such as "phone.length"."""
    message: str
    """Description of the fault, which continues the name of the field."""
    value: str = ""
    """The value, masked and shortened."""
    hint: str = ""
    """Action that fixes the fault."""

    def __str__(self) -> str:
        shown = f" {self.value!r}" if self.value else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.field}{shown} {self.message}{hint}"


@attrs.define
class Row:
    """One data row of a source."""

    number: int
    """Number of the row, from 1."""
    line: int | None
    """Physical line of the file at which the row begins, None for other sources."""
    record: CallRecord | None
    """The record, None if the row could not be read as a record."""
    problems: tuple[Problem, ...] = ()
    """Problems of a row that could not be read."""
    end: tuple[int, int] | None = None
    """Number of physical lines and of bytes (after decompression) up to the end of the row.

    None if reading cannot continue at that position.
    """


@attrs.define(eq=False)
class Rows:
    """Consecutive data rows of a source."""

    first: int
    """Number of the first row."""
    records: list[CallRecord | None]
    """Record of each row, None if the row could not be read."""
    problems: dict[int, tuple[Problem, ...]] = attrs.field(factory=dict)
    """Problems of the rows that could not be read, by index in `records`."""
    end: tuple[int, int] | None = None
    """`Row.end` of the last row."""

    @classmethod
    def of(cls, rows: Sequence[Row], first: int) -> Self:
        """Build the value from rows with consecutive numbers that begin at `first`."""
        problems = {index: row.problems for index, row in enumerate(rows) if row.record is None}
        return cls(first, [row.record for row in rows], problems, rows[-1].end if rows else None)

    def __len__(self) -> int:
        return len(self.records)


@attrs.define
class RecordResult:
    """The result of one row."""

    record: CallRecord | None
    """The record as given, None if the row could not be read as a record."""
    row: int
    """Number of the row, from 1."""
    key: str | None
    """`CallRecord.key` of the record."""
    outcome: Outcome
    """Outcome of the row."""
    reason: str | None = None
    """Cause of every outcome except a plain delivery."""
    field: str | None = None
    """Field that caused the outcome, if one did."""
    batch_id: str | None = None
    """Id of the batch that contained the record."""
    record_id: str | None = None
    """Id that the server gave to the record."""
    attempts: int = 0
    """Number of attempts that may have reached the server; attempts that ended with `NotSent` are not counted."""
    possibly_duplicated: bool = False
    """True exactly if an attempt was ambiguous and the record was sent again."""
    final: bool = True
    """False if a resumed run may change the result: the record is unsent, or its outcome is not known yet."""
