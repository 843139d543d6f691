"""Convert complete answers to models or errors.

Algorithm:
    The body is read before the status, because the documentation says little about statuses, and an answer 200 may be
    a rejection. The class of the error says what the answer means. It matters most for a write, because a submit has
    no idempotency key:

    - A rejection in a documented shape, also in a 2xx: nothing was applied (`BadRequest` and the like).
    - A 2xx of Truecaller without a usable batch id: the batch was accepted, but cannot be tracked (`DecodeError`).
    - A 2xx that is a web page: a captive portal or a proxy answered, and the outcome is unknown (`ResponseLost`).
    - A 5xx: not to be repeated, because a gateway may have forwarded the request (`ServerError`). Exception:
      "Failed to parse token" is the documented answer to a bad token (`AuthenticationFailed`).

Invariants:
    - Each function returns a model or raises an error of this package, whatever the body is.
    - `now` is the wall-clock time in seconds since the epoch. It is used only for the `Retry-After` of a 429.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TypeVar

import attrs

from truecaller_async.errors import (
    APIStatusError,
    AuthenticationFailed,
    BadRequest,
    DecodeError,
    Forbidden,
    NotFound,
    PushRejected,
    RateLimited,
    ResponseLost,
    ServerError,
    UnexpectedRedirect,
)
from truecaller_async.models import Answer, Batch, BatchStatus, PushAnswer, Secret
from truecaller_async.models.feature_sets import FeatureSet
from truecaller_async.models.labels import Label
from truecaller_async.models.numbers import BUCKETS, Number, NumberJob
from truecaller_async.models.pages import Page
from truecaller_async.protocol.batch_status import ExpectedBatch, read_rows
from truecaller_async.protocol.json_codec import decode, decode_or_none, structure, structure_all
from truecaller_async.protocol.retry_after import parse_retry_after
from truecaller_async.protocol.server_message import ServerMessage, batch_id_in, message_from, read_message
from truecaller_async.protocol.status_summary import StatusView, read_summaries
from truecaller_async.protocol.versions.registry import version_named
from truecaller_async.redaction import redact, redact_body, redact_strict

T = TypeVar("T")

TOKEN = re.compile(r"[!-~]{1,4096}", re.ASCII)
LINK = re.compile(r"https?://\S+", re.IGNORECASE)

SLUG_AUTHORIZATION = "authorization-error"
SLUG_FORBIDDEN = "forbidden-error"
SLUG_SERVER = "internal-server-error"

ERROR_BY_STATUS: dict[int, type[APIStatusError]] = {401: AuthenticationFailed, 403: Forbidden, 404: NotFound}

RECORD_ERROR_STATUSES = (400, 422)
"""Statuses whose slug is about the record that was sent."""

FAILED_JOB_STATUSES = (*RECORD_ERROR_STATUSES, 404, 409)
"""Statuses in which a failed job on numbers may be reported."""

PAGINATION_KEYS = ("pagination_info", "pagination_information")
"""The two spellings of the object with the page counts."""


def read_mint(answer: Answer, *, now: float) -> Secret:
    """Return the token of an answer. From "Truecaller for Business: Generate Access Token".

    Raises:
        APIStatusError: The answer is an error; see `error_for`. A 5xx is retryable: a token that was issued and not
            received costs one of the budget, which has counted it already.
        DecodeError: The answer has no token that could be sent in a header.

    No error quotes the body, because it may hold a credential.
    """
    token_or_error = _token_or_error(answer, now)  # raised here, so that the traceback has no frame with the body
    if isinstance(token_or_error, Secret):
        return token_or_error
    raise token_or_error


def read_push(answer: Answer, *, now: float) -> PushAnswer:
    """Return the answer to one real-time record. From "Truecaller for Business: Real-time v1, v2 and v3".

    An empty body, as version 1 may send it, means that the record was accepted.

    Raises:
        PushRejected: The server rejected the record, in any HTTP status.
        APIStatusError: The answer is an error that is not about the record; see `error_for`.
        ResponseLost: The answer is a web page.
        DecodeError: The answer is a 2xx that neither accepts nor rejects the record.
    """
    message = read_message(answer.body)
    if _is_success(answer) and message.slug is None and not message.is_rejection:
        return _accepted_push(answer, message)
    error = error_for(answer, is_read=False, now=now)
    if _rejects_record(error, message):
        raise PushRejected(redact(message.field), redact(message.message), status=answer.status)
    raise error


def read_submit(answer: Answer, *, now: float) -> Batch:
    """Return the batch that was accepted. From "Truecaller for Business: Batch v1, v2 and v3".

    Versions 2 and 3 have its id in a field, version 1 at the end of a message.

    Raises:
        APIStatusError: The batch was rejected; see `error_for`. A 2xx that is a rejection is a `BadRequest`.
        ResponseLost: The answer is a web page.
        DecodeError: The batch was accepted, and its id is missing or has an unknown form.
    """
    message = read_message(answer.body)
    if not _is_success(answer) or message.slug is not None or message.is_rejection:
        raise error_for(answer, is_read=False, now=now)
    batch_id = message.batch_id or batch_id_in(message.message)
    if batch_id is not None:
        return Batch(batch_id)
    _raise_if_web_page(answer)
    raise DecodeError(
        "the batch was accepted, but its id is missing or is not 1 to 200 printable ASCII characters",
        path="$.batch_id",
        status=answer.status,
        body=redact_body(answer.body),
    )


def read_status(version: str, answer: Answer, batch_id: str, *, now: float, account: str | None = None) -> BatchStatus:
    """Return the rows of a batch. From "Truecaller for Business: Batch status v1, v2 and v3".

    The form of each version is accepted for each version. Unknown status values are kept as they are.

    Args:
        version: API version of the request.
        answer: the complete answer.
        batch_id: the batch that was asked for. Rows of another batch are excluded and counted.
        now: wall-clock time in seconds since the epoch.
        account: client account id. Rows of another account are excluded and counted.

    Raises:
        APIStatusError: The answer is an error; see `error_for`.
        DecodeError: The answer is no status of this batch.
    """
    version_named(version)
    return read_rows(_read(answer, is_read=True, now=now), ExpectedBatch(batch_id, account), status=answer.status)


def read_status_view(
    version: str, answer: Answer, batch_id: str, *, now: float, account: str | None = None
) -> StatusView:
    """Return the status of a batch for a campaign, which needs few fields of each row.

    Arguments and errors are those of `read_status`.
    """
    in_full = partial(read_status, version, answer, batch_id, now=now, account=account)
    summaries = read_summaries(answer.body, ExpectedBatch(batch_id, account)) if _is_success(answer) else None
    if summaries is not None:
        return StatusView(summaries, in_full)
    status = in_full()
    return StatusView(None, lambda: status)


def read_labels(answer: Answer, *, now: float) -> Page[Label]:
    """Return one page of labels. From "Truecaller for Business: Dynamic labels".

    The answer does not say which page it is.
    """
    return Page(structure_all(_read(answer, is_read=True, now=now), Label, path="$", status=answer.status))


def read_numbers(answer: Answer, *, now: float) -> Page[Number]:
    """Return one page of numbers. From "Truecaller for Business: Number details".

    An empty result may be a bare array.
    """
    return _page(_read(answer, is_read=True, now=now), "numbers", Number, answer.status)


def read_feature_sets(answer: Answer, *, now: float) -> Page[FeatureSet]:
    """Return one page of feature sets. From "Truecaller for Business: Feature sets"."""
    return _page(_read(answer, is_read=True, now=now), "feature_sets", FeatureSet, answer.status)


def read_number_job(answer: Answer, *, now: float) -> NumberJob:
    """Return the result of a listing or delisting. From "Truecaller for Business: Number management".

    The status of a failed job is not documented, so a job is recognised by its shape.

    Raises:
        APIStatusError: The answer is an error; see `error_for`.
        ResponseLost: The answer is a web page.
        DecodeError: The answer has no buckets of numbers.
    """
    value = decode_or_none(answer.body)
    if _is_job(value) and (_is_success(answer) or answer.status in FAILED_JOB_STATUSES):
        return structure(value, NumberJob, path="$", status=answer.status)
    _read(answer, is_read=False, now=now)
    raise DecodeError("the answer has no buckets of numbers", status=answer.status, body=redact_body(answer.body))


def read_export(answer: Answer, *, now: float) -> Secret:
    """Return the link to an export. From "Truecaller for Business: Deprecated exports".

    The shape is not documented. Accepted are a bare URL, a JSON string, and an object with exactly one URL among its
    texts. The link is a secret, because it is enough to fetch the file.

    Raises:
        APIStatusError: The answer is an error; see `error_for`. A 2xx with a message and no link is an error too: this
            is the documented shape of an error.
        DecodeError: The answer has no link, or more than one.
    """
    if not _is_success(answer):
        raise error_for(answer, is_read=True, now=now)
    value = decode_or_none(answer.body)
    texts = [answer.body.decode("utf-8", "replace")] if value is None else _texts_of(value)
    links = [text.strip() for text in texts if LINK.fullmatch(text.strip())]
    if len(links) == 1:
        return Secret(links[0])
    message = message_from(value)
    if not links and (message.slug is not None or message.message is not None):
        raise error_for(answer, is_read=True, now=now)
    raise DecodeError(
        f"the answer has {len(links) or 'no'} links, and one is expected",
        status=answer.status,
        body="" if b"http" in answer.body.lower() else redact_body(answer.body),
    )


def read_download(answer: Answer, *, now: float) -> None:
    """Check the answer to the download of a file.

    Nothing of the answer is quoted: the host of the file is not the API, and its error pages may repeat the link.

    Raises:
        APIStatusError: The answer is an error; see `error_for`.
        DecodeError: The answer is a part of the file.
    """
    if answer.status == 200:
        return
    if _is_success(answer):
        raise DecodeError("the answer to the download is not the whole file", status=answer.status)
    message = ServerMessage(message="the file was refused: a link is valid for a few minutes; request the export again")
    raise _error(answer, message, "", is_read=True, now=now)


def error_for(answer: Answer, *, is_read: bool, now: float) -> APIStatusError:
    """Return the error of an answer, chosen by slug and status.

    From "Truecaller for Business: Errors common to all calls".

    Args:
        answer: the complete answer.
        is_read: whether the call may be repeated after a 5xx.
        now: wall-clock time in seconds since the epoch.
    """
    return _error(answer, read_message(answer.body), redact_body(answer.body), is_read=is_read, now=now)


def _token_or_error(answer: Answer, now: float) -> Secret | APIStatusError | DecodeError:
    message = read_message(answer.body)
    if not _is_success(answer) or message.slug is not None:
        redacted = attrs.evolve(
            message,
            slug=redact_strict(message.slug),
            field=redact_strict(message.field),
            message=redact_strict(message.message),
        )
        return _error(answer, redacted, "", is_read=True, now=now)
    value = decode_or_none(answer.body)
    token = value.get("token") if isinstance(value, dict) else None
    if isinstance(token, str) and TOKEN.fullmatch(token):
        return Secret(token)
    reason = "the answer has no token of 1 to 4096 printable ASCII characters without spaces"
    return DecodeError(reason, path="$.token", status=answer.status)


def _error(answer: Answer, message: ServerMessage, body: str, *, is_read: bool, now: float) -> APIStatusError:
    slug, text, field = redact(message.slug), redact(message.message), redact(message.field)
    headers = answer.headers
    if 300 <= answer.status < 400:
        location = _redirect_target(headers.get("location"))
        return UnexpectedRedirect(answer.status, slug, text, body, field=field, location=location)
    if answer.status == 429:
        wait = parse_retry_after(headers.get("retry-after"), server_date=headers.get("date"), now=now)
        return RateLimited(answer.status, slug, text, body, field=field, retry_after=wait)
    kind = _error_class(answer.status, message)
    retryable = is_read if kind is ServerError else None
    return kind(answer.status, slug, text, body, field=field, retryable=retryable)


def _error_class(status: int, message: ServerMessage) -> type[APIStatusError]:
    if message.slug == SLUG_AUTHORIZATION or _refuses_token(status, message):
        return AuthenticationFailed
    if message.slug == SLUG_FORBIDDEN:
        return Forbidden
    if status in ERROR_BY_STATUS:
        return ERROR_BY_STATUS[status]
    return BadRequest if 200 <= status < 500 and message.slug != SLUG_SERVER else ServerError


def _refuses_token(status: int, message: ServerMessage) -> bool:
    return (status >= 500 or message.slug == SLUG_SERVER) and "parse token" in (message.message or "").casefold()


def _redirect_target(location: str | None) -> str | None:
    # Without the query, which may hold what was sent.
    return redact(location.partition("?")[0]) if location else None


def _rejects_record(error: APIStatusError, message: ServerMessage) -> bool:
    """Return whether an error is about the record; a 5xx is so only if it names a field."""
    match error:
        case BadRequest():
            is_about_content = error.status < 300 or error.status in RECORD_ERROR_STATUSES
            return message.is_rejection or (message.slug is not None and is_about_content)
        case ServerError():
            return message.is_rejection and message.field is not None
        case _:
            return False


def _accepted_push(answer: Answer, message: ServerMessage) -> PushAnswer:
    if not answer.body.strip():
        return PushAnswer()
    _raise_if_web_page(answer)
    if message.status is None:
        raise DecodeError(
            "the answer to a push neither accepts nor rejects the record",
            path="$.status_info.status",
            status=answer.status,
            body=redact_body(answer.body),
        )
    return PushAnswer(message.status, message.message, batch_id_in(message.message))


def _read(answer: Answer, *, is_read: bool, now: float) -> object:
    """Return the plain value of an answer that is not an error. Raise the error otherwise."""
    if not _is_success(answer):
        raise error_for(answer, is_read=is_read, now=now)
    if _is_web_page(answer) and is_read:
        raise DecodeError("the answer is a web page and not from Truecaller", status=answer.status)
    _raise_if_web_page(answer)
    value = decode(answer.body, status=answer.status)
    if _is_error(value):
        raise error_for(answer, is_read=is_read, now=now)
    return value


def _is_error(value: object) -> bool:
    """Return whether a value has a slug, or is a rejection without any array."""
    message = message_from(value)
    has_array = isinstance(value, dict) and any(isinstance(part, list) for part in value.values())
    return message.slug is not None or (message.is_rejection and not has_array)


def _page(value: object, name: str, kind: type[T], status: int) -> Page[T]:
    if not isinstance(value, dict):
        return Page(structure_all(value, kind, path="$", status=status))
    if name not in value:
        raise DecodeError(f"the answer has no {name}", path=f"$.{name}", status=status)
    key = next((spelling for spelling in PAGINATION_KEYS if value.get(spelling)), PAGINATION_KEYS[0])
    counts = structure(value.get(key) or {}, _PageCounts, path=f"$.{key}", status=status)
    items = structure_all(value[name], kind, path=f"$.{name}", status=status)
    return Page(items, counts.current_page, counts.total_page_count)


@attrs.frozen
class _PageCounts:
    """Fields that both spellings of the pagination object have."""

    total_page_count: int | None = None
    current_page: int | None = None


def _texts_of(value: object) -> list[str]:
    values = value.values() if isinstance(value, dict) else [value]
    return [text for text in values if isinstance(text, str)]


def _is_job(value: object) -> bool:
    return isinstance(value, dict) and not value.keys().isdisjoint(BUCKETS) and message_from(value).slug is None


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _is_web_page(answer: Answer) -> bool:
    """Return whether the body begins like HTML, or has the type HTML and does not begin like JSON."""
    start = answer.body.lstrip()[:1]
    return start == b"<" or (bool(start) and start not in b"{[" and "html" in answer.headers.get("content-type", ""))


def _raise_if_web_page(answer: Answer) -> None:
    if _is_web_page(answer):
        raise ResponseLost(
            f"HTTP {answer.status} with a web page: another server answered instead of Truecaller, and the outcome of "
            "the request is unknown. Look for a proxy or a captive portal"
        )
