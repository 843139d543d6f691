"""Fault plans on a real socket: what our own client makes of them, beside what really happened."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from truecaller_async import (
    NO_RETRY,
    AuthenticationFailed,
    CallRecord,
    RateLimited,
    ResponseLost,
    ServerError,
    TruecallerClient,
    TruecallerError,
)
from truecaller_async.sandbox import SPEEDS, Fault, FaultPlan, Sandbox, SandboxSettings

CUTS = ("reset", "close")
FIVES = ("500", "502", "503", "504")


@asynccontextmanager
async def served(*faults: Fault, seed: int = 0) -> AsyncIterator[tuple[Sandbox, TruecallerClient]]:
    """A sandbox with this plan, and our client of it, which tries once."""
    settings = SandboxSettings(faults=FaultPlan(faults, seed), limits=SPEEDS["off"], resolve_after=0.0)
    async with await Sandbox.start(settings) as sandbox:
        client = TruecallerClient(
            client_account_id=settings.client_account_id,
            key_id=settings.key_id,
            api_key=settings.api_key.reveal(),
            base_url=sandbox.base_url,
            limits=settings.limits,
            retry=NO_RETRY,
        )
        async with client:
            yield sandbox, client


def a_record(number: int = 1) -> CallRecord:
    now = datetime.now(UTC)
    return CallRecord(
        caller="911234500001",
        receiver=f"91923450{number:04d}",
        starts_at=now,
        ends_at=now + timedelta(hours=4),
    )


def fault(call: str, *do: str) -> Fault:
    """The second request of that call; the first one leaves a connection to be used again."""
    return Fault(call=call, nth=2, do=do)


@pytest.mark.parametrize("call", ["batch.submit", "push"])
@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("ending", [*CUTS, *FIVES])
async def test_a_write_whose_answer_is_lost_may_have_been_applied(ending: str, applied: bool, call: str) -> None:
    do = ("apply", ending) if applied else (ending,)
    async with served(fault(call, *do)) as (sandbox, client):

        async def write(number: int) -> None:
            if call == "push":
                await client.calls.push(a_record(number))
            else:
                await client.batches.submit([a_record(number), a_record(number + 1)])

        await write(10)
        with pytest.raises(ResponseLost if ending in CUTS else ServerError) as lost:
            await write(20)
        await write(30)
        stats = sandbox.stats()
        entries = sandbox.state.truth()
    assert lost.value.sent == ("maybe" if ending in CUTS else "yes")
    assert not lost.value.retryable
    if isinstance(lost.value, ServerError):
        assert lost.value.status == int(ending)
    tens = {int(entry.receiver[-2:]) // 10 * 10 for entry in entries if entry.receiver}
    assert tens == ({10, 20, 30} if applied else {10, 30})
    assert stats.faults == {call: {"+".join(do): 1}}


@pytest.mark.parametrize("ending", [*CUTS, *FIVES])
async def test_a_read_whose_answer_is_lost_may_be_asked_again(ending: str) -> None:
    async with served(fault("batch.status", "apply", ending)) as (sandbox, client):
        batch = await client.batches.submit([a_record()])
        await client.batches.status(batch.batch_id)
        with pytest.raises((ResponseLost, ServerError)) as lost:
            await client.batches.status(batch.batch_id)
        status = await client.batches.status(batch.batch_id)
        requests = sandbox.stats().requests["status"]
    assert lost.value.retryable
    assert [row.status for row in status.records] == ["success"]
    assert requests == {"200": 3}


@pytest.mark.parametrize("call", ["token", "labels", "numbers.list", "feature_sets"])
@pytest.mark.parametrize("ending", ["reset", "503"])
async def test_every_call_can_be_struck(call: str, ending: str) -> None:
    async with served(Fault(call=call, nth=1, do=(ending,))) as (sandbox, client):
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "token": client.labels.list,
            "labels": client.labels.list,
            "numbers.list": client.numbers.list,
            "feature_sets": client.feature_sets.list,
        }
        with pytest.raises(TruecallerError) as lost:
            await calls[call]()
        await calls[call]()
        assert sandbox.stats().faults == {call: {ending: 1}}
    assert isinstance(lost.value, ResponseLost | ServerError)


async def test_a_429_of_a_gateway_is_a_throttle_without_a_wait() -> None:
    async with served(fault("push", "429")) as (sandbox, client):
        await client.calls.push(a_record(1))
        with pytest.raises(RateLimited) as limited:
            await client.calls.push(a_record(2))
        assert sandbox.stats().records_applied == 1
        assert sandbox.stats().refused == 0
    assert limited.value.retry_after is None


async def first_bytes(sandbox: Sandbox, path: str) -> bytes:
    """What comes back on a bare connection."""
    host, _, port = sandbox.base_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return await reader.read(100)
    finally:
        writer.close()


async def test_a_reset_is_a_reset_and_a_close_is_the_end_of_the_stream() -> None:
    faults = Fault(call="*", nth=1, do=("reset",)), Fault(call="*", nth=2, do=("apply", "close"))
    async with served(*faults) as (sandbox, _):
        with pytest.raises(ConnectionResetError):
            await first_bytes(sandbox, "/anything")
        assert await first_bytes(sandbox, "/anything") == b""
        assert (await first_bytes(sandbox, "/anything")).startswith(b"HTTP/1.1 404")


async def test_the_sandboxs_own_paths_and_the_neighbour_are_never_struck() -> None:
    async with served(Fault(call="*", do=("reset",))) as (sandbox, _), aiohttp.ClientSession(sandbox.base_url) as http:
        for path, status in {"/": 200, "/openapi.yaml": 200, "/trustcaller/api/v1/numbers": 406}.items():
            async with http.get(path) as answer:
                assert answer.status == status
        async with http.get("/_sandbox/stats") as answer:
            assert (await answer.json())["faults"] == {}


async def test_the_stats_tell_what_was_done_and_a_plan_begins_anew_with_a_reset() -> None:
    async with served(Fault(call="labels", nth=2, do=("apply", "close"))) as (sandbox, client):
        await client.labels.list()
        with pytest.raises(ResponseLost):
            await client.labels.list()
        async with aiohttp.ClientSession(sandbox.base_url) as http, http.get("/_sandbox/stats") as answer:
            assert (await answer.json())["faults"] == {"labels": {"apply+close": 1}}
        sandbox.reset()
        assert sandbox.stats().faults == {}
        with pytest.raises(AuthenticationFailed):
            await client.labels.list()
        with pytest.raises(ResponseLost):
            await client.labels.list()
