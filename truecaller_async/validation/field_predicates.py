"""Predicates that decide whether a field is canonical and whether it is valid.

Purpose:
    `is_valid` decides about one record, `batch_validation.all_valid` about the columns of a batch. Both use the table
    `OPTIONAL_TEXTS` and the same predicates of this module.

Invariants:
    - A predicate is exact for "yes": a record that is valid here has no problem in `record_rules`.
    - A predicate may say "no" for a good value, such as a name in a rare script. The caller then examines the value
      character by character in `record_rules`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from unicodedata import is_normalized

import attrs

from truecaller_async import options
from truecaller_async.models import CallRecord
from truecaller_async.validation.timestamps import TIME_MIN_MS

WINDOW_MAX_MS = 86_400_000
"""Longest time from starts_at to ends_at."""

AHEAD_MAX_MS = 366 * WINDOW_MAX_MS
"""Longest time from now to starts_at. Beyond it the year is probably mistyped."""

UUID_CHARS = 36

NORMALISED_MAX_CHARS = 1000
"""Longer texts are too long in any form and are not normalised: the time is quadratic in a run of combining marks."""

NATIONAL_NUMBER = r"(?=[0-9]{{10}}{end})(?:7|8[013-69]|9[0-489]|96[2-689]|97[0-46-9])"
"""Ten digits that begin like this are a number without country code: no country has ten-digit numbers there."""

INTERNATIONAL_NUMBER = "[1-9][0-9]{6,14}"
NUMBER = re.compile("(?!" + NATIONAL_NUMBER.format(end=r"\Z") + ")" + INTERNATIONAL_NUMBER)

LETTERS = "\u00c0-\u02ff\u0900-\u0dff"
"""Latin beyond ASCII and the scripts of India: ranges without any control or format character."""

_is_plain_name = re.compile(rf"(?! )[ -~{LETTERS}]{{3,40}}(?<! )").fullmatch
_is_plain_reason = re.compile(rf"""(?![ .,-])[ "',-.0-9:-?A-\]`a-~{LETTERS}]{{10,100}}(?<![ .,-])""").fullmatch

is_number = NUMBER.fullmatch
"""Match a phone number in canonical form: 7 to 15 digits with country code."""


@lru_cache(maxsize=4096)
def is_canonical_label(text: str) -> bool:
    """Return whether the label id is a lower-case UUID."""
    return len(text) == UUID_CHARS and text == text.lower() and options.UUID.fullmatch(text) is not None


def is_canonical_text(text: str) -> bool:
    """Return whether a name or a reason is not empty, not too long to normalise, and in NFC."""
    return 0 < len(text) <= NORMALISED_MAX_CHARS and is_normalized("NFC", text)


def is_canonical_key(text: str) -> bool:
    """Return whether the key is not empty."""
    return text != ""


def is_valid_name(text: str) -> bool:
    """Return whether a label name is canonical and has only characters that are surely allowed."""
    return _is_plain_name(text) is not None and is_normalized("NFC", text)


def is_valid_reason(text: str) -> bool:
    """Return whether a reason is canonical and has only characters that are surely allowed."""
    return _is_plain_reason(text) is not None and is_normalized("NFC", text)


def is_valid_window(starts_ms: int, ends_ms: int, now_ms: int) -> bool:
    """Return whether a window may be sent at `now_ms`. All times are milliseconds since the epoch."""
    return (
        TIME_MIN_MS <= starts_ms < ends_ms <= starts_ms + WINDOW_MAX_MS and starts_ms - AHEAD_MAX_MS <= now_ms < ends_ms
    )


@attrs.frozen
class TextField:
    """Predicates of one optional text field of a record."""

    name: str
    """Name of the field of `CallRecord` and of the column of `RecordColumns`."""
    is_canonical: Callable[[str], bool]
    """Return whether a plain text is in canonical form."""
    is_valid: Callable[[str], bool]
    """Return whether a plain text is in canonical form and breaks no rule."""


OPTIONAL_TEXTS = (
    TextField("label_id", is_canonical_label, is_canonical_label),
    TextField("label_name", is_canonical_text, is_valid_name),
    TextField("reason", is_canonical_text, is_valid_reason),
    TextField("key", is_canonical_key, is_canonical_key),
)
"""All fields except the two numbers and the two times. None is canonical and valid in each of them."""

_CANONICAL = tuple(field.is_canonical for field in OPTIONAL_TEXTS)
_VALID = tuple(field.is_valid for field in OPTIONAL_TEXTS)


def is_canonical(record: CallRecord) -> bool:
    """Return whether the record has plain types, numbers as digits and times as int milliseconds."""
    return _has_numbers_and_times(record) and _all_hold(_CANONICAL, record)


def is_valid(record: CallRecord, now_ms: int) -> bool:
    """Return whether the record is canonical and surely breaks no rule at `now_ms` (ms since the epoch)."""
    return (
        _has_numbers_and_times(record)
        and record.caller != record.receiver
        and is_valid_window(record.starts_at, record.ends_at, now_ms)  # type: ignore[arg-type]
        and _all_hold(_VALID, record)
    )


def _has_numbers_and_times(record: CallRecord) -> bool:
    return (
        type(record.caller) is type(record.receiver) is str
        and is_number(record.caller) is not None
        and is_number(record.receiver) is not None
        and type(record.starts_at) is type(record.ends_at) is int
    )


def _all_hold(predicates: tuple[Callable[[str], bool], ...], record: CallRecord) -> bool:
    # Written out: a loop over the table takes half as long again, and this runs for each record that is read alone.
    is_label, is_name, is_reason, is_key = predicates
    label_id, name, reason, key = record.label_id, record.label_name, record.reason, record.key
    return (
        (label_id is None or (type(label_id) is str and is_label(label_id)))
        and (name is None or (type(name) is str and is_name(name)))
        and (reason is None or (type(reason) is str and is_reason(reason)))
        and (key is None or (type(key) is str and is_key(key)))
    )
