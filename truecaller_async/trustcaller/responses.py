"""Decode the answers of TrustCaller to models or errors. Pure.

Each function takes one complete answer and returns a model or raises. Whatever the body is, only errors of this library
are raised. Error bodies have one of the forms `{"message"}`, `{"error", "message"}` and, for a refused argument,
`{"message", "errors": {field: [text, ...]}}`. The status determines the class of the error.

Invariants:
    - A TrustCaller key does not expire. So messages never quote a text that may be a key.
"""

from __future__ import annotations

import re
from typing import TypeVar

import attrs

from truecaller_async.errors import APIStatusError, DecodeError, ResponseLost
from truecaller_async.models import Answer, Page, Secret
from truecaller_async.protocol.json_codec import decode, decode_or_none, encode, structure, structure_all, text_of
from truecaller_async.protocol.responses import error_for
from truecaller_async.redaction import redact
from truecaller_async.trustcaller.models import ApiKey, CallDetail, NewKey, PublicTestNumber, ReservedNumber

T = TypeVar("T")

TOKEN_FORM = re.compile(r"[!-~]{1,4096}", re.ASCII)

TOKEN_LIKE = re.compile(r"\d+\|\S+|(?=\S*(?:\d|[a-z][A-Z]))\S{16,}")
"""Texts that may be a token: digits and a bar with more text, or a long word with a digit or an inner capital."""

QUOTE_MAX_BYTES = 1000
"""How much of a body that is not JSON an error may quote."""


@attrs.frozen
class _Meta:
    """The paging of a list."""

    current_page: int | None = None
    per_page: int | None = None
    total: int | None = None


def decode_numbers(answer: Answer, *, page: int, now: float) -> Page[ReservedNumber]:
    """Decode a page of reserved numbers; `page` is the requested page."""
    return _page_of(answer, ReservedNumber, page, now)


def decode_calls(answer: Answer, *, page: int, now: float) -> Page[CallDetail]:
    """Decode a page of call records; `page` is the requested page."""
    return _page_of(answer, CallDetail, page, now)


def decode_public_test_numbers(answer: Answer, *, now: float) -> Page[PublicTestNumber]:
    """Decode all test numbers, as one page."""
    return _single_page(answer, PublicTestNumber, now)


def decode_keys(answer: Answer, *, now: float) -> Page[ApiKey]:
    """Decode all keys, as one page."""
    return _single_page(answer, ApiKey, now)


def decode_call(answer: Answer, *, now: float) -> CallDetail:
    """Decode a call record. Raise `NotFound` if it does not exist or belongs to another account."""
    return structure(_success_object(answer, now).get("data"), CallDetail, path="$.data", status=answer.status)


def decode_check(answer: Answer, *, now: float) -> bool:
    """Decode the live check. Raise `DecodeError` if the value is not a boolean."""
    found = _success_object(answer, now).get("call_received")
    if isinstance(found, bool):
        return found
    raise DecodeError("call_received is not true or false", path="$.call_received", status=answer.status)


def decode_new_key(answer: Answer, *, now: float) -> NewKey:
    """Decode a created key. No error quotes the body.

    Raises the error of the status, `ResponseLost` for a web page, and `DecodeError` if a key was created but its token
    cannot be read.
    """
    found = _new_key(answer, now)  # the frame that raises must not contain the server's text
    if isinstance(found, NewKey):
        return found
    raise found


def decode_revoked(answer: Answer, *, now: float) -> None:
    """Check that a key was revoked. Raise the error of the status, and `ResponseLost` for a web page."""
    if not _is_success(answer):
        raise _error(answer, is_read=True, now=now)
    if _is_web_page(answer):
        raise _web_page_error(answer)


def _new_key(answer: Answer, now: float) -> NewKey | APIStatusError | DecodeError | ResponseLost:
    if not _is_success(answer):
        return _error(answer, is_read=False, now=now)
    if _is_web_page(answer):
        return _web_page_error(answer)
    value = decode_or_none(answer.body)
    body = value if isinstance(value, dict) else {}
    token = body.get("token")
    if not isinstance(token, str) or not TOKEN_FORM.fullmatch(token):
        advice = "a key was created, but its token cannot be read. Find it in keys.list(), revoke it and create another"
        return DecodeError(advice, path="$.token", status=answer.status)
    try:
        key = structure(body, ApiKey, path="$", status=answer.status)
    except DecodeError as error:
        return error.with_traceback(None)  # the dropped frames contain the token
    return NewKey(key.id, Secret(token), key.name, key.created_at)


def _page_of(answer: Answer, kind: type[T], requested_page: int, now: float) -> Page[T]:
    value = _success_object(answer, now)
    meta = structure(value.get("meta") or {}, _Meta, path="$.meta", status=answer.status)
    current = meta.current_page or requested_page
    return Page(_items(value, kind, answer.status), current, _total_pages(value.get("links"), meta, current))


def _total_pages(links: object, meta: _Meta, current: int) -> int | None:
    """Return the number of pages. A page without a next link is the last one, whatever the counts say."""
    if isinstance(links, dict) and "next" in links and links["next"] is None:
        return current
    if meta.per_page is None or meta.total is None or meta.per_page < 1:
        return None
    return -(-meta.total // meta.per_page)


def _single_page(answer: Answer, kind: type[T], now: float) -> Page[T]:
    return Page(_items(_success_object(answer, now), kind, answer.status), 1, 1)


def _items(value: dict[str, object], kind: type[T], status: int) -> tuple[T, ...]:
    if "data" not in value:
        raise DecodeError("the answer has no field data", path="$.data", status=status)
    return structure_all(value["data"], kind, path="$.data", status=status)


def _success_object(answer: Answer, now: float) -> dict[str, object]:
    """Return the object of a successful read."""
    if not _is_success(answer):
        raise _error(answer, is_read=True, now=now)
    if _is_web_page(answer):
        raise DecodeError("the answer is a web page, not JSON", status=answer.status)
    value = decode(answer.body, status=answer.status)
    if isinstance(value, dict):
        return value
    raise DecodeError("the answer is not an object", status=answer.status)


def _error(answer: Answer, *, is_read: bool, now: float) -> APIStatusError:
    return error_for(attrs.evolve(answer, body=_error_body(answer.body)), is_read=is_read, now=now)


def _error_body(body: bytes) -> bytes:
    """Return the redacted message of a body in the form that `error_for` decodes."""
    value = decode_or_none(body)
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
    """Return the first refused field, and all messages."""
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
        f"HTTP {answer.status} with a web page: another server answered, and it is not known whether the request "
        "was applied. Check for a proxy or a captive portal"
    )
