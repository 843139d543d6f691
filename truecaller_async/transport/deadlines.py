"""Limit the time of an answer that arrives too slowly but never pauses long enough for a timeout.

Algorithm:
    Two deadlines apply to each attempt: one for the head of the answer, one for its body. They are far away, and nearly
    all are removed long before they pass. So all deadlines of a transport share one timer of the event loop. It is set
    for the earliest deadline, and moved only when it fires or when an earlier deadline is added. Without deadlines
    there is no timer.

Invariants:
    - A timeout of the HTTP library is not a deadline and passes through unchanged.

Failure modes:
    - If other code blocked the event loop, the answer can be in the socket although the deadline passed. A deadline
      that is found more than 0.1 s late is therefore extended once, by 0.1 s, so that the loop can read the data.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from types import TracebackType
from typing import Self

import aiohttp

from truecaller_async.options import Timeouts

BODY_READS_FACTOR = 10.0
"""The body must be complete within this multiple of the read timeout."""

LATE_SECONDS = 0.1
"""Delay of the timer that shows that the event loop was blocked."""

EXTENSION_SECONDS = 0.1
"""Time to read the data that arrived while the event loop was blocked."""

NEVER = float("inf")


class ResponseTooSlowError(TimeoutError):
    """Part of an answer was not complete in time. The text says which part, and the limit in seconds."""


def head_within(timeouts: Timeouts) -> float:
    """Return the longest time from the start of an attempt to the head of its answer, in seconds."""
    return timeouts.connect + 2 * timeouts.read


def body_within(timeouts: Timeouts) -> float:
    """Return the longest time from the head of an answer to its last byte, in seconds."""
    return BODY_READS_FACTOR * timeouts.read


@lru_cache(maxsize=16)
def library_timeout(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    """Return the timeouts of the HTTP library. There is no total: it would not tell what it interrupted."""
    return aiohttp.ClientTimeout(total=None, connect=timeouts.connect, sock_connect=None, sock_read=timeouts.read)


class DeadlineTimer:
    """All deadlines of one transport and their timer. It belongs to the event loop of the first deadline."""

    def __init__(self) -> None:
        """Create the timer without deadlines; no event loop is needed."""
        self._deadlines: dict[Deadline, None] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._fires_at = NEVER

    def limit(self, seconds: float, part: str) -> Deadline:
        """Return a context manager that limits the time of a block.

        Args:
            seconds: time limit.
            part: name of the part of the answer, for the text of `ResponseTooSlowError`.
        """
        return Deadline(self, seconds, part)

    def add(self, deadline: Deadline, seconds: float) -> float:
        """Watch a deadline that passes in `seconds`, and return its time on the clock of the event loop."""
        loop = asyncio.get_running_loop()
        due = loop.time() + seconds
        self._deadlines[deadline] = None
        self._fire_at(due, loop)
        return due

    def remove(self, deadline: Deadline) -> None:
        """Stop watching a deadline, and cancel the timer if it was the last one."""
        self._deadlines.pop(deadline, None)
        if not self._deadlines:
            self._cancel()

    def _cancel(self) -> None:
        self._fires_at = NEVER
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire_at(self, due: float, loop: asyncio.AbstractEventLoop) -> None:
        if due >= self._fires_at:
            return
        self._cancel()
        self._fires_at = due
        self._handle = loop.call_at(due, self._check_all, loop)

    def _check_all(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._cancel()
        for deadline in list(self._deadlines):
            deadline.check(now)
        self._fire_at(min((deadline.due for deadline in self._deadlines), default=NEVER), loop)


class Deadline:
    """Time limit of one block. An async context manager that raises `ResponseTooSlowError`."""

    __slots__ = ("_part", "_seconds", "_timeout", "_timer", "_was_extended", "due")

    def __init__(self, timer: DeadlineTimer, seconds: float, part: str) -> None:
        """Create the limit; the time starts when the block is entered."""
        self._timer = timer
        # `asyncio.timeout` without a time: it delivers the cancellation and tells it apart from one of the caller.
        self._timeout = asyncio.timeout(None)
        self._seconds = seconds
        self._part = part
        self._was_extended = False
        self.due = NEVER

    def restart(self, seconds: float, part: str) -> None:
        """Start the time of the next part of the answer, with its own limit in seconds."""
        self._seconds, self._part, self._was_extended = seconds, part, False
        self.due = self._timer.add(self, seconds)

    def cancel(self) -> None:
        """Remove the limit from the rest of the block."""
        self._timer.remove(self)

    def check(self, now: float) -> None:
        """End the block if the deadline has passed; extend it once if the event loop was blocked."""
        if now < self.due:
            return
        if now - self.due > LATE_SECONDS and not self._was_extended:
            self._was_extended = True
            self.due = now + EXTENSION_SECONDS
            return
        self.cancel()
        self._timeout.reschedule(now)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self.due = self._timer.add(self, self._seconds)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            raise ResponseTooSlowError(f"{self._part} not complete after {self._seconds:g} s") from None
