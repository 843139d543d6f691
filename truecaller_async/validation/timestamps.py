"""Parse the times that the package receives: of arguments, files, server answers and HTTP headers.

Algorithm:
    All parsers of times are here, because they share these rules and differ only in what they accept:

    - `parse_time`: arguments and cells; aware datetime, whole milliseconds (int or text), ISO 8601 with a zone.
    - `parse_instant`: the same text forms, for the readers of files; other values are returned unchanged.
    - `parse_rfc3339`: JSON of the server; a time without a zone is UTC, the only zone in the documentation.
    - `parse_http_date`: HTTP headers; a time without a zone is UTC.

Invariants:
    - Times are sent as int milliseconds since the epoch.
    - A time that a caller gives without a zone is refused: it is another moment on each machine.
    - Seconds, microseconds and nanoseconds are recognised by their size and refused, never converted.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from truecaller_async.models import Problem
from truecaller_async.redaction import VALUE_MAX_CHARS, masked
from truecaller_async.validation.untrusted_values import as_text, exact_int, is_missing

TIME_MIN_MS = 10**11
"""A smaller number (before March 1973) is not milliseconds but seconds."""

TIME_MAX_MS = 10**14
"""A larger number (after the year 5138) is not milliseconds but microseconds or nanoseconds."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)

ISO_MAX_CHARS = 40
"""Characters of an ISO 8601 text."""

CELL_MAX_DIGITS = 18
"""Digits of an integer that `parse_instant` converts."""

INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
DATE_SHAPE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}[0-9:.]{0,16}(?:Z|[+-][0-9:]{2,6})?)?")
OUT_OF_RANGE = "is outside the years 1973 to 5138"


def parse_time(value: object, field: str) -> int | Problem:
    """Return the time in milliseconds since the epoch, or the problem with it.

    Args:
        value: an aware datetime, whole milliseconds (also as text), or ISO 8601 text with a zone. Anything else is a
            problem.
        field: name of the field, for the problem.
    """
    if is_missing(value):
        return Problem(field, "time.missing", "is missing", hint="give epoch milliseconds or ISO 8601 with a zone")
    moment = _datetime_or_int(value)
    is_date = isinstance(moment, datetime)
    if isinstance(moment, datetime):
        if not is_aware(moment):
            return Problem(
                field, "time.zone", "has no time zone", shown_time(value), "add the zone, such as +05:30 or Z"
            )
        moment = to_milliseconds(moment)
    if moment is None:
        return _not_a_time(value, field)
    if TIME_MIN_MS <= moment <= TIME_MAX_MS:
        return moment
    if is_date:
        return Problem(field, "time.range", OUT_OF_RANGE, shown_time(value), "check the year")
    return _wrong_unit(moment, value, field)


def parse_instant(value: Any) -> Any:
    """Return the time of a cell of a file.

    Text with milliseconds becomes an int, ISO 8601 text with a zone becomes a datetime. Any other value is returned
    unchanged. The validation refuses it later and shows it as it is in the file.
    """
    if type(value) is not str:
        return value
    if value.isdigit() and value.isascii() and len(value) <= CELL_MAX_DIGITS:
        return int(value)
    moment = parse_iso(value)
    return moment if moment is not None and is_aware(moment) else value


def parse_iso(text: str) -> datetime | None:
    """Return the datetime of an ISO 8601 text, aware if it has a zone; None if it is no such text."""
    if len(text) > ISO_MAX_CHARS:
        return None
    try:
        return datetime.fromisoformat(text.strip().upper())
    except ValueError:
        return None


def parse_rfc3339(text: str) -> datetime | None:
    """Return the time of an RFC 3339 text, or None if it is no such text.

    The fraction may have any number of digits and is rounded to microseconds. A time without a zone is UTC.
    """
    # Not `parse_iso`: `fromisoformat` cuts the fraction instead of rounding it, and accepts forms such as 2025-W01.
    try:
        moment = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    return _utc_if_naive(moment)


def parse_http_date(text: str) -> datetime | None:
    """Return the time of an HTTP date, or None if the text is none. A time without a zone is UTC."""
    if not text.isascii():
        return None
    try:
        return _utc_if_naive(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def to_milliseconds(moment: datetime) -> int:
    """Return an aware datetime as milliseconds since the epoch, rounded down."""
    return int((moment - EPOCH) // MILLISECOND)


def is_aware(moment: datetime) -> bool:
    """Return whether the datetime has a UTC offset."""
    return moment.tzinfo is not None and moment.utcoffset() is not None


def utc(ms: int) -> str:
    """Return milliseconds since the epoch as UTC text, such as 2025-07-17T14:00:00Z.

    A time that `datetime` cannot represent is returned as `<number> ms`.
    """
    try:
        moment = EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return f"{ms} ms"
    return moment.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")


def shown_time(value: object) -> str:
    """Return a value of a time field as an error may show it: dates whole, other text masked.

    Other text can be a phone number, because the columns of a file can be shifted.
    """
    text = as_text(value)
    return text[:VALUE_MAX_CHARS] if DATE_SHAPE.fullmatch(text) else masked(text)


def _datetime_or_int(value: object) -> datetime | int | None:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        return exact_int(value)
    text = value[: ISO_MAX_CHARS + 1].strip()
    return int(text) if INTEGER.fullmatch(text) else parse_iso(text)


def _utc_if_naive(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _not_a_time(value: object, field: str) -> Problem:
    if isinstance(value, float):
        hint = "a number with a fraction is refused; give int milliseconds, such as int(seconds * 1000)"
        return Problem(field, "time.type", "is of type float", masked(as_text(value)), hint)
    if not isinstance(value, str):
        hint = "give an aware datetime, epoch milliseconds, or ISO 8601 text with a zone"
        return Problem(field, "time.type", f"is of type {type(value).__name__}", masked(as_text(value)), hint)
    hint = "such as 1752760800000 or 2025-07-17T19:30:00+05:30"
    return Problem(
        field, "time.format", "is neither epoch milliseconds nor ISO 8601 with a zone", shown_time(value), hint
    )


def _wrong_unit(moment: int, value: object, field: str) -> Problem:
    if TIME_MAX_MS < moment < TIME_MAX_MS * 10**6:
        unit, divisor = ("microseconds", 1000) if moment < TIME_MAX_MS * 1000 else ("nanoseconds", 1_000_000)
        hint = f"it looks like {unit}; divide by {divisor}"
        return Problem(field, "time.unit", "is not in milliseconds", shown_time(value), hint)
    if TIME_MIN_MS // 1000 <= moment < TIME_MIN_MS:
        hint = f"it looks like seconds ({utc(moment * 1000)}); multiply by 1000"
        return Problem(field, "time.unit", "is not in milliseconds", shown_time(value), hint)
    return Problem(
        field, "time.range", OUT_OF_RANGE, shown_time(value), "give milliseconds since 1970, which have 13 digits"
    )
