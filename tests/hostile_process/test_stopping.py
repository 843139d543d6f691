"""A signal at any moment (F57): nothing is ambiguous afterwards, and the journal can be resumed.

`tests/cli/test_campaign_signals.py` sends real signals to real processes. Here a signal comes before every turn of the
loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from signal import SIGINT, SIGTERM

import attrs
import pytest

from tests.campaign.crashing import Survivor
from tests.campaign.world import World, applications, records
from tests.hostile_process.turns import Turns, make_batches_small
from truecaller_async import CampaignOptions, CampaignStream, PollPolicy, Summary
from truecaller_async.campaign.startup.start import CampaignRequest
from truecaller_async.cli.signals import SignalStop

ROWS = 24
BATCH = 5
OPTIONS = CampaignOptions("hold", linger=0.05, poll=PollPolicy(first=0.5))
QUICKLY = 3.0
"""Seconds that a request in flight may take here."""


@attrs.define
class Stopped:
    """End of a campaign: the signals, and the times."""

    turns: int
    summary: Summary
    heard: list[float]
    ended: float


def stream_of(world: World, journal: Survivor) -> CampaignStream:
    """Return the campaign, new or resumed."""
    resumed = journal.state.started is not None
    asked = CampaignRequest(world.client._campaign_deps, list(records(ROWS)), OPTIONS, lambda: journal, resumed=resumed)
    return CampaignStream(asked)


def play(*signals_at: int) -> Stopped:
    """Run one campaign with SIGINT before these turns; then resume the rest, which must complete."""
    acts: dict[int, Callable[[], object]] = {}
    loop = Turns(acts)
    journal, heard = Survivor(), list[float]()

    async def read(stream: CampaignStream, stopping: SignalStop) -> None:
        async for _ in stream:
            assert stopping.first_signal in (None, SIGINT)
        await stopping.wait_stopped()

    async def main() -> Stopped:
        world = World(latency=(0.2, 1.0))
        async with world.client:
            async with stream_of(world, journal) as stream:
                stopping = SignalStop(stream, lambda _: heard.append(loop.time()))
                acts.update(dict.fromkeys(signals_at, lambda: stopping.on_signal(SIGINT if not heard else SIGTERM)))
                loop.subject = asyncio.create_task(read(stream, stopping))
                await loop.subject
            stopped = Stopped(loop.count, stream.summary, heard, loop.time())
            async with stream_of(world, journal) as rest:
                async for _ in rest:
                    pass
            assert rest.summary.delivered == ROWS
        assert journal.state.complete
        assert set(applications(world.state).values()) == {1}
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return stopped

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    make_batches_small(monkeypatch, BATCH)


@pytest.mark.fault("F57")
def test_first_signal_at_any_moment_leaves_nothing_unknown() -> None:
    turns = play().turns
    assert turns > 60
    unsent = set()
    for turn in range(1, turns, 2):
        stopped = play(turn)
        assert stopped.summary.adds_up
        assert stopped.summary.unknown == 0
        assert stopped.ended - stopped.heard[0] <= 35.0
        unsent.add(stopped.summary.unsent)
    assert len(unsent) > 2


@pytest.mark.fault("F57")
def test_second_signal_ends_the_run_once_requests_in_flight_end() -> None:
    turns = play().turns
    unknown = 0
    for turn in range(1, turns, 4):
        stopped = play(turn, turn + 3)
        assert stopped.summary.adds_up
        if len(stopped.heard) == 2:
            assert stopped.ended - stopped.heard[1] <= QUICKLY
        unknown = max(unknown, stopped.summary.unknown)
    assert unknown > 0
