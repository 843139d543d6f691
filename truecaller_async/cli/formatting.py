"""Format numbers, durations and texts for people.

The output is ASCII only, so that any terminal and any log can show it. Foreign text (a server message, a cell of a
file) is made safe first: control characters are escaped, because they could change the terminal, and long numbers are
masked, because they may be phone numbers.
"""

from __future__ import annotations

from datetime import datetime

from truecaller_async.redaction import mask_numbers
from truecaller_async.redaction import printable as printable  # re-exported for the commands

MINUTE_SECONDS, HOUR_SECONDS, DAY_SECONDS = 60, 3600, 86_400


def number(count: float) -> str:
    """Format 12345.6 as "12,346"."""
    return f"{count:,.0f}"


def counted(count: int, thing: str) -> str:
    """Format 2 and "record" as "2 records"."""
    plural = f"{thing}es" if thing.endswith("ch") else f"{thing}s"
    return f"{number(count)} {thing if count == 1 else plural}"


def duration(seconds: float) -> str:
    """Format 75 as "1 min 15 s" and 3600 as "1 h"; with tenths below ten seconds."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE_SECONDS:
        return f"{whole} s"
    if whole < HOUR_SECONDS:
        return _two_units(whole // MINUTE_SECONDS, "min", whole % MINUTE_SECONDS, "s")
    if whole < DAY_SECONDS:
        return _two_units(whole // HOUR_SECONDS, "h", whole % HOUR_SECONDS // MINUTE_SECONDS, "min")
    return _two_units(whole // DAY_SECONDS, "d", whole % DAY_SECONDS // HOUR_SECONDS, "h")


def local_time(at: datetime) -> str:
    """Format a time with a zone as local date and time."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def masked(text: str) -> str:
    """Return foreign text printable, with all but the last four digits of each long number hidden."""
    return printable(mask_numbers(text))


def _two_units(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large} {unit} {small} {small_unit}" if small else f"{large} {unit}"
