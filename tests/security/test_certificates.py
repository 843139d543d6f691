"""S08: TLS 1.2 or later, and nothing is sent unless the certificate is valid for this host now."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.transport.raw_server import RawServer
from truecaller_async import NotSent, Secret, Timeouts
from truecaller_async.models import Request
from truecaller_async.transport import AiohttpTransport

PATIENT = Timeouts(connect=5, read=5)
LABELS = Request("labels", "GET", "/labels", token=Secret("invented-token"))
DAY = timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


@attrs.define
class Authority:
    """Certificate authority of the tests, and the folder of its files."""

    folder: Path
    key: ec.EllipticCurvePrivateKey = attrs.field(factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    certificate: x509.Certificate = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        now = datetime.now(UTC)
        self.certificate = (
            self._builder(_name("authority"), self.key.public_key(), now - DAY, now + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        (self.folder / "authority.pem").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, begins: datetime, ends: datetime
    ) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(_name("authority")).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(begins).not_valid_after(ends)

    def server(self, *, ends: timedelta = DAY, address: str = "127.0.0.1") -> tuple[ssl.SSLContext, x509.Certificate]:
        """Return the context of a server with a certificate of this authority for an address."""
        now, key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(_name(address), key.public_key(), now - 3 * DAY, now + ends)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        file = self.folder / "server.pem"
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context, certificate

    def trusting(self) -> ssl.SSLContext:
        """Return a context that trusts this authority."""
        return ssl.create_default_context(cafile=str(self.folder / "authority.pem"))

    def knowing_of(self, revoked: x509.Certificate) -> ssl.SSLContext:
        """Return a context that knows that this certificate is revoked."""
        now = datetime.now(UTC)
        entry = x509.RevokedCertificateBuilder().serial_number(revoked.serial_number).revocation_date(now - DAY)
        crl = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(_name("authority"))
            .last_update(now - DAY)
            .next_update(now + DAY)
            .add_revoked_certificate(entry.build())
            .sign(self.key, hashes.SHA256())
        )
        (self.folder / "revoked.pem").write_bytes(crl.public_bytes(serialization.Encoding.PEM))
        context = self.trusting()
        context.load_verify_locations(self.folder / "revoked.pem")
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        return context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


Scene = Callable[[Authority], tuple[ssl.SSLContext, ssl.SSLContext]]


def expired(authority: Authority) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return authority.server(ends=-DAY)[0], authority.trusting()


def of_another_host(authority: Authority) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return authority.server(address="127.0.0.2")[0], authority.trusting()


def of_unknown_issuer(authority: Authority) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return authority.server()[0], ssl.create_default_context()


def revoked(authority: Authority) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server, certificate = authority.server()
    return server, authority.knowing_of(certificate)


@pytest.mark.fault("S08")
@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (expired, "certificate has expired"),
        (of_another_host, "mismatch"),
        (of_unknown_issuer, "unable to get local issuer certificate"),
        (revoked, "certificate revoked"),
    ],
)
async def test_invalid_certificate_is_refused_for_good_and_nothing_is_sent(
    authority: Authority, scene: Scene, message: str
) -> None:
    server_side, client_side = scene(authority)
    async with RawServer(ssl=server_side) as server:
        transport = AiohttpTransport(f"https://127.0.0.1:{server.port}", ssl=client_side)
        with pytest.raises(NotSent, match=message) as caught:
            await transport.send(LABELS, PATIENT)
        await transport.aclose()
    assert not caught.value.retryable
    assert server.received == b""


@pytest.mark.fault("S08")
async def test_same_certificate_is_accepted_if_trusted(authority: Authority) -> None:
    async with RawServer(ssl=authority.server()[0]) as server:
        transport = AiohttpTransport(f"https://127.0.0.1:{server.port}", ssl=authority.trusting())
        assert (await transport.send(LABELS, PATIENT)).status == 200
        await transport.aclose()


@pytest.mark.fault("S08")
async def test_server_with_only_older_tls_is_refused(authority: Authority) -> None:
    server_side, _ = authority.server()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        server_side.minimum_version = ssl.TLSVersion.TLSv1
        server_side.maximum_version = ssl.TLSVersion.TLSv1_1
    server_side.set_ciphers("ALL:@SECLEVEL=0")
    async with RawServer(ssl=server_side) as server:
        transport = AiohttpTransport(f"https://127.0.0.1:{server.port}", ssl=authority.trusting())
        with pytest.raises(NotSent, match="nothing was sent"):
            await transport.send(LABELS, PATIENT)
        await transport.aclose()
    assert server.received == b""
    assert ssl.create_default_context().minimum_version >= ssl.TLSVersion.TLSv1_2
