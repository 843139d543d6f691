"""The status of a batch: body to rows.

The documented version 2 form is common and large (500 rows, 200 KiB), so it takes the fast way: straight into the
classes below, whose documented fields are required so that any other form fails at once. A body that fails, that
uses one of the old names, or whose rows name batches of their own, takes the tolerant way: names are brought to
one spelling and the converter does the rest. Both ways give the same rows.

Forms seen or expected: an object with `data`, or a bare array (version 1); `status_info`, `statusInfo` or a flat
`status`; the names of version 1 or 2. Rows that name another batch or another account are left out and counted: they
are not ours. An account is another one only where both ids are UUIDs: what other forms may mean nobody documents.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import attrs
import msgspec

from truecaller_async.errors import DecodeError
from truecaller_async.models import BatchStatus, RecordStatus
from truecaller_async.options import BATCH_MAX, UUID
from truecaller_async.protocol.json_codec import UNREADABLE, items_of, structure, text_of

ROWS_MAX = 20 * BATCH_MAX
"""Rows that are looked at. More are no status of a batch, however many of them are foreign."""

OLD_NAMES = (b'"label_name"', b'"call_reason"')

SPELLINGS = {
    "caller_number": "caller",
    "receiver_number": "receiver",
    "dynamic_label_name": "label_name",
    "dynamic_call_reason": "reason",
    "call_reason": "reason",
}
"""The wire's names of what `RecordStatus` names otherwise."""

AwareTime = Annotated[datetime, msgspec.Meta(tz=True)]


@attrs.define
class StatusInfo:
    """`status_info` of a row."""

    status: str | None
    message: str | None = None
    field: str | None = None


@attrs.define(kw_only=True)
class StatusRow:
    """One row of "Truecaller for Business: Batch v2 status"."""

    id: str | None = None
    caller_number: str
    receiver_number: str
    label_id: str | None = None
    dynamic_label_name: str | None = None
    dynamic_call_reason: str | None = None
    starts_at: int | None = None
    ends_at: int | None = None
    status_info: StatusInfo
    created_at: AwareTime | None = None


@attrs.define
class StatusAnswer:
    """The whole answer."""

    batch_id: str
    data: list[StatusRow]
    client_account_id: str | None = None


_DOCUMENTED = msgspec.json.Decoder(StatusAnswer)


@attrs.frozen
class ExpectedBatch:
    """What a row must not contradict to be ours: the batch, and the account where it is known."""

    batch_id: str
    account: str | None = None

    def has(self, value: object) -> bool:
        """Whether an object says nothing else than that it is ours."""
        if not isinstance(value, dict):
            return True
        return text_of(value.get("batch_id")) in (None, self.batch_id) and self.is_account(_account(value))

    def is_account(self, named: str | None) -> bool:
        """Whether this may be our account."""
        if named is None or self.account is None:
            return True
        return named.casefold() == self.account.casefold() or not UUID.fullmatch(named)


def read_documented(body: bytes, ours: ExpectedBatch) -> BatchStatus | None:
    """The fast way; None where the body is not exactly of that form."""
    if any(name in body for name in OLD_NAMES) or body.count(b'"batch_id"') != 1:
        return None
    if body.count(b'"client_account_id"') > 1:
        return None
    try:
        answer = _DOCUMENTED.decode(body)
    except UNREADABLE:
        return None
    if answer.batch_id != ours.batch_id or len(answer.data) > ROWS_MAX:
        return None
    if not ours.is_account(answer.client_account_id):
        return None
    return BatchStatus(ours.batch_id, answer.client_account_id, tuple([_record(row) for row in answer.data]))


def read_tolerant(value: object, ours: ExpectedBatch, *, status: int) -> BatchStatus:
    """The tolerant way, from the plain value of the body. Raises `DecodeError` with the place that does not fit."""
    envelope: dict[str, object] = value if isinstance(value, dict) else {"data": value}
    place = "$.data" if envelope is value else "$"
    if "data" not in envelope:
        raise DecodeError("the status of a batch has no rows", path=place, status=status)
    if text_of(envelope.get("batch_id")) not in (None, ours.batch_id):
        raise DecodeError("the answer is about another batch", path="$.batch_id", status=status)
    if not ours.has(envelope):
        raise DecodeError("the answer is about another account", path="$.client_account_id", status=status)
    rows = items_of(envelope["data"], place=place, status=status)
    if len(rows) > ROWS_MAX:
        raise DecodeError(f"{len(rows)} rows: a batch has at most {BATCH_MAX} records", path=place, status=status)
    spots = [(f"{place}[{index}]", row) for index, row in enumerate(rows)]
    kept = [(spot, row) for spot, row in spots if ours.has(row)]
    account = next(filter(None, map(_account, (envelope, *(row for _, row in kept)))), None)
    records = (structure(_respelled(row, spot, status), RecordStatus, place=spot, status=status) for spot, row in kept)
    return BatchStatus(ours.batch_id, account, tuple(records), len(rows) - len(kept))


def _account(value: object) -> str | None:
    return text_of(value.get("client_account_id")) if isinstance(value, dict) else None


def _respelled(row: object, spot: str, status: int) -> object:
    """The row in the names of `RecordStatus`, with the word, the message and the field brought up from within."""
    if not isinstance(row, dict):
        return row
    info = row.get("status_info", row.get("statusInfo"))
    if not isinstance(info, dict | None):
        raise DecodeError("expected an object or null", path=f"{spot}.status_info", status=status)
    spelled = {SPELLINGS.get(name, name): value for name, value in row.items() if value is not None}
    return spelled | {name: info[name] for name in ("status", "message", "field") if info and name in info}


def _record(row: StatusRow) -> RecordStatus:
    info = row.status_info
    return RecordStatus(
        row.id,
        row.caller_number,
        row.receiver_number,
        row.label_id,
        row.dynamic_label_name,
        row.dynamic_call_reason,
        row.starts_at,
        row.ends_at,
        info.status,
        info.message,
        info.field,
        row.created_at,
    )
