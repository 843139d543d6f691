"""Kinds of option values: a duration, the figures of a limit, an id. click makes a parameter type of each function."""

from __future__ import annotations

import math
import re

import click

from truecaller_async.cli.formatting import masked
from truecaller_async.errors import ConfigError
from truecaller_async.options import UUID, Limits

SHOWN_MAX = 60
SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd]?)", re.ASCII)


def duration_or_zero(text: str) -> float:
    """`30s`, `15m`, `4h`, `1d`, or plain seconds; as float seconds. Zero is allowed."""
    found = FORM.fullmatch(text.strip().lower())
    seconds = float(found[1]) * SECONDS[found[2]] if found else math.nan
    if not math.isfinite(seconds):
        raise click.BadParameter(f"{text!r} is not a duration: write 30s, 15m, 4h, 1d, or plain seconds")
    return seconds


def parse_duration(text: str) -> float:
    """The same, and more than zero."""
    seconds = duration_or_zero(text)
    if seconds == 0:
        raise click.BadParameter(f"{text!r} is no time at all: it must be more than 0")
    return seconds


def limit(text: str) -> str:
    """`batch=60/60`: so many requests in so many seconds. It stays text, and is checked here."""
    try:
        Limits.documented().parse(text)
    except ConfigError as error:
        raise click.BadParameter(str(error)) from None
    return text


def identifier(text: str) -> str:
    """A UUID, as all ids of number management are."""
    if not UUID.fullmatch(text.strip()):
        shown = masked(text[:SHOWN_MAX])
        raise click.BadParameter(f"'{shown}' is not a UUID: copy the id from the console, or from feature-sets list")
    return text.strip().lower()
