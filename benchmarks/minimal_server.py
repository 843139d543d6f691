"""Server with minimal cost, so that a benchmark measures the client.

It implements the part of HTTP/1.1 that the five calls of a campaign need, and enforces no limits. Every batch is
accepted, and every record is a success at the first poll. In the measured part it decodes nothing: when it sees a batch
for the first time, it reads the records and prepares the status rows; afterwards the batch is recognised by its first
and last receiver. So the benchmark sends the same records once before the measurement.

It runs in a process of its own, on its own core if the system allows it, reports its address through a pipe, and ends
with its parent. With a certificate (see `self_signed`) it uses TLS.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from multiprocessing.connection import Connection
from pathlib import Path
from uuid import UUID

import attrs
import msgspec

from benchmarks.workload import ACCOUNT

SPAWN = multiprocessing.get_context("spawn")
TIMEOUT_SECONDS = 30.0
HOST = "127.0.0.1"
DAY = timedelta(days=1)
STORED_STATUSES_MAX = 1_000
"""Statuses that are stored; 200 kB each."""

HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RECEIVER = re.compile(rb'"receiver_number": ?"(\d+)"')
EDGE_BYTES = 600
"""Length of the start and end of a body that contains a whole record."""

encode = msgspec.json.encode


@attrs.frozen
class ServerAddress:
    """Address of the server."""

    url: str


@contextmanager
def minimal_server(certificate: Path | None = None) -> Iterator[ServerAddress]:
    """Run the server in another process for the block; `certificate` is a PEM file with its key, for TLS."""
    parent_end, child_end = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(child_end, certificate), daemon=True)
    process.start()
    child_end.close()
    try:
        if not parent_end.poll(TIMEOUT_SECONDS):
            raise TimeoutError(f"the server did not start within {TIMEOUT_SECONDS:g} seconds")
        yield ServerAddress(parent_end.recv())
    finally:
        parent_end.close()
        process.join(TIMEOUT_SECONDS)
        if process.is_alive():
            process.terminate()


def pin_to_core(core: int) -> None:
    """Run this process on one core, from the end if negative; no effect if the system cannot do it."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[core % len(cores)]})


def self_signed(folder: Path) -> Path:
    """Create a PEM file with a certificate for this address and its key, valid for a day."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - DAY, now + DAY)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
    return path


class Answers:
    """Status rows of known batches, and the batch ids in use."""

    def __init__(self) -> None:
        self._rows: dict[tuple[bytes, ...], bytes] = {}
        self._batches: dict[bytes, bytes] = {}
        self._count = 0

    def submit(self, body: bytes) -> bytes:
        """Accept a batch."""
        key = tuple(RECEIVER.findall(body[:EDGE_BYTES])[:1] + RECEIVER.findall(body[-EDGE_BYTES:])[-1:])
        rows = self._rows.get(key)
        if rows is None:
            rows = _rows_of(body)
            if len(self._rows) < STORED_STATUSES_MAX:
                self._rows[key] = rows
        self._count += 1
        batch_id = str(UUID(int=self._count)).encode()
        self._batches[batch_id] = rows
        return b'{"batch_id":"%b"}' % batch_id

    def status(self, batch_id: bytes) -> bytes:
        """Return success for each record of the batch; a batch can be requested once."""
        rows = self._batches.pop(batch_id)
        return b'{"client_account_id":"%b","batch_id":"%b","data":%b}' % (ACCOUNT.encode(), batch_id, rows)

    def respond(self, head: bytes, body: bytes) -> bytes:
        """Return the body of the success answer to a request."""
        match call_of(head):
            case "status":
                return self.status(head.split(b" ", 2)[1].rpartition(b"=")[2])
            case "submit":
                return self.submit(body)
            case "mint":
                return encode({"token": os.urandom(32).hex(), "created_at": "2026-01-02T03:04:05.67Z"})
            case _:
                return b'{"status_info":{"status":"success"}}'


class HttpProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._buffer = bytearray()
        self._needed = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Collect bytes and answer complete requests."""
        self._buffer += data
        if len(self._buffer) < self._needed:
            return
        end = self._buffer.find(HEAD_END)
        if end < 0:
            return
        head = bytes(self._buffer[: end + 2])
        found = LENGTH.search(head)
        self._needed = end + len(HEAD_END) + (int(found[1]) if found else 0)
        if len(self._buffer) < self._needed:
            return
        body = bytes(memoryview(self._buffer)[end + len(HEAD_END) : self._needed])
        self._buffer.clear()
        self._needed = 0
        self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        self._reply(self._answers.respond(head, body))

    def _reply(self, answer: bytes, status: bytes = b"200 OK") -> None:
        assert self._transport is not None
        self._transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(answer), answer)
        )


def call_of(head: bytes) -> str:
    """Return the name of the call that a request makes, as in `RateLimit.calls`."""
    method, target = head.split(b" ", 2)[:2]
    if method == b"GET":
        return "status"
    if target.endswith(b"/dynamic_call_records"):
        return "submit"
    return "mint" if target.endswith(b"/token") else "push"


def _rows_of(body: bytes) -> bytes:
    records = msgspec.json.decode(body)["call_records"]
    return encode(
        [
            {
                "id": str(UUID(int=index + int(record["receiver_number"]) * 1000)),
                **{name: value for name, value in record.items() if value is not None},
                "status_info": {"status": "success"},
                "created_at": "2026-01-02T03:04:05.67Z",
            }
            for index, record in enumerate(records)
        ]
    )


def _serve(pipe: Connection, certificate: Path | None) -> None:
    pin_to_core(-1)
    asyncio.run(_listen(pipe, certificate))


async def _listen(pipe: Connection, certificate: Path | None) -> None:
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    answers = Answers()
    server = await asyncio.get_running_loop().create_server(lambda: HttpProtocol(answers), HOST, 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        pipe.send(f"{'https' if certificate else 'http'}://{HOST}:{port}")
        try:
            await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
