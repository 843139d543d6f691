"""A value that somebody gave us: is it there at all, is it a whole number, and how may it be shown?

Values come from files and from other people's programs, so they are of any type. The questions here are answered for
every value, without an exception. What is shown never has a whole phone number in it, whichever field it stood in:
columns get shifted.
"""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from operator import index

from truecaller_async.models import mask_number

EMPTY_WORDS = frozenset({"nan", "none", "null", "nil", "n/a", "na", "#n/a", "<na>", "nat", "-", "--"})
"""What programs write where there is no value."""
WHOLE_MAX = 10**20
"""Beyond it an integer is neither a number nor a time, and its text may be endless."""
SHOWN_MAX = 60
LONG_NUMBER = re.compile(r"\d(?:[\s().-]*\d){6,}")


def is_missing(value: object) -> bool:
    """Whether this stands for "no value": None, empty text, a not-a-number, or a word programs write for those."""
    if isinstance(value, str):
        word = value.strip()
        return not word or (len(word) < 6 and word.lower() in EMPTY_WORDS)
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, float):
        return value != value
    return value is None or (isinstance(value, datetime) and type(value).__name__ == "NaTType")


def masked(text: str) -> str:
    """The text as it may be printed: its beginning, with all but the last four digits of any long number masked."""
    cut = text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "…"
    return LONG_NUMBER.sub(lambda found: mask_number(found[0]), cut)


def masked_number(value: object) -> str:
    """A value of a number field, masked to its last four characters."""
    return mask_number(as_text(value)[-20:])


def as_text(value: object) -> str:
    """Text of any value. Types whose text we do not know are only named: their `str` may be long, or raise."""
    if isinstance(value, str):
        return value
    integer = exact_int(value)
    if integer is not None:
        return str(integer) if abs(integer) < WHOLE_MAX else "an integer of more than 20 digits"
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, Decimal):
        return str(value)[:SHOWN_MAX]
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat()
    return "" if value is None else f"<{type(value).__name__}>"


def exact_int(value: object) -> int | None:
    """The value as an int where it is exactly one, of whatever numeric type."""
    if isinstance(value, bool | float | str) or value is None:
        return None
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value.adjusted() < 20 and value == int(value) else None
    if hasattr(type(value), "__index__"):
        try:
            return index(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None  # an array has the method, and is a whole number only sometimes
    return None
