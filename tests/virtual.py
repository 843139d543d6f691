"""Virtual time: a loop whose clock jumps to the next timer, so that hours of waiting take no time.

`run_virtual` is for tests: its loop knows threads, and waits a few idle rounds for them before each jump. `SwiftLoop`
is for many thousand runs: it knows neither threads nor sockets, so it jumps at once, and where nothing can ever happen
again it says so.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import looptime

from truecaller_async.clock import Clock

T = TypeVar("T")

BASE = 1_760_000_000.0
"""Wall time at the virtual loop's zero."""


class VirtualClock(Clock):
    """Wall time that goes with the running loop's."""

    def wall(self) -> float:
        return BASE + asyncio.get_running_loop().time()


class Stuck(Exception):
    """Somebody waits, and nothing will ever happen again."""


class Endless(Exception):
    """The loop has turned more often than any honest run needs."""


class _VirtualSelector(selectors.SelectSelector):
    """In place of waiting for sockets, the clock goes on by as much as would have been waited."""

    def __init__(self, start: float, turns_max: int) -> None:
        super().__init__()
        self.now = start
        self.turns = 0
        self._turns_max = turns_max

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.turns += 1
        if timeout is None:
            raise Stuck
        if self.turns > self._turns_max:
            self.turns = 0
            raise Endless
        self.now += max(timeout, 0.0)
        return []


class SwiftLoop(asyncio.SelectorEventLoop):
    """A loop of pure virtual time. Raises `Stuck` and `Endless` out of `run_until_complete`."""

    def __init__(self, start: float = 0.0, turns_max: int = 5_000_000) -> None:
        self._selector = _VirtualSelector(start, turns_max)
        super().__init__(self._selector)

    def time(self) -> float:
        """The virtual moment, in seconds."""
        return self._selector.now

    def block(self, seconds: float) -> None:
        """Somebody's code holds the loop for so long."""
        self._selector.now += seconds

    def timers(self) -> list[str]:
        """What is still to be called at some time, and was not cancelled."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return [repr(handle) for handle in scheduled if not handle.cancelled()]


def run_virtual(work: Callable[..., Coroutine[Any, Any, T]], *args: Any, seed: int = 0) -> T:
    """Run `work(*args)` on a virtual loop. `seed` is for the module `random`; no task may be left over."""
    random.seed(seed)
    loop = looptime.new_event_loop()
    try:
        result = loop.run_until_complete(work(*args))
        left = asyncio.all_tasks(loop)
        assert not left, f"tasks left over: {left}"
        return result
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def most_in_window(times: list[float], per: float) -> int:
    """The most events in any half-open window of this length, counted one by one."""
    most = first = 0
    for last, time in enumerate(times):
        while time - times[first] >= per:
            first += 1
        most = max(most, last - first + 1)
    return most
