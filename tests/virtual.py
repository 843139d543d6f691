"""Virtual time: a loop whose clock jumps to the next timer, so that hours of waiting take no time."""

from __future__ import annotations

import asyncio
import random
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
