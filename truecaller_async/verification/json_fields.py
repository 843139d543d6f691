"""Convert JSON values of the verification servers to Python values.

The documented tables and samples disagree: a number occurs as text, a boolean as "True", a phone number as text and as
a number. So each function accepts every documented form and returns None for all others, because one unusual field must
not hide the rest. A field that a caller cannot do without is checked by `required`.

Failure modes:
    - A missing required field is a `DecodeError` with its JSON path.
    - A status other than 2xx is an error of the class of its status. Its message quotes the body only after strict
      redaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeAlias, TypeVar

import attrs

from truecaller_async.errors import APIStatusError, DecodeError
from truecaller_async.models import Answer
from truecaller_async.protocol.json_codec import decode_or_none, encode, text_of
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
    """Decode the JSON object of a 2xx answer.

    Args:
        decode: Converts the object.
        answer: The answer.
        is_read: Whether the call may be repeated after a 5xx.
        now: Wall-clock time in seconds.
        advice: A message for each status, used if the server gives none.

    Returns:
        The result of `decode`.

    Raises:
        APIStatusError: The status is not 2xx.
        DecodeError: The body is not a JSON object, or a required field is missing.
    """
    if not 200 <= answer.status < 300:
        raise answer_error(answer, is_read=is_read, now=now, advice=advice)
    try:
        return decode(require_object(decode_or_none(answer.body), status=answer.status))
    except DecodeError as error:
        failure = error
    raise failure.with_traceback(None)  # the dropped frames contain personal data


def require_object(value: object, *, status: int | None = None) -> JsonObject:
    """Return the value if it is a JSON object. Otherwise raise `DecodeError`, without quoting it."""
    if isinstance(value, dict):
        return value
    raise DecodeError("the answer is not a JSON object", status=status)


def answer_error(answer: Answer, *, is_read: bool, now: float, advice: Mapping[int, str]) -> APIStatusError:
    """Return the error for this answer. Its slug is the `error` or the `code` of the body."""
    body = object_or_empty(decode_or_none(answer.body))
    slug = text_field(body, "error") or text_field(body, "code")
    message = text_field(body, "error_description") or text_field(body, "message") or advice.get(answer.status)
    redacted = encode({"slug": redact_strict(slug), "message": redact_strict(message)})
    return error_for(attrs.evolve(answer, body=redacted), is_read=is_read, now=now)


def required(value: T | None, path: str) -> T:
    """Return the value. Raise `DecodeError` with its JSON path if it is None."""
    if value is None:
        raise DecodeError("a required field is missing or has another type", path=path)
    return value


def object_or_empty(value: object) -> JsonObject:
    """Return the value if it is an object, otherwise an empty object."""
    return value if isinstance(value, dict) else {}


def list_or_empty(value: object) -> list[object]:
    """Return the value if it is an array, otherwise an empty list."""
    return value if isinstance(value, list) else []


def text_field(value: JsonObject, key: str) -> str | None:
    """Return the text of a key. A number becomes text; an empty text becomes None."""
    return text_of(value.get(key)) or None


def boolean(value: object) -> bool | None:
    """Return a boolean, also from the texts "true" and "false" in any case."""
    return value if isinstance(value, bool) else BOOLEAN_TEXTS.get(value.casefold()) if isinstance(value, str) else None


def exact_int(value: object) -> int | None:
    """Return a whole number, also from at most 18 digits as text."""
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
    """Return a phone number as digits with country code, from a number or from text with or without `+`."""
    if isinstance(value, str):
        return value.removeprefix("+") or None
    number = exact_int(value)
    return str(number) if number is not None and number > 0 else None


def timestamp(value: object, *, per_second: int = 1) -> datetime | None:
    """Return the UTC time for a count since the epoch, with `per_second` units in a second."""
    count = exact_int(value)
    if count is None or not 0 <= count <= EPOCH_MAX_SECONDS * per_second:
        return None
    return datetime.fromtimestamp(count / per_second, UTC)
