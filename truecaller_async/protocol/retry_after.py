"""Read the `Retry-After` header of a 429 answer.

Algorithm:
    The header is a number of seconds or an HTTP date. Only ASCII digits are a number of seconds: `-5`, `120.5`, `soon`
    and full-width digits are not. A date is compared with the `Date` header of the same answer. The difference of two
    stamps of the server is right even if the local clock is wrong.

Failure modes:
    - An unreadable value counts as missing, and the backoff of the package decides.
    - A wait of any length is returned. The caller decides which wait is too long.
"""

from __future__ import annotations

import re
from functools import lru_cache

from truecaller_async.validation.timestamps import parse_http_date

SECONDS = re.compile(r"[0-9]+", re.ASCII)

WAIT_MAX_SECONDS = 1e12
"""Keeps the result finite for a number of any length."""


def parse_retry_after(value: str | None, *, server_date: str | None, now: float) -> float | None:
    """Return the seconds to wait, 0 or more; None if the header is missing or unreadable.

    From "Truecaller for Business: Rate limits in one place" and from the HTTP standard.

    Args:
        value: the `Retry-After` header.
        server_date: the `Date` header of the same answer.
        now: wall-clock time in seconds since the epoch, used if `server_date` is missing or unreadable.
    """
    text = (value or "").strip(" \t")
    if SECONDS.fullmatch(text):
        return min(float(text), WAIT_MAX_SECONDS)
    until = http_date(text)
    if until is None:
        return None
    since = http_date(server_date or "")
    return max(0.0, until - (now if since is None else since))


@lru_cache(maxsize=8)  # all answers within one second have the same date
def http_date(text: str) -> float | None:
    """Return the time of an HTTP date in seconds since the epoch; None if the text is no HTTP date."""
    moment = parse_http_date(text)
    return None if moment is None else moment.timestamp()
