"""A source that fails (F60) or is slow (F61), and how far it is read ahead of sending (F63)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from itertools import count

import pytest

from tests.campaign.crashing import Survivor, live
from tests.campaign.world import World, applications, record, records, slowly
from tests.virtual import run_virtual
from truecaller_async import CallRecord, CampaignOptions, CampaignStream, Forbidden, Limits, SourceError
from truecaller_async.models import Request
from truecaller_async.sandbox import SandboxSettings, SandboxState

ROWS = 1_200
RAISES: dict[str, type[BaseException]] = {"cancel": asyncio.CancelledError, "fault": Forbidden}


class Broken(Exception):
    """Error that the source raises."""


@pytest.mark.fault("F60")
@pytest.mark.parametrize("at", [1, 500, 501, ROWS - 1])
def test_failing_source_keeps_earlier_rows_and_a_resume_continues(at: int) -> None:
    def breaking() -> Iterator[CallRecord]:
        yield from records(at - 1)
        raise Broken

    state, survivor = SandboxState(), Survivor()
    first, end = live(lambda: World(state=state), survivor, breaking(), CampaignOptions())
    assert isinstance(first.fault, SourceError)
    assert isinstance(first.fault.__cause__, Broken)
    assert first.fault.row == at - 1
    assert sorted(result.row for result in first.results) == list(range(1, at))
    assert first.stream.summary.read == at - 1
    assert not survivor.state.source_exhausted

    second, _ = live(lambda: World(state=state), survivor, list(records(ROWS)), None, start=end)
    assert second.fault is None
    assert second.stream.summary.delivered == ROWS
    assert survivor.state.complete
    assert applications(state) == {row.receiver: 1 for row in records(ROWS)}


@pytest.mark.fault("F61")
@pytest.mark.parametrize("linger", [0.2, 1.0, 5.0])
def test_row_of_a_slow_source_is_sent_within_linger_plus_one_second(linger: float) -> None:
    async def main() -> None:
        world, loop = World(), asyncio.get_running_loop()
        came: dict[str, float] = {}
        waited: list[float] = []

        async def one_a_second() -> AsyncIterator[CallRecord]:
            async for item in slowly(records(30), 1.0):
                came[str(item.receiver)] = loop.time()
                yield item

        def leaves(way: str, request: Request) -> None:
            if (way, request.call) == ("out", "submit"):
                text = (request.body or b"").decode()
                gone = [receiver for receiver in came if receiver in text]
                waited.extend(loop.time() - came.pop(receiver) for receiver in gone)

        world.transport.watch = leaves
        _, summary, fault = await world.run(one_a_second(), CampaignOptions(linger=linger))
        assert fault is None
        assert summary.delivered == len(waited) == 30
        assert max(waited) <= linger + 1.0

    run_virtual(main)


@pytest.mark.fault("F61")
@pytest.mark.parametrize("way", ["leave", "drain", "abort", "cancel", "fault"])
@pytest.mark.parametrize("waits", [True, False], ids=["that waits for ever", "that nobody asks for more"])
def test_async_generator_is_closed_however_the_run_ends(way: str, waits: bool) -> None:
    closed: list[str] = []

    async def endless() -> AsyncIterator[CallRecord]:
        try:
            for number in count(1):
                yield record(number)
                if waits:
                    await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.01)
            closed.append(way)

    async def end(stream: CampaignStream) -> None:
        if way == "cancel":
            raise asyncio.CancelledError
        if way != "leave":
            await (stream.drain() if way == "drain" else stream.abort())

    async def main() -> None:
        fault = (lambda request, n, _: "403" if request.call == "submit" else None) if way == "fault" else None
        world = World(fault=fault)
        raises = pytest.raises(RAISES[way]) if way in RAISES else nullcontext()
        async with world.client:
            with raises:
                async with world.client.push_many(endless(), options=CampaignOptions(max_unresolved=500)) as stream:
                    async for _ in stream:
                        await end(stream)
                        if way == "leave":
                            break
        assert closed == [way]

    run_virtual(main)


@pytest.mark.fault("F63")
def test_endless_source_is_read_no_further_than_max_unresolved() -> None:
    """Counted are the objects in memory; `python -m benchmarks memory` measures megabytes."""
    read = resolved = 0
    ahead: list[int] = []

    def endless() -> Iterator[CallRecord]:
        nonlocal read
        for read in count(1):
            assert read - resolved <= 5_500
            assert read <= 100_000_000
            yield record(read % 1_000_000)

    async def main() -> None:
        limits = Limits.documented().replace(batch=(6, 60.0))
        world = World(limits=limits, max_tokens=1, settings=SandboxSettings(limits=limits, resolve_after=60.0))
        nonlocal resolved
        options = CampaignOptions(max_unresolved=5_000)
        async with world.client, world.client.push_many(endless(), options=options) as stream:
            async for _ in stream:
                resolved += 1
                ahead.append(read - resolved)
                if resolved == 10_000:
                    break
        assert stream.summary.adds_up

    run_virtual(main)
    assert 4_000 < max(ahead) <= 5_000
