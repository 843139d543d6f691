"""`truecaller doctor`, with a sandbox and with wrong settings."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from truecaller_async.cli.doctor.checks import CheckResult
from truecaller_async.cli.doctor.output import closing_sentence, result_lines
from truecaller_async.sandbox import FaultPlan, Sandbox, SandboxSettings

from .shell import Finished, Shell

ALL = ["configuration", "name", "proxy", "connection", "service", "credentials", "labels"]


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener.getsockname()[1]


def checks(result: Finished) -> dict[str, Any]:
    """Return the checks of the JSON output, by name."""
    report = json.loads(result.stdout)
    assert report["exit_code"] == result.code
    assert [check["check"] for check in report["checks"]] == ALL
    return {check["check"]: check for check in report["checks"]}


def statuses(result: Finished) -> list[str]:
    return [check["status"] for check in checks(result).values()]


async def test_healthy_setup_passes_every_check_and_mints_one_token(shell: Shell, sandbox: Sandbox) -> None:
    result = await shell.call("doctor")
    assert result.code == 0
    *lines, blank, last = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", name] for name in ALL]
    assert (blank, last) == ("", "All checks passed.")
    assert f"{len(sandbox.settings.labels)} dynamic labels" in lines[-1]
    assert sandbox.stats().mints == 1


async def test_doctor_never_shows_a_credential(shell: Shell, sandbox: Sandbox) -> None:
    settings = sandbox.settings
    result = [await shell.call("doctor", "--json"), await shell.call("doctor", TRUECALLER_API_KEY="invented-and-wrong")]
    for secret in (settings.api_key.reveal(), settings.key_id, "invented-and-wrong"):
        assert not [one for one in result if secret in one.stdout + one.stderr]


async def test_stored_token_is_used_again_and_mint_tries_the_key(shell: Shell, sandbox: Sandbox) -> None:
    await shell.call("doctor")
    again = checks(await shell.call("doctor", "--json"))
    assert "the key itself was not tested" in again["credentials"]["message"]
    assert sandbox.stats().mints == 1
    tried = checks(await shell.call("doctor", "--json", "--mint"))
    assert "the key was accepted" in tried["credentials"]["message"]
    assert sandbox.stats().mints == 2


async def test_stored_token_that_was_revoked_is_replaced(shell: Shell, sandbox: Sandbox) -> None:
    await shell.call("doctor")
    sandbox.reset()
    result = await shell.call("doctor", "--json")
    assert (result.code, statuses(result)) == (0, ["ok"] * 7)


async def test_wrong_key_exits_3_and_skips_labels(shell: Shell) -> None:
    result = await shell.call("doctor", "--json", TRUECALLER_API_KEY="invented-and-wrong")
    assert (result.code, statuses(result)) == (3, ["ok"] * 5 + ["fail", "skipped"])
    assert "TRUECALLER_API_KEY" in checks(result)["credentials"]["advice"]


async def test_missing_credentials_do_not_skip_the_network_checks(shell: Shell) -> None:
    result = await shell.call("doctor", "--json", TRUECALLER_KEY_ID=None, TRUECALLER_API_KEY=None)
    assert (result.code, statuses(result)) == (3, ["fail", "ok", "ok", "ok", "ok", "skipped", "skipped"])
    assert checks(result)["configuration"]["message"] == "TRUECALLER_KEY_ID and TRUECALLER_API_KEY are not set"


async def test_credentials_may_come_from_files(shell: Shell, sandbox: Sandbox) -> None:
    path = shell.file("key", sandbox.settings.api_key.reveal() + "\n")
    result = await shell.call("doctor", "--json", TRUECALLER_API_KEY=None, TRUECALLER_API_KEY_FILE=path)
    assert result.code == 0
    assert "TRUECALLER_API_KEY_FILE" in checks(result)["configuration"]["message"]


async def test_server_that_does_not_listen_exits_7(shell: Shell, closed_port: int) -> None:
    result = await shell.call("doctor", "--json", TRUECALLER_BASE_URL=f"http://127.0.0.1:{closed_port}")
    assert (result.code, statuses(result)) == (7, ["ok"] * 3 + ["fail"] + ["skipped"] * 3)
    assert checks(result)["service"]["message"] == "not checked, because the check 'connection' failed"


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ({"call": "token", "do": ["429:600"]}, 6),
        ({"call": "labels", "do": ["404"]}, 5),
        ({"call": "labels", "do": ["503"]}, 7),
        ({"call": "token", "do": ["401"]}, 3),
    ],
)
async def test_first_failure_decides_the_exit_code_and_help_lists_it(
    fault: dict[str, object], code: int, tmp_path: Path
) -> None:
    plan = FaultPlan.parse(json.dumps({"faults": [fault]}))
    async with await Sandbox.start(SandboxSettings(faults=plan)) as sandbox:
        result = await Shell(tmp_path, sandbox.environment()).call("doctor", "--json")
        help_text = (await Shell(tmp_path, {}).call("doctor", "--help")).stdout
    assert (result.code, statuses(result).count("fail")) == (code, 1)
    assert f"with {code} " in " ".join(help_text.split())


@pytest.mark.parametrize("ending", ["503", "reset"])
async def test_failed_read_is_retryable_and_has_no_side_effect_to_check(ending: str, tmp_path: Path) -> None:
    plan = FaultPlan.parse(json.dumps({"faults": [{"call": "labels", "do": [ending]}]}))
    async with await Sandbox.start(SandboxSettings(faults=plan)) as sandbox:
        result = await Shell(tmp_path, sandbox.environment()).call("doctor", "--json")
    assert checks(result)["labels"]["advice"] == "Try again later."


async def test_own_figures_are_not_masked_as_phone_numbers(tmp_path: Path) -> None:
    plan = FaultPlan.parse('{"faults": [{"call": "labels", "do": ["huge"]}]}')
    async with await Sandbox.start(SandboxSettings(faults=plan)) as sandbox:
        result = await Shell(tmp_path, sandbox.environment()).call("doctor", "--json")
    assert "answer larger than 8 MiB" in checks(result)["labels"]["message"]


async def test_plain_http_server_on_https_url_exits_7(shell: Shell, sandbox: Sandbox) -> None:
    result = await shell.call("doctor", "--json", TRUECALLER_BASE_URL=sandbox.base_url.replace("http:", "https:"))
    assert result.code == 7
    assert "TLS handshake failed" in checks(result)["connection"]["message"]


async def test_invalid_base_url_exits_3(shell: Shell) -> None:
    result = await shell.call("doctor", "--json", TRUECALLER_BASE_URL="api.example")
    assert (result.code, statuses(result)) == (3, ["fail", "fail"] + ["skipped"] * 5)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("TRUECALLER_CLIENT_ACCOUNT_ID", "not-a-uuid", "client_account_id"),
        ("TRUECALLER_LIMITS", "nonsense", "limit"),
        ("TRUECALLER_STATE", "nowhere", "state"),
        ("TRUECALLER_MAX_TOKENS", "many", "TRUECALLER_MAX_TOKENS"),
        ("TRUECALLER_API_VERSION", "v9", "api_version"),
    ],
)
async def test_wrong_setting_exits_3_and_is_named(name: str, value: str, message: str, shell: Shell) -> None:
    result = await shell.call("doctor", "--json", **{name: value})
    assert (result.code, statuses(result)[:2]) == (3, ["fail", "ok"])
    assert message in checks(result)["configuration"]["message"]


async def test_unusable_state_file_exits_3_and_creates_nothing(shell: Shell, sandbox: Sandbox) -> None:
    path = shell.file("state.db", "this is no database\n" * 100)
    (shell.folder / "state.db").chmod(0o600)
    result = await shell.call("doctor", "--json", "--state", f"sqlite:///{path}")
    assert (result.code, statuses(result)[-2:]) == (3, ["skipped", "skipped"])
    assert "cannot be used" in checks(result)["configuration"]["message"]
    assert sandbox.stats().mints == 0


async def test_misspelled_variable_is_a_warning(shell: Shell) -> None:
    result = await shell.call("doctor", TRUECALLER_APIKEY="x")
    assert result.code == 0
    assert "TRUECALLER_APIKEY" in result.stdout
    assert result.stdout.splitlines()[-1] == "All checks passed, with 1 warning."


LONG = CheckResult("connection", "fail", "one two three " * 20, "four five six " * 20)


def test_terminal_lines_are_wrapped_under_their_text() -> None:
    lines = result_lines(LONG, 80)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("fail     connection     one two")
    assert all(line.startswith(" " * 24) for line in lines[1:])
    assert sum("->" in line for line in lines) == 1


def test_piped_output_has_one_line_per_check_and_advice() -> None:
    assert len(result_lines(LONG, 100_000)) == 2


def test_last_line_names_what_failed() -> None:
    assert closing_sentence([LONG, CheckResult("labels", "ok", "")]) == "1 check failed: connection."
