"""Call records of a client, and the documented rules for them.

A `Form` is one version of the wire format: its field names and its number format. `FORMS` has the three versions.
Numbers have 7 to 15 digits with country code: v1 forbids the `+`, v3 requires it, v2 accepts both.

Documented rules:
    - `caller`, `receiver`, `starts_at` and `ends_at` are required; the times are int64 milliseconds;
    - `ends_at` is not before the current time, and at most 24 hours after `starts_at` (documented messages);
    - a name has 3 to 40 characters, a reason 10 to 100;
    - special characters in a reason, or a full stop, comma, hyphen or space at its ends, are "Invalid input"
      (documented message);
    - a label must belong to the account.
The other messages are chosen by the sandbox. Rules that are not documented are not checked: a window that ends before
it starts, or that started long ago, is accepted.

`Inspector.refusal` checks a record once and returns the first broken rule.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, TypeAlias

import attrs
import msgspec

from truecaller_async.models import mask_number

RECORDS_MAX = 500
"""Records in a batch."""
DAY_MS = 24 * 60 * 60 * 1000

INVALID_INPUT = "Invalid input"
TOO_OLD = "ends_at cannot be older than current time"
TOO_LONG = "ends_at cannot be more than 24 hours after starts_at"

Milliseconds: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

_REASON = re.compile(r"(?![ .,-])[^!@#$%^&*()_+/]*(?<![ .,-])", re.DOTALL)
_FIELD = re.compile(r"\.(\w+)(?:\[\d+\])?`$")


class Record(msgspec.Struct, gc=False):
    """Call record with the field names of v2 and v3."""

    caller: str | None = msgspec.field(default=None, name="caller_number")
    receiver: str | None = msgspec.field(default=None, name="receiver_number")
    starts_at: Milliseconds | None = None
    ends_at: Milliseconds | None = None
    label_id: str | None = None
    label_name: str | None = msgspec.field(default=None, name="dynamic_label_name")
    reason: str | None = msgspec.field(default=None, name="dynamic_call_reason")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({mask_number(self.caller)} to {mask_number(self.receiver)})"


class RecordV1(Record, gc=False):
    """Call record with the field names of v1."""

    caller: str | None = msgspec.field(default=None, name="caller")
    receiver: str | None = msgspec.field(default=None, name="receiver")
    label_name: str | None = msgspec.field(default=None, name="label_name")
    reason: str | None = msgspec.field(default=None, name="call_reason")


class _Batch(msgspec.Struct):
    call_records: list[Record] | None = None


class _BatchV1(msgspec.Struct):
    call_records: list[RecordV1] | None = None


@attrs.frozen
class RecordRejection:
    """Reason why a record or a whole body is rejected."""

    field: str | None
    """Wire name of the field; None if no single field is the cause."""
    message: str
    """Text for the answer."""


@attrs.frozen
class Form:
    """One version of the wire format."""

    version: str
    """"v1", "v2" or "v3"."""
    number: re.Pattern[str]
    """Pattern of a valid number."""
    number_rule: str
    """Text of the rule for numbers."""
    plus: bool
    """True if numbers in answers have a `+`."""
    names: Mapping[str, str]
    """Wire names by attribute name."""
    record: msgspec.json.Decoder[Record]
    """Decoder of a real-time body."""
    batch: msgspec.json.Decoder[_Batch] | msgspec.json.Decoder[_BatchV1]
    """Decoder of a batch body."""

    def read_record(self, body: bytes) -> Record | RecordRejection:
        """Decode a real-time body."""
        try:
            return self.record.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _malformed(error)

    def read_batch(self, body: bytes) -> list[Record] | RecordRejection:
        """Decode a batch body of 1 to 500 records."""
        try:
            records = self.batch.decode(body).call_records
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return _malformed(error)
        if records is None:
            return RecordRejection("call_records", "call_records is required")
        if not 1 <= len(records) <= RECORDS_MAX:
            return RecordRejection(
                "call_records", f"call_records must have 1 to {RECORDS_MAX} records, not {len(records)}"
            )
        return _shared(records)


def _malformed(error: Exception) -> RecordRejection:
    """Return a rejection that names the field if the decoder knows it; the value is not repeated."""
    found = _FIELD.search(str(error))
    return RecordRejection(found[1], f"{found[1]} is malformed") if found else RecordRejection(None, INVALID_INPUT)


def _shared(records: list[RecordV1] | list[Record]) -> list[Record]:
    """Return the records with one shared copy of each repeated text, to save memory."""
    texts: dict[str | None, str | None] = {}
    shared = texts.setdefault
    for record in records:
        record.caller = shared(record.caller, record.caller)
        record.label_id = shared(record.label_id, record.label_id)
        record.label_name = shared(record.label_name, record.label_name)
        record.reason = shared(record.reason, record.reason)
    return list(records)


def _names(record: type[Record]) -> Mapping[str, str]:
    return dict(zip(record.__struct_fields__, record.__struct_encode_fields__, strict=True))


V1 = Form(
    version="v1",
    number=re.compile(r"[1-9][0-9]{6,14}", re.ASCII),
    number_rule="must be 7 to 15 digits with country code, without +",
    plus=False,
    names=_names(RecordV1),
    record=msgspec.json.Decoder(RecordV1),
    batch=msgspec.json.Decoder(_BatchV1),
)
V2 = Form(
    version="v2",
    number=re.compile(r"\+?[1-9][0-9]{6,14}", re.ASCII),
    number_rule="must be 7 to 15 digits with country code",
    plus=False,
    names=_names(Record),
    record=msgspec.json.Decoder(Record),
    batch=msgspec.json.Decoder(_Batch),
)
V3 = attrs.evolve(
    V2,
    version="v3",
    number=re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII),
    number_rule="must be in E.164 form, + and 7 to 15 digits",
    plus=True,
)
FORMS: Mapping[str, Form] = {form.version: form for form in (V1, V2, V3)}
"""Versions of the wire format by name."""


class Inspector:
    """Finds the first rule that a record breaks."""

    def __init__(self, form: Form, label_ids: Collection[str], *, label_required: bool) -> None:
        self._form = form
        self._fits = form.number.fullmatch
        self._label_ids = frozenset(label_ids)
        self._label_required = label_required

    def refusal(self, record: Record, now_ms: int) -> RecordRejection | None:
        """Return why the record is rejected at this time in milliseconds, or None."""
        return self._numbers(record) or self._times(record, now_ms) or self._texts(record)

    def _numbers(self, record: Record) -> RecordRejection | None:
        if record.caller is None:
            return self._required("caller")
        if record.receiver is None:
            return self._required("receiver")
        if not self._fits(record.caller):
            return self._says("caller", self._form.number_rule)
        if not self._fits(record.receiver):
            return self._says("receiver", self._form.number_rule)
        return None

    def _times(self, record: Record, now_ms: int) -> RecordRejection | None:
        if record.starts_at is None:
            return self._required("starts_at")
        if record.ends_at is None:
            return self._required("ends_at")
        if record.ends_at < now_ms:
            return RecordRejection("ends_at", TOO_OLD)
        if record.ends_at - record.starts_at > DAY_MS:
            return RecordRejection("ends_at", TOO_LONG)
        return None

    def _texts(self, record: Record) -> RecordRejection | None:
        if record.label_id is None:
            if self._label_required:
                return self._required("label_id")
        elif record.label_id not in self._label_ids:
            return self._says("label_id", "must be a dynamic label of the client account")
        if record.label_name is not None and not 3 <= len(record.label_name) <= 40:
            return self._says("label_name", "must have 3 to 40 characters")
        return None if record.reason is None else self._reason(record.reason)

    def _reason(self, reason: str) -> RecordRejection | None:
        if not 10 <= len(reason) <= 100:
            return self._says("reason", "must have 10 to 100 characters")
        return None if _REASON.fullmatch(reason) else RecordRejection(self._form.names["reason"], INVALID_INPUT)

    def _required(self, name: str) -> RecordRejection:
        return self._says(name, "is required")

    def _says(self, name: str, rule: str) -> RecordRejection:
        wire_name = self._form.names[name]
        return RecordRejection(wire_name, f"{wire_name} {rule}")
