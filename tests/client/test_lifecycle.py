"""The event loop, the process and the lifetime of an async client: over real sockets."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ssl import SSLContext
from time import time
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.transport.test_certificates import OPENSSL, SelfSigned, self_signed
from truecaller_async import NO_RETRY, CallRecord, ClientClosed, ConfigError, NotSent, TruecallerClient
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

__all__ = ["self_signed"]

SETTINGS = SandboxSettings(limits=SPEEDS["off"], resolve_after=0.05)
Use = Callable[[TruecallerClient], Awaitable[object]]


def record(number: int = 1) -> CallRecord:
    now = int(time() * 1000)
    return CallRecord(
        caller="911234567898",
        receiver=f"9198{number:07d}0",
        starts_at=now,
        ends_at=now + 3_600_000,
        label_id=SETTINGS.labels[0].id,
        reason="Calling you for KYC",
    )


@pytest_asyncio.fixture(name="sandbox")
async def _sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start(SETTINGS) as sandbox:
        yield sandbox


async def campaign(client: TruecallerClient) -> None:
    async with client.push_many([record()]) as results:
        async for _ in results:
            pass


async def page(client: TruecallerClient) -> object:
    return await client.labels.list()


async def every_item(client: TruecallerClient) -> None:
    async for _ in client.labels.list():
        pass


async def enter(client: TruecallerClient) -> None:
    async with client:
        pass


USES: dict[str, Use] = {
    "push": lambda client: client.calls.push(record()),
    "submit": lambda client: client.batches.submit([record()]),
    "status": lambda client: client.batches.status("b-1"),
    "wait": lambda client: client.batches.wait("b-1", timeout=0.01),
    "page": page,
    "every item": every_item,
    "numbers": lambda client: client.numbers.publish(SETTINGS.client_account_id, ["911234567898"]),
    "campaign": campaign,
    "token status": lambda client: client.tokens.status(),
    "token": lambda client: client.tokens.make(),
    "enter": enter,
    "copy": lambda client: client.with_options(retry=NO_RETRY).calls.push(record()),
}


async def refused(use: Use, client: TruecallerClient) -> str:
    """Return the message of the `ClientClosed` that this use raises."""
    with pytest.raises(ClientClosed) as message:
        await use(client)
    return str(message.value)


def client_of(sandbox: Sandbox, **settings: Any) -> TruecallerClient:
    return TruecallerClient.from_env(sandbox.environment(), **settings)


async def in_another_loop(work: Callable[[], Awaitable[str]]) -> str:
    """Run the work in a thread with its own event loop, while this one runs."""

    async def run() -> str:
        return await work()

    return await asyncio.to_thread(asyncio.run, run())


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
async def test_another_loop_is_refused_before_any_io(sandbox: Sandbox, use: Use) -> None:
    async with client_of(sandbox) as client:
        await client.calls.push(record())
        counted = sandbox.stats()
        message = await in_another_loop(lambda: refused(use, client))
        assert "another event loop" in message
        assert "one client in each loop" in message
        assert sandbox.stats() == counted
        assert (await client.calls.push(record(2))).status == "success"


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
async def test_closed_client_raises_with_advice(sandbox: Sandbox, use: Use) -> None:
    client = client_of(sandbox)
    await client.calls.push(record())
    await client.aclose()
    assert "Make a new one" in await refused(use, client)


@pytest.mark.parametrize("use", USES.values(), ids=list(USES))
async def test_client_in_a_forked_child_raises_with_advice(
    sandbox: Sandbox, use: Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client_of(sandbox) as client:
        await client.calls.push(record())
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            message = await refused(use, client)
    assert "fork" in message
    assert "from_env" in message


async def test_client_is_not_closed_from_another_loop_while_its_own_lives(sandbox: Sandbox) -> None:
    client = client_of(sandbox)
    await client.calls.push(record())
    assert "Close it there" in await in_another_loop(lambda: refused(lambda one: one.aclose(), client))
    assert (await client.calls.push(record(2))).status == "success"
    await client.aclose()
    await in_another_loop(lambda: _closed(client))


async def _closed(client: TruecallerClient) -> str:
    await client.aclose()
    return ""


async def test_second_asyncio_run_is_refused_and_may_still_close_the_client(sandbox: Sandbox) -> None:
    client = client_of(sandbox)

    async def use() -> str:
        return str((await client.calls.push(record())).status)

    assert await asyncio.to_thread(asyncio.run, use()) == "success"
    assert "in one asyncio.run()" in await in_another_loop(lambda: refused(USES["push"], client))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the sockets were closed with the first loop
        await in_another_loop(lambda: _closed(client))
        gc.collect()


async def test_client_created_without_a_loop_binds_to_the_first_loop_used(sandbox: Sandbox) -> None:
    client = await asyncio.to_thread(client_of, sandbox)
    assert (await client.calls.push(record())).status == "success"
    await client.aclose()


async def test_client_works_without_async_with(sandbox: Sandbox) -> None:
    """As in the lifespan of a web application: made at the start, used by handlers, closed in a finally block."""

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[dict[str, TruecallerClient]]:
        client = client_of(sandbox)
        try:
            yield {"client": client}
        finally:
            await client.aclose()

    async with lifespan() as state:
        answers = await asyncio.gather(*(state["client"].calls.push(record(number)) for number in range(10)))
    assert {answer.status for answer in answers} == {"success"}
    assert sandbox.stats().mints == 1


async def test_concurrent_closes_close_once(sandbox: Sandbox) -> None:
    client = client_of(sandbox)
    await client.calls.push(record())
    await asyncio.gather(*(client.aclose() for _ in range(5)))
    await client.aclose()


async def test_client_closed_before_its_first_use_stays_closed(sandbox: Sandbox) -> None:
    client = client_of(sandbox)
    await client.aclose()
    assert "Make a new one" in await refused(USES["push"], client)
    assert sandbox.stats().mints == 0


async def test_forked_child_closes_nothing_of_its_parent(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(sandbox)
    await client.calls.push(record())
    session = client._shared.transport._session  # type: ignore[attr-defined]
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        await client.aclose()
        await client.aclose()
        assert "Make a new one" in await refused(USES["push"], client)
    assert not session.closed
    await session.close()


async def test_client_never_closed_only_warns(sandbox: Sandbox) -> None:
    client = client_of(sandbox)
    await client.calls.push(record())
    session, tasks = client._shared.transport._session, asyncio.all_tasks()  # type: ignore[attr-defined]
    references = [client, client.with_options(retry=NO_RETRY)]
    del client
    del references[0]
    gc.collect()
    with pytest.warns(ResourceWarning, match="never closed.*async with"):
        references.clear()
    assert asyncio.all_tasks() == tasks
    assert not session.closed
    await session.close()


def test_unused_client_may_be_dropped() -> None:
    client = TruecallerClient(
        client_account_id=SETTINGS.client_account_id, key_id="the-key-id", api_key="the-api-key", state="memory:"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del client
        gc.collect()


@pytest.mark.parametrize("copier", [pickle.dumps, copy.copy, copy.deepcopy])
def test_client_refuses_copying_with_advice(copier: Callable[[object], object]) -> None:
    client = TruecallerClient(client_account_id=SETTINGS.client_account_id, key_id="key", api_key="the-api-key")
    with pytest.raises(TypeError, match="in each worker, such as with TruecallerClient") as message:
        copier(client)
    assert "the-api-key" not in str(message.value)


async def test_borrowed_session_is_used_by_every_copy_and_stays_open(sandbox: Sandbox) -> None:
    asked: list[str] = []

    async def record_request(_: object, __: object, params: aiohttp.TraceRequestStartParams) -> None:
        asked.append(params.url.path)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(record_request)
    async with aiohttp.ClientSession(trace_configs=[trace]) as session:
        async with client_of(sandbox, session=session) as client:
            await client.calls.push(record(1))
            await client.with_options(retry=NO_RETRY).calls.push(record(2))
        assert not session.closed
    assert len(asked) == 3
    assert sandbox.stats().mints == 1


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
    """Copy bytes in one direction, and record them."""
    while data := await reader.read(65536):
        seen += data
        writer.write(data)
        await writer.drain()
    writer.close()


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, seen: bytearray) -> None:
    """Copy bytes in both directions between a connection and a local port."""
    further_reader, further_writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await asyncio.gather(pump(reader, further_writer, seen), pump(further_reader, writer, bytearray()))
    except ConnectionError:
        pass
    finally:
        further_writer.close()
        writer.close()


@asynccontextmanager
async def relay(port: int, seen: bytearray, ssl: SSLContext | None = None) -> AsyncIterator[int]:
    """Open a port that forwards to another one; with a context it accepts TLS."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await forward(reader, writer, port, seen)

    async with await asyncio.start_server(accept, "127.0.0.1", 0, ssl=ssl) as server:
        yield server.sockets[0].getsockname()[1]


@asynccontextmanager
async def tunnel(seen: bytearray) -> AsyncIterator[int]:
    """Open a proxy that supports only CONNECT."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.extend(head)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await forward(reader, writer, int(head.split(b" ")[1].partition(b":")[2]), bytearray())

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.skipif(OPENSSL is None, reason="the openssl command makes the certificate")
async def test_agent_proxy_and_certificate_are_used_together(sandbox: Sandbox, self_signed: SelfSigned) -> None:
    plain, connects = bytearray(), bytearray()
    port = int(sandbox.base_url.rpartition(":")[2])
    async with relay(port, plain, self_signed.server) as secure, tunnel(connects) as proxy:
        settings = {"base_url": f"https://127.0.0.1:{secure}", "proxy": f"http://127.0.0.1:{proxy}"}
        async with client_of(sandbox, **settings, ssl=self_signed.trusting, user_agent="my-app/1.2") as client:
            assert (await client.calls.push(record())).status == "success"
        async with client_of(sandbox, **settings, retry=NO_RETRY) as client:
            with pytest.raises(NotSent, match="certificate"):
                await client.calls.push(record())
    assert connects.startswith(f"CONNECT 127.0.0.1:{secure} HTTP/1.1\r\n".encode())
    assert b"the-api-key" not in connects
    agents = {line for line in bytes(plain).split(b"\r\n") if line.lower().startswith(b"user-agent:")}
    assert len(agents) == 1
    assert agents.pop().endswith(b") my-app/1.2")


def test_misused_campaign_explains_how_to_start_it() -> None:
    client = TruecallerClient(client_account_id=SETTINGS.client_account_id, key_id="key", api_key="the-api-key")
    with pytest.raises(ConfigError, match="a campaign starts with 'async with"):
        _ = client.push_many([]).summary
