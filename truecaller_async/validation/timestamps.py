"""A time that somebody gave us, as milliseconds since the epoch, the one form in which times are sent.

Taken are aware datetimes, whole milliseconds (also as text, as they stand in files) and ISO 8601 text with a zone. A
time without a zone names a different moment on every machine, and seconds read as milliseconds are a day of 1970; both
are recognised by their looks and refused, never mended.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from truecaller_async.models import Problem
from truecaller_async.validation.untrusted_values import as_text, exact_int, is_missing, masked

EARLIEST = 10**11
"""A smaller figure (before March 1973) is not milliseconds but seconds."""
LATEST = 10**14
"""A larger figure (after the year 5138) is not milliseconds but microseconds or nanoseconds."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
TEXT_MAX = 40
INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
DATE_SHAPE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}[0-9:.]{0,16}(?:Z|[+-][0-9:]{2,6})?)?")
OUT_OF_RANGE = "is no time at which calls are made"


def parse_time(value: object, field: str) -> int | Problem:
    """Milliseconds since the epoch, or what is wrong with `value`.

    Taken: an aware datetime, whole milliseconds (also as text), and ISO 8601 text with a zone. Seconds, microseconds
    and times without a zone are recognised and refused.
    """
    if is_missing(value):
        return Problem(field, "time.missing", "is missing", hint="give epoch milliseconds or ISO 8601 with a zone")
    moment = _moment(value)
    if isinstance(moment, datetime):
        if not is_aware(moment):
            return Problem(
                field, "time.zone", "has no time zone", show_time(value), "add the zone, such as +05:30 or Z"
            )
        moment = milliseconds(moment)
    if moment is None:
        return _not_a_time(value, field)
    if EARLIEST <= moment <= LATEST:
        return moment
    return _wrong_unit(moment, value, field)


def parse_iso(text: str) -> datetime | None:
    """The moment that an ISO 8601 text names, with or without zone; None where it is no such text."""
    if len(text) > TEXT_MAX:
        return None
    try:
        return datetime.fromisoformat(text.strip().upper())
    except ValueError:
        return None


def _moment(value: object) -> datetime | int | None:
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        return exact_int(value)
    text = value[: TEXT_MAX + 1].strip()
    return int(text) if INTEGER.fullmatch(text) else parse_iso(text)


def milliseconds(moment: datetime) -> int:
    """An aware datetime as milliseconds since the epoch, rounded down."""
    return int((moment - EPOCH) // MILLISECOND)


def is_aware(moment: datetime) -> bool:
    """Whether the datetime names one moment everywhere."""
    return moment.tzinfo is not None and moment.utcoffset() is not None


def _not_a_time(value: object, field: str) -> Problem:
    if isinstance(value, float):
        hint = "a number with a fraction is not taken; give int milliseconds, such as int(seconds * 1000)"
        return Problem(field, "time.type", "is of type float", masked(as_text(value)), hint)
    if not isinstance(value, str):
        hint = "give an aware datetime, epoch milliseconds, or ISO 8601 text with a zone"
        return Problem(field, "time.type", f"is of type {type(value).__name__}", masked(as_text(value)), hint)
    hint = "such as 1752760800000 or 2025-07-17T19:30:00+05:30"
    return Problem(
        field, "time.format", "is neither epoch milliseconds nor ISO 8601 with a zone", show_time(value), hint
    )


def _wrong_unit(moment: int, value: object, field: str) -> Problem:
    if isinstance(value, datetime):
        return Problem(field, "time.range", OUT_OF_RANGE, show_time(value), "check the year")
    if LATEST < moment < LATEST * 10**6:
        unit, divisor = ("microseconds", 1000) if moment < LATEST * 1000 else ("nanoseconds", 1_000_000)
        hint = f"it looks like {unit}; divide by {divisor}"
        return Problem(field, "time.unit", "is not in milliseconds", show_time(value), hint)
    if EARLIEST // 1000 <= moment < EARLIEST:
        hint = f"it looks like seconds ({utc(moment * 1000)}); multiply by 1000"
        return Problem(field, "time.unit", "is not in milliseconds", show_time(value), hint)
    hint = "milliseconds since 1970 have 13 digits"
    return Problem(field, "time.range", OUT_OF_RANGE, show_time(value), hint)


def utc(ms: int) -> str:
    """Milliseconds since the epoch as a time in UTC, such as 2025-07-17T14:00:00Z; as a plain figure out of range."""
    try:
        moment = EPOCH + timedelta(milliseconds=ms)
    except OverflowError:
        return f"{ms} ms"
    return moment.isoformat(timespec="milliseconds" if ms % 1000 else "seconds").replace("+00:00", "Z")


def show_time(value: object) -> str:
    """A value of a time field: whole where it has the shape of a date, else masked, as it may be a shifted column."""
    text = as_text(value)
    return text[:TEXT_MAX] if DATE_SHAPE.fullmatch(text) else masked(text)
