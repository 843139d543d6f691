"""Status of a batch, as rows in the format of the requested version.

Documented: a bare array of flat rows in v1, an object with `data` in v2; times have three fractional digits in v1 and
two in v2, as in the samples. Chosen by the sandbox: v3 answers like v2 with a `+` before every number; a failed row of
v1 has its message next to the status; a field that was not sent is omitted. There is one row per record, in the order
of the request, unless a response variant changes that.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import attrs
import msgspec

from truecaller_async.sandbox.answers import SandboxResponse, answer, rfc3339
from truecaller_async.sandbox.batches.applied_posts import AppliedPost, RecordVerdict
from truecaller_async.sandbox.batches.records import V1, Form
from truecaller_async.sandbox.faults.response_variants import ResponseVariant
from truecaller_async.sandbox.faults.status_rows import SandboxStatusRow, StatusRowFaults
from truecaller_async.sandbox.settings import SandboxSettings


class _Row(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    id: str
    caller_number: str | None
    receiver_number: str | None
    label_id: str | None = None
    dynamic_label_name: str | None = None
    dynamic_call_reason: str | None = None
    starts_at: int | None
    ends_at: int | None
    status_info: RecordVerdict
    created_at: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"


class _RowWithV1Names(_Row, kw_only=True, omit_defaults=True, gc=False):
    caller_number: str | None = msgspec.field(name="caller")
    receiver_number: str | None = msgspec.field(name="receiver")
    dynamic_label_name: str | None = msgspec.field(default=None, name="label_name")
    dynamic_call_reason: str | None = msgspec.field(default=None, name="call_reason")


class _RowV1(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    id: str
    client_account_id: str
    batch_id: str | None
    caller: str | None
    receiver: str | None
    label_id: str | None = None
    label_name: str | None = None
    call_reason: str | None = None
    starts_at: int | None
    ends_at: int | None
    status: str
    message: str | None = None
    created_at: str

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"


class _Status(msgspec.Struct):
    client_account_id: str
    batch_id: str | None
    data: list[_Row]


@attrs.frozen
class StatusRenderer:
    """Renders batch statuses."""

    client_account_id: str
    """Account in the answers."""
    pending: RecordVerdict
    """Status before the final one."""
    mask_numbers: bool
    """True: numbers are shown as asterisks."""
    shuffle: bool
    """True: rows are in a random order that is fixed for the batch."""
    row_type: type[_Row]
    """Class of the rows of v2 and v3."""
    row_faults: StatusRowFaults
    """Defects of rows."""

    @classmethod
    def from_settings(cls, settings: SandboxSettings) -> StatusRenderer:
        """Create a renderer from the settings."""
        response_variants = settings.response_variants
        return cls(
            settings.client_account_id,
            RecordVerdict(settings.pending_status),
            settings.mask_numbers or ResponseVariant.MASKED_NUMBERS in response_variants,
            ResponseVariant.SHUFFLED_ROWS in response_variants,
            _RowWithV1Names if ResponseVariant.OLD_NAMES_IN_ROWS in response_variants else _Row,
            StatusRowFaults(response_variants, settings.late_for),
        )

    def answer(self, form: Form, applied: AppliedPost, now: float) -> SandboxResponse:
        """Return the status of every record of a batch at this time in wall-clock seconds."""
        plain_rows = (SandboxStatusRow(*status) for status in applied.statuses(now, self.pending))
        rows = self._rendered(form, self.row_faults.apply(applied, plain_rows, now))
        if self.shuffle:
            # Seeded by the batch, so that two polls and two runs get the same order.
            random.Random(applied.id_seed).shuffle(rows)  # noqa: S311 - repeatable on purpose, guards nothing
        if form is V1:
            created_at = rfc3339(applied.at, 3)
            return answer([_row_v1(row, applied.batch_id, self.client_account_id, created_at) for row in rows])
        created_at = rfc3339(applied.at)
        data = [_row(self.row_type, row, created_at) for row in rows]
        return answer(_Status(self.client_account_id, applied.batch_id, data))

    def _rendered(self, form: Form, rows: Iterable[SandboxStatusRow]) -> list[_RenderedRow]:
        show = _asterisks if self.mask_numbers else _with_plus if form.plus else _digits
        return [(show(row.record.caller), show(row.record.receiver), row) for row in rows]


_RenderedRow = tuple[str | None, str | None, SandboxStatusRow]
"""Row before the names of its version are applied: rendered caller, rendered receiver, and the row."""


def _digits(number: str | None) -> str | None:
    return number.removeprefix("+") if number else number


def _with_plus(number: str | None) -> str | None:
    return "+" + number.removeprefix("+") if number else number


def _asterisks(number: str | None) -> str | None:
    return "*" * len(number) if number else number


def _row(kind: type[_Row], rendered: _RenderedRow, created_at: str) -> _Row:
    caller, receiver, (record_id, record, verdict, _) = rendered
    return kind(
        id=record_id,
        caller_number=caller,
        receiver_number=receiver,
        label_id=record.label_id,
        dynamic_label_name=record.label_name,
        dynamic_call_reason=record.reason,
        starts_at=record.starts_at,
        ends_at=record.ends_at,
        status_info=verdict,
        created_at=created_at,
    )


def _row_v1(rendered: _RenderedRow, batch_id: str | None, account: str, created_at: str) -> _RowV1:
    caller, receiver, (record_id, record, verdict, foreign_batch) = rendered
    return _RowV1(
        id=record_id,
        client_account_id=foreign_batch.client_account_id if foreign_batch else account,
        batch_id=foreign_batch.batch_id if foreign_batch else batch_id,
        caller=caller,
        receiver=receiver,
        label_id=record.label_id,
        label_name=record.label_name,
        call_reason=record.reason,
        starts_at=record.starts_at,
        ends_at=record.ends_at,
        status=verdict.status,
        message=verdict.message,
        created_at=created_at,
    )
