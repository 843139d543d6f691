"""The nursery of the crash points: each child runs a campaign of twelve small batches, or goes on with one.

The server is in the same process, and still survives it: every request is written to a log before it takes effect, and
a new process brings its `SandboxState` to where it was by letting it handle the log again. The same requests at the
same moments give the same answers, ids and all. So a run takes a tenth of a second, needs no socket, and what took
effect is known to the byte.

An order has a `folder` and a `policy`; whether there is a campaign to go on with is seen there. The child leaves a line
for each final result when it hears of it, and at its end how it ended (`Told`).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Collection, Mapping
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import attrs

import truecaller_async.engine
import truecaller_async.journal.maintenance
import truecaller_async.journal.sqlite
import truecaller_async.wiring  # noqa: F401
from tests.crash.campaigns import row_said
from tests.crash.checking import Deed
from tests.crash.nursery import serve
from tests.crash.small import make_batches_small
from truecaller_async import CampaignOptions, ResponseLost, RetryPolicy, Timeouts, TruecallerClient, read_csv
from truecaller_async.clock import Clock
from truecaller_async.errors import JournalError
from truecaller_async.journal.lock import holder
from truecaller_async.journal.reader import JournalReader
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.options import Credentials, PollPolicy
from truecaller_async.ports import Write
from truecaller_async.resources import ClientSettings
from truecaller_async.sandbox import SPEEDS, SandboxSettings, SandboxState
from truecaller_async.telemetry import LoggingObserver
from truecaller_async.tokens import MemoryTokenStore
from truecaller_async.tokens.pool import PoolSettings
from truecaller_async.wiring import Environment, build_resources

BATCH = 4
LOST_BEFORE, LOST_AFTER = 5, 7
"""The submits, counted over all lives, whose answer is lost before and after they take effect."""

SETTINGS = SandboxSettings(limits=SPEEDS["off"], resolve_after=0.0)
OPTIONS = CampaignOptions(max_unresolved=16, linger=0.01, poll=PollPolicy(first=0.001, factor=1.0, cap=0.002))
JOURNAL, INPUT, REQUESTS, WORDS, ENDING = "journal.db", "input.csv", "requests", "words", "ending"
DONE, FAULT = 0, 3
DEEDS_MAX = 1_000_000


@attrs.frozen
class Told:
    """How a process ended, as it saw it: what was raised, and whether the lock was held when all was over."""

    fault: str | None
    said: str
    locked: bool
    resumed: bool


class Server:
    """The state of the sandbox, kept in the log `path` across processes."""

    def __init__(self, path: Path) -> None:
        self.state = SandboxState(SETTINGS)
        self.submits = 0
        if path.exists():
            for line in path.read_text().splitlines():
                self._handle(*_unpacked(line))
        self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def take(self, request: Request) -> Answer | None:
        """The answer; None where it is lost."""
        headers = {"content-type": "application/json"}
        if request.token is not None:
            headers["authorization"] = f"Bearer {request.token.reveal()}"
        is_submit = request.call == "submit"
        if is_submit and self.submits + 1 == LOST_BEFORE:
            self.submits += 1
            self._write(["LOST", "", {}, "", 0.0])
            return None
        body = request.body or b""
        now = time.time()
        self._write([request.method, request.path, headers, base64.b64encode(body).decode(), now])
        reply = self._handle(request.method, request.path, headers, body, now)
        if is_submit and self.submits == LOST_AFTER:
            return None
        return reply

    def close(self) -> None:
        """Write no more."""
        os.close(self._log)

    def _write(self, line: list[Any]) -> None:
        os.write(self._log, json.dumps(line).encode() + b"\n")

    def _handle(self, method: str, path: str, headers: Mapping[str, str], body: bytes, now: float) -> Answer:
        if method == "LOST":
            self.submits += 1
            return Answer(0, {}, b"")
        self.submits += method == "POST" and path.endswith("/batch")
        reply = self.state.handle(method, path, headers, body, now)
        return Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, reply.body)


@attrs.frozen
class Line:
    """The `Transport` port, straight to the server."""

    server: Server

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        await asyncio.sleep(0)
        answer = self.server.take(request)
        await asyncio.sleep(0)
        if answer is None:
            raise ResponseLost("the connection broke")
        return answer

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], cap: int
    ) -> Answer:
        raise AssertionError("no campaign downloads a file")

    async def aclose(self) -> None:
        """Nothing to close."""


def deeds_of(path: Path) -> list[Deed]:
    """What took effect at the server of that log."""
    with closing(Server(path)) as server:
        truth = server.state.truth(0, DEEDS_MAX)
    return [Deed(row_said(entry.reason), entry.outcome == "success") for entry in truth]


def heard(path: Path) -> dict[int, str]:
    """The final words that processes have heard, by row."""
    if not path.exists():
        return {}
    return {int(row): outcome for row, outcome in map(str.split, path.read_text().splitlines())}


def campaign(order: Mapping[str, Any]) -> int:
    """One process of the campaign in that folder."""
    folder = Path(order["folder"])
    told = asyncio.run(_campaign(folder, order["policy"]))
    (folder / ENDING).write_text(json.dumps(attrs.asdict(told)))
    return DONE if told.fault is None else FAULT


async def _campaign(folder: Path, policy: Any) -> Told:
    journal = folder / JOURNAL
    fault: Exception | None = None
    resumed = False
    try:
        resumed = has_campaign(journal)
        await _run(folder, journal, None if resumed else attrs.evolve(OPTIONS, on_ambiguous=policy))
    except JournalError as error:
        fault = error
    said = "" if fault is None else str(fault)
    return Told(None if fault is None else type(fault).__name__, said, holder(journal) is not None, resumed)


def has_campaign(journal: Path) -> bool:
    """Whether there is something to go on with. Raises `JournalError` where the file is no journal."""
    if not journal.exists() or not journal.stat().st_size:
        return False
    with JournalReader(journal) as reader:
        return reader.state().started is not None


async def _run(folder: Path, journal: Path, options: CampaignOptions | None) -> None:
    """`options` are those of a new campaign; None goes on with the one in the journal."""
    client = _client(Server(folder / REQUESTS))
    words = os.open(folder / WORDS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    stream = (
        client.resume(journal)
        if options is None
        else client.push_many(read_csv(folder / INPUT), journal=str(journal), options=options)
    )
    async with client, stream:
        async for result in stream:
            if result.final:
                os.write(words, f"{result.row} {result.outcome}\n".encode())


def _client(server: Server) -> TruecallerClient:
    known = SETTINGS
    credentials = Credentials(known.client_account_id, known.key_id, known.api_key)
    settings = ClientSettings(credentials, "v2", RetryPolicy(), Timeouts())
    environment = Environment(Clock(), Random(7), LoggingObserver())
    shared = build_resources(settings, Line(server), MemoryTokenStore(), PoolSettings(known.limits, 1), environment)
    return TruecallerClient._from_parts(settings, shared)


def _unpacked(line: str) -> tuple[str, str, Mapping[str, str], bytes, float]:
    method, path, headers, body, now = json.loads(line)
    return method, path, headers, base64.b64decode(body), now


if __name__ == "__main__":
    make_batches_small(BATCH)
    serve(campaign)
