from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import aiohttp
import click
import pytest

from truecaller_async.cli.commands.sandbox import PLAN_MAX_BYTES, fault_plan
from truecaller_async.options import Limits
from truecaller_async.sandbox import SPEEDS, FaultPlan, ResponseVariant, Sandbox
from truecaller_async.sandbox.faults.plan import CALLS
from truecaller_async.sandbox.faults.responses import FAULT_RESPONSES

from .shell import CALLER, Shell, finished, receiver


@pytest.mark.parametrize("stop", [SIGINT, SIGTERM])
async def test_sandbox_prints_usable_variables_and_stops_cleanly(tmp_path: Path, stop: Signals) -> None:
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
    assert ended.stderr.startswith("Sandbox: 2 requests, 1 token minted, 0 batches, 1 record applied, 0 requests")


async def test_sandbox_prints_shell_lines(tmp_path: Path) -> None:
    process = await Shell(tmp_path, {}).start("sandbox", "--port", "0", "--resolve-after", "0", "--seed", "7")
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode().rstrip("\n") for _ in range(9)]
    process.send_signal(SIGTERM)
    assert (await finished(process)).stdout == ""
    assert lines[0].startswith("# ")
    words = [shlex.split(line) for line in lines[1:]]
    assert {word for word, _ in words} == {"export"}
    names = [assignment.partition("=")[0] for _, assignment in words]
    assert "TRUECALLER_API_KEY" in names
    assert "TRUECALLER_SANDBOX_LABEL_ID" in names


async def test_seed_generates_another_account(tmp_path: Path) -> None:
    accounts = set()
    for seed in ("1", "2", "1"):
        process = await Shell(tmp_path, {}).start("sandbox", "--port", "0", "--seed", seed, "--json")
        assert process.stdout is not None
        accounts.add(json.loads(await process.stdout.readline())["TRUECALLER_CLIENT_ACCOUNT_ID"])
        process.send_signal(SIGTERM)
        await finished(process)
    assert len(accounts) == 2


async def test_number_delay_and_response_variants_are_options(tmp_path: Path) -> None:
    options = ("--list-after", "0", "--variant", "bare-empty-numbers", "--variant", "parse-failure", "--json")
    process = await Shell(tmp_path, {}).start("sandbox", "--port", "0", *options)
    assert process.stdout is not None
    variables = json.loads(await process.stdout.readline())
    account = f"/clients/{variables['TRUECALLER_CLIENT_ACCOUNT_ID']}"
    login = {"key_id": variables["TRUECALLER_KEY_ID"], "api_key": variables["TRUECALLER_API_KEY"]}
    numbers = f"{account}/number_management/numbers"
    async with aiohttp.ClientSession(variables["TRUECALLER_BASE_URL"]) as http:
        async with http.get(numbers, headers={"Authorization": "Bearer unknown"}) as answer:
            assert answer.status == 500
        async with http.post(f"{account}/token", json=login) as answer:
            headers = {"Authorization": f"Bearer {(await answer.json())['token']}"}
        async with http.get(numbers, headers=headers) as answer:
            assert await answer.json() == []
        async with http.get(f"{account}/number_management/feature_sets", headers=headers) as answer:
            feature_set = (await answer.json())["feature_sets"][0]["id"]
        publish = f"{account}/number_management/feature_sets/{feature_set}/numbers/publish"
        async with http.post(publish, json={"phone_numbers": [CALLER]}, headers=headers) as answer:
            assert answer.status == 200
        async with http.get(numbers, headers=headers) as answer:
            assert [number["status"] for number in (await answer.json())["numbers"]] == ["listed"]
    process.send_signal(SIGTERM)
    await finished(process)


async def test_undocumented_behaviour_is_selected_by_options(tmp_path: Path) -> None:
    options = ("--batch-validation", "per_record", "--label-required", "--export-shape", "text", "--token-life", "2h")
    start = ("sandbox", "--port", "0", "--resolve-after", "0", "--json")
    process = await Shell(tmp_path, {}).start(*start, *options)
    assert process.stdout is not None
    variables = json.loads(await process.stdout.readline())
    account = f"/clients/{variables['TRUECALLER_CLIENT_ACCOUNT_ID']}"
    login = {"key_id": variables["TRUECALLER_KEY_ID"], "api_key": variables["TRUECALLER_API_KEY"]}
    window = {"starts_at": 4102444800000, "ends_at": 4102459200000}
    unlabelled = {"call_records": [{"caller_number": CALLER, "receiver_number": receiver(1), **window}]}
    async with aiohttp.ClientSession(variables["TRUECALLER_BASE_URL"]) as http:
        async with http.post(f"{account}/token", json=login) as answer:
            headers = {"Authorization": f"Bearer {(await answer.json())['token']}"}
        batches = f"/v2{account}/dynamic_call_records"
        async with http.post(batches, json=unlabelled, headers=headers) as answer:
            assert answer.status == 200
            batch = {"batchId": (await answer.json())["batch_id"]}
        async with http.get(batches, params=batch, headers=headers) as answer:
            (row,) = (await answer.json())["data"]
            assert row["status_info"]["message"] == "label_id is required"
        asked = f"{account}/openapi/callback-logs/summary?from=1&to=2"
        async with http.get(asked, headers=headers) as answer:
            assert (await answer.text()).startswith("http://127.0.0.1:")
    process.send_signal(SIGTERM)
    await finished(process)


async def test_unknown_variant_is_wrong_usage_and_lists_the_names(tmp_path: Path) -> None:
    ended = await Shell(tmp_path, {}).run("sandbox", "--variant", "unheard-of")
    assert ended.code == 2
    assert all(name in " ".join(ended.stderr.split()) for name in ResponseVariant)


async def test_two_envelope_variants_are_a_wrong_setting(tmp_path: Path) -> None:
    both = ("--variant", "camel-status-info", "--variant", "flat-status-info")
    ended = await Shell(tmp_path, {}).run("sandbox", "--port", "0", *both)
    assert (ended.code, ended.stdout) == (3, "")
    assert "one envelope at most" in ended.stderr


async def test_fault_plan_is_followed_and_counted(tmp_path: Path) -> None:
    plan = {"seed": 7, "faults": [{"call": "push", "nth": 1, "do": ["apply", "reset"]}]}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    process = await Shell(tmp_path, {}).start("sandbox", "--port", "0", "--faults", "plan.json", "--json")
    assert process.stdout is not None
    shell = Shell(tmp_path, json.loads(await process.stdout.readline()))
    push = ("push", "--caller", CALLER, "--receiver", receiver(1))
    codes = [(await shell.run(*push)).code for _ in range(2)]
    process.send_signal(SIGTERM)
    ended = await finished(process)
    assert codes[0] != 0
    assert codes[1] == 0
    assert "2 records applied" in ended.stderr
    begins = "Sandbox: 3 requests reached the API, 1 was met by a fault, 0 of them never reached it, 1 token minted"
    assert ended.stderr.startswith(begins)


async def test_requests_hidden_from_the_api_by_faults_are_reported_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"faults": [{"call": "*", "do": ["429:date+5"]}]}')
    process = await Shell(tmp_path, {}).start("sandbox", "--port", "0", "--faults", "plan.json", "--json")
    assert process.stdout is not None
    variables = json.loads(await process.stdout.readline())
    async with aiohttp.ClientSession(variables["TRUECALLER_BASE_URL"]) as http:
        for _ in range(2):
            async with http.get("/clients/any/labels") as answer:
                assert answer.status == 429
    process.send_signal(SIGTERM)
    ended = await finished(process)
    begins = "Sandbox: 0 requests reached the API, 2 were met by a fault, 2 of them never reached it, 0 tokens minted"
    assert ended.stderr.startswith(begins)


async def test_endless_file_is_no_fault_plan(tmp_path: Path) -> None:
    async with asyncio.timeout(30):
        ended = await Shell(tmp_path, {}).run("sandbox", "--port", "0", "--faults", "/dev/zero")
    assert (ended.code, ended.stdout) == (2, "")
    assert "larger than 4 MiB" in " ".join(ended.stderr.split())


@pytest.mark.parametrize("over", [0, 1])
def test_fault_plan_is_read_up_to_four_mebibytes(over: int, tmp_path: Path) -> None:
    plan = b'{"faults": []}'
    (tmp_path / "plan.json").write_bytes(plan + b" " * (PLAN_MAX_BYTES - len(plan) + over))
    if over:
        with pytest.raises(click.BadParameter, match="larger than 4 MiB"):
            fault_plan(str(tmp_path / "plan.json"))
    else:
        assert fault_plan(str(tmp_path / "plan.json")).faults == ()


@pytest.mark.parametrize(
    ("plan", "code", "message"),
    [
        (
            '{"faults": [{"call": "push", "do": ["rest"]}]}',
            3,
            "plan.json: the fault plan is invalid: faults[0].do[0] is",
        ),
        ("{", 3, "plan.json: the fault plan is invalid"),
        (None, 2, "'plan.json' cannot be read"),
    ],
)
async def test_wrong_fault_plan_is_refused_before_listening(
    tmp_path: Path, plan: str | None, code: int, message: str
) -> None:
    if plan is not None:
        (tmp_path / "plan.json").write_text(plan)
    ended = await Shell(tmp_path, {}).run("sandbox", "--port", "0", "--faults", "plan.json")
    assert (ended.code, ended.stdout) == (code, "")
    assert message in " ".join(ended.stderr.split())


async def test_fault_plan_help_names_every_call_and_every_fault(tmp_path: Path) -> None:
    help_text = (await Shell(tmp_path, {}).run("sandbox", "--help")).stdout
    _, _, help_text = help_text.partition("A fault plan")
    words = set(re.split(r"[\s,;:\"]+", help_text))
    assert [name for name in (*CALLS.values(), *FAULT_RESPONSES) if name not in words] == []


async def test_example_in_the_help_is_a_valid_plan(tmp_path: Path) -> None:
    help_text = (await Shell(tmp_path, {}).run("sandbox", "--help")).stdout
    _, _, help_text = help_text.partition("For example:")
    example, _, _ = help_text.partition("]}]}")
    plan = FaultPlan.parse(example + "]}]}")
    assert [fault.do for fault in plan.faults] == [
        ("apply", "reset"),
        ("429:120",),
        ("apply", "delay:2", "answer"),
        ("503",),
    ]


async def test_port_in_use_exits_3_with_a_message(sandbox: Sandbox, tmp_path: Path) -> None:
    port = sandbox.base_url.rpartition(":")[2]
    second = await Shell(tmp_path, {}).run("sandbox", "--port", port)
    assert (second.code, second.stdout) == (3, "")
    assert f"port {port}" in second.stderr
    assert "--port" in second.stderr
    async with aiohttp.ClientSession() as http, http.get(f"{sandbox.base_url}/_sandbox/stats") as answer:
        assert answer.status == 200
