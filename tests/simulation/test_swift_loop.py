"""Check the loop of the simulation: time jumps, and a run that cannot end is stopped."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from tests.virtual import Endless, Stuck, SwiftLoop


def test_simulated_day_passes_at_once_with_exact_timers() -> None:
    loop = SwiftLoop(start=100.0)
    loop.run_until_complete(asyncio.sleep(86_400.0))
    assert loop.time() == pytest.approx(86_500.0)
    loop.close()


def test_deadlocked_loop_is_reported() -> None:
    loop = SwiftLoop()
    waiting = loop.create_task(asyncio.Event().wait())
    with pytest.raises(Stuck):
        loop.run_until_complete(waiting)
    waiting.cancel()
    loop.run_until_complete(asyncio.wait([waiting], timeout=1.0))
    loop.close()


def test_endless_loop_is_stopped() -> None:
    async def restless() -> None:
        for _ in itertools.repeat(None):
            await asyncio.sleep(0)

    loop = SwiftLoop(turns_max=1000)
    turning = loop.create_task(restless())
    with pytest.raises(Endless):
        loop.run_until_complete(turning)
    turning.cancel()
    loop.run_until_complete(asyncio.wait([turning]))
    loop.close()


def test_code_that_blocks_makes_timers_late() -> None:
    async def main() -> float:
        loop.call_later(1.0, loop.block, 10.0)
        await asyncio.sleep(2.0)
        return loop.time()

    loop = SwiftLoop()
    assert loop.run_until_complete(main()) == pytest.approx(11.0)
    loop.close()


def test_leaked_timer_is_detected_and_a_cancelled_one_is_not() -> None:
    loop = SwiftLoop()
    left, cancelled = loop.call_later(5.0, print), loop.call_later(6.0, print)
    cancelled.cancel()
    assert len(loop.timers()) == 1
    left.cancel()
    loop.close()
