"""Nothing is sent to a server with an untrusted certificate, and the error is not retryable."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import attrs
import pytest

from tests.hostile.scene import client_at, record
from truecaller_async import Outcome, RecordResult, RetryPolicy, TruecallerClient
from truecaller_async.errors import NotSent
from truecaller_async.models import Request, Secret
from truecaller_async.options import Timeouts

from .conftest import Opener
from .raw_server import RawServer

PATIENT = Timeouts(connect=5, read=5)
LABELS = Request("labels", "GET", "/labels", token=Secret("invented-token"))
SUBJECT = "-newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
OPENSSL = shutil.which("openssl")

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="the openssl command makes the certificate")


@attrs.frozen
class SelfSigned:
    """Self-signed certificate for 127.0.0.1: the context of the server, and one that trusts it."""

    server: ssl.SSLContext
    trusting: ssl.SSLContext

    @classmethod
    def of(cls, folder: Path) -> SelfSigned:
        """Return the contexts for the files in a folder."""
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
        return cls(server, ssl.create_default_context(cafile=str(folder / "certificate.pem")))


def openssl(folder: Path, command: str) -> None:
    subprocess.run([OPENSSL or "", *command.split()], cwd=folder, check=True, capture_output=True)  # noqa: S603 - fixed


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory: pytest.TempPathFactory) -> SelfSigned:
    folder: Path = tmp_path_factory.mktemp("certificate")
    openssl(folder, f"req -x509 {SUBJECT} -days 2 -keyout key.pem -out certificate.pem")
    return SelfSigned.of(folder)


@pytest.fixture(scope="module")
def expired(tmp_path_factory: pytest.TempPathFactory) -> SelfSigned:
    folder: Path = tmp_path_factory.mktemp("expired")
    openssl(folder, f"req {SUBJECT} -keyout key.pem -out request.pem")
    openssl(folder, "x509 -req -in request.pem -signkey key.pem -copy_extensions copyall -days -1 -out certificate.pem")
    return SelfSigned.of(folder)


@pytest.mark.fault("F23")
async def test_self_signed_certificate_is_refused_for_good_and_token_is_not_sent(
    transport_to: Opener, self_signed: SelfSigned
) -> None:
    async with RawServer(ssl=self_signed.server) as server:
        with pytest.raises(NotSent, match=r"127\.0\.0\.1:\d+.*certificate.*self.signed certificate") as caught:
            await transport_to(f"https://127.0.0.1:{server.port}").send(LABELS, PATIENT)
    assert not caught.value.retryable
    assert caught.value.sent == "no"
    assert "verify" not in str(caught.value).lower()
    assert server.received == b""


@pytest.mark.fault("F23")
async def test_certificate_for_another_host_is_refused(transport_to: Opener, self_signed: SelfSigned) -> None:
    async with RawServer(ssl=self_signed.server) as server:
        with pytest.raises(NotSent, match=r"localhost:\d+.*Hostname mismatch") as caught:
            await transport_to(f"https://localhost:{server.port}", ssl=self_signed.trusting).send(LABELS, PATIENT)
    assert not caught.value.retryable
    assert server.received == b""


@pytest.mark.fault("F23")
async def test_certificate_that_has_expired_is_refused(transport_to: Opener, expired: SelfSigned) -> None:
    async with RawServer(ssl=expired.server) as server:
        with pytest.raises(NotSent, match=r"127\.0\.0\.1:\d+.*certificate has expired") as caught:
            await transport_to(f"https://127.0.0.1:{server.port}", ssl=expired.trusting).send(LABELS, PATIENT)
    assert not caught.value.retryable
    assert server.received == b""


@pytest.mark.fault("F23")
@pytest.mark.parametrize("work", ["call", "campaign"])
async def test_bad_certificate_ends_a_call_and_a_campaign_after_one_attempt(self_signed: SelfSigned, work: str) -> None:
    hellos: list[str | None] = []
    self_signed.server.sni_callback = lambda _socket, name, _context: hellos.append(name)
    async with (
        RawServer(ssl=self_signed.server) as server,
        client_at(f"https://127.0.0.1:{server.port}", retry=RetryPolicy()) as client,
    ):
        with pytest.raises(NotSent, match=rf"127\.0\.0\.1:{server.port}.*certificate.*self.signed"):
            await (client.labels.list() if work == "call" else _campaign(client))
    assert len(hellos) == 1
    assert server.received == b""


async def _campaign(client: TruecallerClient) -> None:
    results: list[RecordResult] = []
    async with client.push_many([record()]) as stream:
        try:
            async for result in stream:
                results.append(result)  # noqa: PERF401 - kept one by one: the stream raises
        finally:
            assert [result.outcome for result in results] == [Outcome.UNSENT]


async def test_context_that_trusts_the_certificate_is_used(transport_to: Opener, self_signed: SelfSigned) -> None:
    async with RawServer(ssl=self_signed.server) as server:
        answer = await transport_to(f"https://127.0.0.1:{server.port}", ssl=self_signed.trusting).send(LABELS, PATIENT)
    assert answer.status == 200
