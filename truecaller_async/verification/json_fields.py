"""Plain JSON values to words, whatever type they come as.

The tables of the documentation and its samples disagree: a number is printed as text, a boolean as "True", a phone
number once as text and once as a number. So each reader takes every printed form, and answers None to all others: one
odd field must not hide the rest. What a flow cannot do without is asked for by `needed`, and its lack is a
`DecodeError` with its place.

An error of these servers is told by status, with little body of its body. `read_as` gives what is in a good
answer, or raises the error of the tree; what it quotes is redacted every word that could be a token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

import attrs

from truecaller_async.errors import APIStatusError, DecodeError
from truecaller_async.models import Answer
from truecaller_async.protocol.json_codec import encode, readable, text_of
from truecaller_async.protocol.responses import error_for
from truecaller_async.redaction import redact_strict

T = TypeVar("T")

JsonObject: TypeAlias = Mapping[str, object]

BOOLEAN_TEXTS = {"true": True, "false": False}
INTEGER_MAX_DIGITS = 18
EPOCH_MAX_SECONDS = 253_402_300_799
"""The last second of the year 9999."""


def decode_answer(
    decode: Callable[[JsonObject], T], answer: Answer, *, is_read: bool, now: float, advice: Mapping[int, str]
) -> T:
    """What `read` makes of the JSON object of a 2xx.

    `is_read`: the call may be repeated after a 5xx. `now` is the wall clock in seconds. `advice` has a sentence for
    each status where the server itself body nothing. Raises the `APIStatusError` of the status, or `DecodeError`.
    """
    if not 200 <= answer.status < 300:
        raise answer_error(answer, is_read=is_read, now=now, advice=advice)
    try:
        return decode(require_object(readable(answer.body), status=answer.status))
    except DecodeError as error:
        failure = error
    raise failure.with_traceback(None)  # the frames behind it hold what was body of a person


def require_object(value: object, *, status: int | None = None) -> JsonObject:
    """The value where it is a JSON object. Raises `DecodeError`, without quoting it."""
    if isinstance(value, dict):
        return value
    raise DecodeError("the answer is not a JSON object", status=status)


def answer_error(answer: Answer, *, is_read: bool, now: float, advice: Mapping[int, str]) -> APIStatusError:
    """The error that this answer is; its slug is the `error` or the `code` of the body."""
    body = object_or_empty(readable(answer.body))
    slug = text_field(body, "error") or text_field(body, "code")
    message = text_field(body, "error_description") or text_field(body, "message") or advice.get(answer.status)
    redacted = encode({"slug": redact_strict(slug), "message": redact_strict(message)})
    return error_for(attrs.evolve(answer, body=redacted), is_read=is_read, now=now)


def required(value: T | None, path: str) -> T:
    """The value; `DecodeError` with its place where there is none."""
    if value is None:
        raise DecodeError("a required field is missing or has another type", path=path)
    return value


def object_or_empty(value: object) -> JsonObject:
    """The object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def list_or_empty(value: object) -> list[object]:
    """The array, an empty one for anything else."""
    return value if isinstance(value, list) else []


def text_field(value: JsonObject, key: str) -> str | None:
    """The text of a key; a number becomes text, the empty text is none."""
    return text_of(value.get(key)) or None


def boolean(value: object) -> bool | None:
    """A boolean, or the word for one in any case."""
    return value if isinstance(value, bool) else BOOLEAN_TEXTS.get(value.casefold()) if isinstance(value, str) else None


def exact_int(value: object) -> int | None:
    """A whole number, or the digits of one."""
    match value:
        case bool():
            return None
        case int():
            return value
        case float():
            return int(value) if value.is_integer() else None
        case str() if value.isascii() and value.isdigit() and len(value) <= INTEGER_MAX_DIGITS:
            return int(value)
        case _:
            return None


def phone_number(value: object) -> str | None:
    """A phone number as digits with country code, from a number or from text with or without `+`."""
    if isinstance(value, str):
        return value.removeprefix("+") or None
    number = exact_int(value)
    return str(number) if number is not None and number > 0 else None


def timestamp(value: object, *, per_second: int = 1) -> datetime | None:
    """An instant from a count since the epoch, of which there are so many `per_second`."""
    count = exact_int(value)
    if count is None or not 0 <= count <= EPOCH_MAX_SECONDS * per_second:
        return None
    return datetime.fromtimestamp(count / per_second, UTC)
