"""One call of a real client to one misbehaving server, over a real socket.

The server makes a token properly and answers one call well, so that only the misbehaviour is tested. Then it misbehaves
until the same call has ended, and from then on it answers well again. It closes after each answer, so that every
request uses its own connection. A scene shows how the call ended, how many requests the server got, and whether the
same client still works.

A hostile script gets a fresh `Connection` and reads the request itself, or does not. At its end it waits until the
client has closed, so that a scene ends only if the client closed every bad connection.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs

from tests.transport.raw_server import Connection, RawServer, Script
from truecaller_async import CallRecord, Limits, RetryPolicy, Timeouts, TruecallerClient
from truecaller_async.errors import TruecallerError

ACCOUNT = "00000000-0000-4000-8000-000000000001"
KEY = "c4n4ry-0f-4-k3y-n0b0dy-m4y-s33"
TOKEN = "t0k3n-wh1ch-n0b0dy-m4y-s33-31th3r"
FEATURE_SET = "00000000-0000-4000-8000-0000000000f5"
JOB = b'{"status": "pending", "new_numbers": []}'
CALLER, RECEIVER = "910000000001", "919900000007"

LONG_TIMEOUTS = Timeouts(connect=5, read=5)
SHORT_TIMEOUTS = Timeouts(connect=0.5, read=0.05)
ATTEMPTS = 2
WIDE_LIMITS = Limits.documented().replace(token=(1000, 1.0), batch=(1000, 1.0))
QUICK_RETRY = RetryPolicy(attempts=ATTEMPTS, total=30, initial=0.001, cap=0.001)
CONNECTION_CLOSE = "Connection: close\r\n"

Make = Callable[[TruecallerClient], Awaitable[object]]


@attrs.frozen
class Call:
    """One public call: whether it is a read, the body of a good answer, and how it is made."""

    name: str
    is_read: bool
    good: bytes
    make: Make


def record() -> CallRecord:
    """Return a record that is valid now."""
    start = datetime.now(UTC)
    return CallRecord(CALLER, RECEIVER, start, start + timedelta(hours=1))


CALLS = (
    Call("push", False, b'{"status_info": {"status": "success"}}', lambda client: client.calls.push(record())),
    Call("submit", False, b'{"batch_id": "b-1"}', lambda client: client.batches.submit([record()])),
    Call("status", True, b'{"batch_id": "b-1", "data": []}', lambda client: client.batches.status("b-1")),
    Call("labels", True, b"[]", lambda client: client.labels.list()),
    Call("numbers", True, b'{"numbers": []}', lambda client: client.numbers.list()),
    Call("feature_sets", True, b'{"feature_sets": []}', lambda client: client.feature_sets.list()),
    Call("publish", False, JOB, lambda client: client.numbers.publish(FEATURE_SET, [RECEIVER])),
    Call("delist", False, JOB, lambda client: client.numbers.delist(FEATURE_SET, [RECEIVER])),
)


def bodies(body: bytes, *, status: str = "200 OK", headers: str = "") -> Script:
    """Return a script that answers with this body and closes."""

    async def answer(connection: Connection) -> None:
        await connection.request()
        await connection.answer(body, status=status, headers=headers + CONNECTION_CLOSE)

    return answer


def raw(answer: bytes, *, closes: bool = True) -> Script:
    """Return a script that writes these bytes, and closes its side or stays silent."""

    async def say(connection: Connection) -> None:
        await connection.request()
        await connection.write(answer)
        if closes:
            connection.writer.write_eof()

    return say


@attrs.define(eq=False)
class CallOutcome:
    """End of a call: the `error` or the `result`, the number of requests, and what the server read."""

    error: BaseException | None = None
    result: object = None
    requests: int = 0
    heads: list[bytes] = attrs.field(factory=list)


class HostileServer:
    """The server's side of a scene."""

    def __init__(self, hostile: Script, good: bytes) -> None:
        self._hostile = hostile
        self._good = good
        self.is_hostile = False
        self.closed: list[asyncio.Event] = []
        self.server = RawServer(bodies(f'{{"token": "{TOKEN}"}}'.encode()), self._play)

    async def _play(self, connection: Connection) -> None:
        if not self.is_hostile:
            await bodies(self._good)(connection)
            return
        self.closed.append(asyncio.Event())
        gone = self.closed[-1]
        try:
            await self._hostile(connection)
            await connection.until_closed()
        finally:
            gone.set()


def client_at(url: str, **settings: Any) -> TruecallerClient:
    """Return a client of this server, with canaries as credentials."""
    given: dict[str, Any] = {
        "client_account_id": ACCOUNT,
        "key_id": "the-key-id",
        "api_key": KEY,
        "base_url": url,
    }
    return TruecallerClient(
        **{**given, "timeouts": LONG_TIMEOUTS, "retry": QUICK_RETRY, "limits": WIDE_LIMITS, **settings}
    )


async def call_hostile_server(call: Call, hostile: Script, timeouts: Timeouts = LONG_TIMEOUTS) -> CallOutcome:
    """Make the call to this server, and then to a good one, which the same client must reach."""
    stage, meeting = HostileServer(hostile, call.good), CallOutcome()
    async with stage.server as server, client_at(server.url) as client:
        await call.make(client)
        stage.is_hostile = True
        try:
            meeting.result = await call.make(client.with_options(timeouts=timeouts))
        except Exception as error:  # noqa: BLE001 - which exceptions come is what these tests are about
            meeting.error = error
        meeting.requests = len(stage.closed)
        for gone in stage.closed:
            await gone.wait()
        stage.is_hostile = False
        await call.make(client)
        meeting.heads = [bytes(connection.received) for connection in server.connections]
    if meeting.error is not None:
        assert_nothing_disclosed(meeting.error)
    return meeting


def assert_nothing_disclosed(error: BaseException) -> None:
    """Check that a crash report has no credential and no number, and no error of another library."""
    assert isinstance(error, TruecallerError), repr(error)
    collected = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = " ".join(str(frame.locals) for frame in collected.stack if "truecaller_async" in frame.filename)
    shown = " ".join([str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)])
    for number in (CALLER, RECEIVER):
        assert number not in shown
    for secret in (KEY, TOKEN):
        for start in range(len(secret) - 7):
            assert secret[start : start + 8] not in shown + frames
    behind = error.__cause__ or error.__context__
    assert behind is None or isinstance(behind, TruecallerError), f"{behind!r} is the cause of {error!r}"
