from __future__ import annotations

import asyncio
import json
import sys
from asyncio.subprocess import Process
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.webhooks.servers import CLIENT, KEY, OTHER_KEY, call_me_back
from truecaller_async.options import RetryPolicy
from truecaller_async.webhooks import Event, WebhookOptions, WebhookReceiver

from .shell import Finished, Shell, finished, line_with

KEYS = {"TRUECALLER_WEBHOOK_KEY": f"{KEY}, {OTHER_KEY}"}


async def serving(shell: Shell, *options: str) -> tuple[Process, str]:
    """Start the command; return its process and its URL without the key."""
    process = await shell.start("webhooks", "serve", "--port", "0", *options)
    line = await line_with(process.stderr, "Listening at ")
    assert "?key=***" in line
    return process, line.split()[2].partition("?")[0]


async def post(url: str, body: bytes, key: str = KEY) -> int:
    async with aiohttp.ClientSession() as http, http.post(f"{url}?key={key}", data=body) as answer:
        return answer.status


async def stopped(process: Process, signum: Signals = SIGTERM) -> Finished:
    process.send_signal(signum)
    return await finished(process)


@pytest.mark.parametrize("stop", [SIGINT, SIGTERM])
async def test_webhook_command_prints_each_event_once_and_stops_cleanly(tmp_path: Path, stop: Signals) -> None:
    process, url = await serving(Shell(tmp_path, KEYS), "--path", "/hook")
    assert url.endswith("/hook")
    for key in (KEY, OTHER_KEY):
        assert await post(url, call_me_back("e-1"), key) == 200
    assert await post(url, call_me_back("e-1"), "an-unknown-key-of-chars") == 404
    assert process.stdout is not None
    assert json.loads(await process.stdout.readline()) == json.loads(call_me_back("e-1"))
    ended = await stopped(process, stop)
    assert (ended.code, ended.stdout) == (0, "")
    assert "Webhooks: 2 events received, 1 duplicate among them, 1 handled, 0 waiting, 0 parked." in ended.stderr
    assert KEY not in ended.stderr
    assert (tmp_path / "state" / "truecaller" / "webhooks.db").exists()


async def test_events_file_has_one_line_per_event_and_is_private(tmp_path: Path) -> None:
    process, url = await serving(Shell(tmp_path, KEYS), "--forward", "events.jsonl", "--store", "memory:")
    for number in range(20):
        assert await post(url, call_me_back(f"e-{number}", number)) == 200
    ended = await stopped(process)
    assert (ended.code, ended.stdout) == (0, "")
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event_id"] for line in lines] == [f"e-{number}" for number in range(20)]
    assert (tmp_path / "events.jsonl").stat().st_mode & 0o077 == 0


async def test_event_is_passed_to_a_command_on_stdin_without_a_shell(tmp_path: Path) -> None:
    shell = Shell(tmp_path, KEYS)
    script = shell.file(
        "take.py", "import json, sys\nprint(json.load(sys.stdin)['event_id'], sys.argv[1:], flush=True)\n"
    )
    process, url = await serving(shell, "--forward", f"{sys.executable} {script} '$(id)' ';'")
    assert await post(url, call_me_back("e-1")) == 200
    assert process.stdout is not None
    assert (await process.stdout.readline()).decode().strip() == "e-1 ['$(id)', ';']"
    assert (await stopped(process)).code == 0


async def test_command_whose_last_argument_is_a_file_gets_no_key_and_no_ctrl_c(tmp_path: Path) -> None:
    shell = Shell(tmp_path, KEYS)
    script = shell.file(
        "take.py",
        "import os, sys\nkeys = [name for name in os.environ if 'WEBHOOK' in name]\n"
        "print(sys.argv[1:], keys, os.getsid(0) == os.getpid(), flush=True)\n",
    )
    process, url = await serving(shell, "--forward", f"{sys.executable} {script} events.jsonl")
    assert await post(url, call_me_back("e-1")) == 200
    assert process.stdout is not None
    assert (await process.stdout.readline()).decode().strip() == "['events.jsonl'] [] True"
    assert (await stopped(process)).code == 0
    assert not (tmp_path / "events.jsonl").exists()


async def test_failing_command_is_retried_and_no_number_is_shown(tmp_path: Path) -> None:
    shell = Shell(tmp_path, KEYS)
    script = shell.file("fail.py", "import sys\nsys.exit(3)\n")
    process, url = await serving(shell, "--forward", f"{sys.executable} {script}")
    assert await post(url, call_me_back("e-1")) == 200
    await line_with(process.stderr, "the command ended with exit code 3")
    ended = await stopped(process)
    assert "1 waiting" in ended.stderr
    assert CLIENT not in ended.stderr


async def test_url_receives_a_post(tmp_path: Path) -> None:
    taken: asyncio.Queue[Any] = asyncio.Queue()
    statuses = iter([500, 204])

    async def take(request: web.Request) -> web.Response:
        taken.put_nowait((request.raw_path, request.content_type, await request.json()))
        return web.Response(status=next(statuses))

    app = web.Application()
    app.router.add_post("/in", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    target = f"http://127.0.0.1:{runner.addresses[0][1]}/in?a=b%20c"
    process, url = await serving(Shell(tmp_path, KEYS), "--forward", target)
    assert await post(url, call_me_back("e-1")) == 200
    for _ in range(2):
        assert await taken.get() == ("/in?a=b%20c", "application/json", json.loads(call_me_back("e-1")))
    ended = await stopped(process)
    await runner.cleanup()
    assert "1 handled" in ended.stderr


async def test_keys_from_a_file_work_and_restart_delivers_waiting_events(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    shell = Shell(tmp_path, {})
    shell.env["TRUECALLER_WEBHOOK_KEY_FILE"] = shell.file("key", f"{KEY}\n")
    failing = shell.file("fail.py", "import sys\nsys.exit(3)\n")
    process, url = await serving(shell, "--forward", f"{sys.executable} {failing}")
    assert await post(url, call_me_back("e-1")) == 200
    await line_with(process.stderr, "the command ended with exit code 3")
    process.kill()
    await process.communicate()
    process, url = await serving(shell, "--forward", "events.jsonl")
    while not (events.exists() and events.stat().st_size):  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.01)
    assert "1 handled, 0 waiting" in (await stopped(process)).stderr


@pytest.mark.parametrize(
    ("keys", "options", "message"),
    [
        ("", [], "TRUECALLER_WEBHOOK_KEY is not set"),
        ("short-key", [], "16 to 512"),
        (KEY, ["--forward", "http://example.com/in"], "only https"),
        (KEY, ["--forward", "https://:0/"], "URL"),
        (KEY, ["--forward", "https://someone:word@example.com/in"], "contains a user or a password"),
        (KEY, ["--forward", "'"], "cannot be split"),
        (KEY, ["--forward", "no-program-of-this-name --now"], "not found"),
        (KEY, ["--forward", "no-folder-of-this-name/events.jsonl"], "cannot be written"),
        (KEY, ["--forward", ""], "the target is empty"),
        (KEY, ["--path", "hook"], "begin with a slash"),
        (KEY, ["--store", "redis://h"], "store must be"),
    ],
)
async def test_wrong_settings_exit_3_with_advice(tmp_path: Path, keys: str, options: list[str], message: str) -> None:
    ended = await Shell(tmp_path, {"TRUECALLER_WEBHOOK_KEY": keys}).run("webhooks", "serve", "--port", "0", *options)
    assert (ended.code, ended.stdout) == (3, "")
    assert message in ended.stderr
    assert "short-key" not in ended.stderr


async def test_port_in_use_exits_3_with_a_message(tmp_path: Path) -> None:
    shell = Shell(tmp_path, KEYS)
    process, url = await serving(shell)
    port = url.partition("/truecaller")[0].rpartition(":")[2]
    second = await shell.run("webhooks", "serve", "--port", port, "--store", "memory:")
    assert second.code == 3
    assert f"port {port}" in second.stderr
    await stopped(process)


async def test_parked_events_are_listed_without_numbers_and_released(tmp_path: Path) -> None:
    shell = Shell(tmp_path, KEYS)
    store = f"sqlite:///{tmp_path / 'webhooks.db'}"

    def failing(event: Event) -> None:
        raise RuntimeError(f"cannot call {CLIENT}")

    options = WebhookOptions(retry=RetryPolicy(attempts=1))
    async with WebhookReceiver(failing, [KEY], store, options=options) as of:
        await of.accept(call_me_back("e-1"))
        while not (await of.stats()).parked:  # noqa: ASYNC110 - each look awaits the store
            await asyncio.sleep(0)
    listed = await shell.call("webhooks", "parked", "--store", store)
    assert (listed.code, listed.stderr) == (0, "1 event parked.\n")
    assert listed.stdout.startswith("e-1  ")
    assert "1 attempt  RuntimeError: cannot call ********0007" in listed.stdout
    asked = await shell.call("webhooks", "parked", "--store", store, "--json", "--release")
    assert json.loads(asked.stdout)["event"] == json.loads(call_me_back("e-1"))
    assert asked.stderr == "1 event released.\n"
    process, _ = await serving(shell, "--store", store)
    assert process.stdout is not None
    assert json.loads(await process.stdout.readline())["event_id"] == "e-1"
    await stopped(process)
    assert (await shell.call("webhooks", "parked", "--store", store)).stderr == "0 events parked.\n"


async def test_listing_parked_events_creates_no_store_and_refuses_memory(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {})
    assert (await shell.call("webhooks", "parked")).stderr == "0 events parked.\n"
    assert not (tmp_path / "state").exists()
    assert (await shell.call("webhooks", "parked", "--store", "memory:")).code == 3
