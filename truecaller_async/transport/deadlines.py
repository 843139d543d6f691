"""An answer that comes too slowly: never silent for long, so that no silence ends it, and never there.

Two moments bound it: the end of its head, and the end of its body. A timeout of the HTTP library's own says something
else, and passes through. Where the whole program was held up, the answer may have come while nobody could look: so a
bound that is found passed long ago leaves a moment to read what is there.

These bounds are far away, and nearly all are taken down long before. So those of requests that overlap share one timer,
set for the nearest of them and moved only when it rings. Where nothing is waited for there is none.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from types import TracebackType
from typing import Self

import aiohttp

from truecaller_async.options import Timeouts

ANSWER_READS = 10.0
"""The body of an answer must be complete within this many times the read timeout."""

HELD_UP = 0.1
"""Seconds by which the timer is late where the loop was held."""

A_MOMENT = 0.1
"""Seconds in which the loop reads what has come in the meantime."""

NEVER = float("inf")


class ResponseTooSlowError(TimeoutError):
    """What was waited for did not come in time. Its text says what, and for how long."""


def head_within(timeouts: Timeouts) -> float:
    """Seconds from the start of an attempt to the head of its answer, at most."""
    return timeouts.connect + 2 * timeouts.read


def body_within(timeouts: Timeouts) -> float:
    """Seconds from the head of an answer to its last byte, at most."""
    return ANSWER_READS * timeouts.read


@lru_cache(maxsize=16)
def silences(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    """The silences that end an attempt, in the HTTP library's words. No total, on purpose."""
    return aiohttp.ClientTimeout(total=None, connect=timeouts.connect, sock_connect=None, sock_read=timeouts.read)


class DeadlineTimer:
    """The bounds of all requests of one transport, and their timer. Used in one event loop, and made anywhere."""

    def __init__(self) -> None:
        self._bounds: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings = NEVER

    def bound(self, seconds: float, late: str) -> Deadline:
        """Around a piece of work: raises `ResponseTooSlowError` where it takes longer; `late` begins its text."""
        return Deadline(self, seconds, late)

    def add(self, bound: Deadline, seconds: float) -> float:
        """Look at this bound in so many seconds; returns that time."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        self._bounds[bound] = None
        self._ring_at(due, loop)
        return due

    def remove(self, bound: Deadline) -> None:
        """It need not be looked at any more."""
        self._bounds.pop(bound, None)
        if not self._bounds:
            self._silence()

    def _silence(self) -> None:
        self._rings = NEVER
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring_at(self, due: float, loop: asyncio.AbstractEventLoop) -> None:
        if due >= self._rings:
            return
        self._silence()
        self._rings = due
        self._timer = loop.call_at(due, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._silence()
        for bound in list(self._bounds):
            bound.check(now)
        self._ring_at(min((bound.due for bound in self._bounds), default=NEVER), loop)


class Deadline:
    """How long one piece of work may take."""

    __slots__ = ("_late", "_limit", "_patience", "_seconds", "_was_held_up", "due")

    def __init__(self, patience: DeadlineTimer, seconds: float, late: str) -> None:
        self._patience = patience
        self._limit = asyncio.timeout(None)
        self._seconds = seconds
        self._late = late
        self._was_held_up = False
        self.due = NEVER

    def restart(self, seconds: float, late: str) -> None:
        """The next part of the work has begun, and has so many seconds of its own."""
        self._seconds, self._late, self._was_held_up = seconds, late, False
        self.due = self._patience.add(self, seconds)

    def cancel(self) -> None:
        """What follows may take as long as it likes."""
        self._patience.remove(self)

    def check(self, now: float) -> None:
        """Whether it is over; the first time that this is seen too late, a moment is left."""
        if now < self.due:
            return
        if now - self.due > HELD_UP and not self._was_held_up:
            self._was_held_up = True
            self.due = now + A_MOMENT
            return
        self.cancel()
        self._limit.reschedule(now)

    async def __aenter__(self) -> Self:
        await self._limit.__aenter__()
        self.due = self._patience.add(self, self._seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            raise ResponseTooSlowError(f"{self._late} after {self._seconds:g} s") from None
