"""`truecaller token status`: shows the content of the state file without changing it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest

from truecaller_async.cli.commands.token import mint_limit_text, next_mint_at
from truecaller_async.models.tokens import TokenStatus
from truecaller_async.sandbox import Sandbox

from .shell import Shell

NOW = datetime(2025, 10, 9, 8, 53, 20, tzinfo=UTC)
FRESH = TokenStatus((), 0, 10, 1800.0, 0.0)


async def test_no_stored_token_is_reported_without_request_or_file(shell: Shell, sandbox: Sandbox) -> None:
    result = await shell.call("token", "status")
    assert result.code == 0
    assert "There is no live token" in result.stdout
    assert sandbox.stats().requests == {}
    assert not (shell.folder / "state").exists()


async def test_token_of_an_earlier_command_is_shown_and_not_claimed(shell: Shell, sandbox: Sandbox) -> None:
    await shell.call("labels", "list")
    for _ in range(2):
        result = await shell.call("token", "status", TRUECALLER_LIMITS=None)
        header, row, _, closing = result.stdout.splitlines()
        assert header.split() == ["token", "age", "expires", "in", "in", "use", "by"]
        assert row.split()[-1] == "process"
        assert closing == "1 of 10 tokens minted in the last 30 min; the next one may be minted now."
    assert sandbox.stats().mints == 1


async def test_token_status_works_with_a_wrong_key(shell: Shell, sandbox: Sandbox) -> None:
    result = await shell.call("token", "status", TRUECALLER_API_KEY="invented-and-wrong")
    assert result.code == 0
    assert sandbox.stats().requests == {}


async def test_json_has_the_same_fields_and_no_secret(shell: Shell, sandbox: Sandbox) -> None:
    await shell.call("labels", "list")
    result = await shell.call("token", "status", "--json", TRUECALLER_LIMITS=None)
    found = json.loads(result.stdout)
    assert found.keys() == {"tokens", "mints", "mint_limit", "mint_window", "next_mint_in", "next_mint_at"}
    (token,) = found["tokens"]
    assert token.keys() == {"token_id", "age", "expires_in", "used_by"}
    assert (found["mints"], found["mint_limit"], token["used_by"]) == (1, 10, "none")
    assert sandbox.settings.api_key.reveal() not in result.stdout


async def test_state_file_readable_by_others_exits_3(shell: Shell) -> None:
    await shell.call("labels", "list")
    state = shell.folder / "state" / "truecaller" / "state.db"
    _let_others_read(state)
    result = await shell.call("token", "status")
    assert result.code == 3
    assert "Run chmod 600" in result.stderr


def _let_others_read(path: Path) -> None:
    path.chmod(0o644)


def test_spent_mint_budget_reports_the_next_mint_time() -> None:
    spent = attrs.evolve(FRESH, mints=10, next_mint_in=95.0)
    at = (NOW + timedelta(seconds=95)).astimezone()
    assert mint_limit_text(spent, NOW) == (
        f"10 of 10 tokens minted in the last 30 min; the next one may be minted at {at:%H:%M:%S}, in 1 min 35 s."
    )
    assert next_mint_at(spent, NOW) == NOW + timedelta(seconds=95)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (FRESH, "0 of 10 tokens minted in the last 30 min; the next one may be minted now."),
        (TokenStatus((), 0, None, None, 0.0), "Minting is not limited; the next one may be minted now."),
    ],
)
def test_free_mint_budget_reports_now(status: TokenStatus, text: str) -> None:
    assert mint_limit_text(status, NOW) == text
