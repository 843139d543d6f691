"""S07 to S17: data on the wire, its recipients, and the settings of the environment that are used."""

from __future__ import annotations

import gzip
import inspect
import socket
import ssl
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import click
import pytest

from tests.transport.raw_server import RawServer
from truecaller_async import (
    ConfigError,
    DecodeError,
    Timeouts,
    TruecallerClient,
    TruecallerError,
    UnexpectedRedirect,
    ValidationError,
)
from truecaller_async.cli.app import app
from truecaller_async.models import Request, Secret
from truecaller_async.transport import AiohttpTransport, headers

from .calls import record
from .host import ACCOUNT, FEATURE_SET, KEY, LISTED, TOKEN, Host, answers_with
from .test_command_line import commands

PATIENT = Timeouts(connect=5, read=5)
LABELS = Request("labels", "GET", "/labels", token=Secret(TOKEN))
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def client_with(**settings: Any) -> TruecallerClient:
    return TruecallerClient(**{"client_account_id": ACCOUNT, "key_id": "k", "api_key": KEY, **settings})


@pytest.mark.fault("S07")
@pytest.mark.parametrize("value", [False, True, 0, "no", ssl.CERT_NONE])
def test_checking_certificates_cannot_be_switched_off(value: object) -> None:
    with pytest.raises(ConfigError, match=r"ssl must be an ssl\.SSLContext"):
        client_with(ssl=value)


@pytest.mark.fault("S07")
def test_no_option_or_variable_disables_certificate_checks() -> None:
    parameters = set(inspect.signature(TruecallerClient).parameters)
    options = {name for _, command in commands(app) for one in command.params for name in one.opts}
    assert "ssl" in parameters
    assert not [name for name in parameters | options if any(word in name for word in ("verify", "insecure", "check"))]
    assert isinstance(app, click.Group)


def unchecked_host() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    return context


def unchecked() -> ssl.SSLContext:
    context = unchecked_host()
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.fault("S07")
@pytest.mark.parametrize("context", [unchecked_host(), unchecked()])
def test_caller_context_without_checks_is_used_with_a_warning(context: ssl.SSLContext) -> None:
    with pytest.warns(RuntimeWarning, match="does not check"):
        client_with(ssl=context)


@pytest.mark.fault("S07")
def test_caller_context_with_checks_is_used_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client_with(ssl=ssl.create_default_context())


@pytest.mark.fault("S09")
@pytest.mark.parametrize(
    "url",
    [
        "http://api.example",
        "http://127.0.0.1.example",
        "http://localhost.example",
        "http://10.0.0.1",
        "http://[::ffff:10.0.0.1]",
        "http://0.0.0.0",
        "HTTP://api.example",
        "ws://127.0.0.1",
        "//api.example",
    ],
)
def test_plain_http_is_refused_except_for_loopback(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        client_with(base_url=url)


@pytest.mark.fault("S09")
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://api.example"])
def test_plain_http_is_allowed_for_loopback(url: str) -> None:
    client_with(base_url=url)


@pytest.mark.fault("S10")
async def test_login_in_netrc_goes_neither_to_the_server_nor_to_a_proxy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login planted password planted\nmachine 127.0.0.1 login planted password planted\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with RawServer() as proxy, RawServer() as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        for base in ("http://api.example", server.url):
            transport = AiohttpTransport(base)
            await transport.send(LABELS, PATIENT)
            await transport.aclose()
    for received in (proxy.received, server.received):
        assert received.count(b"Authorization: ") == received.count(f"Authorization: Bearer {TOKEN}".encode()) == 1


@pytest.mark.fault("S11")
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_target_gets_no_byte(status: int) -> None:
    async with RawServer() as elsewhere, Host() as host, host.client() as client:
        host.fail(answers_with(b"", f"{status} Moved", f"Location: {elsewhere.url}/x\r\n"), mint=False)
        with pytest.raises(UnexpectedRedirect, match=r"127\.0\.0\.1:\d+/x, and not followed"):
            await client.batches.submit([record()] * 500)
        host.fail(answers_with(b"", f"{status} Moved", f"Location: {elsewhere.url}/x\r\n"), mint=True)
        async with host.client() as another:
            with pytest.raises(TruecallerError):
                await another.tokens.make()
    assert (elsewhere.received, elsewhere.connections) == (b"", [])


@pytest.mark.fault("S12")
async def test_cookie_is_never_sent_back() -> None:
    async with Host() as host, host.client() as client:
        host.fail(answers_with(b"[]", headers="Set-Cookie: session=planted; Path=/\r\n"), mint=False)
        await client.labels.list()
        await client.labels.list()
        session = client._shared.transport._session  # type: ignore[attr-defined]
        assert isinstance(session.cookie_jar, aiohttp.DummyCookieJar)
    assert host.server.requests == 3
    assert b"planted" not in host.server.received
    assert b"cookie" not in host.server.received.lower()


@pytest.mark.fault("S13")
async def test_only_two_encodings_are_requested() -> None:
    async with Host() as host, host.client() as client:
        await client.calls.push(record())
    lines = [line for line in host.server.received.split(b"\r\n") if line.lower().startswith(b"accept-encoding")]
    assert set(lines) == {b"Accept-Encoding: gzip, deflate"}


@pytest.mark.fault("S13")
@pytest.mark.parametrize("over", [0, 1])
async def test_body_that_decompresses_beyond_the_cap_is_not_read(over: int) -> None:
    cap, base = 64 * 1024, b'{"status_info": {"status": "success"}}'
    body = base + b" " * (cap - len(base) + over)
    async with Host() as host, host.client() as client:
        host.fail(answers_with(gzip.compress(body), headers="Content-Encoding: gzip\r\n"), mint=False)
        if over:
            with pytest.raises(DecodeError, match="larger than 64 KiB"):
                await client.calls.push(record())
        else:
            await client.calls.push(record())


HOSTILE_IDS = (
    "../../admin",
    "..",
    ".",
    "%2e%2e%2fadmin",
    f"{FEATURE_SET}/../../admin",
    f"{FEATURE_SET}?x=1",
    f"{FEATURE_SET}#x",
    f"{FEATURE_SET}\r\nX-Evil: 1",
    f" {FEATURE_SET}",
    f"{FEATURE_SET}\n",
    "",
    "\uff11\uff12\uff13",
)


@pytest.mark.fault("S14")
@pytest.mark.parametrize("hostile", HOSTILE_IDS)
def test_account_id_that_is_no_uuid_is_refused_by_the_client(hostile: str) -> None:
    with pytest.raises(ConfigError, match="client_account_id is not a UUID"):
        client_with(client_account_id=hostile)


Use = Callable[[TruecallerClient, str], Awaitable[object]]


async def _publish(client: TruecallerClient, given: str) -> object:
    return await client.numbers.publish(given, [LISTED])


async def _delist(client: TruecallerClient, given: str) -> object:
    return await client.numbers.delist(given, [LISTED])


async def _wait_listed(client: TruecallerClient, given: str) -> object:
    return await client.numbers.wait_listed(given, [LISTED], timeout=1.0)


async def _numbers(client: TruecallerClient, given: str) -> object:
    return await client.numbers.list(feature_set_id=given)


async def _feature_sets(client: TruecallerClient, given: str) -> object:
    return await client.feature_sets.list(department_id=given)


@pytest.mark.fault("S14")
@pytest.mark.parametrize("use", [_publish, _delist, _wait_listed, _numbers, _feature_sets])
async def test_id_that_is_no_uuid_is_refused_before_any_io(use: Use) -> None:
    async with Host() as host, host.client() as client:
        for hostile in HOSTILE_IDS:
            with pytest.raises(ValidationError):
                await use(client, hostile)
    assert host.server.connections == []


@pytest.mark.fault("S14")
@pytest.mark.parametrize("hostile", ["../../admin", "a/../b", "..\\admin", "", "a\r\nb", "a\x00", "\u0661", "x" * 201])
async def test_batch_id_with_a_path_traversal_is_refused_before_any_io(hostile: str) -> None:
    async with Host() as host, host.client() as client:
        with pytest.raises(ValidationError, match="batch_id"):
            await client.batches.status(hostile)
    assert host.server.connections == []


@pytest.mark.fault("S14")
@pytest.mark.parametrize("batch_id", ["a/b", "a?b=c", "a&limit=1", "a#b", "a%2e%2e%2fb", "..", "a+b", "a b"])
async def test_unusual_batch_id_stays_inside_its_query_parameter(batch_id: str) -> None:
    async with Host() as host, host.client() as client:
        with suppress(DecodeError):  # the host answers about another batch
            await client.batches.status(batch_id)
    (line,) = [line for line in host.server.received.split(b"\r\n") if line.startswith(b"GET ")]
    path, _, query = line.removesuffix(b" HTTP/1.1").partition(b"?")
    assert path == f"GET /v2/clients/{ACCOUNT}/dynamic_call_records".encode()
    assert query.startswith(b"batchId=")
    assert not set(b"/?&# +") & set(query.removeprefix(b"batchId="))


@pytest.mark.fault("S16")
def test_user_agent_contains_nothing_about_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USER", "planted")
    agent = headers.user_agent()
    assert not [word for word in ("planted", socket.gethostname(), str(Path.home()), str(Path.cwd())) if word in agent]


@pytest.mark.fault("S17")
async def test_base_url_that_resolves_to_a_private_address_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A company may resolve the name to an internal address; only the endpoint of a callback must be public."""

    async def inside(_: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, Any]]:
        found = {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
        return [found]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", inside)
    monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", inside)
    async with RawServer() as server:
        transport = AiohttpTransport(f"http://api.example:{server.port}")
        await transport.send(LABELS, PATIENT)
        await transport.aclose()
    assert server.received.startswith(b"GET /labels HTTP/1.1\r\nHost: api.example:")
