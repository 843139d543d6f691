from __future__ import annotations

import json
import shlex
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import aiohttp
import pytest

from truecaller_async.options import Limits
from truecaller_async.sandbox import SPEEDS, Sandbox

from .driving import CALLER, Shell, finished, receiver


@pytest.mark.parametrize("stop", [SIGINT, SIGTERM])
async def test_it_prints_variables_that_work_and_stops_in_good_order(tmp_path: Path, stop: Signals) -> None:
    shell = Shell(tmp_path, {})
    process = await shell.start("sandbox", "--port", "0", "--limits", "fast", "--json")
    assert process.stdout is not None
    variables = json.loads(await process.stdout.readline())
    assert all(isinstance(value, str) for value in variables.values())
    assert Limits.documented().parse(variables["TRUECALLER_LIMITS"]) == SPEEDS["fast"]
    label = variables["TRUECALLER_SANDBOX_LABEL_ID"]
    pushed = await Shell(tmp_path, variables).run(
        "push", "--caller", CALLER, "--receiver", receiver(1), "--label-id", label
    )
    assert pushed.code == 0
    process.send_signal(stop)
    ended = await finished(process)
    assert (ended.code, ended.stdout) == (0, "")
    assert ended.stderr.startswith("Sandbox: 2 requests, 1 token created, 0 batches, 1 record applied, 0 requests")


async def test_it_prints_lines_for_a_shell(tmp_path: Path) -> None:
    process = await Shell(tmp_path, {}).start("sandbox", "--port", "0", "--resolve-after", "0", "--seed", "7")
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode().rstrip("\n") for _ in range(7)]
    process.send_signal(SIGTERM)
    assert (await finished(process)).stdout == ""
    assert lines[0].startswith("# ")
    words = [shlex.split(line) for line in lines[1:]]
    assert {word for word, _ in words} == {"export"}
    names = [assignment.partition("=")[0] for _, assignment in words]
    assert "TRUECALLER_API_KEY" in names
    assert "TRUECALLER_SANDBOX_LABEL_ID" in names


async def test_a_seed_invents_another_account(tmp_path: Path) -> None:
    accounts = set()
    for seed in ("1", "2", "1"):
        process = await Shell(tmp_path, {}).start("sandbox", "--port", "0", "--seed", seed, "--json")
        assert process.stdout is not None
        accounts.add(json.loads(await process.stdout.readline())["TRUECALLER_CLIENT_ACCOUNT_ID"])
        process.send_signal(SIGTERM)
        await finished(process)
    assert len(accounts) == 2


async def test_a_port_in_use_is_3_and_says_so(sandbox: Sandbox, tmp_path: Path) -> None:
    port = sandbox.base_url.rpartition(":")[2]
    second = await Shell(tmp_path, {}).run("sandbox", "--port", port)
    assert (second.code, second.stdout) == (3, "")
    assert f"port {port}" in second.stderr
    assert "--port" in second.stderr
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox.base_url}/_sandbox/stats") as answer:
        assert answer.status == 200
