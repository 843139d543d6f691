"""The settings of the client, and all of its calls against the sandbox over a socket."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import attrs
import pytest

from truecaller_async.errors import AuthenticationFailed, BadRequest, ConfigError, Forbidden, NotFound
from truecaller_async.models import Secret
from truecaller_async.options import Limits, RateLimit
from truecaller_async.sandbox import Sandbox, SandboxSettings, TrustCallerSettings
from truecaller_async.trustcaller import TrustCallerClient
from truecaller_async.trustcaller.requests import check_request
from truecaller_async.trustcaller.responses import decode_check

from .scripted_client import TOKEN

HIGH_LIMITS = Limits((RateLimit("trustcaller", 1_000_000, 1.0),))
HIGH_SANDBOX_LIMIT = SandboxSettings(trustcaller=TrustCallerSettings(limit=1_000_000))


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start(HIGH_SANDBOX_LIMIT) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[TrustCallerClient]:
    async with TrustCallerClient.from_env(sandbox.environment(), limits=HIGH_LIMITS) as client:
        yield client


async def test_reserved_numbers_come_by_page_and_one_by_one(client: TrustCallerClient) -> None:
    page = await client.numbers.list(per_page=10)
    assert (len(page.items), page.page, page.total_pages) == (10, 1, 3)
    found = [number async for number in client.numbers.list(per_page=10)]
    assert len(found) == len({number.id for number in found}) == 25
    assert found[0].number == "120000486562997"


async def test_test_numbers_come_by_prefix(client: TrustCallerClient) -> None:
    assert len([number async for number in client.test_numbers.list()]) > 1
    page = await client.test_numbers.list(prefix="8613")
    assert [number.test_number for number in page.items] == ["8613912345678"]


async def test_calls_come_newest_first_and_within_their_days(client: TrustCallerClient) -> None:
    from_date, to_date = date(2026, 5, 5), date(2026, 5, 10)
    found = [call async for call in client.calls.list(from_date=from_date, to_date=to_date, per_page=4)]
    starts = [call.start_at for call in found if call.start_at is not None]
    assert len(starts) > 8
    assert starts == sorted(starts, reverse=True)
    assert all(from_date <= start.date() <= to_date for start in starts)
    assert all(call.caller_id is not None and call.caller_id.endswith("XXX") for call in found)


async def test_one_call_and_the_live_check(client: TrustCallerClient) -> None:
    assert (await client.calls.get(98765)).call_unique_id == "abc123-xyz789"
    with pytest.raises(NotFound):
        await client.calls.get(1)
    assert await client.calls.check("+120000486562997") is True
    assert await client.calls.check("447900000123") is False


async def test_key_life_cycle_from_creation_to_revocation(client: TrustCallerClient, sandbox: Sandbox) -> None:
    new = await client.keys.create("Production server")
    other = TrustCallerClient(
        token=new.token, base_url=sandbox.environment()["TRUSTCALLER_BASE_URL"], limits=HIGH_LIMITS
    )
    async with other:
        assert len((await other.numbers.list()).items) == 25
        assert {key.id for key in (await client.keys.list()).items} == {6, new.id}
        await client.keys.revoke(new.id)
        with pytest.raises(AuthenticationFailed):
            await other.numbers.list()
    with pytest.raises(NotFound):
        await client.keys.revoke(new.id)


async def test_missing_permission_is_forbidden() -> None:
    settings = SandboxSettings(trustcaller=TrustCallerSettings(permissions=frozenset({"api_access"})))
    async with await Sandbox.start(settings) as sandbox, TrustCallerClient.from_env(sandbox.environment()) as client:
        assert (await client.numbers.list()).items
        for call in (client.keys.create("n"), client.keys.list(), client.keys.revoke(6)):
            with pytest.raises(Forbidden):
                await call


async def test_refused_argument_comes_with_its_field(client: TrustCallerClient) -> None:
    request = attrs.evolve(check_request("1"), path="/calls/check")
    with pytest.raises(BadRequest) as caught:
        await client._requester.call(request, decode_check)
    assert (caught.value.status, caught.value.field) == (422, "number")


def test_token_may_be_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    client = TrustCallerClient.from_env({"TRUSTCALLER_TOKEN_FILE": str(path)})
    assert client._requester._settings.token == Secret(TOKEN)


def test_argument_wins_over_the_environment() -> None:
    client = TrustCallerClient.from_env({"TRUSTCALLER_TOKEN": "1|other"}, token=TOKEN)
    assert client._requester._settings.token == Secret(TOKEN)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({}, "TRUSTCALLER_TOKEN is not set"),
        ({"TRUSTCALLER_TOKEN_FILE": "nowhere/at/all"}, "nowhere/at/all"),
        ({"TRUSTCALLER_TOKEN": "two words"}, "without spaces"),
        ({"TRUSTCALLER_TOKEN": TOKEN, "TRUSTCALLER_BASE_URL": "http://trustcaller.example"}, "plain http"),
    ],
)
def test_wrong_environment_variable_is_named(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        TrustCallerClient.from_env(environ)
    assert "two words" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [{"token": ""}, {"token": 7}, {"token": TOKEN, "limits": 60}, {"token": TOKEN, "retry": 3}, {"token": "a\nb"}],
    ids=str,
)
def test_wrong_setting_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TrustCallerClient(**settings)


def test_refused_token_is_in_no_traceback_frame() -> None:
    with pytest.raises(ConfigError) as caught:
        TrustCallerClient(token="6|k3y-with a space")
    collected = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "k3y" not in " ".join(str(frame.locals) for frame in collected.stack if "truecaller_async" in frame.filename)


def test_client_shows_no_token_and_does_not_pickle() -> None:
    client = TrustCallerClient(token=TOKEN)
    assert TOKEN not in repr(client) + repr(vars(client)) + repr(client._requester._settings)
    with pytest.raises(TypeError, match="from_env"):
        pickle.dumps(client)


def test_plain_with_recommends_async_with() -> None:
    with pytest.raises(TypeError, match="async with"), TrustCallerClient(token=TOKEN):
        pass


async def test_unclosed_used_client_warns(sandbox: Sandbox) -> None:
    clients = [TrustCallerClient.from_env(sandbox.environment())]
    await clients[0].keys.list()
    transport = clients[0]._requester._transport
    with pytest.warns(ResourceWarning, match="never closed"):
        clients.clear()
    await transport.aclose()
