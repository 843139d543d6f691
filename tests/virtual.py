"""Virtual time: a loop whose clock jumps to the next timer, so that hours of waiting take no time.

`run_virtual` is for tests: its loop supports threads and waits a few idle rounds for them before each jump. `SwiftLoop`
is for many thousand runs: it supports neither threads nor sockets, so it jumps at once, and it raises an error if
nothing can happen any more.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from types import AsyncGeneratorType
from typing import Any, TypeVar

import looptime

from truecaller_async.clock import Clock

T = TypeVar("T")

THREAD_WAIT_MAX_SECONDS = 60.0
"""Real time after which a thread that does not answer fails the test."""

BASE = 1_760_000_000.0
"""Wall time at loop time zero."""


class VirtualClock(Clock):
    """Wall clock that follows the running loop."""

    def wall(self) -> float:
        return BASE + asyncio.get_running_loop().time()


class Stuck(Exception):
    """The loop waits, and nothing can happen any more."""


class Endless(Exception):
    """The loop has made more turns than any correct run needs."""


class _VirtualSelector(selectors.SelectSelector):
    """Advances the clock instead of waiting for sockets."""

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
    """Loop with virtual time only. Raises `Stuck` and `Endless` from `run_until_complete`."""

    def __init__(self, start: float = 0.0, turns_max: int = 5_000_000) -> None:
        self._selector = _VirtualSelector(start, turns_max)
        super().__init__(self._selector)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._selector.now

    def block(self, seconds: float) -> None:
        """Advance the clock as if code had blocked the loop for so many seconds."""
        self._selector.now += seconds

    def generators(self) -> list[AsyncGeneratorType[Any, Any]]:
        """Return the async generators that have begun and are not closed."""
        begun: set[AsyncGeneratorType[Any, Any]] = self._asyncgens  # type: ignore[attr-defined]
        return [generator for generator in begun if generator.ag_frame is not None]

    def timers(self) -> list[str]:
        """Return the timers that are scheduled and not cancelled."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        return [repr(handle) for handle in scheduled if not handle.cancelled()]


class _ThreadWaitingSelector(_VirtualSelector):
    """Advances the clock only while no thread works for the loop; otherwise it waits for the thread."""

    def __init__(self, is_thread_busy: Callable[[], bool]) -> None:
        super().__init__(0.0, 5_000_000)
        self._is_thread_busy = is_thread_busy

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        # A timeout of 0.0 means that callbacks are ready; they may be what the thread waits for.
        must_wait = timeout is None or (timeout > 0.0 and self._is_thread_busy())
        # A thread that ends its work writes into the self-pipe of the loop, so this select returns at once.
        events = selectors.SelectSelector.select(self, THREAD_WAIT_MAX_SECONDS if must_wait else 0.0)
        if not events and timeout != 0.0:
            return super().select(None if must_wait else timeout)
        return events


class StorageLoop(SwiftLoop):
    """Loop with virtual time whose clock stops while `is_thread_busy` returns True."""

    def __init__(self, is_thread_busy: Callable[[], bool]) -> None:
        self._selector = _ThreadWaitingSelector(is_thread_busy)
        asyncio.SelectorEventLoop.__init__(self, self._selector)


def run_virtual(work: Callable[..., Coroutine[Any, Any, T]], *args: Any, seed: int = 0) -> T:
    """Run `work(*args)` on a virtual loop; no task may be left over. `seed` is for the module `random`."""
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
    """Return the largest number of events in any half-open window of this length."""
    most = first = 0
    for last, time in enumerate(times):
        while time - times[first] >= per:
            first += 1
        most = max(most, last - first + 1)
    return most
