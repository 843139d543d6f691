from __future__ import annotations

import stat
from pathlib import Path

import pytest

from truecaller_async import ConfigError
from truecaller_async.cli.account_options import VERSIONS, AccountOptions, default_state
from truecaller_async.protocol.versions.registry import VERSIONS as OURS
from truecaller_async.sandbox import Sandbox, SandboxSettings

from .shell import CALLER, REASON, Shell, receiver

ACCOUNT = {
    "TRUECALLER_CLIENT_ACCOUNT_ID": SandboxSettings().client_account_id,
    "TRUECALLER_KEY_ID": "key",
    "TRUECALLER_API_KEY": "invented",
    "TRUECALLER_STATE": "memory:",
}


def batch_limit(connection: AccountOptions, **variables: str) -> tuple[int, float]:
    pool = connection.client({**ACCOUNT, **variables})._shared.pool
    rule = pool.limits.named("batch")
    assert rule is not None
    return rule.limit, rule.per


def test_limit_options_override_environment_and_documented_defaults() -> None:
    assert batch_limit(AccountOptions()) == (60, 60.0)
    assert batch_limit(AccountOptions(), TRUECALLER_LIMITS="batch=30/60") == (30, 60.0)
    options = AccountOptions(limits=("token=10/1", "batch=5/1"))
    assert batch_limit(options, TRUECALLER_LIMITS="batch=30/60") == (5, 1.0)


def test_tokens_and_version_override_the_environment() -> None:
    client = AccountOptions(tokens=3, api_version="v3").client({**ACCOUNT, "TRUECALLER_MAX_TOKENS": "7"})
    assert client._shared.pool.max_tokens == 3
    assert "v3" in repr(client)


def test_selectable_versions_are_the_supported_versions() -> None:
    assert set(VERSIONS) == OURS.keys()


def test_wrong_number_of_tokens_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="max_tokens"):
        AccountOptions(tokens=0).client(ACCOUNT)


def test_invalid_state_path_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        AccountOptions(state="nowhere").client(ACCOUNT)


def test_default_state_file_is_in_the_user_state_folder(tmp_path: Path) -> None:
    assert default_state({"XDG_STATE_HOME": str(tmp_path)}) == f"sqlite:///{tmp_path}/truecaller/state.db"
    home = f"sqlite:///{Path.home()}/.local/state/truecaller/state.db"
    assert default_state({}) == home
    assert default_state({"XDG_STATE_HOME": "not/absolute"}) == home


async def test_tokens_are_kept_in_a_file_only_its_owner_can_read(shell: Shell, sandbox: Sandbox) -> None:
    for number in range(3):
        pushed = await shell.run("push", "--caller", CALLER, "--receiver", receiver(number), "--reason", REASON)
        assert pushed.code == 0
    state = shell.folder / "state" / "truecaller" / "state.db"
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert sandbox.stats().mints == 1


async def test_in_memory_state_creates_no_file(shell: Shell) -> None:
    line = ("push", "--caller", CALLER, "--receiver", receiver(1), "--state", "memory:")
    assert (await shell.run(*line)).code == 0
    assert not (shell.folder / "state").exists()
