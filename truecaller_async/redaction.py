"""Render values that may be secret or personal, so that they can be shown in errors, logs and files.

Purpose:
    All code of the package that shows a value of the server, of a file or of an argument uses a function of this
    module. Numbers keep their last four digits, links lose their query, tokens become `***`, texts become short.

Algorithm:
    - `redact` is for texts of the server. UUIDs, dates, IP addresses and hashes stay whole, because support needs them.
    - `redact_strict` is for answers about credentials: each word that could be a key or a token is left out.
    - `mask_numbers` and `masked` are for cells of files, where any long number can be a phone number.
    - `shown_value` and `quoted_value` are for arguments and settings of any type.
    - `printable` and `log_value` keep a text on one line.

Invariants:
    - A text is redacted before it is cut, because half a number or half a token is not recognised. `redact` reads
      `MARGIN_CHARS` characters more than it keeps. If there is still more text, it drops that many characters at the
      end, however short the result is.
    - `shown_value` and `quoted_value` do not raise for any value: `str` and `repr` of an unknown class are not called.
    - The module imports nothing of the package, so that each layer can use it.
"""

from __future__ import annotations

import math
import re

DIGITS_SHOWN_MAX = 4
"""Last characters of a phone number that are shown."""

TEXT_MAX_CHARS = 500
"""Characters of a server message that an error keeps."""

BODY_MAX_CHARS = 2000
"""Characters of an answer's body that an error keeps."""

VALUE_MAX_CHARS = 60
"""Characters of an argument, a setting or a cell that are shown."""

MARGIN_CHARS = 64
"""Characters read beyond those kept. A number in any spelling is shorter."""

CHARACTER_MAX_BYTES = 4
"""Bytes of one character in UTF-8."""

INTEGER_MAX = 2**63 - 1
"""Largest integer that is shown."""

HIDDEN = "***"
ELLIPSIS = "…"

UUID_LIKE = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
DATE = r"(?<!\d)(?:19|20)\d\d-[01]\d-[0-3]\d(?=T| \d\d:|(?![ ().-]*\d))"
ADDRESS = r"(?<![\d.])[0-2]?\d?\d(?:\.[0-2]?\d?\d){3}(?![ ().-]*\d)"
NUMBER = r"(?P<number>\d(?:[ ().-]{0,3}\d){6,})"
KEPT_OR_NUMBER = re.compile(f"{UUID_LIKE}|{DATE}|{ADDRESS}|{NUMBER}", re.IGNORECASE)
LONG_NUMBER = re.compile(r"\d(?:[\s().-]*\d){6,}")
"""Seven digits or more, with any space or punctuation between them."""

QUERY = re.compile(r"(?P<link>https?:[^\s?\"'<>]*\?)[^\s\"'<>]+", re.IGNORECASE)
BEARER = re.compile(r"(?P<scheme>bearer\s+)\S+", re.IGNORECASE)
TOKEN_LIKE = re.compile(
    r"(?P<link>https?:\S+)|(?=[\w+/=.~-]*[A-Z])(?=[\w+/=.~-]*[a-z])(?=(?:[^\W\d]|[+/=.~-])*(?:\d(?:[^\W\d]|[+/=.~-])*){4})"
    r"[\w+/=.~-]{24,}",
    re.ASCII,
)
"""24 characters or more with capitals, small letters and digits, as in the documented token. Ids and paths lack one."""

CREDENTIAL_LIKE = re.compile(r"(?=\S*[0-9A-Z])\S{16,}")
"""16 characters or more with a digit or a capital. Slugs and plain words have neither."""


def mask_number(number: object) -> str:
    """Return the value with all but its last four characters replaced by asterisks.

    Args:
        number: a phone number as text or int. A value of at most four characters is hidden whole.
    """
    text = str(number)
    if len(text) <= DIGITS_SHOWN_MAX:
        return "*" * len(text)
    return "*" * (len(text) - DIGITS_SHOWN_MAX) + text[-DIGITS_SHOWN_MAX:]


def mask_numbers(text: str) -> str:
    """Return the text with each number of seven digits or more masked to its last four digits."""
    return LONG_NUMBER.sub(lambda found: mask_number(found[0]), text)


def masked(text: str) -> str:
    """Return the first 60 characters of a cell or a name, with long numbers masked."""
    shown = mask_numbers(text[: VALUE_MAX_CHARS + MARGIN_CHARS])
    return shown if len(text) <= VALUE_MAX_CHARS else shown[:VALUE_MAX_CHARS] + ELLIPSIS


def redact(text: str | None, max_chars: int = TEXT_MAX_CHARS) -> str | None:
    """Return a text of the server in the form in which an error or a log may quote it.

    Args:
        text: the text, or None.
        max_chars: characters that are kept at most.

    Returns:
        One printable line without tokens, queries of links and full numbers; None for None.
    """
    if text is None:
        return None
    line = "".join(char if char.isprintable() else " " for char in text[: max_chars + MARGIN_CHARS])
    line = BEARER.sub(rf"\g<scheme>{HIDDEN}", line)
    line = QUERY.sub(rf"\g<link>{HIDDEN}", line)
    line = TOKEN_LIKE.sub(_hide_token, line)
    shown = KEPT_OR_NUMBER.sub(_mask_found, line)
    if len(text) <= max_chars + MARGIN_CHARS:
        return shown[:max_chars]
    # The text was cut before the patterns were applied: it can end in half a token. So the margin is dropped.
    return shown[: min(max_chars, len(shown) - MARGIN_CHARS)]


def redact_body(body: bytes) -> str:
    """Return the beginning of a body, at most 2,000 characters, redacted by `redact`."""
    beginning = body[: CHARACTER_MAX_BYTES * (BODY_MAX_CHARS + MARGIN_CHARS + 1)]
    return redact(beginning.decode("utf-8", "replace"), BODY_MAX_CHARS) or ""


def redact_strict(text: str | None) -> str | None:
    """Return the text redacted by `redact`, and without each word that could be a token or a key."""
    return None if text is None else CREDENTIAL_LIKE.sub(HIDDEN, redact(text) or "")


def shown_value(value: object) -> str:
    """Return an argument in the form in which a `Problem` may show it.

    Returns:
        Text and numbers redacted and cut to 60 characters; `''` for empty text; the class name of any other type.
    """
    match value:
        case str():
            return redact(str.__str__(value), VALUE_MAX_CHARS) or "''"
        case bool() | None:
            return str(value)
        case int() if not -INTEGER_MAX <= value <= INTEGER_MAX:
            return "an integer of more than 18 digits"
        case int():
            return redact(int.__repr__(value), VALUE_MAX_CHARS) or ""
        case float() if not math.isfinite(value):
            return float.__repr__(value)
        case float():
            return redact(float.__repr__(value), VALUE_MAX_CHARS) or ""
        case _:
            return f"<{type(value).__name__}>"


def quoted_value(value: object) -> str:
    """Return a setting in the form in which a `ConfigError` may show it.

    Returns:
        Text in quotation marks, redacted and cut to 60 characters. Text with an `@` is not shown, because it can be a
        URL with a password. Numbers as in `shown_value`; the class name of any other type.
    """
    if isinstance(value, str):
        if "@" in value:
            return "text with an @ in it"
        shown = redact(str.__str__(value), VALUE_MAX_CHARS) or ""
        return f"{shown!r}{ELLIPSIS}" if len(value) > VALUE_MAX_CHARS else repr(shown)
    if value is None or isinstance(value, int | float):
        return shown_value(value)
    return f"of type {type(value).__name__}"


def printable(text: str) -> str:
    """Return the text with each unprintable character as its escape sequence, such as `\\x1b`."""
    return text if text.isprintable() else "".join(char if char.isprintable() else _escaped(char) for char in text)


def log_value(value: object) -> str:
    """Return a field of an event as one unit of a log line; in quotation marks if it is not a single word."""
    text = printable(f"{value:.3f}" if isinstance(value, float) else str(value))
    return text if text and not {" ", '"', "="}.intersection(text) else '"' + text.replace('"', "'") + '"'


def _mask_found(found: re.Match[str]) -> str:
    return mask_number(found[0]) if found["number"] else found[0]


def _hide_token(found: re.Match[str]) -> str:
    return found[0] if found["link"] else HIDDEN


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
