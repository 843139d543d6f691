"""The steps of a connection, over real sockets of this machine."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from yarl import URL

from truecaller_async.options import Timeouts
from truecaller_async.transport.diagnostics import (
    Handshake,
    ProbeAnswer,
    ProbeFailure,
    ProbeProxy,
    ProbeTarget,
    proxy_for,
    request_once,
    resolve,
    target_of,
    tls_handshake,
)

from .raw_server import Connection, RawServer

PATIENT = 5.0
TIMEOUTS = Timeouts(connect=5, read=5)
OPENSSL = shutil.which("openssl")
RECIPE = (
    "req -x509 -newkey rsa:2048 -nodes -days 9 -subj /O=Harbour/CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 "
    "-addext basicConstraints=critical,CA:TRUE"
)

needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="the openssl command makes the certificate")


@attrs.frozen
class SelfSigned:
    server: ssl.SSLContext
    trusting: ssl.SSLContext


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> SelfSigned:
    folder: Path = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(  # noqa: S603 - a fixed command
        [OPENSSL or "", *RECIPE.split(), "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return SelfSigned(server, ssl.create_default_context(cafile=certificate))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Reserve a port on which no server listens, until the end of the test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def local(port: int, *, is_tls: bool = False) -> ProbeTarget:
    return ProbeTarget("127.0.0.1", port, is_tls)


async def until_closed(connection: Connection) -> None:
    await connection.until_closed()


@pytest.mark.parametrize(
    ("base_url", "target"),
    [
        ("https://api.example", ProbeTarget("api.example", 443, True)),
        ("https://api.example:8443/gate", ProbeTarget("api.example", 8443, True)),
        ("http://127.0.0.1:8080", ProbeTarget("127.0.0.1", 8080, False)),
        ("http://[::1]:8080", ProbeTarget("::1", 8080, False)),
    ],
)
def test_base_url_names_a_target(base_url: str, target: ProbeTarget) -> None:
    assert target_of(base_url) == target


@pytest.mark.parametrize(
    "base_url", ["", "api.example", "ftp://api.example", "https://", "https://a:b:c", "http://x:99999"]
)
def test_invalid_base_url_is_described(base_url: str) -> None:
    failed = target_of(base_url)
    assert isinstance(failed, ProbeFailure)
    assert failed.why.startswith("it is not")


@pytest.mark.parametrize(("host", "is_loopback"), [("localhost", True), ("127.0.0.9", True), ("api.example", False)])
def test_target_detects_loopback(host: str, is_loopback: bool) -> None:
    assert ProbeTarget(host, 80, False).is_loopback is is_loopback


def test_environment_proxy_is_named_with_its_variable_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy.example:3128")
    proxy = proxy_for("https://api.example")
    assert isinstance(proxy, ProbeProxy)
    assert (proxy.shown, proxy.source) == ("proxy.example:3128", "HTTPS_PROXY")
    assert "hunter2" not in repr(proxy)


def test_no_proxy_is_reported_without_a_setting_or_for_an_excluded_host(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for("https://api.example") is None
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "api.example")
    assert proxy_for("https://api.example") is None
    assert proxy_for("http://127.0.0.1:8080") is None


def test_unusable_proxy_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://user:hunter2@proxy.example:1080")
    failed = proxy_for("https://api.example")
    assert isinstance(failed, ProbeFailure)
    assert "HTTPS_PROXY" in failed.why
    assert "hunter2" not in failed.why


async def test_name_resolves_to_distinct_addresses() -> None:
    assert await resolve(local(8080), PATIENT) == ("127.0.0.1",)


async def test_unresolvable_name_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert await resolve(ProbeTarget("nowhere.example", 443, True), PATIENT) == ProbeFailure(
        "the name could not be resolved: Name or service not known"
    )


async def test_silent_resolver_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer.wait() and [])
    assert await resolve(local(80), 0.01) == ProbeFailure("the resolver gave no answer in 0.01 s")
    answer.set()


async def test_plain_http_is_a_connection_without_tls() -> None:
    async with RawServer(until_closed) as server:
        assert await tls_handshake(local(server.port), PATIENT) == Handshake()
        assert server.received == b""


async def test_refused_port_is_described(closed_port: int) -> None:
    assert await tls_handshake(local(closed_port), PATIENT) == ProbeFailure("connection refused")


async def test_endless_handshake_is_abandoned() -> None:
    async with RawServer(until_closed) as server:
        assert await tls_handshake(local(server.port, is_tls=True), 0.05) == ProbeFailure(
            "no connection was made in 0.05 s"
        )


async def test_server_without_tls_is_described() -> None:
    async def greet(connection: Connection) -> None:
        await connection.write(b"220 this is another service\r\n")
        await connection.until_closed()

    async with RawServer(greet) as server:
        failed = await tls_handshake(local(server.port, is_tls=True), PATIENT)
    assert isinstance(failed, ProbeFailure)
    assert failed.why.startswith("the TLS handshake failed: ")


@needs_openssl
async def test_handshake_reports_protocol_issuer_and_expiry_of_the_certificate(self_signed: SelfSigned) -> None:
    async with RawServer(until_closed, ssl=self_signed.server) as server:
        seen = await tls_handshake(local(server.port, is_tls=True), PATIENT, context=self_signed.trusting)
    assert isinstance(seen, Handshake)
    assert (seen.protocol, seen.issuer) == ("TLSv1.3", "Harbour")
    assert seen.expires is not None
    assert timedelta(days=8) < seen.expires - datetime.now(UTC) <= timedelta(days=9)


@needs_openssl
async def test_untrusted_certificate_is_described(self_signed: SelfSigned) -> None:
    async with RawServer(until_closed, ssl=self_signed.server) as server:
        failed = await tls_handshake(local(server.port, is_tls=True), PATIENT)
    assert failed == ProbeFailure("the server's certificate was not accepted: self-signed certificate")


async def test_proxy_tunnel_is_requested_with_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.request()
        await connection.answer(status="407 Proxy Authentication Required")

    async with RawServer(refuse) as server:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:word@127.0.0.1:{server.port}")
        proxy = proxy_for("https://api.example")
        assert isinstance(proxy, ProbeProxy)
        failed = await tls_handshake(ProbeTarget("api.example", 443, True), PATIENT, proxy=proxy)
        assert server.received.startswith(b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n")
        assert b"Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n" in server.received
    assert failed == ProbeFailure(f"the proxy {proxy.shown} refused to connect: it answered 407")


@needs_openssl
async def test_certificate_through_a_proxy_is_that_of_the_server(
    self_signed: SelfSigned, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def tunnel(connection: Connection) -> None:
        await connection.head()
        await connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await connection.writer.start_tls(self_signed.server)
        await connection.until_closed()

    async with RawServer(tunnel) as server:
        monkeypatch.setenv("https_proxy", f"127.0.0.1:{server.port}")
        proxy = proxy_for("https://192.0.2.1")
        assert isinstance(proxy, ProbeProxy)
        target = ProbeTarget("127.0.0.1", 443, True)
        seen = await tls_handshake(target, PATIENT, proxy=proxy, context=self_signed.trusting)
    assert isinstance(seen, Handshake)
    assert seen.issuer == "Harbour"


async def test_broken_proxy_answer_is_described() -> None:
    async def hang_up(connection: Connection) -> None:
        await connection.head()

    async def nonsense(connection: Connection) -> None:
        await connection.head()
        await connection.write(b"hello\r\n\r\n")

    async with RawServer(hang_up, nonsense) as server:
        proxy = ProbeProxy(URL(server.url), "HTTPS_PROXY")
        results = [await tls_handshake(ProbeTarget("api.example", 443, True), PATIENT, proxy=proxy) for _ in range(2)]
    assert results[0] == ProbeFailure("the peer closed the connection")
    assert results[1] == ProbeFailure(f"the proxy {proxy.shown} refused to connect: it answered no HTTP")


async def test_any_answer_counts_and_has_the_server_date() -> None:
    async def answer(connection: Connection) -> None:
        await connection.request()
        await connection.answer(
            status="302 Found", headers="Date: Fri, 07 Nov 2025 06:13:20 GMT\r\nLocation: https://x.example/\r\n"
        )

    async with RawServer(answer) as server:
        knocked = await request_once(server.url, TIMEOUTS)
        assert server.received.startswith(b"GET / HTTP/1.1\r\n")
        assert b"uthorization" not in server.received
    assert knocked == ProbeAnswer(302, datetime(2025, 11, 7, 6, 13, 20, tzinfo=UTC), "https://x.example/")


@pytest.mark.parametrize("date", ["", "Date: soon\r\n", "Date: Fri, 99 Nov 2025 06:13:20 GMT\r\n"])
async def test_unreadable_date_is_none(date: str) -> None:
    async def answer(connection: Connection) -> None:
        await connection.request()
        await connection.answer(headers=date)

    async with RawServer(answer) as server:
        assert await request_once(server.url, TIMEOUTS) == ProbeAnswer(200)


async def test_answer_of_any_size_counts() -> None:
    async def flood(connection: Connection) -> None:
        await connection.request()
        await connection.answer(b" " * 200_000, status="503 Service Unavailable")

    async with RawServer(flood) as server:
        assert await request_once(server.url, TIMEOUTS) == ProbeAnswer(503)


async def test_missing_answer_is_described(closed_port: int) -> None:
    failed = await request_once(f"http://127.0.0.1:{closed_port}", TIMEOUTS)
    assert isinstance(failed, ProbeFailure)
    assert "Connection refused" in failed.why
    assert asyncio.all_tasks() == {asyncio.current_task()}
