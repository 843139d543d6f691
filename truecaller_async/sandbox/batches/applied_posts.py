"""What was applied, and what becomes of it.

`AppliedPost` is one POST that took effect: a batch, or one real-time record. Its records are kept as they were decoded,
once; verdicts, ids and answers are made from them when they are asked for.

The verdict on a record hangs on the last two digits of its receiver (the sandbox's own rule, so that a test can
choose it; the messages are documented under "Call Reason Errors"):

    13  failed, "Not a Truecaller user"
    26  failed, "OS not supported"
    39  failed, "App version not supported"
    52  failed, "Failed to push"
    else success

A record that broke a rule in a batch validated per record fails with that rule's message instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import attrs
import msgspec

from truecaller_async.sandbox.batches.records import Form, Record, RecordRejection


class RecordVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """The `status_info` of a record."""

    status: str
    field: str | None = None
    message: str | None = None


SUCCESS = RecordVerdict("success")
BY_LAST_DIGITS: Mapping[str, RecordVerdict] = MappingProxyType(
    {
        "13": RecordVerdict("failed", message="Not a Truecaller user"),
        "26": RecordVerdict("failed", message="OS not supported"),
        "39": RecordVerdict("failed", message="App version not supported"),
        "52": RecordVerdict("failed", message="Failed to push"),
    }
)

_SCATTER_FACTOR = 0.6180339887498949
"""Multiples of the golden ratio fill the unit interval evenly, in an order that is not the order of the rows."""

_ID_MASK = 0xFFFF_FFFF_FFFF


def verdict_on(record: Record) -> RecordVerdict:
    """The final word on a record that broke no rule."""
    return BY_LAST_DIGITS.get(record.receiver[-2:], SUCCESS) if record.receiver else SUCCESS


@attrs.frozen(eq=False, repr=False, kw_only=True)
class AppliedPost:
    """One POST that took effect.

    `post` numbers all of them from 1, `first` is the number of its first record among all applied records, and
    `attempt` says how often this very body had been applied by then, this time included. Moments are wall-clock
    seconds: accepted `at`, final from `final_at` on, the last record `spread` seconds later. `refused` has the
    records that broke a rule, by index. `id_seed` is the id of the first record.
    """

    call: str
    form: Form
    batch_id: str | None
    token: int
    at: float
    final_at: float
    spread: float
    records: Sequence[Record]
    refused: Mapping[int, RecordRejection]
    id_seed: str
    digest: bytes
    post: int
    first: int
    attempt: int

    def verdict(self, index: int) -> RecordVerdict:
        """The final word on the record at that index, whenever it is said."""
        if index in self.refused:
            refusal = self.refused[index]
            return RecordVerdict("failed", refusal.field, refusal.message)
        return verdict_on(self.records[index])

    def statuses(self, now: float, pending: RecordVerdict) -> Iterator[tuple[str, Record, RecordVerdict]]:
        """(record id, record, status at that moment) in the order of the request."""
        head, tail = self.id_seed[:24], int(self.id_seed[24:], 16)
        age, spread = now - self.final_at, self.spread
        for index, record in enumerate(self.records):
            final = age >= spread * (index * _SCATTER_FACTOR % 1.0)
            status = self.verdict(index) if final else pending
            yield f"{head}{(tail + index) & _ID_MASK:012x}", record, status
