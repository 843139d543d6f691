"""A certificate that is not trusted is not sent to, and trying again does not help."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import attrs
import pytest

from truecaller_async.errors import NotSent
from truecaller_async.models import Request, Secret
from truecaller_async.options import Timeouts

from .conftest import Opener
from .raw_server import RawServer

PATIENT = Timeouts(connect=5, read=5)
LABELS = Request("labels", "GET", "/labels", token=Secret("invented-token"))
RECIPE = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
OPENSSL = shutil.which("openssl")

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="the openssl command makes the certificate")


@attrs.frozen
class SelfSigned:
    """A certificate of its own for 127.0.0.1: the server's context, and one that trusts it."""

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
    return SelfSigned(server, ssl.create_default_context(cafile=str(certificate)))


async def test_a_self_signed_certificate_is_refused_for_good_and_the_token_stays_here(
    transport_to: Opener, self_signed: SelfSigned
) -> None:
    async with RawServer(ssl=self_signed.server) as server:
        with pytest.raises(NotSent, match=r"127\.0\.0\.1:\d+.*certificate.*self.signed certificate") as caught:
            await transport_to(f"https://127.0.0.1:{server.port}").send(LABELS, PATIENT)
    assert not caught.value.retryable
    assert caught.value.sent == "no"
    assert "verify" not in str(caught.value).lower()
    assert server.received == b""


async def test_a_certificate_for_another_host_is_refused(transport_to: Opener, self_signed: SelfSigned) -> None:
    async with RawServer(ssl=self_signed.server) as server:
        with pytest.raises(NotSent, match=r"localhost:\d+.*Hostname mismatch") as caught:
            await transport_to(f"https://localhost:{server.port}", ssl=self_signed.trusting).send(LABELS, PATIENT)
    assert not caught.value.retryable
    assert server.received == b""


async def test_a_context_that_trusts_the_certificate_is_used(transport_to: Opener, self_signed: SelfSigned) -> None:
    async with RawServer(ssl=self_signed.server) as server:
        answer = await transport_to(f"https://127.0.0.1:{server.port}", ssl=self_signed.trusting).send(LABELS, PATIENT)
    assert answer.status == 200
