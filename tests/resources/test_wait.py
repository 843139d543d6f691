"""Waiting for a batch, on the virtual loop."""

from __future__ import annotations

import asyncio

import pytest

from tests.resources.script import answer, client_of, playing, status_of
from tests.virtual import run_virtual
from truecaller_async import DeadlineExceeded, NotFound, PollPolicy

PENDING = status_of("success", "pending")
FINAL = status_of("success", "failed")
UNKNOWN = answer(404, {"slug": "not-found", "message": "no such batch"})


def now() -> float:
    return asyncio.get_running_loop().time()


def test_the_status_is_asked_for_until_every_record_is_final() -> None:
    async def scene() -> None:
        script = playing(PENDING, PENDING, FINAL)
        status = await client_of(script).batches.wait("b-1", timeout=900)
        assert [record.status for record in status.records] == ["success", "failed"]
        waits = [later - earlier for earlier, later in zip([0.0, *script.times], script.times, strict=False)]
        assert waits == sorted(waits)
        assert waits[0] == pytest.approx(2.1, abs=0.1)

    run_virtual(scene)


@pytest.mark.parametrize("timeout", [1.0, 60.0, 900.0])
def test_the_wait_ends_within_its_time_and_has_asked_at_least_once(timeout: float) -> None:
    async def scene() -> None:
        script = playing(PENDING)
        with pytest.raises(DeadlineExceeded) as late:
            await client_of(script).batches.wait("b-1", timeout=timeout)
        assert late.value.sent == "yes"
        assert now() <= timeout
        assert 1 <= len(script.sent) <= 30

    run_virtual(scene)


def test_a_status_that_hangs_does_not_stretch_the_wait() -> None:
    async def scene() -> None:
        script = playing(PENDING)
        client = client_of(script)
        await client._parts.pool.grow()
        script.latency = 1000.0
        with pytest.raises(DeadlineExceeded):
            await client.batches.wait("b-1", timeout=60.0)
        assert now() == pytest.approx(60.1)

    run_virtual(scene)


def test_the_policys_own_deadline_ends_the_wait_too_and_is_not_a_storm_of_polls() -> None:
    async def scene() -> None:
        script = playing(PENDING)
        with pytest.raises(DeadlineExceeded):
            await client_of(script).batches.wait("b-1", timeout=900.0, poll=PollPolicy(first=1.0, deadline=30.0))
        assert now() <= 30.0
        assert len(script.sent) < 10

    run_virtual(scene)


def test_a_batch_that_is_not_visible_yet_is_waited_for() -> None:
    async def scene() -> None:
        script = playing(UNKNOWN, UNKNOWN, FINAL)
        status = await client_of(script).batches.wait("b-1", timeout=900)
        assert len(status.records) == 2

    run_virtual(scene)


def test_a_batch_that_is_still_not_there_after_a_minute_does_not_exist() -> None:
    async def scene() -> None:
        with pytest.raises(NotFound):
            await client_of(playing(UNKNOWN)).batches.wait("b-1", timeout=900)
        assert 60.0 < now() < 120.0

    run_virtual(scene)


def test_an_answer_without_records_is_not_final() -> None:
    async def scene() -> None:
        script = playing(status_of(), FINAL)
        await client_of(script).batches.wait("b-1", timeout=900)
        assert len(script.sent) == 2

    run_virtual(scene)
