"""The webhook examples run unchanged as separate servers, against a sandbox; events come over a socket."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGTERM

import aiohttp

from tests.webhooks.servers import KEY, call_me_back, sample
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

EXAMPLES = Path(__file__).parents[2] / "examples"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def running(sandbox: Sandbox, folder: Path, *arguments: str) -> AsyncIterator[Process]:
    account = {"TRUECALLER_SANDBOX_LABEL_ID": sandbox.settings.labels[0].id, **sandbox.environment()}
    settings = {"TRUECALLER_WEBHOOK_KEY": KEY, "XDG_STATE_HOME": str(folder), "PYTHONPATH": str(EXAMPLES.parent)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env={**os.environ, **account, **settings}, stdout=PIPE, stderr=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until_listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return


async def test_the_fastapi_example_keeps_requests_and_pushes_before_a_call_back(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    start = ("-m", "uvicorn", "webhook_fastapi:app", "--app-dir", str(EXAMPLES), "--port", str(port))
    async with (
        await Sandbox.start(SandboxSettings(limits=SPEEDS["off"])) as sandbox,
        running(sandbox, tmp_path, *start) as process,
        aiohttp.ClientSession() as http,
    ):
        await until_listening(port)
        for body in (
            sample("cmb_slot_picker"),
            sample("cmb_sim_info_missing"),
            sample("user_feedback"),
            call_me_back("e"),
        ):
            async with http.post(f"{url}/truecaller/?key={KEY}", data=body) as answer:
                assert (answer.status, await answer.read()) == (200, b"{}")
        async with http.post(f"{url}/truecaller/n0t-th3-k3y-0f-th3-w3bh00k", data=sample("user_feedback")) as answer:
            assert answer.status == 404
        waiting = 0
        while waiting < 2:
            async with http.get(f"{url}/requests") as answer:
                waiting = await answer.json()
        async with http.post(f"{url}/calls/911234567890") as answer:
            assert await answer.json() == {"dial": "now", "status": "success"}
        async with http.post(f"{url}/calls/919900000007") as answer:
            assert answer.status == 404
        pushed = [entry.receiver for entry in sandbox.state.truth()]
        process.send_signal(SIGTERM)
        out, log = await process.communicate()
    assert pushed == ["911234567890"]
    assert b"from an unknown number" in out
    assert b"POST /truecaller/?key=***" in out + log
    assert KEY.encode() not in out + log


async def test_aiohttp_example_pushes_a_record_for_each_requested_slot(tmp_path: Path) -> None:
    port = free_port()
    async with (
        await Sandbox.start(SandboxSettings(limits=SPEEDS["off"])) as sandbox,
        running(sandbox, tmp_path, str(EXAMPLES / "webhook_aiohttp.py"), str(port)) as process,
        aiohttp.ClientSession() as http,
    ):
        await until_listening(port)
        for body in (
            sample("cmb_slot_picker"),
            sample("cmb_slot_picker"),
            sample("cmb_not_interested"),
            call_me_back("e"),
        ):
            async with http.post(f"http://127.0.0.1:{port}/truecaller?key={KEY}", data=body) as answer:
                assert (answer.status, await answer.read()) == (200, b"{}")
        assert process.stdout is not None
        expected = {b"dial: success\n", b"a request from an unknown number is dropped\n"}
        while expected:
            expected -= {line := await process.stdout.readline()}
            assert line, f"the example ended without {expected}"
        process.send_signal(SIGTERM)
        out, log = await process.communicate()
        pushes = sandbox.stats().requests["push"]
    assert sum(pushes.values()) == 1
    assert KEY.encode() not in out + log
