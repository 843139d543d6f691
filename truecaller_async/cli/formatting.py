"""Figures and texts as people read them.

Only ASCII, so that they can be written to any terminal and any log. Texts of strangers (a server's message, a cell of
a file) are made harmless first: a control character could redraw the terminal, and a long number is a phone number.
"""

from __future__ import annotations

from datetime import datetime

from truecaller_async.redaction import mask_numbers
from truecaller_async.redaction import printable as printable  # re-exported for the commands

MINUTE, HOUR, DAY = 60, 3600, 86_400


def number(count: float) -> str:
    """12345.6 -> "12,346"."""
    return f"{count:,.0f}"


def counted(count: int, thing: str) -> str:
    """2, "record" -> "2 records"."""
    plural = f"{thing}es" if thing.endswith("ch") else f"{thing}s"
    return f"{number(count)} {thing if count == 1 else plural}"


def duration(seconds: float) -> str:
    """75 -> "1 min 15 s", 3600 -> "1 h"; tenths below ten seconds."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return _parts(whole // MINUTE, "min", whole % MINUTE, "s")
    if whole < DAY:
        return _parts(whole // HOUR, "h", whole % HOUR // MINUTE, "min")
    return _parts(whole // DAY, "d", whole % DAY // HOUR, "h")


def moment(at: float) -> str:
    """Wall-clock seconds as local time."""
    return f"{datetime.fromtimestamp(at).astimezone():%Y-%m-%d %H:%M:%S}"


def masked(text: str) -> str:
    """A stranger's text: printable, and every long number but for its last four digits hidden."""
    return printable(mask_numbers(text))


def _parts(large: int, unit: str, small: int, smaller: str) -> str:
    return f"{large} {unit} {small} {smaller}" if small else f"{large} {unit}"
