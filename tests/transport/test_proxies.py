"""Choice of the proxy, and its hidden password."""

from __future__ import annotations

import base64

import pytest
from yarl import URL

from truecaller_async.errors import ConfigError, NotSent
from truecaller_async.models import Request, Secret
from truecaller_async.options import Timeouts
from truecaller_async.transport import AiohttpTransport, proxies

from .conftest import Opener
from .raw_server import Connection, RawServer

PATIENT = Timeouts(connect=5, read=5)
LABELS = Request("labels", "GET", "/labels", token=Secret("invented-token"))
SITE = "http://api.example"


async def test_environment_proxy_is_used(transport_to: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://user:hidden@127.0.0.1:{proxy.port}")
        await transport_to(SITE).send(LABELS, PATIENT)
    assert proxy.received.startswith(b"GET http://api.example/labels HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"user:hidden") in proxy.received


async def test_explicit_proxy_wins_over_the_environment(transport_to: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer() as target, RawServer() as own:
        monkeypatch.setenv("HTTP_PROXY", target.url)
        await transport_to(SITE, proxy=own.url).send(LABELS, PATIENT)
    assert own.requests == 1
    assert target.connections == []


async def test_loopback_never_uses_the_environment_proxy(transport_to: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer() as proxy, RawServer() as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        await transport_to(server.url).send(LABELS, PATIENT)
    assert server.requests == 1
    assert proxy.connections == []


@pytest.mark.parametrize(
    ("no_proxy", "used"), [("api.example", False), (".example", False), ("*", False), ("other.example", True)]
)
def test_no_proxy_lists_hosts_reached_directly(monkeypatch: pytest.MonkeyPatch, no_proxy: str, used: bool) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    found = proxies.from_environment(URL("https://api.example"))
    assert found == (URL("http://proxy.example:3128") if used else None)


def test_scheme_of_the_base_url_chooses_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://plain.example:3128")
    assert proxies.from_environment(URL("https://api.example")) is None
    assert proxies.from_environment(URL("http://api.example")) == URL("http://plain.example:3128")


@pytest.mark.parametrize("host", ["localhost", "api.localhost", "127.0.0.1", "127.8.8.8", "::1"])
def test_every_loopback_name_is_recognised(host: str) -> None:
    assert proxies.is_loopback(host)


@pytest.mark.parametrize("host", ["api.example", "localhost.example", "10.0.0.1", "::2"])
def test_other_machines_are_not_loopback(host: str) -> None:
    assert not proxies.is_loopback(host)


def test_proxy_without_a_scheme_is_http() -> None:
    assert proxies.parse("proxy.example:3128", "proxy") == URL("http://proxy.example:3128")


@pytest.mark.parametrize("text", ["socks5://user:hidden@proxy.example", "http://", "http://user:hidden@[bad"])
def test_unusable_proxy_is_refused_by_the_constructor_without_its_password(text: str) -> None:
    with pytest.raises(ConfigError, match="proxy cannot be used") as caught:
        AiohttpTransport("https://api.example", proxy=text)
    assert "hidden" not in str(caught.value)


async def test_wrong_environment_proxy_is_named_by_its_variable(
    transport_to: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:hidden@proxy.example")
    with pytest.raises(ConfigError, match=r"HTTPS_PROXY.*socks5") as caught:
        await transport_to("https://api.example").send(LABELS, PATIENT)
    assert "hidden" not in str(caught.value)


async def test_proxy_that_refuses_the_tunnel_has_not_seen_the_request(transport_to: Opener) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.head()
        await connection.answer(status="407 Proxy Authentication Required")

    async with RawServer(refuse) as proxy:
        transport = transport_to("https://api.example", proxy=f"http://user:hidden@127.0.0.1:{proxy.port}")
        with pytest.raises(NotSent, match=r"api\.example:443 through the proxy 127\.0\.0\.1:\d+.*HTTP 407") as caught:
            await transport.send(LABELS, PATIENT)
    assert proxy.received.startswith(b"CONNECT api.example:443 HTTP/1.1\r\n")
    assert b"invented-token" not in proxy.received
    assert "hidden" not in repr(caught.value)


async def test_proxy_that_drops_the_tunnel_has_not_seen_the_request(transport_to: Opener) -> None:
    async def drop(connection: Connection) -> None:
        await connection.head()
        connection.writer.close()

    async with RawServer(drop) as proxy:
        with pytest.raises(NotSent, match="nothing was sent"):
            await transport_to("https://api.example", proxy=proxy.url).send(LABELS, PATIENT)
    assert b"invented-token" not in proxy.received


async def test_unreachable_proxy_is_named(transport_to: Opener) -> None:
    async with RawServer() as gone:
        url = gone.url.replace("http://", "http://user:hidden@")
    with pytest.raises(NotSent, match="the proxy could not be reached") as caught:
        await transport_to("https://api.example", proxy=url).send(LABELS, PATIENT)
    assert "hidden" not in repr(caught.value)
