"""Headers on the wire, and headers that are refused before a connection is opened."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import ConfigError
from truecaller_async.models import Request, Secret
from truecaller_async.options import Timeouts
from truecaller_async.transport import AiohttpTransport, headers

from .conftest import Opener
from .raw_server import RawServer

PATIENT = Timeouts(connect=5, read=5)

HOSTILE = ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\x00b", "a\x1bb", "a\x7fb", "caf\u20ac", "\U0001f600"]


@pytest.mark.fault("S16")
def test_user_agent_names_the_library_and_neither_host_nor_user() -> None:
    assert re.fullmatch(r"truecaller-async/\S+ \(python/3\.\d+; aiohttp/3\.\S+\)", headers.user_agent())
    assert headers.user_agent("my-app/1.2").endswith(") my-app/1.2")


async def test_token_the_agent_and_the_requests_own_headers_arrive(transport_to: Opener) -> None:
    async with RawServer() as server:
        request = Request(
            "push", "POST", "/push", b"{}", {"Content-Type": "application/json"}, token=Secret("invented-token")
        )
        await transport_to(server.url, user_agent="my-app/1.2").send(request, PATIENT)
    lines = server.received.split(b"\r\n")
    assert b"Authorization: Bearer invented-token" in lines
    assert b"Content-Type: application/json" in lines
    assert f"User-Agent: {headers.user_agent('my-app/1.2')}".encode() in lines


@pytest.mark.fault("S10")
async def test_no_authorization_without_a_token_even_with_netrc(
    transport_to: Opener, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login planted password planted\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with RawServer() as server:
        await transport_to(server.url).send(Request("mint", "POST", "/token", b"{}"), PATIENT)
    assert server.requests == 1
    assert b"authorization" not in server.received.lower()


@pytest.mark.fault("S15")
@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("place", ["header", "token"])
async def test_value_with_a_header_injection_is_refused_before_any_io(
    transport_to: Opener, value: str, place: str
) -> None:
    request = (
        Request("push", "POST", "/push", headers={"X-Key": value})
        if place == "header"
        else Request("push", "POST", "/push", token=Secret(value))
    )
    async with RawServer() as server:
        with pytest.raises(ConfigError, match="X-Key" if place == "header" else "token") as caught:
            await transport_to(server.url).send(request, PATIENT)
    assert value not in str(caught.value)
    assert server.connections == []


@pytest.mark.fault("S15")
@pytest.mark.parametrize("name", ["X-Key: 1\r\nX-Evil", "", "X Key", "X-K\u00e9y"])
async def test_invalid_header_name_is_refused_and_not_shown(transport_to: Opener, name: str) -> None:
    async with RawServer() as server:
        with pytest.raises(ConfigError, match="header name"):
            await transport_to(server.url).send(Request("push", "POST", "/push", headers={name: "1"}), PATIENT)
    assert server.connections == []


@pytest.mark.fault("S14")
@pytest.mark.parametrize("path", ["", "push", "@evil.example/", "/a b", "/a\r\nX-Evil: 1", "/a#b", "/\u00fc", "/a\x00"])
async def test_path_that_could_change_host_or_request_is_refused_before_any_io(transport_to: Opener, path: str) -> None:
    async with RawServer() as server:
        with pytest.raises(ConfigError, match="path"):
            await transport_to(server.url).send(Request("push", "POST", path), PATIENT)
    assert server.connections == []


@pytest.mark.fault("S15")
@pytest.mark.parametrize("suffix", HOSTILE)
def test_invalid_user_agent_is_refused_by_the_constructor(suffix: str) -> None:
    with pytest.raises(ConfigError, match="user_agent") as caught:
        AiohttpTransport("https://api.example", user_agent=suffix)
    assert suffix not in str(caught.value)


@pytest.mark.fault("S15")
@given(st.text())
def test_accepted_header_value_is_one_line_of_latin_1(value: str) -> None:
    request = Request("push", "POST", "/push", headers={"X-Key": value})
    try:
        headers.check(request)
    except ConfigError:
        assert not re.fullmatch(r"[\t -~\xa0-\xff]*", value)
    else:
        sent = headers.build(request, "agent")["X-Key"].encode("latin-1")
        assert not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", sent)
