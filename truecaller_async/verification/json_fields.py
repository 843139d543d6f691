"""Plain JSON values to words, whatever type they come as.

The tables of the documentation and its samples disagree: a number is printed as text, a boolean as "True", a phone
number once as text and once as a number. So each reader takes every printed form, and answers None to all others: one
odd field must not hide the rest. What a flow cannot do without is asked for by `needed`, and its lack is a
`DecodeError` with its place.

An error of these servers is told by status, with little said of its body. `read_as` gives what is in a good
answer, or raises the error of the tree; what it quotes is spared every word that could be a token.
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

Plain: TypeAlias = Mapping[str, object]

FLAGS = {"true": True, "false": False}
DIGITS_MAX = 18
SECONDS_MAX = 253_402_300_799
"""The last second of the year 9999."""


def read_as(read: Callable[[Plain], T], answer: Answer, *, is_read: bool, now: float, advice: Mapping[int, str]) -> T:
    """What `read` makes of the JSON object of a 2xx.

    `is_read`: the call may be repeated after a 5xx. `now` is the wall clock in seconds. `advice` has a sentence for
    each status where the server itself said nothing. Raises the `APIStatusError` of the status, or `DecodeError`.
    """
    if not 200 <= answer.status < 300:
        raise error_of(answer, is_read=is_read, now=now, advice=advice)
    try:
        return read(object_of(decode_or_none(answer.body), status=answer.status))
    except DecodeError as error:
        failure = error
    raise failure.with_traceback(None)  # the frames behind it hold what was said of a person


def object_of(value: object, *, status: int | None = None) -> Plain:
    """The value where it is a JSON object. Raises `DecodeError`, without quoting it."""
    if isinstance(value, dict):
        return value
    raise DecodeError("the answer is not a JSON object", status=status)


def error_of(answer: Answer, *, is_read: bool, now: float, advice: Mapping[int, str]) -> APIStatusError:
    """The error that this answer is; its slug is the `error` or the `code` of the body."""
    said = inner(decode_or_none(answer.body))
    slug = text(said, "error") or text(said, "code")
    message = text(said, "error_description") or text(said, "message") or advice.get(answer.status)
    spared = encode({"slug": redact_strict(slug), "message": redact_strict(message)})
    return error_for(attrs.evolve(answer, body=spared), is_read=is_read, now=now)


def needed(value: T | None, place: str) -> T:
    """The value; `DecodeError` with its place where there is none."""
    if value is None:
        raise DecodeError("the answer lacks what it must have", path=place)
    return value


def inner(value: object) -> Plain:
    """The object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """The array, an empty one for anything else."""
    return value if isinstance(value, list) else []


def text(value: Plain, key: str) -> str | None:
    """The text of a key; a number becomes text, the empty text is none."""
    return text_of(value.get(key)) or None


def flag(value: object) -> bool | None:
    """A boolean, or the word for one in any case."""
    return value if isinstance(value, bool) else FLAGS.get(value.casefold()) if isinstance(value, str) else None


def whole(value: object) -> int | None:
    """A whole number, or the digits of one."""
    match value:
        case bool():
            return None
        case int():
            return value
        case float():
            return int(value) if value.is_integer() else None
        case str() if value.isascii() and value.isdigit() and len(value) <= DIGITS_MAX:
            return int(value)
        case _:
            return None


def phone(value: object) -> str | None:
    """A phone number as digits with country code, from a number or from text with or without `+`."""
    if isinstance(value, str):
        return value.removeprefix("+") or None
    number = whole(value)
    return str(number) if number is not None and number > 0 else None


def instant(value: object, *, per_second: int = 1) -> datetime | None:
    """An instant from a count since the epoch, of which there are so many `per_second`."""
    count = whole(value)
    if count is None or not 0 <= count <= SECONDS_MAX * per_second:
        return None
    return datetime.fromtimestamp(count / per_second, UTC)
