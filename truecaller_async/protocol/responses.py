"""Answers to models or errors.

Every function takes one complete answer and gives a model or raises; nothing but errors of this library is raised,
whatever the body is. `now` is the wall clock in seconds since the epoch; it counts for the `Retry-After` of a 429.

The order of reading is: shape first, then status, because the documentation says little about statuses and a 200
may carry a no. What an error means to the caller is said by its class, so the class is chosen with care where a
write is concerned (a submit has no idempotency key):

- a no in a documented shape is a refusal, in a 2xx too: nothing was applied;
- a 2xx of Truecaller without a usable batch id is a `DecodeError`: taken, and out of our sight;
- a 2xx that is a web page is not Truecaller's at all (a captive portal, a proxy): `ResponseLost`, nobody knows;
- a 5xx is a `ServerError`, not to be repeated: a gateway may have passed the request on. One 5xx is no such thing:
  "Failed to parse token" is the documented answer to a bad token, hence `AuthenticationFailed`.
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
from truecaller_async.protocol.batch_status import ExpectedBatch, read_documented, read_tolerant
from truecaller_async.protocol.json_codec import decode, readable, structure, structure_all
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

BY_STATUS: dict[int, type[APIStatusError]] = {401: AuthenticationFailed, 403: Forbidden, 404: NotFound}

ABOUT_CONTENT = (400, 422)
"""Statuses whose slug speaks of the record that was sent."""

ABOUT_NUMBERS = (*ABOUT_CONTENT, 404, 409)
"""Statuses in which a job that failed may come."""

PAGINATIONS = ("pagination_info", "pagination_information")
"""The two spellings of the object that says how many pages there are."""


def read_mint(answer: Answer, *, now: float) -> Secret:
    """The token. From "Truecaller for Business: Generate Access Token".

    Raises the `APIStatusError` of `error_for`, or `DecodeError` where there is no token that could go into a
    header. Neither quotes the body, which may hold a credential. A 5xx may be retried: a token that was made and
    never seen costs one of the budget, and the budget's ledger has counted it.
    """
    minted = _minted(answer, now)  # what raises must not hold the server's words in its frame
    if isinstance(minted, Secret):
        return minted
    raise minted


def read_push(answer: Answer, *, now: float) -> PushAnswer:
    """What became of one real-time record. From "Truecaller for Business: Real-time v1, v2 and v3".

    Version 1 may answer with an empty body: taken. Raises `PushRejected` where the server refuses the record, in
    whatever status; the `APIStatusError` of `error_for` for all that is not about the record; `ResponseLost` for a
    web page; `DecodeError` for a 2xx that says neither yes nor no.
    """
    said = read_message(answer.body)
    if _is_success(answer) and said.slug is None and not said.is_rejection:
        return _push_taken(answer, said)
    error = error_for(answer, is_read=False, now=now)
    if _refuses_record(error, said):
        raise PushRejected(redact(said.field), redact(said.message), status=answer.status)
    raise error


def read_submit(answer: Answer, *, now: float) -> Batch:
    """The batch that was taken. From "Truecaller for Business: Batch v1, v2 and v3".

    Versions 2 and 3 give its id, version 1 writes it at the end of a message. Raises the `APIStatusError` of
    `error_for`, a `BadRequest` also where a 2xx says no; `ResponseLost` for a web page; `DecodeError` where the
    batch was taken and its id is missing.
    """
    said = read_message(answer.body)
    if not _is_success(answer) or said.slug is not None or said.is_rejection:
        raise error_for(answer, is_read=False, now=now)
    batch_id = said.batch_id or batch_id_in(said.message)
    if batch_id is not None:
        return Batch(batch_id)
    _refuse_page(answer)
    raise DecodeError(
        "the batch was taken, and its id is missing or is not 1 to 200 printable ASCII characters",
        path="$.batch_id",
        status=answer.status,
        body=redact_body(answer.body),
    )


def read_status(version: str, answer: Answer, batch_id: str, *, now: float, account: str | None = None) -> BatchStatus:
    """The rows of a batch. From "Truecaller for Business: Batch status v1, v2 and v3".

    Every version's form is read for every version. Status words are kept verbatim, also unknown ones; rows of
    another batch, or of another account than `account`, are left out and counted. Raises the `APIStatusError` of
    `error_for`, or `DecodeError`.
    """
    version_named(version)
    ours = ExpectedBatch(batch_id, account)
    documented = read_documented(answer.body, ours) if _is_success(answer) else None
    if documented is not None:
        return documented
    return read_tolerant(_read(answer, is_read=True, now=now), ours, status=answer.status)


def read_status_view(
    version: str, answer: Answer, batch_id: str, *, now: float, account: str | None = None
) -> StatusView:
    """The same for a campaign, which wants few words of each row. Raises what `read_status` raises."""
    in_full = partial(read_status, version, answer, batch_id, now=now, account=account)
    glances = read_summaries(answer.body, ExpectedBatch(batch_id, account)) if _is_success(answer) else None
    if glances is not None:
        return StatusView(glances, in_full)
    status = in_full()
    return StatusView(None, lambda: status)


def read_labels(answer: Answer, *, now: float) -> Page[Label]:
    """One page of labels, which does not say where it stands. From "Truecaller for Business: Dynamic labels"."""
    return Page(structure_all(_read(answer, is_read=True, now=now), Label, place="$", status=answer.status))


def read_numbers(answer: Answer, *, now: float) -> Page[Number]:
    """One page of numbers. From "Truecaller for Business: Number details". Nothing found may be a bare array."""
    return _page(_read(answer, is_read=True, now=now), "numbers", Number, answer.status)


def read_feature_sets(answer: Answer, *, now: float) -> Page[FeatureSet]:
    """One page of feature sets. From "Truecaller for Business: Feature sets"."""
    return _page(_read(answer, is_read=True, now=now), "feature_sets", FeatureSet, answer.status)


def read_number_job(answer: Answer, *, now: float) -> NumberJob:
    """A listing or delisting, taken or failed. From "Truecaller for Business: Number management".

    In which status a failed job comes is documented nowhere, so it is known by its shape. Raises the
    `APIStatusError` of `error_for`, `ResponseLost` for a web page, or `DecodeError`.
    """
    value = readable(answer.body)
    if _is_job(value) and (_is_success(answer) or answer.status in ABOUT_NUMBERS):
        return structure(value, NumberJob, place="$", status=answer.status)
    _read(answer, is_read=False, now=now)
    raise DecodeError("the answer has no buckets of numbers", status=answer.status, body=redact_body(answer.body))


def read_export(answer: Answer, *, now: float) -> Secret:
    """The link to an export; whoever has it can fetch the file. From "Truecaller for Business: Deprecated exports".

    The shape is documented nowhere: a bare URL, a JSON string, and an object with exactly one URL among its texts are
    read. Raises the `APIStatusError` of `error_for`, also where a 2xx has a message and no link, the documented shape
    of an error; else `DecodeError`.
    """
    if not _is_success(answer):
        raise error_for(answer, is_read=True, now=now)
    value = readable(answer.body)
    texts = [answer.body.decode("utf-8", "replace")] if value is None else _texts_of(value)
    links = [text.strip() for text in texts if LINK.fullmatch(text.strip())]
    if len(links) == 1:
        return Secret(links[0])
    said = message_from(value)
    if not links and (said.slug is not None or said.message is not None):
        raise error_for(answer, is_read=True, now=now)
    raise DecodeError(
        f"the answer has {len(links) or 'no'} links where one is expected",
        status=answer.status,
        body="" if b"http" in answer.body.lower() else redact_body(answer.body),
    )


def read_download(answer: Answer, *, now: float) -> None:
    """Whether the file behind a link came. Raises the `APIStatusError` of its status, `DecodeError` for a part of it.

    The host that keeps the file is a stranger to the API, and its error pages may repeat the link: nothing of them is
    quoted.
    """
    if answer.status == 200:
        return
    if _is_success(answer):
        raise DecodeError("the answer to the download is no whole file", status=answer.status)
    said = ServerMessage(message="the file was refused; a link lives a few minutes, so ask for the export again")
    raise _error(answer, said, "", is_read=True, now=now)


def _minted(answer: Answer, now: float) -> Secret | APIStatusError | DecodeError:
    said = read_message(answer.body)
    if not _is_success(answer) or said.slug is not None:
        careful = attrs.evolve(
            said,
            slug=redact_strict(said.slug),
            field=redact_strict(said.field),
            message=redact_strict(said.message),
        )
        return _error(answer, careful, "", is_read=True, now=now)
    value = readable(answer.body)
    token = value.get("token") if isinstance(value, dict) else None
    if isinstance(token, str) and TOKEN.fullmatch(token):
        return Secret(token)
    rule = "the answer has no token of 1 to 4096 printable ASCII characters without spaces"
    return DecodeError(rule, path="$.token", status=answer.status)


def error_for(answer: Answer, *, is_read: bool, now: float) -> APIStatusError:
    """The error that this answer is, by slug and status. From "Truecaller for Business: Errors common to all calls".

    `is_read` says whether the call may be repeated after a 5xx.
    """
    return _error(answer, read_message(answer.body), redact_body(answer.body), is_read=is_read, now=now)


def _error(answer: Answer, said: ServerMessage, body: str, *, is_read: bool, now: float) -> APIStatusError:
    slug, message, field = redact(said.slug), redact(said.message), redact(said.field)
    headers = answer.headers
    if 300 <= answer.status < 400:
        location = _target(headers.get("location"))
        return UnexpectedRedirect(answer.status, slug, message, body, field=field, location=location)
    if answer.status == 429:
        wait = parse_retry_after(headers.get("retry-after"), server_date=headers.get("date"), now=now)
        return RateLimited(answer.status, slug, message, body, field=field, retry_after=wait)
    kind = _kind(answer.status, said)
    retryable = is_read if kind is ServerError else None
    return kind(answer.status, slug, message, body, field=field, retryable=retryable)


def _kind(status: int, said: ServerMessage) -> type[APIStatusError]:
    if said.slug == SLUG_AUTHORIZATION or _is_token_refused(status, said):
        return AuthenticationFailed
    if said.slug == SLUG_FORBIDDEN:
        return Forbidden
    if status in BY_STATUS:
        return BY_STATUS[status]
    return BadRequest if 200 <= status < 500 and said.slug != SLUG_SERVER else ServerError


def _is_token_refused(status: int, said: ServerMessage) -> bool:
    return (status >= 500 or said.slug == SLUG_SERVER) and "parse token" in (said.message or "").casefold()


def _target(location: str | None) -> str | None:
    """Where a redirect leads, without its query: that may hold what we sent."""
    return redact(location.partition("?")[0]) if location else None


def _refuses_record(error: APIStatusError, said: ServerMessage) -> bool:
    """Whether the error is about the record and not about the call. A 5xx is so only where it names a field."""
    match error:
        case BadRequest():
            about_content = error.status < 300 or error.status in ABOUT_CONTENT
            return said.is_rejection or (said.slug is not None and about_content)
        case ServerError():
            return said.is_rejection and said.field is not None
        case _:
            return False


def _push_taken(answer: Answer, said: ServerMessage) -> PushAnswer:
    if not answer.body.strip():
        return PushAnswer()
    _refuse_page(answer)
    if said.status is None:
        raise DecodeError(
            "the answer to a push says neither yes nor no",
            path="$.status_info.status",
            status=answer.status,
            body=redact_body(answer.body),
        )
    return PushAnswer(said.status, said.message, batch_id_in(said.message))


def _read(answer: Answer, *, is_read: bool, now: float) -> object:
    """The plain value of an answer that says yes, or at least does not say no."""
    if not _is_success(answer):
        raise error_for(answer, is_read=is_read, now=now)
    if _is_page(answer) and is_read:
        raise DecodeError("the answer is a web page, not Truecaller's", status=answer.status)
    _refuse_page(answer)
    value = decode(answer.body, status=answer.status)
    if _says_no(value):
        raise error_for(answer, is_read=is_read, now=now)
    return value


def _says_no(value: object) -> bool:
    """Whether this value is an error: an object with a slug, or with a word of failure and no list beside it."""
    said = message_from(value)
    has_list = isinstance(value, dict) and any(isinstance(part, list) for part in value.values())
    return said.slug is not None or (said.is_rejection and not has_list)


def _page(value: object, name: str, kind: type[T], status: int) -> Page[T]:
    if not isinstance(value, dict):
        return Page(structure_all(value, kind, place="$", status=status))
    if name not in value:
        raise DecodeError(f"the answer has no {name}", path=f"$.{name}", status=status)
    place = next((spelling for spelling in PAGINATIONS if value.get(spelling)), PAGINATIONS[0])
    counts = structure(value.get(place) or {}, _Counts, place=f"$.{place}", status=status)
    items = structure_all(value[name], kind, place=f"$.{name}", status=status)
    return Page(items, counts.current_page, counts.total_page_count)


@attrs.frozen
class _Counts:
    """What the two spellings of the pagination object have in common."""

    total_page_count: int | None = None
    current_page: int | None = None


def _texts_of(value: object) -> list[str]:
    values = value.values() if isinstance(value, dict) else [value]
    return [text for text in values if isinstance(text, str)]


def _is_job(value: object) -> bool:
    return isinstance(value, dict) and not value.keys().isdisjoint(BUCKETS) and message_from(value).slug is None


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _is_page(answer: Answer) -> bool:
    """Whether the body is a web page: by its first character, or by its type where it does not look like JSON."""
    start = answer.body.lstrip()[:1]
    return start == b"<" or (bool(start) and start not in b"{[" and "html" in answer.headers.get("content-type", ""))


def _refuse_page(answer: Answer) -> None:
    if _is_page(answer):
        raise ResponseLost(
            f"HTTP {answer.status} with a web page: something else answered in Truecaller's place, and whether the "
            "request went through is not known; look for a proxy or a captive portal"
        )
