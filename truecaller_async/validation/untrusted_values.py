"""Examine values of unknown type: missing values, exact integers, text.

Invariants:
    - The functions accept any value and do not raise. Values come from files and from programs of other parties.
    - `as_text` never calls `str` of an unknown class, because it can be slow, endless or raise.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from operator import index

from truecaller_async.redaction import VALUE_MAX_CHARS, mask_number

MISSING_WORDS = frozenset({"nan", "none", "null", "nil", "n/a", "na", "#n/a", "<na>", "nat", "-", "--"})
"""Texts, in lower case, that programs write if there is no value."""

MISSING_WORD_MAX_CHARS = max(map(len, MISSING_WORDS))

EXACT_INT_MAX = 10**20
"""An integer of this size or larger is neither a number nor a time, and its text can be very long."""

EXACT_INT_MAX_DIGITS = 20

MASKED_NUMBER_MAX_CHARS = 20
"""Last characters of a number field that are rendered, nearly all of them as asterisks."""


def is_missing(value: object) -> bool:
    """Return whether the value is None, empty text, not-a-number, or one of `MISSING_WORDS`."""
    if isinstance(value, str):
        word = value.strip()
        return not word or (len(word) <= MISSING_WORD_MAX_CHARS and word.lower() in MISSING_WORDS)
    if isinstance(value, Decimal):
        return value.is_nan()
    if isinstance(value, float):
        return value != value
    return value is None or (isinstance(value, datetime) and type(value).__name__ == "NaTType")


def masked_number(value: object) -> str:
    """Return a value of a number field, of any type, with all but its last four characters masked."""
    return mask_number(as_text(value)[-MASKED_NUMBER_MAX_CHARS:])


def as_text(value: object) -> str:
    """Return the text of a value; `<class name>` for a class whose text is unknown, empty text for None."""
    if isinstance(value, str):
        return value
    integer = exact_int(value)
    if integer is not None:
        return str(integer) if abs(integer) < EXACT_INT_MAX else "an integer of more than 20 digits"
    if isinstance(value, float):
        return float.__repr__(value)
    if isinstance(value, Decimal):
        return str(value)[:VALUE_MAX_CHARS]
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat()
    return "" if value is None else f"<{type(value).__name__}>"


def exact_int(value: object) -> int | None:
    """Return the value as int if it is an exact integer of any numeric type; None otherwise.

    Text, booleans and floats are never exact integers. A float may have lost digits already.
    """
    if isinstance(value, bool | float | str) or value is None:
        return None
    if isinstance(value, Decimal):
        is_exact = value.is_finite() and value.adjusted() < EXACT_INT_MAX_DIGITS and value == int(value)
        return int(value) if is_exact else None
    if hasattr(type(value), "__index__"):
        try:
            return index(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None  # an array has the method, but only an array of one element is an integer
    return None
