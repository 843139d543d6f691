"""The sandbox on a real socket, with a clock that the test controls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from io import BytesIO
from typing import Any

import aiohttp
import msgspec
import pytest

from truecaller_async.options import Limits
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxResponse, SandboxSettings, SandboxState

from .driver import NOW, record


class ManualClock:
    """Wall clock that changes only if the test sets it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def sandbox(clock: ManualClock) -> AsyncIterator[Sandbox]:
    async with await Sandbox.start(clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sandbox.base_url) as session:
        yield session


async def logged_in(http: aiohttp.ClientSession, variables: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the path of the account and the header of a new token, using only the environment variables."""
    account = f"/clients/{variables['TRUECALLER_CLIENT_ACCOUNT_ID']}"
    login = {"key_id": variables["TRUECALLER_KEY_ID"], "api_key": variables["TRUECALLER_API_KEY"]}
    async with http.post(f"{account}/token", json=login) as answer:
        assert answer.status == 200
        return account, {"Authorization": f"Bearer {(await answer.json())['token']}"}


async def test_batch_completes_over_the_socket(
    sandbox: Sandbox, http: aiohttp.ClientSession, clock: ManualClock
) -> None:
    account, headers = await logged_in(http, sandbox.environment())
    path = f"/v2{account}/dynamic_call_records"
    async with http.post(path, json={"call_records": [record()] * 3}, headers=headers) as answer:
        assert answer.status == 200
        batch_id = (await answer.json())["batch_id"]
    statuses = []
    for moment in (0, 2):
        clock.now = NOW + moment
        async with http.get(path, params={"batchId": batch_id}, headers=headers) as answer:
            statuses.append({row["status_info"]["status"] for row in (await answer.json())["data"]})
    assert statuses == [{"pending"}, {"success"}]


async def test_refusal_carries_retry_after_over_the_socket(clock: ManualClock) -> None:
    settings = SandboxSettings(limits=Limits.documented().replace(batch=(1, 60.0)))
    async with (
        await Sandbox.start(settings, clock=clock) as sandbox,
        aiohttp.ClientSession(sandbox.base_url) as http,
    ):
        account, headers = await logged_in(http, sandbox.environment())
        path = f"/v2{account}/dynamic_call_records"
        for status in (200, 429):
            async with http.post(path, json={"call_records": [record()]}, headers=headers) as answer:
                assert answer.status == status
        assert answer.headers["Retry-After"] == "60"


async def test_environment_names_all_that_a_client_needs(sandbox: Sandbox) -> None:
    variables = sandbox.environment()
    assert variables == {
        "TRUECALLER_CLIENT_ACCOUNT_ID": sandbox.settings.client_account_id,
        "TRUECALLER_KEY_ID": sandbox.settings.key_id,
        "TRUECALLER_API_KEY": sandbox.settings.api_key.reveal(),
        "TRUECALLER_BASE_URL": sandbox.base_url,
        "TRUECALLER_LIMITS": "token=100/1,batch=60/60,mint=10/1800",
        "TRUSTCALLER_TOKEN": sandbox.settings.trustcaller.token.reveal(),
        "TRUSTCALLER_BASE_URL": f"{sandbox.base_url}/trustcaller/api/v1",
    }
    assert sandbox.base_url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("speed", sorted(SPEEDS))
async def test_limits_in_the_environment_round_trip(speed: str) -> None:
    async with await Sandbox.start(SandboxSettings(limits=SPEEDS[speed])) as sandbox:
        figures = sandbox.environment()["TRUECALLER_LIMITS"]
    assert Limits.documented().parse(figures) == SPEEDS[speed]


async def test_stats_are_served_as_json(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    await logged_in(http, sandbox.environment())
    async with http.get("/_sandbox/stats") as answer:
        stats = await answer.json()
    assert stats["requests"] == {"mint": {"200": 1}}
    assert msgspec.convert(stats, type(sandbox.stats())) == sandbox.stats()


async def test_truth_is_served_as_json_lines_in_pages(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    account, headers = await logged_in(http, sandbox.environment())
    records = [record(receiver_number=f"91923450000{digit}") for digit in range(5)]
    async with http.post(f"/v2{account}/dynamic_call_records", json={"call_records": records}, headers=headers):
        pass
    async with http.get("/_sandbox/truth", params={"after": 1, "limit": 2}) as answer:
        assert answer.content_type == "application/x-ndjson"
        lines = [msgspec.json.decode(line, type=dict[str, Any]) for line in (await answer.read()).splitlines()]
    assert [line["n"] for line in lines] == [2, 3]
    assert [line["receiver"] for line in lines] == ["919234500001", "919234500002"]


@pytest.mark.parametrize("query", ["after=-1", "limit=many", "after="])
async def test_page_of_the_truth_log_must_be_an_integer(http: aiohttp.ClientSession, query: str) -> None:
    async with http.get(f"/_sandbox/truth?{query}") as answer:
        assert answer.status == 400


async def test_reset_forgets_everything(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    account, headers = await logged_in(http, sandbox.environment())
    async with http.post("/_sandbox/reset") as answer:
        assert answer.status == 200
    assert sandbox.stats().mints == 0
    async with http.get(f"{account}/labels", headers=headers) as answer:
        assert (answer.status, (await answer.json())["message"]) == (401, "please login again")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/", "GET"),
        ("OPTIONS", "/openapi.yaml", "GET"),
        ("DELETE", "/_sandbox/truth", "GET"),
        ("GET", "/_sandbox/reset", "POST"),
    ],
)
async def test_control_paths_report_their_methods(
    http: aiohttp.ClientSession, method: str, path: str, allowed: str
) -> None:
    async with http.request(method, path) as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)
        assert await answer.json() == {"slug": "method-not-allowed", "message": f"this path takes {allowed}"}


async def test_sandbox_on_all_addresses_is_reached_over_the_loopback(clock: ManualClock) -> None:
    async with (
        await Sandbox.start(host="0.0.0.0", clock=clock) as sandbox,  # noqa: S104 - as a container would
        aiohttp.ClientSession(sandbox.base_url) as http,
        http.get("/") as answer,
    ):
        assert answer.status == 200
    assert sandbox.base_url.startswith("http://127.0.0.1:")


async def test_front_page_describes_the_sandbox(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as answer:
        assert answer.content_type == "text/plain"
        assert "sandbox of the Truecaller for Business API" in await answer.text()


async def test_body_over_4_mib_is_refused(sandbox: Sandbox, http: aiohttp.ClientSession) -> None:
    account, headers = await logged_in(http, sandbox.environment())
    path = f"/v2{account}/dynamic_call_records"
    async with http.post(path, data=BytesIO(b" " * (4 * 1024 * 1024 + 1)), headers=headers) as answer:
        assert (answer.status, (await answer.json())["slug"]) == (413, "payload-too-large")
    async with http.post(path, data=BytesIO(b" " * (4 * 1024 * 1024)), headers=headers) as answer:
        assert answer.status == 400


async def test_body_that_cannot_be_unpacked_is_refused(
    sandbox: Sandbox, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    account, headers = await logged_in(http, sandbox.environment())
    headers["Content-Encoding"] = "gzip"
    async with http.post(f"/v2{account}/dynamic_call_records", data=b"no gzip", headers=headers) as answer:
        assert (answer.status, (await answer.json())["slug"]) == (400, "invalid-input")
    assert caplog.records == []


async def test_client_that_disconnects_within_its_body_is_no_server_error(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.base_url.rpartition(":")[2]))
    writer.write(b"POST /clients/x/token HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    await sandbox.aclose()
    assert caplog.records == []


async def test_internal_server_error_is_logged(
    sandbox: Sandbox, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*request: object) -> SandboxResponse:
        raise ZeroDivisionError

    monkeypatch.setattr(SandboxState, "handle", broken)
    async with http.get("/clients/x/labels") as answer:
        assert answer.status == 500
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_link_of_an_export_leads_to_its_file_without_a_token(
    sandbox: Sandbox, http: aiohttp.ClientSession, clock: ManualClock
) -> None:
    account, headers = await logged_in(http, sandbox.environment())
    requested = {"from": "1641015429", "to": "1641551777"}
    async with http.get(f"{account}/openapi/callback-logs/summary", params=requested, headers=headers) as answer:
        link = (await answer.json())["url"]
    assert link.startswith(f"{sandbox.base_url}/_sandbox/exports/")
    async with http.get(link) as answer:
        assert (answer.status, answer.content_type) == (200, "text/csv")
    clock.now = NOW + 600
    async with http.get(link) as answer:
        assert answer.status == 404


async def test_second_close_is_harmless_and_the_port_is_free(clock: ManualClock) -> None:
    first = await Sandbox.start(clock=clock)
    port = int(first.base_url.rpartition(":")[2])
    await first.aclose()
    await first.aclose()
    async with await Sandbox.start(port=port, clock=clock) as second:
        assert second.base_url == first.base_url


async def test_port_in_use_is_an_os_error(sandbox: Sandbox) -> None:
    with pytest.raises(OSError, match="address already in use"):
        await Sandbox.start(port=int(sandbox.base_url.rpartition(":")[2]))


async def test_no_request_is_logged(
    sandbox: Sandbox, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        account, headers = await logged_in(http, sandbox.environment())
        async with http.post(f"/v2{account}/dynamic_call_record", json=record(), headers=headers) as answer:
            assert answer.status == 200
    assert sandbox.settings.api_key.reveal() not in caplog.text
    assert headers["Authorization"].removeprefix("Bearer ") not in caplog.text
    assert "34500001" not in caplog.text


async def test_request_that_cannot_be_parsed_is_not_logged_either(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.base_url.rpartition(":")[2]))
    writer.write(b"GET /clients/x/labels HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer open-sesame\x00\r\n\r\n")
    assert b"400 Bad Request" in await reader.readline()
    writer.close()
    await writer.wait_closed()
    assert "open-sesame" not in caplog.text
