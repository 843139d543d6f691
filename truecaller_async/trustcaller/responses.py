"""Answers of TrustCaller to models or errors.

Every function takes one complete answer and gives a model or raises; nothing but errors of this library is raised,
whatever the body is. Errors come as `{"message"}`, `{"error", "message"}` and, where an argument is refused,
`{"message", "errors": {field: [text, ...]}}`; which error it is, its status says.

A key of TrustCaller does not expire. So of what the server says nothing is quoted that could be one.
"""

from __future__ import annotations

import re
from typing import TypeVar

import attrs

from truecaller_async.errors import APIStatusError, DecodeError, ResponseLost
from truecaller_async.models import Answer, Page, Secret
from truecaller_async.protocol.json_codec import decode, encode, readable, structure, structure_all, text_of
from truecaller_async.protocol.responses import error_for
from truecaller_async.redaction import redact
from truecaller_async.trustcaller.models import ApiKey, CallDetail, NewKey, PublicTestNumber, ReservedNumber

T = TypeVar("T")

TOKEN_FORM = re.compile(r"[!-~]{1,4096}", re.ASCII)

TOKEN_LIKE = re.compile(r"\d+\|\S+|(?=\S*(?:\d|[a-z][A-Z]))\S{16,}")
"""What may be a token: a number, a bar and more, or a long word with a digit or a capital in its middle."""

QUOTE_MAX_BYTES = 1000
"""Bytes of a body that is no JSON from which an error quotes."""


@attrs.frozen
class _Meta:
    """Where a page stands."""

    current_page: int | None = None
    per_page: int | None = None
    total: int | None = None


def decode_numbers(answer: Answer, *, page: int, now: float) -> Page[ReservedNumber]:
    """One page of reserved numbers, which was asked for as number `page`."""
    return _page_of(answer, ReservedNumber, page, now)


def decode_calls(answer: Answer, *, page: int, now: float) -> Page[CallDetail]:
    """One page of call records, which was asked for as number `page`."""
    return _page_of(answer, CallDetail, page, now)


def decode_public_test_numbers(answer: Answer, *, now: float) -> Page[PublicTestNumber]:
    """All test numbers. The list has one page."""
    return _single_page(answer, PublicTestNumber, now)


def decode_keys(answer: Answer, *, now: float) -> Page[ApiKey]:
    """All keys. The list has one page."""
    return _single_page(answer, ApiKey, now)


def decode_call(answer: Answer, *, now: float) -> CallDetail:
    """One call record. Raises `NotFound` where there is none, or it is another account's."""
    return structure(_success_object(answer, now).get("data"), CallDetail, place="$.data", status=answer.status)


def decode_check(answer: Answer, *, now: float) -> bool:
    """Whether a live call is there. Anything but a true or false is no answer to that: `DecodeError`."""
    found = _success_object(answer, now).get("call_received")
    if isinstance(found, bool):
        return found
    raise DecodeError("call_received is not true or false", path="$.call_received", status=answer.status)


def decode_new_key(answer: Answer, *, now: float) -> NewKey:
    """The key that was found.

    Raises the error of the status; `ResponseLost` for a web page; `DecodeError` where a key was found and its token
    cannot be read. No error quotes the body.
    """
    found = _new_key(answer, now)  # what raises must not hold the server's words in its frame
    if isinstance(found, NewKey):
        return found
    raise found


def decode_revoked(answer: Answer, *, now: float) -> None:
    """Whether the key is ended. Raises the error of the status, and `ResponseLost` for a web page."""
    if not _is_success(answer):
        raise _error(answer, is_read=True, now=now)
    if _is_web_page(answer):
        raise _web_page_error(answer)


def _new_key(answer: Answer, now: float) -> NewKey | APIStatusError | DecodeError | ResponseLost:
    if not _is_success(answer):
        return _error(answer, is_read=False, now=now)
    if _is_web_page(answer):
        return _web_page_error(answer)
    value = readable(answer.body)
    body = value if isinstance(value, dict) else {}
    token = body.get("token")
    if not isinstance(token, str) or not TOKEN_FORM.fullmatch(token):
        advice = "a key was found and its token cannot be read; look for it in keys.list(), revoke it and make another"
        return DecodeError(advice, path="$.token", status=answer.status)
    try:
        key = structure(body, ApiKey, place="$", status=answer.status)
    except DecodeError as error:
        return error.with_traceback(None)  # the frames behind it hold the token
    return NewKey(key.id, Secret(token), key.name, key.created_at)


def _page_of(answer: Answer, kind: type[T], requested_page: int, now: float) -> Page[T]:
    value = _success_object(answer, now)
    meta = structure(value.get("meta") or {}, _Meta, place="$.meta", status=answer.status)
    current = meta.current_page or requested_page
    return Page(_items(value, kind, answer.status), current, _total_pages(value.get("links"), meta, current))


def _total_pages(links: object, meta: _Meta, current: int) -> int | None:
    """How many pages there are; a page without a link to a next one is the last, whatever the counts say."""
    if isinstance(links, dict) and "next" in links and links["next"] is None:
        return current
    if meta.per_page is None or meta.total is None or meta.per_page < 1:
        return None
    return -(-meta.total // meta.per_page)


def _single_page(answer: Answer, kind: type[T], now: float) -> Page[T]:
    return Page(_items(_success_object(answer, now), kind, answer.status), 1, 1)


def _items(value: dict[str, object], kind: type[T], status: int) -> tuple[T, ...]:
    if "data" not in value:
        raise DecodeError("the answer has no data", path="$.data", status=status)
    return structure_all(value["data"], kind, place="$.data", status=status)


def _success_object(answer: Answer, now: float) -> dict[str, object]:
    """The object of an answer to a read that says yes."""
    if not _is_success(answer):
        raise _error(answer, is_read=True, now=now)
    if _is_web_page(answer):
        raise DecodeError("the answer is a web page, not TrustCaller's", status=answer.status)
    value = decode(answer.body, status=answer.status)
    if isinstance(value, dict):
        return value
    raise DecodeError("the answer is not an object", status=answer.status)


def _error(answer: Answer, *, is_read: bool, now: float) -> APIStatusError:
    """The error of the status, with what TrustCaller says about it."""
    return error_for(attrs.evolve(answer, body=_error_body(answer.body)), is_read=is_read, now=now)


def _error_body(body: bytes) -> bytes:
    """What a body tells, in the form that the library's errors are read from."""
    value = readable(body)
    if not isinstance(value, dict):
        return _redacted(body[:QUOTE_MAX_BYTES].decode("utf-8", "replace")).encode()
    field, message = _field_errors(value.get("errors"))
    texts = {
        "slug": text_of(value.get("error")),
        "field": field,
        "message": message or text_of(value.get("message")),
    }
    return encode({name: _redacted(text) for name, text in texts.items() if text})


def _field_errors(errors: object) -> tuple[str | None, str | None]:
    """The first field that was refused, and all that is said of all of them."""
    if not isinstance(errors, dict) or not errors:
        return None, None
    texts = [text_of(text) for entry in errors.values() for text in (entry if isinstance(entry, list) else [entry])]
    return str(next(iter(errors))), " ".join(text for text in texts if text) or None


def _redacted(text: str) -> str:
    return TOKEN_LIKE.sub("***", redact(text) or "")


def _is_success(answer: Answer) -> bool:
    return 200 <= answer.status < 300


def _is_web_page(answer: Answer) -> bool:
    return answer.body.lstrip()[:1] == b"<"


def _web_page_error(answer: Answer) -> ResponseLost:
    return ResponseLost(
        f"HTTP {answer.status} with a web page: something else answered in TrustCaller's place, and whether the "
        "request went through is not known; look for a proxy or a captive portal"
    )
