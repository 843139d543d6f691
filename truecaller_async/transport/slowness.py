"""An answer that comes too slowly: never silent for long, so that no silence ends it, and never there.

Two moments bound it: the end of its head, and the end of its body. A timeout of the HTTP library's own says something
else, and passes through. Where the whole program was held up, the answer may have come while nobody could look: so a
bound that is found passed long ago leaves a moment to read what is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from truecaller_async.options import Timeouts

ANSWER_READS = 10.0
"""The body of an answer must be complete within this many times the read timeout."""


JUST_BEFORE = 0.001
HELD_UP = 0.1
"""Seconds by which a timer is late where the loop was held."""

A_MOMENT = 0.1
"""Seconds in which the loop reads what has come in the meantime."""


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
    loop = asyncio.get_running_loop()
    due = loop.time() + seconds
    limit = asyncio.timeout_at(due)
    before = loop.call_at(due - JUST_BEFORE, _leave_a_moment, limit, due)
    try:
        async with limit:
            yield limit
    except TimeoutError:
        if limit.expired():
            raise TooSlowError(f"{late} after {seconds:g} s") from None
        raise
    finally:
        before.cancel()


def _leave_a_moment(limit: asyncio.Timeout, due: float) -> None:
    now = asyncio.get_running_loop().time()
    if now - due > HELD_UP and limit.when() == due:
        limit.reschedule(now + A_MOMENT)
