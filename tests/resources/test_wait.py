"""Wait for a batch: on a virtual loop."""

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


def test_status_is_polled_until_every_record_is_final() -> None:
    async def scene() -> None:
        script = playing(PENDING, PENDING, FINAL)
        status = await client_of(script).batches.wait("b-1", timeout=900)
        assert [record.status for record in status.records] == ["success", "failed"]
        waits = [later - earlier for earlier, later in zip([0.0, *script.times], script.times, strict=False)]
        assert waits == sorted(waits)
        assert waits[0] == pytest.approx(2.1, abs=0.1)

    run_virtual(scene)


@pytest.mark.parametrize("timeout", [1.0, 60.0, 900.0])
def test_wait_ends_in_time_after_at_least_one_poll(timeout: float) -> None:
    async def scene() -> None:
        script = playing(PENDING)
        with pytest.raises(DeadlineExceeded) as late:
            await client_of(script).batches.wait("b-1", timeout=timeout)
        assert late.value.sent == "yes"
        assert now() <= timeout
        assert 1 <= len(script.sent) <= 30

    run_virtual(scene)


def test_hanging_status_does_not_extend_the_wait() -> None:
    async def scene() -> None:
        script = playing(PENDING)
        client = client_of(script)
        await client._shared.pool.grow()
        script.latency = 1000.0
        with pytest.raises(DeadlineExceeded):
            await client.batches.wait("b-1", timeout=60.0)
        assert now() == pytest.approx(60.1)

    run_virtual(scene)


def test_policy_deadline_ends_the_wait_without_a_burst_of_polls() -> None:
    async def scene() -> None:
        script = playing(PENDING)
        with pytest.raises(DeadlineExceeded):
            await client_of(script).batches.wait("b-1", timeout=900.0, poll=PollPolicy(first=1.0, deadline=30.0))
        assert now() <= 30.0
        assert len(script.sent) < 10

    run_virtual(scene)


def test_batch_not_visible_yet_is_polled_again() -> None:
    async def scene() -> None:
        script = playing(UNKNOWN, UNKNOWN, FINAL)
        status = await client_of(script).batches.wait("b-1", timeout=900)
        assert len(status.records) == 2

    run_virtual(scene)


def test_batch_missing_for_a_minute_does_not_exist() -> None:
    async def scene() -> None:
        with pytest.raises(NotFound):
            await client_of(playing(UNKNOWN)).batches.wait("b-1", timeout=900)
        assert 60.0 < now() < 120.0

    run_virtual(scene)


def test_answer_without_records_is_not_final() -> None:
    async def scene() -> None:
        script = playing(status_of(), FINAL)
        await client_of(script).batches.wait("b-1", timeout=900)
        assert len(script.sent) == 2

    run_virtual(scene)
