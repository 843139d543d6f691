"""Bytes and values: the one encoder, the one tolerant reader.

Two ways lead from JSON to a model. The fast one is a typed msgspec decoder that fills attrs classes straight from
the bytes; it fits the documented form and nothing else. The tolerant one reads plain values first and hands them to
the cattrs converter below, because the documentation contradicts itself and servers change. Its rules:

- a text may come as a number or a boolean and is kept as text; an integer may come as text; a time that cannot be
  read is None: one odd value must not hide the 499 good ones beside it;
- null and a missing key mean the same, and unknown keys are skipped;
- an array or an object where a plain value belongs is not the documented form: `DecodeError`, with its place.

No body, however broken, leaves here as anything but a `DecodeError`: not bad UTF-8, not a nesting of 100,000, not an
integer of 5,000 digits, not half a surrogate pair.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, partial
from operator import eq
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from truecaller_async.errors import DecodeError
from truecaller_async.redaction import redact_body

if TYPE_CHECKING:
    from cattrs import Converter
    from cattrs.errors import ClassValidationError

T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""All that a msgspec decoder raises over a body: malformed or of another form, not UTF-8, nested too deep."""

INT_DIGITS = 18
"""Digits of an integer that comes as text; what is longer is no time and no count."""


def _plain_text(value: object) -> str:
    """Text of somebody's own kind (`numpy.str_`) as the text that it is."""
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"there is no JSON for a value of type {type(value).__name__}")


encode: Callable[[object], bytes] = msgspec.json.Encoder(enc_hook=_plain_text).encode
"""Compact JSON of an attrs value. Raises `UnicodeEncodeError` over half a surrogate pair."""


class NotDocumentedError(ValueError):
    """A value of a kind that no form allows. It names the kind and never the value."""


def decode(body: bytes, *, status: int | None = None) -> object:
    """The plain value of a JSON body; `DecodeError` at `$` where it is none."""
    with suppress(*UNREADABLE):
        return msgspec.json.decode(body)
    said = "is empty" if not body.strip() else "is not readable JSON"
    raise DecodeError(f"the body {said}", status=status, body=redact_body(body))


def readable(body: bytes) -> object:
    """The plain value of a JSON body; None where it is none."""
    try:
        return msgspec.json.decode(body)
    except UNREADABLE:
        return None


def structure(value: object, kind: type[T], *, place: str, status: int | None = None) -> T:
    """The object as a model of this kind, by the tolerant rules. `place` is where it stands in the body."""
    if not isinstance(value, dict):
        raise DecodeError(f"expected an object, found {_kind(value)}", path=place, status=status)
    try:
        return _tolerant().structure(value, kind)
    except ExceptionGroup as error:
        inner, cause = _innermost(error)
    raise DecodeError(f"{kind.__name__}: {cause}", path=place + inner, status=status)


def structure_all(value: object, kind: type[T], *, place: str, status: int | None = None) -> tuple[T, ...]:
    """The items of an array, which may be null where there are none."""
    items = items_of(value, place=place, status=status)
    return tuple(structure(item, kind, place=f"{place}[{index}]", status=status) for index, item in enumerate(items))


def items_of(value: object, *, place: str, status: int | None = None) -> list[object]:
    """The plain items of an array, which may be null where there are none."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise DecodeError(f"expected an array, found {_kind(value)}", path=place, status=status)
    return value


def parse_time(text: str) -> datetime | None:
    """The instant of an RFC 3339 text with any number of fractional digits, None where it is none.

    A time without a zone is read as UTC, the only zone the documentation prints. What is finer than a microsecond
    is rounded.
    """
    try:
        instant = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def text_of(value: object) -> str | None:
    """A plain value as text; None for null, and for an array or an object."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _innermost(error: BaseException) -> tuple[str, str]:
    """Where the first fault is, seen from the value that was read, and what it is."""
    if not isinstance(error, ExceptionGroup):
        return "", str(error) if isinstance(error, NotDocumentedError) else "it is missing"
    noted, bare = cast("ClassValidationError", error).group_exceptions()
    if not noted:
        return _innermost(bare[0])
    fault, note = noted[0]
    inner, cause = _innermost(fault)
    return f".{note.name}{inner}", cause


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    return "an array" if isinstance(value, list) else "a plain value"


def _plain(value: object, wanted: str) -> object:
    if isinstance(value, dict | list):
        raise NotDocumentedError(f"expected {wanted}, found {_kind(value)}")
    return value


def _text(value: object, _: object = None) -> str | None:
    return text_of(_plain(value, "text"))


def _name(value: object, _: object = None) -> str:
    text = _text(value)
    if not text:
        raise NotDocumentedError("expected text, found none")
    return text


def _integer(value: object, _: object = None) -> int | None:
    match _plain(value, "an integer"):
        case bool():
            return None
        case int() as number:
            return number
        case float() as number:
            return int(number) if number.is_integer() else None
        case str() as text if len(text) <= INT_DIGITS and text.isascii() and text.isdigit():
            return int(text)
        case _:
            return None


def _switch(value: object, _: object = None) -> bool | None:
    plain = _plain(value, "a boolean")
    return plain if isinstance(plain, bool) else {"enabled": True, "disabled": False}.get(str(plain))


def _time(value: object, _: object = None) -> datetime | None:
    plain = _plain(value, "a time")
    return parse_time(plain) if isinstance(plain, str) else None


def _texts(value: object, _: object = None) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise NotDocumentedError(f"expected an array, found {_kind(value)}")
    return tuple(_name(item) for item in value if item is not None)


@cache
def _tolerant() -> Converter:
    """The tolerant forms of every answer. Made when an answer needs it: cattrs takes longer to import than to use."""
    from cattrs import Converter

    converter = Converter()
    converter.register_structure_hook(str, _name)
    converter.register_structure_hook(str | None, _text)
    converter.register_structure_hook(int | None, _integer)
    converter.register_structure_hook(bool | None, _switch)
    converter.register_structure_hook(datetime | None, _time)
    converter.register_structure_hook_func(partial(eq, tuple[str, ...]), _texts)
    return converter
