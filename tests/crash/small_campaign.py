"""Run or resume a campaign of about twelve small batches in a forked process.

Algorithm:
    The server is in the same process and still survives it: every request is written to a log before it is applied, and
    a new process restores its `SandboxState` by handling the log again. Equal requests at equal times give equal
    answers, including ids. So a run takes a tenth of a second, needs no socket, and exactly known records are applied.

    An order has a `folder` and a `policy`; the campaign is resumed if the folder contains one. The child appends a line
    for each final result that it receives, and writes at its end how it ended (`RunReport`).
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

import truecaller_async.campaign.stream
import truecaller_async.journal.maintenance
import truecaller_async.journal.sqlite
import truecaller_async.wiring  # noqa: F401
from tests.crash.campaigns import row_of_reason
from tests.crash.checking import AppliedRecord
from tests.crash.engine_settings import make_batches_small
from tests.crash.forker import serve
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

BATCH_ROWS = 4
LOST_BEFORE_INDEX, LOST_AFTER_INDEX = 5, 7
"""The submits, counted over all processes, whose answer is lost before and after they are applied."""

SETTINGS = SandboxSettings(limits=SPEEDS["off"], resolve_after=0.0)
OPTIONS = CampaignOptions(max_unresolved=16, linger=0.01, poll=PollPolicy(first=0.001, factor=1.0, cap=0.002))
JOURNAL, INPUT, REQUESTS, OUTCOMES, ENDING = "journal.db", "input.csv", "requests", "outcomes", "ending"
DONE, JOURNAL_ERROR = 0, 3
RECORDS_MAX = 1_000_000


@attrs.frozen
class RunReport:
    """The report of a process about its end."""

    error: str | None
    """The class of the error that ended the campaign."""
    message: str
    """The text of that error."""
    is_locked: bool
    """Whether the journal was still locked."""
    resumed: bool
    """Whether the campaign was resumed, and not started."""


class Server:
    """The state of the sandbox, restored from the log `path`."""

    def __init__(self, path: Path) -> None:
        self.state = SandboxState(SETTINGS)
        self.submits = 0
        if path.exists():
            for line in path.read_text().splitlines():
                self._handle(*_unpacked(line))
        self._log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def handle(self, request: Request) -> Answer | None:
        """Handle a request; return the answer, None if it is lost."""
        headers = {"content-type": "application/json"}
        if request.token is not None:
            headers["authorization"] = f"Bearer {request.token.reveal()}"
        is_submit = request.call == "submit"
        if is_submit and self.submits + 1 == LOST_BEFORE_INDEX:
            self.submits += 1
            self._write(["LOST", "", {}, "", 0.0])
            return None
        body = request.body or b""
        now = time.time()
        self._write([request.method, request.path, headers, base64.b64encode(body).decode(), now])
        reply = self._handle(request.method, request.path, headers, body, now)
        if is_submit and self.submits == LOST_AFTER_INDEX:
            return None
        return reply

    def close(self) -> None:
        """Close the log."""
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
class DirectTransport:
    """The `Transport` port, directly connected to the server."""

    server: Server

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        await asyncio.sleep(0)
        answer = self.server.handle(request)
        await asyncio.sleep(0)
        if answer is None:
            raise ResponseLost("the connection broke")
        return answer

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], max_bytes: int
    ) -> Answer:
        raise AssertionError("no campaign downloads a file")

    async def aclose(self) -> None:
        """Do nothing; nothing is open."""


def applied_records(path: Path) -> list[AppliedRecord]:
    """Return the records that the server of a log applied."""
    with closing(Server(path)) as server:
        truth = server.state.truth(0, RECORDS_MAX)
    return [AppliedRecord(row_of_reason(entry.reason), entry.outcome == "success") for entry in truth]


def reported_outcomes(path: Path) -> dict[int, str]:
    """Return the final outcomes that processes have received, by row."""
    if not path.exists():
        return {}
    return {int(row): outcome for row, outcome in map(str.split, path.read_text().splitlines())}


def campaign(order: Mapping[str, Any]) -> int:
    """Run one process of the campaign in a folder."""
    folder = Path(order["folder"])
    report = asyncio.run(_campaign(folder, order["policy"]))
    (folder / ENDING).write_text(json.dumps(attrs.asdict(report)))
    return DONE if report.error is None else JOURNAL_ERROR


async def _campaign(folder: Path, policy: Any) -> RunReport:
    journal = folder / JOURNAL
    error: Exception | None = None
    resumed = False
    try:
        resumed = has_campaign(journal)
        await _run(folder, journal, None if resumed else attrs.evolve(OPTIONS, on_ambiguous=policy))
    except JournalError as caught:
        error = caught
    message = "" if error is None else str(error)
    return RunReport(None if error is None else type(error).__name__, message, holder(journal) is not None, resumed)


def has_campaign(journal: Path) -> bool:
    """Return whether there is a campaign to resume; raise `JournalError` if the file is no journal."""
    if not journal.exists() or not journal.stat().st_size:
        return False
    with JournalReader(journal) as reader:
        return reader.state().started is not None


async def _run(folder: Path, journal: Path, options: CampaignOptions | None) -> None:
    """Start a campaign with these options; resume the one in the journal if they are None."""
    client = _client(Server(folder / REQUESTS))
    outcomes = os.open(folder / OUTCOMES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    stream = (
        client.resume(journal)
        if options is None
        else client.push_many(read_csv(folder / INPUT), journal=str(journal), options=options)
    )
    async with client, stream:
        async for result in stream:
            if result.final:
                os.write(outcomes, f"{result.row} {result.outcome}\n".encode())


def _client(server: Server) -> TruecallerClient:
    known = SETTINGS
    credentials = Credentials(known.client_account_id, known.key_id, known.api_key)
    settings = ClientSettings(credentials, "v2", RetryPolicy(), Timeouts())
    environment = Environment(Clock(), Random(7), LoggingObserver())
    shared = build_resources(
        settings, DirectTransport(server), MemoryTokenStore(), PoolSettings(known.limits, 1), environment
    )
    return TruecallerClient._from_parts(settings, shared)


def _unpacked(line: str) -> tuple[str, str, Mapping[str, str], bytes, float]:
    method, path, headers, body, now = json.loads(line)
    return method, path, headers, base64.b64decode(body), now


if __name__ == "__main__":
    make_batches_small(BATCH_ROWS)
    serve(campaign)
