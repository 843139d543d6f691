"""The pre-flight: is this record fit to send, and in which form?

The server judges a batch whole, and a record it refuses has cost budget and time. So every record is judged here
first, by the rules of "Truecaller for Business: Values used by all call-personalisation calls" and of its call-reason
guidelines. Input comes from spreadsheets and programs of strangers: a value may be of any type, and what is wrong
with it is always a `Problem`, never an exception. All problems of a record are told at once, because a person mends a
file once.

A record has one canonical form, and only that form is compared, hashed and sent:

- numbers are ASCII digits with country code and without `+`. Spaces, hyphens, dots, parentheses and invisible format
  characters are how people write numbers; they are dropped. `00` in front is read as `+`, and `(0)` is dropped.
- times are integer milliseconds since the epoch (`validation.timestamps`).
- the label id is a lower-case UUID; texts are composed (NFC); an optional value that is empty is None.

Nothing is guessed beyond that. A number without country code, a time without zone, seconds where milliseconds belong,
digits of another script: each is refused, and the hint says what it looks like and what to do.

A good record that is canonical already, the common one, is passed by one condition and comes back as the same object.
Values are masked in every problem, also in fields that hold no number, because columns get shifted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import attrs

from truecaller_async import options
from truecaller_async.models import CallRecord, Problem
from truecaller_async.validation.timestamps import EARLIEST, is_aware, milliseconds, parse_time, utc
from truecaller_async.validation.untrusted_values import (
    WHOLE_MAX,
    as_text,
    exact_int,
    is_missing,
    masked,
    masked_number,
)

__all__ = ["RULE_PAST", "canonical", "parse_time", "preflight"]

RULE_PAST = "ends_at.past"
"""The rule of a record whose window has closed; where it is the only problem, the record is not wrong but late."""

WINDOW_MAX = 86_400_000
"""Milliseconds from starts_at to ends_at, at most."""
AHEAD_MAX = 366 * WINDOW_MAX
"""Milliseconds from now to starts_at, at most: beyond it the year is a slip of the pen."""

LABEL_LENGTH = 36
COMPOSED_MAX = 1000
"""Longer texts are too long in any form and stay as they are: composing takes the square of a run of accents."""

NAME_LENGTH = (3, 40)
REASON_LENGTH = (10, 100)
REASON_FORBIDDEN = "!@#$%^&*()_+/"
REASON_EDGES = ".,-"

NO_COUNTRY = r"(?=[0-9]{{10}}{end})(?:7|8[013-69]|9[0-489]|96[2-689]|97[0-46-9])"
"""Ten digits that begin like this are a national number: no country has numbers of ten digits in all there."""
DIGITS = "[1-9][0-9]{6,14}"
NUMBER = re.compile("(?!" + NO_COUNTRY.format(end=r"\Z") + ")" + DIGITS)
LETTERS = "\u00c0-\u02ff\u0900-\u0dff"
"""Latin beyond ASCII and the scripts of India: ranges without any control or format character."""
PLAIN_NAME = re.compile(rf"(?! )[ -~{LETTERS}]{{3,40}}(?<! )")
PLAIN_REASON = re.compile(rf"""(?![ .,-])[ "',-.0-9:-?A-\]`a-~{LETTERS}]{{10,100}}(?<![ .,-])""")
"""The texts that need no closer look. Any other text, in any script, is looked at character by character."""

FIELDS = tuple(field.name for field in attrs.fields(CallRecord))
NOT_A_NUMBER = "is not a phone number: 7-15 digits with country code, optional leading '+'"
GIVE_A_NUMBER = "give the number with its country code"

PLACES_SHOWN = 5
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_TRUNK_ZERO = re.compile(r"(?<=[0-9])[\s.-]*\(\s*0\s*\)")
_HYPHENS = (ord("-"), *range(0x2010, 0x2016), 0x2212)
_PUNCTUATION = dict.fromkeys((*map(ord, ".()"), *_HYPHENS))

_DAMAGE = {
    re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?[eE][+-]?[0-9]+"): (
        "it looks like a spreadsheet turned it into scientific notation and the last digits are lost; "
        "format the column as text and export again"
    ),
    re.compile(r"\+?[0-9]{7,}\.0+"): "it looks like the column was read as decimal numbers; read it as text",
    re.compile(r"['`\u2018\u2019].*", re.DOTALL): "a spreadsheet's text mark stands in front; remove the apostrophe",
    re.compile(r"[-\u2212].*", re.DOTALL): "it is negative; remove the sign",
    re.compile(r"[^\r\n]*[\r\n].*", re.DOTALL): "it has a line break inside; look for a quote that is not closed",
}

_is_number = NUMBER.fullmatch
is_plain_name = PLAIN_NAME.fullmatch
is_plain_reason = PLAIN_REASON.fullmatch


def preflight(record: CallRecord, now_ms: int) -> tuple[CallRecord, tuple[Problem, ...]]:
    """The record in canonical form, and everything that is wrong with it at `now_ms` (milliseconds since the epoch).

    A good record that is canonical comes back as the same object. Where there are problems the form is the best that
    could be made. A record whose only problem has the rule `RULE_PAST` came too late. Raises nothing. From
    "Truecaller for Business: Values used by all call-personalisation calls".
    """
    if not isinstance(record, CallRecord):
        message, hint = f"is of type {type(record).__name__}", "build a CallRecord"
        return record, (Problem("record", "record.type", message, "", hint),)
    if _is_good(record, now_ms):
        return record, ()
    formed = canonical(record)
    if formed is not record and _is_good(formed, now_ms):
        return formed, ()
    return formed, tuple(_problems(record, formed, now_ms))


def canonical(record: CallRecord) -> CallRecord:
    """The record in canonical form, without judging it; the same object where nothing changes.

    For records that the caller has checked already. A value that has no canonical form is left as it is.
    """
    if _is_canonical(record):
        return record
    formed = CallRecord(
        _form_number(_own(record.caller)),
        _form_number(_own(record.receiver)),
        _form_time(_own(record.starts_at)),
        _form_time(_own(record.ends_at)),
        _form_label(_own(record.label_id)),
        _form_text(_own(record.label_name)),
        _form_text(_own(record.reason)),
        _form_key(_own(record.key)),
    )
    return record if all(getattr(record, name) is getattr(formed, name) for name in FIELDS) else formed


@lru_cache(maxsize=4096)
def is_canonical_label(text: str) -> bool:
    """Whether this label id is a lower-case UUID."""
    return len(text) == LABEL_LENGTH and text == text.lower() and options.UUID.fullmatch(text) is not None


def is_canonical_text(text: str) -> bool:
    """Whether nothing is left to form in this name or reason."""
    return 0 < len(text) <= COMPOSED_MAX and unicodedata.is_normalized("NFC", text)


def is_canonical_key(text: str) -> bool:
    """Whether this is a key."""
    return text != ""


def _is_canonical(record: CallRecord) -> bool:
    """Whether nothing is left to form, as far as that is quickly seen."""
    label_id, name, reason, key = record.label_id, record.label_name, record.reason, record.key
    return (
        type(record.caller) is type(record.receiver) is str
        and _is_number(record.caller) is not None
        and _is_number(record.receiver) is not None
        and type(record.starts_at) is type(record.ends_at) is int
        and (label_id is None or (type(label_id) is str and is_canonical_label(label_id)))
        and (name is None or (type(name) is str and is_canonical_text(name)))
        and (reason is None or (type(reason) is str and is_canonical_text(reason)))
        and (key is None or (type(key) is str and is_canonical_key(key)))
    )


def is_window(starts: int, ends: int, now_ms: int) -> bool:
    """Whether these times in milliseconds are a window that may be sent at `now_ms`."""
    return EARLIEST <= starts < ends <= starts + WINDOW_MAX and starts - AHEAD_MAX <= now_ms < ends


def _is_good(record: CallRecord, now_ms: int) -> bool:
    """Whether a canonical record breaks no rule, as far as that is quickly seen."""
    name, reason = record.label_name, record.reason
    return (
        _is_canonical(record)
        and record.caller != record.receiver
        and is_window(record.starts_at, record.ends_at, now_ms)  # type: ignore[arg-type]
        and (name is None or is_plain_name(name) is not None)
        and (reason is None or is_plain_reason(reason) is not None)
    )


def _own(value: Any) -> Any:
    """Text as plain text: an array's or an enumeration's own kind of it (`numpy.str_`) has no form on the wire."""
    return str.__str__(value) if isinstance(value, str) else value


def _form_number(value: Any) -> Any:
    if isinstance(value, str):
        if value[:1] == "+" and _is_number(value, 1):
            return value[1:]
        if _is_number(value) or _damage(value):
            return value
        text = _bare(value)
    else:
        integer = exact_int(value)
        if integer is None or not 0 <= integer < WHOLE_MAX:
            return value
        text = str(integer)
    return text[2:] if text.startswith("00") else text.removeprefix("+")


def _bare(text: str) -> str:
    """The number without everything that people put between digits."""
    text = "".join(_TRUNK_ZERO.sub("", text).translate(_PUNCTUATION).split())
    return text if text.isascii() else "".join(char for char in text if unicodedata.category(char) != "Cf")


def _damage(text: str) -> str | None:
    """What a spreadsheet or a broken file did to the number."""
    text = text.strip()
    return next((hint for pattern, hint in _DAMAGE.items() if pattern.fullmatch(text)), None)


def _form_time(value: Any) -> Any:
    if type(value) is int:
        return value
    if type(value) is datetime and is_aware(value):
        return milliseconds(value)
    moment = parse_time(value, "")
    return value if isinstance(moment, Problem) else moment


def _form_label(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, str):
        return _form_text(value)
    form = value.strip().lower()
    return value if value and form == value else form or None


def _form_text(value: Any) -> Any:
    if not isinstance(value, str):
        return None if is_missing(value) else value
    return value if len(value) > COMPOSED_MAX else unicodedata.normalize("NFC", value) or None


def _form_key(value: Any) -> Any:
    integer = exact_int(value)
    if integer is not None and abs(integer) < WHOLE_MAX:
        return str(integer)
    return (value or None) if isinstance(value, str) else _form_text(value)


def _problems(given: CallRecord, formed: CallRecord, now_ms: int) -> Iterator[Problem]:
    caller = _number_problem("caller", given.caller, formed.caller)
    receiver = _number_problem("receiver", given.receiver, formed.receiver)
    yield from filter(None, (caller, receiver))
    if caller is receiver is None and formed.caller == formed.receiver:
        hint = "give the number of the person who is called"
        yield Problem("receiver", "phone.same", "is the caller itself", masked_number(formed.receiver), hint)
    yield from _label_problems(formed.label_id, given.label_id)
    yield from _name_problems(formed.label_name)
    yield from _reason_problems(formed.reason)
    yield from _window_problems(parse_time(given.starts_at, "starts_at"), parse_time(given.ends_at, "ends_at"), now_ms)
    if formed.key is not None and not isinstance(formed.key, str):
        yield _wrong_type("key", "key.type", formed.key)


def _number_problem(field: str, value: object, form: object) -> Problem | None:
    if is_missing(value):
        word = value.strip() if isinstance(value, str) else ""
        hint = f"{word!r} stands for an empty cell; {GIVE_A_NUMBER}" if word else GIVE_A_NUMBER
        return Problem(field, "phone.missing", "is missing", hint=hint)
    if not isinstance(form, str):
        return _number_of_wrong_type(field, value)
    if _is_number(form):
        return None
    damage = _damage(value) if isinstance(value, str) else None
    rule, message, hint = ("phone.digits", NOT_A_NUMBER, damage) if damage else _number_fault(form)
    return Problem(field, rule, message, masked_number(value), hint)


def _number_fault(form: str) -> tuple[str, str, str]:
    """The rule that digits in this form break, what they are, and what to do."""
    foreign = next((char for char in form if not char.isascii() and char.isdigit()), None)
    if foreign is not None:
        name = unicodedata.name(foreign, "UNKNOWN")
        script = name.partition(" DIGIT" if " DIGIT" in name else " ")[0]
        return "phone.digits", NOT_A_NUMBER, f"it is written with {script} digits; write 0-9"
    strange = _places(form, lambda char: char not in "0123456789")
    if strange or not form:
        found = f"without spaces and punctuation it has {strange or 'no digits'}"
        return "phone.digits", NOT_A_NUMBER, f"{found}; write digits only"
    if not form.strip("0"):
        return "phone.digits", NOT_A_NUMBER, f"it is nothing but zeros; {GIVE_A_NUMBER}"
    if form[0] == "0":
        return "phone.country", "has no country code", "replace the leading 0 with it, such as 91 for India"
    if not 7 <= len(form) <= 15:
        message = f"has {len(form)} digits: 7-15 are allowed, country code included"
        return "phone.length", message, "check the country code, and whether digits are missing or doubled"
    return "phone.country", "has no country code", "put it in front of the ten digits, such as 91 for India"


def _number_of_wrong_type(field: str, value: object) -> Problem:
    if isinstance(value, float | Decimal):
        hint = "a number with a fraction loses digits and zeros; read the column as text"
    elif isinstance(value, bytes | bytearray | memoryview):
        hint = "decode the bytes to text"
    else:
        hint = "give the number as text"
    return Problem(field, "phone.type", f"is of type {type(value).__name__}", masked_number(value), hint)


def _wrong_type(field: str, rule: str, value: object) -> Problem:
    return Problem(field, rule, f"is of type {type(value).__name__}", masked(as_text(value)), "give it as text")


def _label_problems(label_id: object, given: object) -> Iterator[Problem]:
    if label_id is None:
        return
    if not isinstance(label_id, str):
        yield _wrong_type("label_id", "label_id.type", label_id)
    elif not options.UUID.fullmatch(label_id):
        bare = re.sub(r"[^0-9a-f]", "", label_id.removeprefix("urn:uuid:"))
        hint = (
            "write it as 8-4-4-4-12 hexadecimal digits, without braces or prefix"
            if len(bare) == 32
            else "copy the id of a dynamic label from the console, or from the list of labels"
        )
        yield Problem("label_id", "label_id.uuid", "is not a UUID", masked(str(given)), hint)


def _name_problems(name: object) -> Iterator[Problem]:
    if name is None:
        return
    if not isinstance(name, str):
        yield _wrong_type("label_name", "label_name.type", name)
        return
    yield from _text_problems("label_name", name, NAME_LENGTH)


def _reason_problems(reason: object) -> Iterator[Problem]:
    if reason is None:
        return
    if not isinstance(reason, str):
        yield _wrong_type("reason", "reason.type", reason)
        return
    yield from _text_problems("reason", reason, REASON_LENGTH)
    forbidden = _places(reason, lambda char: char in REASON_FORBIDDEN)
    if forbidden:
        yield Problem(
            "reason",
            "reason.character",
            f"has {forbidden}",
            masked(reason),
            f"remove it: none of {REASON_FORBIDDEN} is allowed",
        )
    for place, char in (("first", reason[0]), ("last", reason[-1])):
        if char in REASON_EDGES:
            yield Problem(
                "reason", "reason.edge", f"has {char!r} as its {place} character", masked(reason), "remove it"
            )


def _text_problems(field: str, text: str, bounds: tuple[int, int]) -> Iterator[Problem]:
    least, most = bounds
    if not least <= len(text) <= most:
        message = f"has {len(text)} characters: {least}-{most} are allowed"
        missing, over = least - len(text), len(text) - most
        hint = f"shorten it by {over}" if over > 0 else f"add {missing} or leave the field empty"
        yield Problem(field, f"{field}.length", message, masked(text), hint)
    if text != text.strip():
        yield Problem(field, f"{field}.spaces", "has a space at an end", masked(text), "remove it")
    unprintable = _places(text, lambda char: unicodedata.category(char) in UNPRINTABLE)
    if unprintable:
        hint = "remove control and invisible characters"
        yield Problem(field, f"{field}.unprintable", f"has {unprintable}", masked(text), hint)


def _places(text: str, is_bad: Callable[[str], bool]) -> str:
    """The bad characters of a text with their positions from 1, the first few of them."""
    bad = [(place, char) for place, char in enumerate(text, start=1) if is_bad(char)]
    named = ", ".join(f"{_name_of(char)} at position {place}" for place, char in bad[:PLACES_SHOWN])
    return f"{named} and {len(bad) - PLACES_SHOWN} more" if len(bad) > PLACES_SHOWN else named


def _name_of(char: str) -> str:
    return repr(char) if char.isascii() and char.isprintable() else f"U+{ord(char):04X}"


def _window_problems(starts: int | Problem, ends: int | Problem, now_ms: int) -> Iterator[Problem]:
    if isinstance(starts, Problem):
        yield starts
    elif starts - now_ms > AHEAD_MAX:
        yield Problem("starts_at", "starts_at.far", "is more than a year ahead", utc(starts), "check the year")
    if isinstance(ends, Problem):
        yield ends
        return
    if ends <= now_ms:
        message = f"is in the past: the time is {utc(now_ms)}"
        yield Problem("ends_at", RULE_PAST, message, utc(ends), "give a time that is still to come")
    if isinstance(starts, Problem):
        return
    if ends <= starts:
        message = f"is not after starts_at, which is {utc(starts)}"
        yield Problem("ends_at", "ends_at.order", message, utc(ends), "give an end after the start")
    elif ends - starts > WINDOW_MAX:
        message = f"is {timedelta(milliseconds=ends - starts)} after starts_at, which is {utc(starts)}"
        yield Problem(
            "ends_at", "window.length", message, utc(ends), "end it earlier: a window is at most 24 hours long"
        )
