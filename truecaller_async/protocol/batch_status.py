"""Parse the status of a batch into a `BatchStatus`.

Algorithm:
    All known forms are read: an object with `data` or a bare array (version 1); `status_info`, `statusInfo` or a flat
    `status`; the field names of version 1 or 2. The names are brought to one spelling, and the converter of
    `json_codec` does the rest. Campaigns need only a part of the answer and try `status_summary` first.

Invariants:
    - A row that names another batch or another account is excluded and counted in `BatchStatus.foreign`.
    - An account counts as another one only if both ids are UUIDs, because the meaning of other forms is undocumented.

Failure modes:
    - Any other form is a `DecodeError` with the JSON path of the unexpected value.
"""

from __future__ import annotations

import attrs

from truecaller_async.errors import DecodeError
from truecaller_async.models import BatchStatus, RecordStatus
from truecaller_async.options import BATCH_MAX, UUID
from truecaller_async.protocol.json_codec import items_of, structure, text_of

ROWS_MAX = 20 * BATCH_MAX
"""Rows that are read. An answer with more rows is not the status of one batch, even if most rows are foreign."""

SPELLINGS = {
    "caller_number": "caller",
    "receiver_number": "receiver",
    "dynamic_label_name": "label_name",
    "dynamic_call_reason": "reason",
    "call_reason": "reason",
}
"""Field names of the wire that differ from those of `RecordStatus`."""


@attrs.frozen
class ExpectedBatch:
    """The batch that a status must be about."""

    batch_id: str
    """Id of the batch."""
    account: str | None = None
    """Client account id; None if it is unknown, and then no account is foreign."""

    def has(self, value: object) -> bool:
        """Return whether a JSON value names no other batch and no other account."""
        if not isinstance(value, dict):
            return True
        return text_of(value.get("batch_id")) in (None, self.batch_id) and self.is_account(_account(value))

    def is_account(self, named: str | None) -> bool:
        """Return whether this id is the expected account, or cannot be compared with it."""
        if named is None or self.account is None:
            return True
        return named.casefold() == self.account.casefold() or not UUID.fullmatch(named)


def read_rows(value: object, expected: ExpectedBatch, *, status: int) -> BatchStatus:
    """Return the status of the batch from the plain value of the body.

    Args:
        value: the decoded JSON body.
        expected: the batch that the answer must be about.
        status: HTTP status of the answer, for the error.

    Raises:
        DecodeError: The value has no rows, too many rows, a row of an unknown form, or is about another batch.
    """
    envelope: dict[str, object] = value if isinstance(value, dict) else {"data": value}
    path = "$.data" if envelope is value else "$"
    if "data" not in envelope:
        raise DecodeError("the status of a batch has no rows", path=path, status=status)
    if text_of(envelope.get("batch_id")) not in (None, expected.batch_id):
        raise DecodeError("the answer is about another batch", path="$.batch_id", status=status)
    if not expected.has(envelope):
        raise DecodeError("the answer is about another account", path="$.client_account_id", status=status)
    rows = items_of(envelope["data"], path=path, status=status)
    if len(rows) > ROWS_MAX:
        raise DecodeError(f"{len(rows)} rows: a batch has at most {BATCH_MAX} records", path=path, status=status)
    own_rows = [(f"{path}[{index}]", row) for index, row in enumerate(rows) if expected.has(row)]
    account = next(filter(None, map(_account, (envelope, *(row for _, row in own_rows)))), None)
    records = (
        structure(_respelled(row, row_path, status), RecordStatus, path=row_path, status=status)
        for row_path, row in own_rows
    )
    return BatchStatus(expected.batch_id, account, tuple(records), len(rows) - len(own_rows))


def _account(value: object) -> str | None:
    return text_of(value.get("client_account_id")) if isinstance(value, dict) else None


def _respelled(row: object, path: str, status: int) -> object:
    """Return the row with the names of `RecordStatus` and the fields of `status_info`."""
    if not isinstance(row, dict):
        return row
    info = row.get("status_info", row.get("statusInfo"))
    if not isinstance(info, dict | None):
        raise DecodeError("expected an object or null", path=f"{path}.status_info", status=status)
    spelled = {SPELLINGS.get(name, name): value for name, value in row.items() if value is not None}
    return spelled | {name: info[name] for name in ("status", "message", "field") if info and name in info}
