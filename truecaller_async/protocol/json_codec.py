"""Encode JSON, decode JSON, and convert plain values to models.

Algorithm:
    The documentation contradicts itself and servers change, so the converter is tolerant:

    - Text may be sent as a number or a boolean, and an integer as text. An unreadable time is None: one odd value must
      not hide the 499 good rows beside it.
    - null and a missing key mean the same. Unknown keys are ignored.
    - An array or an object instead of a plain value is a `DecodeError` with its JSON path.

Invariants:
    - No body causes another error than `DecodeError`. This includes invalid UTF-8, a nesting of 100,000 levels, an
      integer of 5,000 digits and an unpaired surrogate.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cache, partial
from operator import eq
from typing import TYPE_CHECKING, TypeVar, cast

import msgspec

from truecaller_async.errors import DecodeError
from truecaller_async.redaction import redact_body
from truecaller_async.validation.timestamps import parse_rfc3339

if TYPE_CHECKING:
    from cattrs import Converter
    from cattrs.errors import ClassValidationError

T = TypeVar("T")

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""Errors of a msgspec decoder: invalid JSON or another form, invalid UTF-8, too deep nesting."""

TEXT_INTEGER_MAX_DIGITS = 18
"""Digits of an integer that is sent as text. A longer one is neither a time nor a count."""


def _plain_text(value: object) -> str:
    if isinstance(value, str):  # a subclass such as `numpy.str_`
        return str.__str__(value)
    raise TypeError(f"there is no JSON for a value of type {type(value).__name__}")


encode: Callable[[object], bytes] = msgspec.json.Encoder(enc_hook=_plain_text).encode
"""Encode a value as compact JSON. Raise `UnicodeEncodeError` for an unpaired surrogate."""


class NotDocumentedError(ValueError):
    """A value of a type that no documented form allows. The text names the type and never the value."""


def decode(body: bytes, *, status: int | None = None) -> object:
    """Return the plain value of a JSON body.

    Args:
        body: the body of an answer.
        status: HTTP status of the answer, for the error.

    Raises:
        DecodeError: The body is empty or not JSON.
    """
    with suppress(*UNREADABLE):
        return msgspec.json.decode(body)
    reason = "is empty" if not body.strip() else "is not readable JSON"
    raise DecodeError(f"the body {reason}", status=status, body=redact_body(body))


def decode_or_none(body: bytes) -> object:
    """Return the plain value of a JSON body; None if it is not JSON."""
    try:
        return msgspec.json.decode(body)
    except UNREADABLE:
        return None


def structure(value: object, kind: type[T], *, path: str, status: int | None = None) -> T:
    """Convert an object to a model by the tolerant rules of this module.

    Args:
        value: plain value of the object.
        kind: class of the model.
        path: JSON path of the object in the body, for the error.
        status: HTTP status of the answer, for the error.

    Raises:
        DecodeError: The value is not an object, or a field has a form that no rule allows.
    """
    if not isinstance(value, dict):
        raise DecodeError(f"expected an object, found {_kind(value)}", path=path, status=status)
    try:
        return _tolerant_converter().structure(value, kind)
    except ExceptionGroup as error:
        inner_path, cause = _innermost(error)
    # Raised outside the handler: the context would hold the values of the answer.
    raise DecodeError(f"{kind.__name__}: {cause}", path=path + inner_path, status=status)


def structure_all(value: object, kind: type[T], *, path: str, status: int | None = None) -> tuple[T, ...]:
    """Convert the items of an array to models. null is an empty array. Raises as `structure` does."""
    items = items_of(value, path=path, status=status)
    return tuple(structure(item, kind, path=f"{path}[{index}]", status=status) for index, item in enumerate(items))


def items_of(value: object, *, path: str, status: int | None = None) -> list[object]:
    """Return the plain items of an array. null is an empty array. Raises `DecodeError` for any other type."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise DecodeError(f"expected an array, found {_kind(value)}", path=path, status=status)
    return value


def text_of(value: object) -> str | None:
    """Return a plain value as text; None for null, an array and an object."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _innermost(error: BaseException) -> tuple[str, str]:
    """Return the JSON path of the first error, relative to the converted value, and its cause."""
    if not isinstance(error, ExceptionGroup):
        return "", str(error) if isinstance(error, NotDocumentedError) else "it is missing"
    noted, bare = cast("ClassValidationError", error).group_exceptions()
    if not noted:
        return _innermost(bare[0])
    first, note = noted[0]
    inner_path, cause = _innermost(first)
    return f".{note.name}{inner_path}", cause


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    return "an array" if isinstance(value, list) else "a plain value"


def _plain(value: object, expected: str) -> object:
    if isinstance(value, dict | list):
        raise NotDocumentedError(f"expected {expected}, found {_kind(value)}")
    return value


def _text(value: object, _: object = None) -> str | None:
    return text_of(_plain(value, "text"))


def _required_text(value: object, _: object = None) -> str:
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
        case str() as text if len(text) <= TEXT_INTEGER_MAX_DIGITS and text.isascii() and text.isdigit():
            return int(text)
        case _:
            return None


def _boolean(value: object, _: object = None) -> bool | None:
    plain = _plain(value, "a boolean")
    return plain if isinstance(plain, bool) else {"enabled": True, "disabled": False}.get(str(plain))


def _time(value: object, _: object = None) -> datetime | None:
    plain = _plain(value, "a time")
    return parse_rfc3339(plain) if isinstance(plain, str) else None


def _texts(value: object, _: object = None) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise NotDocumentedError(f"expected an array, found {_kind(value)}")
    return tuple(_required_text(item) for item in value if item is not None)


@cache
def _tolerant_converter() -> Converter:
    # Imported at the first use: cattrs is slow to import (`tests/architecture/test_import_cost.py`).
    from cattrs import Converter

    converter = Converter()
    converter.register_structure_hook(str, _required_text)
    converter.register_structure_hook(str | None, _text)
    converter.register_structure_hook(int | None, _integer)
    converter.register_structure_hook(bool | None, _boolean)
    converter.register_structure_hook(datetime | None, _time)
    converter.register_structure_hook_func(partial(eq, tuple[str, ...]), _texts)
    return converter
