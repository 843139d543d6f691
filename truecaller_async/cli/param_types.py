"""Types of option values: a duration, a limit, an id. click makes a parameter type of each function."""

from __future__ import annotations

import math
import re

import click

from truecaller_async.cli.formatting import masked
from truecaller_async.errors import ConfigError
from truecaller_async.options import UUID, Limits

SHOWN_CHARS = 60
UNIT_SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)", re.ASCII)


def duration_or_zero(text: str) -> float:
    """Parse `30s`, `15m`, `4h`, `1d` or plain seconds, and return seconds; zero is allowed."""
    match = DURATION.fullmatch(text.strip().lower())
    seconds = float(match[1]) * UNIT_SECONDS[match[2]] if match else math.nan
    if not math.isfinite(seconds):
        raise click.BadParameter(f"{text!r} is not a duration: write 30s, 15m, 4h, 1d, or plain seconds")
    return seconds


def parse_duration(text: str) -> float:
    """Parse a duration that is more than zero, and return seconds."""
    seconds = duration_or_zero(text)
    if seconds == 0:
        raise click.BadParameter(f"{text!r} is zero: the duration must be more than 0")
    return seconds


def limit(text: str) -> str:
    """Check a limit such as `batch=60/60` (60 requests in 60 seconds), and return it unchanged."""
    try:
        Limits.documented().parse(text)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None
    return text


def identifier(text: str) -> str:
    """Parse a UUID, the form of all ids of number management, and return it in lower case."""
    if not UUID.fullmatch(text.strip()):
        shown = masked(text[:SHOWN_CHARS])
        raise click.BadParameter(
            f"'{shown}' is not a UUID: copy the id from the console or from `truecaller feature-sets list`"
        )
    return text.strip().lower()
