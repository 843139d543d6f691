"""A name of another party is resolved once and checked; connections go only to the checked addresses."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from truecaller_async.errors import NotSent
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.options import Timeouts
from truecaller_async.transport.pinned_dns import Pin, Resolve, _FixedResolver, pinned, system_resolve

from .raw_server import Connection, RawServer

HOST = "profile.example"
PUBLIC, PUBLIC_6 = "8.8.4.4", "2001:4860:4860::8844"
"""Never connected to: see `wires`."""
PATIENT = Timeouts(connect=5, read=5)
PROFILE = Request("profile", "GET", "/v1/default", token=Secret("invented-token"))
RECIPE = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={HOST} -addext subjectAltName=DNS:{HOST}"
OPENSSL = shutil.which("openssl")


def resolving(*answers: Sequence[str]) -> tuple[Resolve, list[tuple[str, int]]]:
    """Return a resolver with these answers, of which the last is repeated, and the list of its queries."""
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return answers[min(len(asked), len(answers)) - 1]

    return resolve, asked


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the addresses of connections instead of connecting."""
    tried: list[str] = []

    async def refuse(addr_infos: Sequence[Any], **_: Any) -> socket.socket:
        tried.extend(info[4][0] for info in addr_infos)
        raise ConnectionRefusedError(111, "refused")

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", refuse)
    return tried


async def fetch(pin: Pin, resolve: Resolve, context: ssl.SSLContext | None = None) -> Answer:
    async with pinned(pin, resolve=resolve, ssl=context) as transport:
        return await transport.send(PROFILE, PATIENT)


async def test_connection_uses_the_checked_address(wires: list[str]) -> None:
    resolve, asked = resolving([PUBLIC], ["127.0.0.1"])
    with pytest.raises(NotSent):
        await fetch(Pin(HOST, 443), resolve)
    assert wires == [PUBLIC]
    assert asked == [(HOST, 443)]


async def test_second_fetch_checks_again(wires: list[str]) -> None:
    resolve, asked = resolving([PUBLIC], ["127.0.0.1"])
    for _ in range(2):
        with pytest.raises(NotSent):
            await fetch(Pin(HOST, 443), resolve)
    assert wires == [PUBLIC]
    assert len(asked) == 2


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], [PUBLIC, "127.0.0.1"], [PUBLIC_6, "::ffff:10.0.0.1"], ["169.254.169.254", PUBLIC]]
)
async def test_one_private_address_refuses_the_host_before_any_connection(
    wires: list[str], addresses: list[str]
) -> None:
    with pytest.raises(NotSent, match="must be public") as caught:
        await fetch(Pin(HOST, 443), resolving(addresses)[0])
    assert wires == []
    assert not caught.value.retryable


async def test_all_public_addresses_are_tried(wires: list[str]) -> None:
    with pytest.raises(NotSent):
        await fetch(Pin(HOST, 443), resolving([PUBLIC, PUBLIC_6])[0])
    assert set(wires) == {PUBLIC, PUBLIC_6}


async def test_unresolvable_name_is_not_sent_and_retryable() -> None:
    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    for resolve in (unknown, resolving([])[0]):
        with pytest.raises(NotSent, match="could not be resolved") as caught:
            await fetch(Pin(HOST, 443), resolve)
        assert caught.value.retryable


async def test_environment_proxy_is_ignored(wires: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://10.9.9.9:3128")
    with pytest.raises(NotSent):
        await fetch(Pin(HOST, 443), resolving([PUBLIC])[0])
    assert wires == [PUBLIC]


async def test_pinned_connection_resolves_no_other_name() -> None:
    pin = _FixedResolver(HOST, [PUBLIC])
    assert [found["host"] for found in await pin.resolve(HOST, 443)] == [PUBLIC]
    with pytest.raises(OSError, match="not the name"):
        await pin.resolve("other.example", 443)


async def test_system_resolver_knows_localhost() -> None:
    assert "127.0.0.1" in await system_resolve("127.0.0.1", 443)


async def test_test_setting_allows_loopback_only(wires: list[str]) -> None:
    with pytest.raises(NotSent, match="only addresses of this machine"):
        await fetch(Pin(HOST, 8443, loopback=True), resolving([PUBLIC])[0])
    with pytest.raises(NotSent, match="nothing was sent"):
        await fetch(Pin(HOST, 8443, loopback=True), resolving(["127.0.0.1"])[0])
    assert wires == ["127.0.0.1"]


async def test_no_redirect_is_followed_and_token_goes_to_this_host_only() -> None:
    async with RawServer() as elsewhere:

        async def redirect(connection: Connection) -> None:
            await connection.request()
            await connection.answer(b"", status="302 Found", headers=f"Location: {elsewhere.url}/v1/default\r\n")

        async with RawServer(redirect) as server:
            pin = Pin("127.0.0.1", server.port, "http", loopback=True)
            answer = await fetch(pin, resolving(["127.0.0.1"])[0])
            assert (answer.status, server.requests, elsewhere.connections) == (302, 1, [])
            assert b"Authorization: Bearer invented-token\r\n" in server.received


@attrs.frozen
class Certificate:
    """Certificate for the host name: the context of the server, and one that trusts it."""

    server: ssl.SSLContext
    trusting: ssl.SSLContext


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    if OPENSSL is None:
        pytest.skip("the openssl command makes the certificate")
    folder: Path = tmp_path_factory.mktemp("certificate")
    key, pem = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(  # noqa: S603 - a fixed command
        [OPENSSL, *RECIPE.split(), "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem, key)
    return Certificate(server, ssl.create_default_context(cafile=str(pem)))


async def test_certificate_of_the_name_is_checked_on_a_pinned_address(
    certificate: Certificate,
) -> None:
    resolve, _ = resolving(["127.0.0.1"])
    async with RawServer(ssl=certificate.server) as server:
        answer = await fetch(Pin(HOST, server.port, loopback=True), resolve, certificate.trusting)
        assert answer.status == 200
        assert f"Host: {HOST}:{server.port}\r\n".encode() in server.received


async def test_certificate_for_another_name_or_of_an_unknown_issuer_is_refused(certificate: Certificate) -> None:
    resolve, _ = resolving(["127.0.0.1"])
    async with RawServer(ssl=certificate.server) as server:
        with pytest.raises(NotSent, match="Hostname mismatch"):
            await fetch(Pin("other.example", server.port, loopback=True), resolve, certificate.trusting)
        with pytest.raises(NotSent, match="certificate"):
            await fetch(Pin(HOST, server.port, loopback=True), resolve)
        assert server.received == b""
