"""Server that issues a token, answers correctly, and fails the one call that a test is about.

It recognises each request by its path. A `Failure` is a coroutine function that receives the connection and everything
that the client sent on it, token and numbers included. So a failure can repeat them in the answer, as gateways and
debugging pages do.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Self

from tests.transport.raw_server import Connection, RawServer
from truecaller_async import Limits, RetryPolicy, Timeouts, TruecallerClient

ACCOUNT = "00000000-0000-4000-8000-000000000001"
KEY = "ca9a2y0f-4cad-4e1b-9fac-b01dfaceb00c"
TOKEN = "aC4n4ryPZ2x3aEk9TYGxPZldm0qvWQknTXTI/4nd+4b=uTPZxNpIZ32yWmiOFtGq"
"""Same forms as in the documentation."""
CALLER, RECEIVER = "911140567123", "919900765432"
LISTED = "911140998761"
FEATURE_SET = "00000000-0000-4000-8000-0000000000f5"

TIMEOUTS = Timeouts(connect=0.5, read=0.1)
AGAIN = RetryPolicy(attempts=2, total=5.0, initial=0.001, cap=0.002)
LIMITS = Limits.documented().replace(token=(10_000, 1.0), batch=(10_000, 1.0), mint=(10_000, 1.0))

ALONE = "Connection: close\r\n"
MINT = re.compile(rb"POST \S+/token HTTP")

JOB = b'{"status": "pending", "new_numbers": ["%s"]}' % LISTED.encode()
NUMBERS = b'{"numbers": [{"phone_number": "%s", "status": "listed"}]}' % LISTED.encode()
STATUS = b"""{"batch_id": "b-1", "data": [{"caller_number": "%s", "receiver_number": "%s", "status": "success"}]}""" % (
    CALLER.encode(),
    RECEIVER.encode(),
)
GOOD: Mapping[bytes, bytes] = MappingProxyType(
    {
        rb"POST \S+/dynamic_call_record ": b'{"status_info": {"status": "success"}}',
        rb"POST \S+/dynamic_call_records ": b'{"batch_id": "b-1"}',
        rb"GET \S+/dynamic_call_records": STATUS,
        rb"GET \S+/labels": b"[]",
        rb"GET \S+/number_management/numbers": NUMBERS,
        rb"GET \S+/feature_sets\?": b'{"feature_sets": []}',
        rb"POST \S+/(publish|delist) ": JOB,
        rb"GET \S+/openapi/": b'{"message": "no link today"}',
    }
)

Failure = Callable[[Connection, bytes], Awaitable[None]]


def answers_with(body: bytes, status: str = "200 OK", headers: str = "") -> Failure:
    """Return a failure that sends this answer."""

    async def answer(connection: Connection, _: bytes) -> None:
        await connection.answer(body, status=status, headers=headers + ALONE)

    return answer


def credential_in(sent: str) -> str:
    """Return the token of a request, or the API key of a request for a token."""
    return next(value for value in (TOKEN, KEY) if value in sent)


def echoes(status: str, form: str = "json", headers: str = "") -> Failure:
    """Return a failure that repeats everything that was sent: headers, token, key and numbers."""

    async def answer(connection: Connection, sent: bytes) -> None:
        text = sent.decode("latin-1")
        forms: dict[str, Callable[[], str]] = {
            "json": lambda: json.dumps({"slug": "bad-request", "message": f"received: {text}"}),
            "record": lambda: json.dumps({"status_info": {"status": "error", "field": "receiver", "message": text}}),
            "page": lambda: f"<html><pre>{text}</pre></html>",
            "credentials": lambda: json.dumps({"message": f"the credential {credential_in(text)} is not good"}),
            "other": lambda: json.dumps({"batch_id": [text], "data": text, "numbers": text, "token": [text]}),
        }
        await connection.answer(forms[form]().encode(), status=status, headers=headers + ALONE)

    return answer


async def hangs_up(connection: Connection, _: bytes) -> None:
    connection.writer.close()


async def resets(connection: Connection, _: bytes) -> None:
    connection.reset()


async def stays_silent(connection: Connection, _: bytes) -> None:
    await connection.until_closed()


async def speaks_no_http(connection: Connection, sent: bytes) -> None:
    await connection.write(b"NOPE " + sent + b"\r\n\r\n")


async def stops_in_the_middle(connection: Connection, sent: bytes) -> None:
    await connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + sent)


FAILURES: Mapping[str, Failure] = MappingProxyType(
    {
        "hangs up": hangs_up,
        "resets": resets,
        "stays silent": stays_silent,
        "speaks no HTTP": speaks_no_http,
        "stops in the middle": stops_in_the_middle,
        "400 with an echo": echoes("400 Bad Request"),
        "400 for the record with an echo": echoes("400 Bad Request", "record"),
        "400 with the credentials": echoes("400 Bad Request", "credentials"),
        "401 with an echo": echoes("401 Unauthorized"),
        "401 with the credentials": echoes("401 Unauthorized", "credentials"),
        "403 with an echo": echoes("403 Forbidden"),
        "404 with an echo": echoes("404 Not Found", "page"),
        "429 with an echo": echoes("429 Too Many Requests", headers="Retry-After: 0\r\n"),
        "429 for a day": answers_with(b"{}", "429 Too Many Requests", "Retry-After: 86400\r\n"),
        "500 for the token": answers_with(
            b'{"slug": "internal-server-error", "message": "500/50011 - Failed to parse token"}', "500 Oh"
        ),
        "502 with an echo": echoes("502 Bad Gateway", "page"),
        "503 with the credentials": echoes("503 Service Unavailable", "credentials"),
        "a redirect with the token": answers_with(
            b"", "307 Temporary Redirect", f"Location: https://elsewhere.example/x?token={TOKEN}\r\n"
        ),
        "a web page with an echo": echoes("200 OK", "page", "Content-Type: text/html\r\n"),
        "another form with an echo": echoes("200 OK", "other"),
        "no JSON": answers_with(b"{" + TOKEN.encode()),
        "too large": answers_with(b" " * 9_000_000),
        "no gzip": answers_with(TOKEN.encode(), headers="Content-Encoding: gzip\r\n"),
        "a bomb": answers_with(gzip.compress(bytes(9_000_000)), headers="Content-Encoding: gzip\r\n"),
    }
)


class Host:
    """Server within `async with` that fails the chosen calls and answers the others."""

    def __init__(self) -> None:
        self.server = RawServer(self._play)
        self.failure: Failure | None = None
        self.fails = re.compile(b"")
        self.failed = asyncio.Event()

    def fail(self, failure: Failure, *, mint: bool) -> None:
        """Fail the calls from now on, or the mint of the token that they need."""
        self.failure, self.failed = failure, asyncio.Event()
        self.fails = MINT if mint else re.compile(rb"(?!POST \S+/token HTTP)")

    def client(self, **settings: Any) -> TruecallerClient:
        """Return a client of this host with canaries as credentials."""
        given: dict[str, Any] = {
            "client_account_id": ACCOUNT,
            "key_id": "the-key-id",
            "api_key": KEY,
            "base_url": self.server.url,
            "timeouts": TIMEOUTS,
            "retry": AGAIN,
            "limits": LIMITS,
        }
        return TruecallerClient(**{**given, **settings})

    async def until_failed(self) -> None:
        """Wait until a request was failed."""
        await self.failed.wait()

    async def _play(self, connection: Connection) -> None:
        head = await connection.request()
        if self.failure is not None and self.fails.match(head):
            self.failed.set()
            await self.failure(connection, bytes(connection.received))
        else:
            await connection.answer(_good_answer(head), headers=ALONE)

    async def __aenter__(self) -> Self:
        await self.server.__aenter__()
        return self

    async def __aexit__(self, *how: object) -> None:
        await self.server.__aexit__(*how)


def _good_answer(head: bytes) -> bytes:
    if MINT.match(head):
        return json.dumps({"token": TOKEN}).encode()
    return next((body for path, body in GOOD.items() if re.match(path, head)), b"{}")
