"""An answer that comes too slowly: never silent for long, so that no silence ends it, and never there.

Two moments bound it: the end of its head, and the end of its body. A timeout of the HTTP library's own says something
else, and passes through.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from truecaller_async.options import Timeouts

ANSWER_READS = 10.0
"""The body of an answer must be complete within this many times the read timeout."""


class TooSlowError(TimeoutError):
    """What was waited for did not come in time. Its text says what, and for how long."""


def head_within(timeouts: Timeouts) -> float:
    """Seconds from the start of an attempt to the head of its answer, at most."""
    return timeouts.connect + 2 * timeouts.read


def body_within(timeouts: Timeouts) -> float:
    """Seconds from the head of an answer to its last byte, at most."""
    return ANSWER_READS * timeouts.read


@asynccontextmanager
async def in_time(seconds: float, late: str) -> AsyncIterator[asyncio.Timeout]:
    """Raises `TooSlowError` where what is done inside takes longer; `late` begins its text."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield limit
    except TimeoutError:
        if limit.expired():
            raise TooSlowError(f"{late} after {seconds:g} s") from None
        raise
