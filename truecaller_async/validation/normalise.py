"""Convert a record to its canonical form, the only form that is compared, hashed and sent.

Algorithm:
    - Numbers become ASCII digits with country code and without `+`. Spaces, hyphens, dots, parentheses and invisible
      format characters are dropped. A leading `00` is read as `+`, and `(0)` is dropped.
    - Times become int milliseconds since the epoch.
    - Label ids become lower-case UUIDs, texts become NFC, and an empty optional value becomes None.
    - A subclass of `str` (`numpy.str_`, a member of an enumeration) becomes plain `str`.

Invariants:
    - Nothing is guessed beyond these rules. A value without canonical form is left unchanged; `record_rules` reports
      it.
    - A record that is canonical already is returned as the same object.
    - No function raises for a value of any type.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from truecaller_async.models import CallRecord, Problem
from truecaller_async.validation.field_predicates import NORMALISED_MAX_CHARS, is_canonical, is_number
from truecaller_async.validation.timestamps import is_aware, parse_time, to_milliseconds
from truecaller_async.validation.untrusted_values import EXACT_INT_MAX, exact_int, is_missing

FIELDS = tuple(field.name for field in attrs.fields(CallRecord))

_TRUNK_ZERO = re.compile(r"(?<=[0-9])[\s.-]*\(\s*0\s*\)")
_HYPHENS = (ord("-"), *range(0x2010, 0x2016), 0x2212)
_PUNCTUATION = dict.fromkeys((*map(ord, ".()"), *_HYPHENS))

_DAMAGE = {
    re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?[eE][+-]?[0-9]+"): (
        "a spreadsheet probably changed it to scientific notation, and the last digits are lost; "
        "format the column as text and export again"
    ),
    re.compile(r"\+?[0-9]{7,}\.0+"): "the column was probably read as decimal numbers; read it as text",
    re.compile(
        r"['`\u2018\u2019].*", re.DOTALL
    ): "it begins with the text mark of a spreadsheet; remove the apostrophe",
    re.compile(r"[-\u2212].*", re.DOTALL): "it is negative; remove the sign",
    re.compile(r"[^\r\n]*[\r\n].*", re.DOTALL): "it has a line break inside; look for a quote that is not closed",
}


def canonical(record: CallRecord) -> CallRecord:
    """Return the record in canonical form without checking its values.

    A value that has no canonical form is left unchanged.

    Args:
        record: a record whose values the caller has checked, or will check.

    Returns:
        The same object if nothing changes.
    """
    if is_canonical(record):
        return record
    formed = CallRecord(
        _number(_plain(record.caller)),
        _number(_plain(record.receiver)),
        _time(_plain(record.starts_at)),
        _time(_plain(record.ends_at)),
        _label(_plain(record.label_id)),
        _text(_plain(record.label_name)),
        _text(_plain(record.reason)),
        _key(_plain(record.key)),
    )
    return record if all(getattr(record, name) is getattr(formed, name) for name in FIELDS) else formed


def damage_hint(text: str) -> str | None:
    """Return how a file has damaged a number and what to do; None if it is not damaged."""
    text = text.strip()
    return next((hint for pattern, hint in _DAMAGE.items() if pattern.fullmatch(text)), None)


def _plain(value: Any) -> Any:
    return str.__str__(value) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    if isinstance(value, str):
        if value[:1] == "+" and is_number(value, 1):
            return value[1:]
        if is_number(value) or damage_hint(value):
            return value
        text = _without_punctuation(value)
    else:
        integer = exact_int(value)
        if integer is None or not 0 <= integer < EXACT_INT_MAX:
            return value
        text = str(integer)
    return text[2:] if text.startswith("00") else text.removeprefix("+")


def _without_punctuation(text: str) -> str:
    text = "".join(_TRUNK_ZERO.sub("", text).translate(_PUNCTUATION).split())
    return text if text.isascii() else "".join(char for char in text if unicodedata.category(char) != "Cf")


def _time(value: Any) -> Any:
    if type(value) is int:
        return value
    if type(value) is datetime and is_aware(value):
        return to_milliseconds(value)
    moment = parse_time(value, "")
    return value if isinstance(moment, Problem) else moment


def _label(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        return _text(value)
    form = value.strip().lower()
    return value if value and form == value else form or None


def _text(value: Any) -> Any:
    if not isinstance(value, str):
        return None if is_missing(value) else value
    return value if len(value) > NORMALISED_MAX_CHARS else unicodedata.normalize("NFC", value) or None


def _key(value: Any) -> Any:
    integer = exact_int(value)
    if integer is not None and abs(integer) < EXACT_INT_MAX:
        return str(integer)
    return (value or None) if isinstance(value, str) else _text(value)
