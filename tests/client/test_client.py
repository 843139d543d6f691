"""The client: wrong settings, secrets, and the close."""

from __future__ import annotations

import copy
import logging
import pickle
import ssl
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.resources.script import PUSHED, REFUSED_TOKEN, client_of, playing, record, throttled
from tests.virtual import run_virtual
from truecaller_async import NO_RETRY, CallRecord, ClientClosed, ConfigError, Limits, Secret, Timeouts, TruecallerClient

ACCOUNT = "00000000-0000-4000-8000-000000000001"
CANARY = "c4n4ry-0f-4-k3y"
GOOD: dict[str, Any] = {"client_account_id": ACCOUNT, "key_id": "the-key-id", "api_key": CANARY}
ENVIRON = {
    "TRUECALLER_CLIENT_ACCOUNT_ID": ACCOUNT,
    "TRUECALLER_KEY_ID": "the-key-id",
    "TRUECALLER_API_KEY": CANARY,
}


def client_with(**settings: Any) -> TruecallerClient:
    return TruecallerClient(**{**GOOD, **settings})


def crash_report(error: BaseException) -> str:
    """Return what a crash reporter would collect from frames of the package: messages and local variables."""
    collected = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [frame for frame in collected.stack if "truecaller_async" in frame.filename]
    return f"{collected} {[(frame.name, frame.locals) for frame in frames]}"


@pytest.mark.parametrize(
    "settings",
    [
        {"client_account_id": "not-a-uuid"},
        {"client_account_id": None},
        {"key_id": ""},
        {"key_id": 5},
        {"api_key": ""},
        {"api_key": None},
        {"api_key": f"{CANARY}\r\nX-Evil: 1"},
        {"base_url": "http://api.example"},
        {"base_url": "http://127.0.0.1.evil.example"},
        {"base_url": "ftp://api.example"},
        {"base_url": "api.example"},
        {"base_url": f"https://user:{CANARY}@api.example"},
        {"base_url": f"https://api.example/?key={CANARY}"},
        {"base_url": "http://[::1"},
        {"base_url": None},
        {"api_version": "v4"},
        {"api_version": ""},
        {"max_tokens": 0},
        {"max_tokens": 21},
        {"max_tokens": True},
        {"max_tokens": 2.0},
        {"state": ""},
        {"state": "sqlite:///"},
        {"state": "state.db"},
        {"state": f"redis://:{CANARY}@cache.example/0"},
        {"state": None},
        {"proxy": f"nonsense://user:{CANARY}@proxy.example"},
        {"ssl": False},
        {"user_agent": "mine\r\nX-Evil: 1"},
    ],
)
def test_wrong_setting_is_refused_before_anything_is_opened(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        client_with(**settings)
    assert CANARY not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "settings",
    [
        {"base_url": "http://127.0.0.1:8080"},
        {"base_url": "http://localhost:8080/under/a/path/"},
        {"base_url": "http://[::1]:8080"},
        {"base_url": "https://api.example"},
        {"api_key": Secret(CANARY)},
        {"api_version": "v1"},
        {"api_version": "v3"},
        {"max_tokens": 20},
        {"state": "sqlite:///some/where/state.db"},
        {"ssl": ssl.create_default_context()},
    ],
)
def test_client_is_created_without_a_loop_or_io(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    client_with(**settings)
    assert list(tmp_path.iterdir()) == []


def test_no_form_of_a_client_shows_the_key() -> None:
    client = client_with()
    parts = [client, client.calls, client.batches, client._settings, client._shared]
    shown = [f"{part!r} {part} {getattr(part, '__dict__', '')}" for part in parts]
    assert CANARY not in "".join(shown)
    assert repr(client) == f"<TruecallerClient {ACCOUNT} v2>"


@pytest.mark.parametrize("copier", [pickle.dumps, copy.deepcopy])
def test_client_is_not_pickled(copier: Any) -> None:
    with pytest.raises(TypeError) as refused:
        copier(client_with())
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("settings", [{"api_version": "v4"}, {"client_account_id": "no"}, {"state": "no"}])
def test_traceback_of_a_refusal_does_not_contain_the_key(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        client_with(**settings)
    assert CANARY not in crash_report(refused.value)


def test_plain_with_raises_with_advice() -> None:
    with pytest.raises(TypeError, match="async with"), client_with():
        pass


def test_environment_names_every_setting() -> None:
    client = TruecallerClient.from_env(
        {
            **ENVIRON,
            "TRUECALLER_BASE_URL": "http://127.0.0.1:9",
            "TRUECALLER_API_VERSION": "v3",
            "TRUECALLER_LIMITS": "batch=120/60",
            "TRUECALLER_MAX_TOKENS": "3",
            "TRUECALLER_STATE": "",
        }
    )
    assert repr(client) == f"<TruecallerClient {ACCOUNT} v3>"
    assert client._shared.pool.max_tokens == 3
    assert client._shared.pool.limits == Limits.documented().replace(batch=(120, 60.0))


def test_process_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    assert ACCOUNT in repr(TruecallerClient.from_env())


def test_each_credential_may_come_from_a_file(tmp_path: Path) -> None:
    environ = {}
    for name, value in ENVIRON.items():
        file = tmp_path / name
        file.write_text(f"{value}\n", encoding="utf-8")
        environ[f"{name}_FILE"] = str(file)
    client = TruecallerClient.from_env(environ)
    assert client._settings.credentials.api_key.reveal() == CANARY
    assert repr(client) == f"<TruecallerClient {ACCOUNT} v2>"


def test_variable_wins_over_its_file(tmp_path: Path) -> None:
    client = TruecallerClient.from_env({**ENVIRON, "TRUECALLER_API_KEY_FILE": str(tmp_path / "none")})
    assert client._settings.credentials.api_key.reveal() == CANARY


@pytest.mark.parametrize(("content", "reason"), [(None, "cannot be read"), (b"", "empty"), (b"\xff\xfe", "not UTF-8")])
def test_file_without_a_credential_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    environ = {**ENVIRON, "TRUECALLER_API_KEY": "", "TRUECALLER_API_KEY_FILE": str(file)}
    with pytest.raises(ConfigError, match=f"TRUECALLER_API_KEY_FILE names .*{reason}"):
        TruecallerClient.from_env(environ)


@pytest.mark.parametrize("missing", ENVIRON)
def test_missing_variable_is_named_with_its_file_form(missing: str) -> None:
    environ = {name: value for name, value in ENVIRON.items() if name != missing}
    with pytest.raises(ConfigError, match=f"{missing} is not set; set it, or {missing}_FILE"):
        TruecallerClient.from_env(environ)


def test_missing_variables_are_reported_together() -> None:
    with pytest.raises(ConfigError) as refused:
        TruecallerClient.from_env({})
    assert all(name in str(refused.value) for name in ENVIRON)


@pytest.mark.parametrize(
    "wrong",
    [
        {"TRUECALLER_MAX_TOKENS": "many"},
        {"TRUECALLER_MAX_TOKENS": "9" * 5000},
        {"TRUECALLER_MAX_TOKENS": "\u0663"},
        {"TRUECALLER_LIMITS": "batch"},
        {"TRUECALLER_API_VERSION": "v9"},
        {"TRUECALLER_BASE_URL": "http://api.example"},
    ],
)
def test_wrong_variable_is_refused_with_a_short_message(wrong: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError) as refused:
        TruecallerClient.from_env({**ENVIRON, **wrong})
    assert len(str(refused.value)) < 300


def test_argument_wins_over_the_environment_and_needs_no_variable() -> None:
    client = TruecallerClient.from_env(
        {"TRUECALLER_MAX_TOKENS": "many", "TRUECALLER_KEY_ID": "the-key-id"},
        client_account_id=ACCOUNT,
        api_key=CANARY,
        max_tokens=4,
    )
    assert client._shared.pool.max_tokens == 4


def fresh_record() -> CallRecord:
    """Make a record that is valid by the system's clock."""
    start = datetime.now(UTC)
    return CallRecord("910000000001", "919900000007", start, start + timedelta(hours=1))


async def test_second_close_does_nothing_and_closed_client_raises() -> None:
    client = client_with(base_url="http://127.0.0.1:9")
    await client.aclose()
    await client.aclose()
    calls = (client.calls.push(fresh_record()), client.batches.submit([fresh_record()]), client.batches.status("b-1"))
    for call in calls:
        with pytest.raises(ClientClosed):
            await call


async def test_session_of_the_caller_is_used_and_not_closed() -> None:
    async with aiohttp.ClientSession() as session:
        async with client_with(session=session):
            pass
        assert not session.closed


def test_copy_shares_tokens_limits_and_close() -> None:
    async def scene() -> None:
        script = playing(PUSHED)
        client = client_of(script)
        copied = client.with_options(retry=NO_RETRY, timeouts=Timeouts(read=60.0))
        await client.calls.push(record())
        await copied.calls.push(record())
        assert script.tokens == ["token-1", "token-1"]
        assert (copied._settings.retry, copied._settings.timeouts.read) == (NO_RETRY, 60.0)
        assert client._settings.retry is not NO_RETRY
        await copied.aclose()
        assert script.closed
        with pytest.raises(ClientClosed):
            await client.calls.push(record())

    run_virtual(scene)


def test_copy_of_an_unknown_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="v9"):
        client_with().with_options(api_version="v9")


def test_session_is_closed_even_if_tokens_cannot_be_released() -> None:
    async def scene() -> None:
        script = playing(PUSHED)
        client = client_of(script)

        async def broken() -> None:
            raise ConfigError("the disk is full")

        client._shared.pool.aclose = broken  # type: ignore[method-assign]
        with pytest.raises(ConfigError):
            await client.aclose()
        assert script.closed

    run_virtual(scene)


def test_neither_key_nor_token_nor_number_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        script = playing(PUSHED, REFUSED_TOKEN, throttled(1), PUSHED)
        async with client_of(script) as client:
            await client.calls.push(record())
            await client.calls.push(record())

    with caplog.at_level(logging.DEBUG):
        run_virtual(scene)
    logged = "".join(f"{line.getMessage()} {line.__dict__}" for line in caplog.records)
    assert "token.minted" in logged
    for hidden in ("token-1", "token-2", "the-api-key", record().receiver):
        assert hidden not in logged


def test_observer_that_raises_changes_nothing() -> None:
    class Broken:
        def request(self, *_: object) -> None:
            raise ValueError("any")

        def event(self, *_: object) -> None:
            raise ValueError("any")

    async def scene() -> None:
        script = playing(PUSHED)
        async with client_of(script, observer=Broken()) as client:
            assert (await client.calls.push(record())).status == "success"

    run_virtual(scene)
