"""How long a 429 asks us to wait.

`Retry-After` is a number of seconds or an HTTP date. Only ASCII digits are a number of seconds: `-5`, `120.5`,
`soon` and full-width digits are not, and a value that cannot be read is no value, so that our own backoff decides. A
date is measured against the server's own `Date` header: the difference of two of its stamps is right however wrong
our clock is. How long a wait is too long is the caller's to say.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

SECONDS = re.compile(r"[0-9]+", re.ASCII)

LONGEST = 1e12
"""Seconds; longer than anyone waits. It keeps the answer finite over a number of any length."""


def parse_retry_after(value: str | None, *, server_date: str | None, now: float) -> float | None:
    """The seconds to wait, from 0; None where the header is missing or cannot be read.

    `server_date` is the `Date` header of the same answer, `now` the wall clock in seconds since the epoch, which
    counts where there is no such header. From "Truecaller for Business: Rate limits in one place" and HTTP itself.
    """
    text = (value or "").strip(" \t")
    if SECONDS.fullmatch(text):
        return min(float(text), LONGEST)
    until = http_date(text)
    if until is None:
        return None
    since = http_date(server_date or "")
    return max(0.0, until - (now if since is None else since))


@lru_cache(maxsize=8)
def http_date(text: str) -> float | None:
    """The moment that an HTTP date names, in seconds since the epoch; None where it names none.

    Every answer of one second has the same.
    """
    if not text.isascii():
        return None
    try:
        instant = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return _utc(instant).timestamp()


def _utc(instant: datetime) -> datetime:
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
