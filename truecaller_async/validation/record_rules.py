"""Check a record before it is sent, and name each problem with it.

Purpose:
    The server accepts or refuses a batch as a whole, and a refused record costs requests and time. So each record is
    checked here first, by the rules of "Truecaller for Business: Values used by all call-personalisation calls" and of
    the call-reason guidelines.

Algorithm:
    `preflight` tries the predicates of `field_predicates` first: a good canonical record, the common case, is returned
    at once. Otherwise the record is converted to canonical form, and each field is examined.

Invariants:
    - Input is untrusted: a value may be of any type. An error of the input is always a `Problem`, never an exception.
    - All problems of a record are returned together, so that a file is corrected once.
    - Values are masked in each problem, also in fields that hold no number, because the columns of a file can be
      shifted.
    - Nothing is guessed: a number without country code, a time without zone, seconds instead of milliseconds and
      digits of another script are refused. The hint says what the value looks like and what to do.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal

from truecaller_async import options
from truecaller_async.models import CallRecord, Problem
from truecaller_async.redaction import masked
from truecaller_async.validation.field_predicates import AHEAD_MAX_MS, WINDOW_MAX_MS, is_number, is_valid
from truecaller_async.validation.normalise import canonical, damage_hint
from truecaller_async.validation.timestamps import parse_time, utc
from truecaller_async.validation.untrusted_values import as_text, is_missing, masked_number

RULE_PAST = "ends_at.past"
"""Rule of a record whose window has ended. If it is the only problem, the record is not invalid but late."""

NUMBER_MIN_DIGITS = 7
NUMBER_MAX_DIGITS = 15
NAME_LENGTH = (3, 40)
REASON_LENGTH = (10, 100)
REASON_FORBIDDEN = "!@#$%^&*()_+/"
REASON_EDGES = ".,-"

NOT_A_NUMBER = "is not a phone number: 7-15 digits with country code, optional leading '+'"
GIVE_A_NUMBER = "give the number with its country code"

POSITIONS_SHOWN_MAX = 5
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of characters that no text may contain."""

UUID_DIGITS = 32


def preflight(record: CallRecord, now_ms: int) -> tuple[CallRecord, tuple[Problem, ...]]:
    """Return the record in canonical form and all problems with it.

    The rules are from "Truecaller for Business: Values used by all call-personalisation calls". Nothing is raised.

    Args:
        record: the record as the caller gave it.
        now_ms: present time in milliseconds since the epoch.

    Returns:
        The record and its problems. A good record that is canonical is the same object. If there are problems, the
        form is the best that could be made. A record whose only problem has the rule `RULE_PAST` came too late.
    """
    if not isinstance(record, CallRecord):
        message, hint = f"is of type {type(record).__name__}", "build a CallRecord"
        return record, (Problem("record", "record.type", message, "", hint),)
    if is_valid(record, now_ms):
        return record, ()
    formed = canonical(record)
    if formed is not record and is_valid(formed, now_ms):
        return formed, ()
    return formed, tuple(_problems(record, formed, now_ms))


def _problems(given: CallRecord, formed: CallRecord, now_ms: int) -> Iterator[Problem]:
    caller = _number_problem("caller", given.caller, formed.caller)
    receiver = _number_problem("receiver", given.receiver, formed.receiver)
    yield from filter(None, (caller, receiver))
    if caller is receiver is None and formed.caller == formed.receiver:
        hint = "give the number that is called"
        yield Problem("receiver", "phone.same", "is the caller itself", masked_number(formed.receiver), hint)
    yield from _label_problems(formed.label_id, given.label_id)
    yield from _name_problems(formed.label_name)
    yield from _reason_problems(formed.reason)
    yield from _window_problems(parse_time(given.starts_at, "starts_at"), parse_time(given.ends_at, "ends_at"), now_ms)
    if formed.key is not None and not isinstance(formed.key, str):
        yield _wrong_type("key", "key.type", formed.key)


def _number_problem(field: str, value: object, form: object) -> Problem | None:
    if is_missing(value):
        text = value.strip() if isinstance(value, str) else ""
        hint = f"{text!r} means an empty cell; {GIVE_A_NUMBER}" if text else GIVE_A_NUMBER
        return Problem(field, "phone.missing", "is missing", hint=hint)
    if not isinstance(form, str):
        return _number_of_wrong_type(field, value)
    if is_number(form):
        return None
    damage = damage_hint(value) if isinstance(value, str) else None
    rule, message, hint = ("phone.digits", NOT_A_NUMBER, damage) if damage else _number_problem_of_form(form)
    return Problem(field, rule, message, masked_number(value), hint)


def _number_problem_of_form(form: str) -> tuple[str, str, str]:
    """Return the rule, the message and the hint for a text that is not a number."""
    foreign = next((char for char in form if not char.isascii() and char.isdigit()), None)
    if foreign is not None:
        name = unicodedata.name(foreign, "UNKNOWN")
        script = name.partition(" DIGIT" if " DIGIT" in name else " ")[0]
        return "phone.digits", NOT_A_NUMBER, f"it is written with {script} digits; write 0-9"
    strange = _bad_characters(form, lambda char: char not in "0123456789")
    if strange or not form:
        found = f"without spaces and punctuation it has {strange or 'no digits'}"
        return "phone.digits", NOT_A_NUMBER, f"{found}; write digits only"
    if not form.strip("0"):
        return "phone.digits", NOT_A_NUMBER, f"it has only zeros; {GIVE_A_NUMBER}"
    if form[0] == "0":
        return "phone.country", "has no country code", "replace the leading 0 with it, such as 91 for India"
    if not NUMBER_MIN_DIGITS <= len(form) <= NUMBER_MAX_DIGITS:
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
            if len(bare) == UUID_DIGITS
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
    forbidden = _bad_characters(reason, lambda char: char in REASON_FORBIDDEN)
    if forbidden:
        yield Problem(
            "reason",
            "reason.character",
            f"has {forbidden}",
            masked(reason),
            f"remove it: none of {REASON_FORBIDDEN} is allowed",
        )
    for edge, char in (("first", reason[0]), ("last", reason[-1])):
        if char in REASON_EDGES:
            yield Problem("reason", "reason.edge", f"has {char!r} as its {edge} character", masked(reason), "remove it")


def _text_problems(field: str, text: str, bounds: tuple[int, int]) -> Iterator[Problem]:
    shortest, longest = bounds
    if not shortest <= len(text) <= longest:
        message = f"has {len(text)} character{'' if len(text) == 1 else 's'}: {shortest}-{longest} are allowed"
        missing, over = shortest - len(text), len(text) - longest
        hint = f"shorten it by {over}" if over > 0 else f"add {missing} or leave the field empty"
        yield Problem(field, f"{field}.length", message, masked(text), hint)
    if text != text.strip():
        yield Problem(field, f"{field}.spaces", "has a space at an end", masked(text), "remove it")
    unprintable = _bad_characters(text, lambda char: unicodedata.category(char) in UNPRINTABLE)
    if unprintable:
        hint = "remove control and invisible characters"
        yield Problem(field, f"{field}.unprintable", f"has {unprintable}", masked(text), hint)


def _bad_characters(text: str, is_bad: Callable[[str], bool]) -> str:
    """Return the bad characters of a text with their positions from 1, five of them at most."""
    bad = [(position, char) for position, char in enumerate(text, start=1) if is_bad(char)]
    named = ", ".join(f"{_name_of(char)} at position {position}" for position, char in bad[:POSITIONS_SHOWN_MAX])
    return f"{named} and {len(bad) - POSITIONS_SHOWN_MAX} more" if len(bad) > POSITIONS_SHOWN_MAX else named


def _name_of(char: str) -> str:
    return repr(char) if char.isascii() and char.isprintable() else f"U+{ord(char):04X}"


def _window_problems(starts: int | Problem, ends: int | Problem, now_ms: int) -> Iterator[Problem]:
    if isinstance(starts, Problem):
        yield starts
    elif starts - now_ms > AHEAD_MAX_MS:
        yield Problem("starts_at", "starts_at.far", "is more than a year ahead", utc(starts), "check the year")
    if isinstance(ends, Problem):
        yield ends
        return
    if ends <= now_ms:
        message = f"is in the past: the time is {utc(now_ms)}"
        yield Problem("ends_at", RULE_PAST, message, utc(ends), "give a time in the future")
    if isinstance(starts, Problem):
        return
    if ends <= starts:
        message = f"is not after starts_at, which is {utc(starts)}"
        yield Problem("ends_at", "ends_at.order", message, utc(ends), "give an end after the start")
    elif ends - starts > WINDOW_MAX_MS:
        message = f"is {timedelta(milliseconds=ends - starts)} after starts_at, which is {utc(starts)}"
        yield Problem(
            "ends_at", "window.length", message, utc(ends), "end it earlier: a window is at most 24 hours long"
        )
