"""POSTs that took effect, and the outcome of their records.

`AppliedPost` is one batch or one real-time record. It stores the decoded records once; outcomes, ids and status rows
are computed when they are requested.

The last two digits of the receiver determine the outcome of a record. This rule is chosen by the sandbox, so that a
test can select the outcome; the messages are documented under "Call Reason Errors":

    13  failed, "Not a Truecaller user"
    26  failed, "OS not supported"
    39  failed, "App version not supported"
    52  failed, "Failed to push"
    other  success

A record that broke a rule in a batch with validation per record fails with the message of that rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import attrs
import msgspec

from truecaller_async.sandbox.batches.records import Form, Record, RecordRejection


class RecordVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """Content of `status_info` of a record."""

    status: str
    """"success", "failed", "error", or a pending status."""
    field: str | None = None
    """Wire name of the rejected field."""
    message: str | None = None
    """Reason of a failure."""


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
"""Golden ratio; its multiples modulo 1 are evenly spread and not in the order of the rows."""

_ID_MASK = 0xFFFF_FFFF_FFFF


def verdict_on(record: Record) -> RecordVerdict:
    """Return the final outcome of a record that broke no rule."""
    return BY_LAST_DIGITS.get(record.receiver[-2:], SUCCESS) if record.receiver else SUCCESS


@attrs.frozen(eq=False, repr=False, kw_only=True)
class AppliedPost:
    """One POST that took effect. Times are wall-clock seconds."""

    call: str
    """"submit" or "push"."""
    form: Form
    """Version of the wire format."""
    batch_id: str | None
    """Batch id; None if the answer contained none."""
    token: int
    """Number of the token."""
    at: float
    """Time of acceptance."""
    final_at: float
    """Time at which the first record becomes final."""
    spread: float
    """Seconds from the first to the last final record."""
    records: Sequence[Record]
    """Records in the order of the request."""
    refused: Mapping[int, RecordRejection]
    """Rejections of records that broke a rule, by index."""
    id_seed: str
    """Id of the first record; the ids of the others count up from it."""
    digest: bytes
    """Digest of the body."""
    post: int
    """Number of the POST, from 1."""
    first: int
    """Number of its first record among all applied records, from 1."""
    attempt: int
    """Number of times that this body was applied, including this one."""

    def verdict(self, index: int) -> RecordVerdict:
        """Return the final outcome of the record at this index."""
        if index in self.refused:
            refusal = self.refused[index]
            return RecordVerdict("failed", refusal.field, refusal.message)
        return verdict_on(self.records[index])

    def statuses(self, now: float, pending: RecordVerdict) -> Iterator[tuple[str, Record, RecordVerdict]]:
        """Yield record id, record and current status, in the order of the request."""
        head, tail = self.id_seed[:24], int(self.id_seed[24:], 16)
        age, spread = now - self.final_at, self.spread
        for index, record in enumerate(self.records):
            final = age >= spread * (index * _SCATTER_FACTOR % 1.0)
            status = self.verdict(index) if final else pending
            yield f"{head}{(tail + index) & _ID_MASK:012x}", record, status
