"""What the server says.

Documented shapes: the token; `{"slug", "message"}` for what is wrong with a call; `status_info` for a real-time record
of v2; `{"status", "message"}` with the batch id at the end of the message in v1; `{"batch_id"}` for a batch of v2 and
v3; a bare array of flat rows as the status of a v1 batch and an object with `data` in v2; the labels. Texts that
the documentation prints are used word by word, moments have two fractional digits as in its samples.

The sandbox's own choices, because nothing is printed: all of v3's answers are v2's; a refused record or batch is a
400 in every version, and a real-time record that is valid but cannot be shown is a 200 that says so; 404, 405 and 429
have the slugs `not-found`, `method-not-allowed` and `rate-limit-error`; `Retry-After` is whole seconds, rounded up;
a v1 row that failed has its message beside the status; a field that was not sent is left out of a row.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import attrs
import msgspec

from truecaller_async.sandbox.applied import Applied, Verdict
from truecaller_async.sandbox.records import V1, Form, Record, Refusal
from truecaller_async.sandbox.settings import SandboxLabel

JSON = "application/json"
PUSHED = "Record processed successfully"
PUSHED_V1 = "Records Uploaded Successfully"

_encode = msgspec.json.Encoder().encode


@attrs.frozen(repr=False)
class Reply:
    """One complete answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"Reply({self.status}, {len(self.body)} bytes)"


class _Row(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    id: str
    caller_number: str | None
    receiver_number: str | None
    label_id: str | None = None
    dynamic_label_name: str | None = None
    dynamic_call_reason: str | None = None
    starts_at: int | None
    ends_at: int | None
    status_info: Verdict
    created_at: str


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


class _Status(msgspec.Struct):
    client_account_id: str
    batch_id: str | None
    data: list[_Row]


@attrs.frozen
class StatusView:
    """How statuses are shown: for whom, the word before the final one, and whether numbers are asterisks."""

    client_account_id: str
    pending: Verdict
    mask_numbers: bool


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Any value as JSON."""
    return Reply(status, {"content-type": JSON, **(headers or {})}, _encode(value))


def error(status: int, slug: str, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """The common form of an error."""
    return answer({"slug": slug, "message": message}, status, headers)


def rate_limited(wait: float) -> Reply:
    """No room under a limit for another `wait` seconds. Undocumented: the documentation only says 429 in prose."""
    seconds = math.ceil(wait)
    return error(429, "rate-limit-error", f"too many requests, retry after {seconds} s", {"retry-after": str(seconds)})


def token(value: str, now: float) -> Reply:
    """A new token."""
    return answer({"token": value, "created_at": stamp(now)})


def accepted_batch(form: Form, batch_id: str) -> Reply:
    """A batch was taken."""
    if form is V1:
        return _v1("success", PUSHED_V1, batch_id, 200)
    return answer({"batch_id": batch_id})


def refused_batch(form: Form, refusal: Refusal, batch_id: str) -> Reply:
    """A whole batch was refused."""
    if form is V1:
        return _v1("failure", refusal.message, batch_id, 400)
    return error(400, "invalid-input", _in_body(refusal.message))


def pushed(form: Form, verdict: Verdict, batch_id: str) -> Reply:
    """A real-time record was valid; the verdict says whether it could be shown."""
    done = verdict.status == "success"
    if form is V1:
        return _v1("success" if done else "failure", verdict.message or PUSHED_V1, batch_id, 200)
    return answer({"status_info": Verdict("success" if done else "error", message=verdict.message or PUSHED)})


def refused_push(form: Form, refusal: Refusal, batch_id: str) -> Reply:
    """A real-time record was refused."""
    if form is V1:
        return _v1("failure", refusal.message, batch_id, 400)
    return answer({"status_info": Verdict("error", refusal.field, _in_body(refusal.message))}, 400)


def batch_status(form: Form, applied: Applied, now: float, view: StatusView) -> Reply:
    """The status of every record of a batch, in the order of the request, in the form of the path that asks."""
    rows = _shown(form, applied.statuses(now, view.pending), mask=view.mask_numbers)
    created_at = stamp(applied.at)
    if form is V1:
        return answer([_row_v1(row, applied.batch_id, view.client_account_id, created_at) for row in rows])
    data = [_row(row, created_at) for row in rows]
    return answer(_Status(view.client_account_id, applied.batch_id, data))


def labels(page: Iterable[SandboxLabel]) -> Reply:
    """A page of labels: a bare array."""
    return answer(
        [
            {
                "id": label.id,
                "name": label.name,
                "logo_url": f"https://media.sandbox.example/logos/{label.id}.png",
                "category": label.category,
                "sub_category": label.sub_category,
                "created_by_email": "console@sandbox.example",
                "created_at": "2025-03-04T05:06:07.080910Z",
                "label_type": "dynamic",
            }
            for label in page
        ]
    )


def stamp(now: float) -> str:
    """RFC 3339 in UTC with two fractional digits, cut and not rounded."""
    moment = datetime.fromtimestamp(now, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 10_000:02d}Z"


_Line = tuple[str, str | None, str | None, Record, Verdict]
"""A row before it has its version's names: id, caller and receiver as shown, record, status."""


def _shown(form: Form, statuses: Iterator[tuple[str, Record, Verdict]], *, mask: bool) -> Iterator[_Line]:
    show = _asterisks if mask else _with_plus if form.plus else _digits
    for record_id, record, verdict in statuses:
        yield record_id, show(record.caller), show(record.receiver), record, verdict


def _digits(number: str | None) -> str | None:
    return number.removeprefix("+") if number else number


def _with_plus(number: str | None) -> str | None:
    return "+" + number.removeprefix("+") if number else number


def _asterisks(number: str | None) -> str | None:
    return "*" * len(number) if number else number


def _row(line: _Line, created_at: str) -> _Row:
    record_id, caller, receiver, record, verdict = line
    return _Row(
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


def _row_v1(line: _Line, batch_id: str | None, account: str, created_at: str) -> _RowV1:
    record_id, caller, receiver, record, verdict = line
    return _RowV1(
        id=record_id,
        client_account_id=account,
        batch_id=batch_id,
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


def _v1(word: str, message: str, batch_id: str, status: int) -> Reply:
    return answer({"status": word, "message": f"{message}. BatchID: {batch_id}"}, status)


def _in_body(message: str) -> str:
    return f"Request body is invalid: {message}"
