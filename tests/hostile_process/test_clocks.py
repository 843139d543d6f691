"""Clocks that jump (F55) or are wrong all the time (F56), and a blocked loop (F59), on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.campaign.world import World, applications, check_account, record, records
from tests.hostile_process.clocks import Machine, machine
from tests.hostile_process.turns import make_batches_small
from tests.virtual import BASE, SwiftLoop, most_in_window, run_virtual
from truecaller_async import CallRecord, CampaignOptions, Limits, Outcome, RecordResult, Summary
from truecaller_async.sandbox import SandboxSettings

HOUR = 3600.0
BATCH = 5
SLOW = SandboxSettings(limits=Limits.documented().replace(batch=(6, 60.0)))
"""One batch in ten seconds, so that a campaign lasts minutes in which a clock can jump."""


Ended = tuple[list[RecordResult], Summary, Exception | None]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    make_batches_small(monkeypatch, BATCH)


@pytest.fixture(name="patched")
def _patched(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Make every sleep in this test go forwards."""
    sleep = asyncio.sleep

    async def forwards(seconds: float, result: Any = None) -> Any:
        assert seconds >= 0
        return await sleep(seconds, result)

    monkeypatch.setattr(asyncio, "sleep", forwards)
    return monkeypatch


def campaign(
    patched: pytest.MonkeyPatch, move: str, by: float, *, at: float = 95.0, rows: int = 150, max_tokens: int = 1
) -> tuple[Machine, Ended]:
    """Run a campaign of some minutes during which the clocks change; return its events by loop time."""

    async def main() -> tuple[Machine, Ended]:
        here = machine(patched, SLOW, max_tokens=max_tokens)
        here.later(at, move, by)
        return here, await here.world.run(records(rows), CampaignOptions(linger=0.1))

    return run_virtual(main)


@pytest.mark.fault("F55")
@pytest.mark.parametrize("by", [HOUR, -HOUR, 1.0, -1.0], ids=["an hour on", "an hour back", "leap", "leap back"])
def test_clock_change_makes_no_request_early_or_late(patched: pytest.MonkeyPatch, by: float) -> None:
    quiet, _ = campaign(patched, "set_clock", 0.0)
    here, (results, summary, fault) = campaign(patched, "set_clock", by)
    check_account(results, summary, here.state)
    assert fault is None
    assert summary.delivered == 150
    assert [call for call, _ in here.sent] == [call for call, _ in quiet.sent]
    assert max(abs(at - then) for (_, at), (_, then) in zip(here.sent, quiet.sent, strict=True)) <= 1.0
    assert here.state.stats().violations == {}
    assert here.stages.times("clock.offset_detected") == ([pytest.approx(95.0, abs=60.0)] if abs(by) > 30 else [])


@pytest.mark.fault("F55")
@pytest.mark.parametrize("by", [HOUR, -HOUR], ids=["an hour on", "an hour back"])
def test_clock_change_gives_no_extra_token(patched: pytest.MonkeyPatch, by: float) -> None:
    """I6: ten in thirty minutes as the server counts, while there is work for twenty."""

    async def main() -> Machine:
        here = machine(patched, SLOW, max_tokens=20)
        here.later(30.0, "set_clock", by)
        async with here.world.client, here.world.client.push_many(records(10_000)) as stream:
            async for _ in stream:
                if asyncio.get_running_loop().time() > 120.0:
                    break
        return here

    here = run_virtual(main)
    mints = [at for call, at in here.sent if call == "mint"]
    assert len(mints) == 10
    assert max(mints) < 30.0
    assert here.state.stats().violations == {}


@pytest.mark.fault("F55")
def test_campaign_continues_after_a_two_hour_suspend_and_mints_a_token(
    patched: pytest.MonkeyPatch,
) -> None:
    quiet, _ = campaign(patched, "suspend", 0.0)
    here, (results, summary, fault) = campaign(patched, "suspend", 2 * HOUR)
    check_account(results, summary, here.state)
    assert fault is None
    assert summary.delivered == 150
    assert summary.possibly_duplicated == 0
    assert set(applications(here.state).values()) == {1}
    assert summary.tokens_minted == 2
    assert here.state.stats().violations == {}
    assert here.sent[-1][1] - quiet.sent[-1][1] <= 15.0


@pytest.mark.fault("F55")
def test_window_that_closed_during_a_suspend_is_not_sent(patched: pytest.MonkeyPatch) -> None:
    async def main() -> tuple[Machine, Ended]:
        here = machine(patched, SLOW)
        here.later(95.0, "suspend", 2 * HOUR)
        return here, await here.world.run(records(150, hours=1.0))

    here, (results, summary, fault) = run_virtual(main)
    check_account(results, summary, here.state)
    assert fault is None
    assert summary.delivered + summary.expired == 150
    assert 40 <= summary.delivered <= 60
    assert all((entry.ends_at or 0) / 1000 > entry.applied_at for entry in here.state.truth(0, 1_000))


def closing(rows: int) -> Iterator[CallRecord]:
    """Return records whose windows close one after the other while they wait; every second one too early."""
    return (record(number, hours=(150 + number) / 3600) for number in range(1, rows + 1))


def judged(patched: pytest.MonkeyPatch, ahead: float) -> tuple[Machine, Ended]:
    """Run a campaign on a machine whose clock is ahead; its windows close while it runs."""

    async def main() -> tuple[Machine, Ended]:
        here = machine(patched, SLOW, ahead=ahead)
        await here.world.client.tokens.make()
        return here, await here.world.run(closing(300), CampaignOptions(expiry_margin=5.0, linger=0.1))

    return run_virtual(main)


@pytest.mark.fault("F56")
@pytest.mark.parametrize("ahead", [600.0, -600.0, 86_400.0])
def test_permanently_wrong_clock_expires_the_same_records(patched: pytest.MonkeyPatch, ahead: float) -> None:
    right, (usual, _, _) = judged(patched, 0.0)
    here, (results, summary, fault) = judged(patched, ahead)
    check_account(results, summary, here.state)
    assert fault is None
    assert right.stages.times("clock.offset_detected") == []
    assert len(here.stages.times("clock.offset_detected")) == 1
    assert summary.delivered + summary.expired == 300
    assert 50 < summary.expired < 250
    expired = {result.row for result in results if result.outcome is Outcome.EXPIRED}
    assert len(expired ^ {result.row for result in usual if result.outcome is Outcome.EXPIRED}) <= 2 * BATCH
    assert all((entry.ends_at or 0) / 1000 > entry.applied_at for entry in here.state.truth(0, 1_000))


@pytest.mark.fault("F56")
@pytest.mark.parametrize("ahead", [600.0, -600.0])
def test_first_rows_are_checked_with_the_server_clock(patched: pytest.MonkeyPatch, ahead: float) -> None:
    """The server time is not known yet when they are read."""

    async def main() -> Ended:
        here = machine(patched, SLOW, ahead=ahead)
        return await here.world.run(records(3 * BATCH, starts=BASE - 60.0, hours=500 / 3600))

    _, summary, fault = run_virtual(main)
    assert fault is None
    assert summary.delivered == 3 * BATCH


@pytest.mark.fault("F59")
def test_blocked_loop_is_followed_by_no_burst_and_is_reported() -> None:
    loop = SwiftLoop()

    async def main() -> tuple[World, list[tuple[str, float]]]:
        world = World(limits=Limits.documented().replace(batch=(20, 10.0)), max_tokens=2)
        stalls: list[tuple[str, float]] = []

        class Told:
            def request(self, *_: object) -> None:
                """Ignore requests."""

            def event(self, name: str, fields: dict[str, object]) -> None:
                if name == "loop.stalled":
                    stalls.append((name, float(str(fields["delay_seconds"]))))

        world.client._shared.observer._observer = Told()  # type: ignore[attr-defined]
        loop.call_later(20.0, loop.block, 10.0)
        _, summary, fault = await world.run(records(600), CampaignOptions("hold"))
        assert fault is None
        assert (summary.delivered, summary.unknown) == (600, 0)
        return world, stalls

    try:
        world, stalls = loop.run_until_complete(main())
    finally:
        loop.close()
    for token in {token for _, token, call in world.transport.sent if call == "submit"}:
        times = [at for at, by, call in world.transport.sent if (by, call) == (token, "submit")]
        assert most_in_window(times, 10.0) <= 20
        assert not [at for at in times if 20.0 < at < 30.0]
    assert world.state.stats().violations == {}
    assert len(stalls) == 1
    assert 8.5 <= stalls[0][1] <= 10.0
