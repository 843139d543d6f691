"""Fault plans on a real socket: errors of the client, compared with the truth log."""

from __future__ import annotations

import asyncio
import re
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

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
from truecaller_async.sandbox import SPEEDS, Fault, FaultPlan, Sandbox, SandboxResponse, SandboxSettings
from truecaller_async.sandbox.app import SHUTDOWN_GRACE_SECONDS

CUTS = ("reset", "close")
MIB = 1024 * 1024
FIVES = ("500", "502", "503", "504")


@asynccontextmanager
async def served(*faults: Fault, seed: int = 0) -> AsyncIterator[tuple[Sandbox, TruecallerClient]]:
    """Start a sandbox with this plan, and a client that tries once."""
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


def make_record(number: int = 1) -> CallRecord:
    now = datetime.now(UTC)
    return CallRecord(
        caller="911234500001",
        receiver=f"91923450{number:04d}",
        starts_at=now,
        ends_at=now + timedelta(hours=4),
    )


def fault(call: str, *do: str) -> Fault:
    """Return a fault for the second request of this call; the first leaves a reusable connection."""
    return Fault(call=call, nth=2, do=do)


@pytest.mark.parametrize("call", ["batch.submit", "push"])
@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("response", [*CUTS, *FIVES])
async def test_write_with_a_lost_answer_may_be_applied(response: str, applied: bool, call: str) -> None:
    do = ("apply", response) if applied else (response,)
    async with served(fault(call, *do)) as (sandbox, client):

        async def write(number: int) -> None:
            if call == "push":
                await client.calls.push(make_record(number))
            else:
                await client.batches.submit([make_record(number), make_record(number + 1)])

        await write(10)
        with pytest.raises(ResponseLost if response in CUTS else ServerError) as lost:
            await write(20)
        await write(30)
        stats = sandbox.stats()
        entries = sandbox.state.truth()
    assert lost.value.sent == ("maybe" if response in CUTS else "yes")
    assert not lost.value.retryable
    if isinstance(lost.value, ServerError):
        assert lost.value.status == int(response)
    tens = {int(entry.receiver[-2:]) // 10 * 10 for entry in entries if entry.receiver}
    assert tens == ({10, 20, 30} if applied else {10, 30})
    assert stats.faults == {call: {"+".join(do): 1}}


@pytest.mark.parametrize("response", [*CUTS, *FIVES])
async def test_read_with_a_lost_answer_may_be_repeated(response: str) -> None:
    async with served(fault("batch.status", "apply", response)) as (sandbox, client):
        batch = await client.batches.submit([make_record()])
        await client.batches.status(batch.batch_id)
        with pytest.raises((ResponseLost, ServerError)) as lost:
            await client.batches.status(batch.batch_id)
        status = await client.batches.status(batch.batch_id)
        requests = sandbox.stats().requests["status"]
    assert lost.value.retryable
    assert [row.status for row in status.records] == ["success"]
    assert requests == {"200": 3}


@pytest.mark.parametrize("call", ["token", "labels", "numbers.list", "feature_sets"])
@pytest.mark.parametrize("response", ["reset", "503"])
async def test_every_call_can_have_a_fault(call: str, response: str) -> None:
    async with served(Fault(call=call, nth=1, do=(response,))) as (sandbox, client):
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "token": client.labels.list,
            "labels": client.labels.list,
            "numbers.list": client.numbers.list,
            "feature_sets": client.feature_sets.list,
        }
        with pytest.raises(TruecallerError) as lost:
            await calls[call]()
        await calls[call]()
        assert sandbox.stats().faults == {call: {response: 1}}
    assert isinstance(lost.value, ResponseLost | ServerError)


async def test_gateway_429_is_a_throttle_without_a_wait() -> None:
    async with served(fault("push", "429")) as (sandbox, client):
        await client.calls.push(make_record(1))
        with pytest.raises(RateLimited) as limited:
            await client.calls.push(make_record(2))
        assert sandbox.stats().records_applied == 1
        assert sandbox.stats().refused == 0
    assert limited.value.retry_after is None


async def first_bytes(sandbox: Sandbox, path: str, most: int = 100) -> bytes:
    """Return the bytes received on a raw connection until its end."""
    host, _, port = sandbox.base_url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        received = bytearray()
        while len(received) < most and (piece := await reader.read(most - len(received))):
            received += piece
        return bytes(received)
    finally:
        writer.close()


async def test_reset_is_a_tcp_reset_and_close_is_the_end_of_the_stream() -> None:
    faults = Fault(call="*", nth=1, do=("reset",)), Fault(call="*", nth=2, do=("apply", "close"))
    async with served(*faults) as (sandbox, _):
        with pytest.raises(ConnectionResetError):
            await first_bytes(sandbox, "/anything")
        assert await first_bytes(sandbox, "/anything") == b""
        assert (await first_bytes(sandbox, "/anything")).startswith(b"HTTP/1.1 404")


async def test_faults_never_apply_to_control_paths_and_trustcaller() -> None:
    async with served(Fault(call="*", do=("reset",))) as (sandbox, _), aiohttp.ClientSession(sandbox.base_url) as http:
        for path, status in {"/": 200, "/openapi.yaml": 200, "/trustcaller/api/v1/numbers": 406}.items():
            async with http.get(path) as answer:
                assert answer.status == status
        async with http.get("/_sandbox/stats") as answer:
            assert (await answer.json())["faults"] == {}


async def test_stats_report_faults_and_a_reset_restarts_the_plan() -> None:
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


LASTING = ("stall", "long-length", "drip:60", "drip-headers:60", "huge", "endless", "bomb", "delay:60")
"""What takes its time: it never ends, or not before a client has read more than it should."""


def endless_fault(name: str) -> Fault:
    return Fault(call="*", do=("apply", name))


async def unread_connection(sandbox: Sandbox) -> asyncio.StreamWriter:
    """Return a raw connection on which an answer is being sent, without reading it."""
    requested, handle = asyncio.Event(), sandbox.state.handle

    def heard(*request: Any) -> SandboxResponse:
        requested.set()
        return handle(*request)

    sandbox.state.handle = heard  # type: ignore[method-assign, assignment]
    host, _, port = sandbox.base_url.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(b"GET /anything HTTP/1.1\r\nHost: x\r\n\r\n")
    await requested.wait()
    return writer


async def wait_for_other_tasks(tasks: set[asyncio.Task[Any]]) -> None:
    """Wait until only these tasks are left."""
    while others := asyncio.all_tasks() - tasks:
        await asyncio.wait(others)


@pytest.mark.parametrize("name", LASTING)
async def test_slow_fault_ends_when_the_client_disconnects(name: str) -> None:
    async with served(endless_fault(name)) as (sandbox, _):
        own = asyncio.all_tasks()
        writer = await unread_connection(sandbox)
        assert asyncio.all_tasks() - own
        writer.close()
        async with asyncio.timeout(5):
            await wait_for_other_tasks(own)


@pytest.mark.parametrize("name", LASTING)
async def test_slow_fault_ends_when_the_sandbox_closes(name: str, caplog: pytest.LogCaptureFixture) -> None:
    own = asyncio.all_tasks()
    async with served(endless_fault(name)) as (sandbox, _):
        writer = await unread_connection(sandbox)
        async with asyncio.timeout(SHUTDOWN_GRACE_SECONDS / 2):
            await sandbox.aclose()
            await wait_for_other_tasks(own)
        writer.close()
    assert caplog.records == []


async def test_huge_answer_is_never_built_in_memory() -> None:
    async with served(endless_fault("huge")) as (sandbox, _), aiohttp.ClientSession() as http:
        tracemalloc.start()
        try:
            async with http.get(f"{sandbox.base_url}/anything") as answer:
                for _ in range(64):
                    await answer.content.readexactly(MIB)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert answer.content_length == 1024 * MIB
    assert peak < 8 * MIB


async def test_bomb_is_200_mib_in_200_kb() -> None:
    async with (
        served(endless_fault("bomb")) as (sandbox, _),
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.get(f"{sandbox.base_url}/anything") as answer,
    ):
        packed = await answer.read()
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(packed) < 250_000
    unpacker, size = zlib.decompressobj(31), 0
    while packed:
        size += len(unpacker.decompress(packed, MIB))
        packed = unpacker.unconsumed_tail
    assert (size, unpacker.eof) == (200 * MIB, True)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("cut", rb"HTTP/1.1 200 OK\r\n.*content-length: 48\r\n\r\n.{24}"),
        ("cut-chunked", rb"HTTP/1.1 200 OK\r\n.*transfer-encoding: chunked\r\n\r\n30\r\n.{24}"),
        ("cut-unmarked", rb"HTTP/1.1 200 OK\r\n(?!.*(length|encoding): ).*\r\n\r\n.{24}"),
        ("short-length", rb"HTTP/1.1 200 OK\r\n.*content-length: 24\r\n\r\n.{48}"),
        ("two-lengths", rb"HTTP/1.1 200 OK\r\n.*content-length: 48\r\ncontent-length: 49\r\n\r\n.{48}"),
        ("long-header", rb"HTTP/1.1 200 OK\r\n.*x-long: x{16384}\r\n\r\n.{48}"),
        ("garbage", rb"HTTP/one.one OK then\r\n.*\r\n\r\n.{48}"),
        ("not-http", rb"SSH-2.0-OpenSSH_9.6\r\n"),
        ("drip:0.0001", rb"HTTP/1.1 200 OK\r\n.*content-length: 48\r\n\r\n.{48}"),
        ("drip-headers:0.0001", rb"HTTP/1.1 200 OK\r\n.*content-length: 48\r\n\r\n.{48}"),
        ("302:https://a.example/", rb"HTTP/1.1 302 Found\r\n.*location: https://a.example/\r\n.*\r\n\r\n"),
        ("520", rb"HTTP/1.1 520 .*\r\n.*<html>.*"),
    ],
)
async def test_bytes_are_those_of_the_fault_response(name: str, pattern: bytes) -> None:
    async with served(Fault(call="*", do=(name,))) as (sandbox, _):
        received = await first_bytes(sandbox, "/anything", MIB)
    assert re.fullmatch(pattern, received, re.DOTALL | re.IGNORECASE), received


async def test_date_of_an_answer_is_the_sandboxs_clock() -> None:
    async with await Sandbox.start(clock=lambda: 1_800_000_000.0) as sandbox:
        received = await first_bytes(sandbox, "/anything", MIB)
    assert b"\r\ndate: Fri, 15 Jan 2027 08:00:00 GMT\r\n".lower() in received.lower()
