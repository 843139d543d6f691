"""Run the processes of a golden case: `python -m tests.journal.golden.child CASE RUN FOLDER`.

Salt and process id are fixed, so two generations of a case differ only in what SQLite chooses at random.
"""

from __future__ import annotations

import asyncio
import csv
import os
import secrets
import signal
import sqlite3
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

from msgspec import structs

import truecaller_async.wiring  # noqa: F401 - before the process id is replaced
from tests.crash.engine_settings import make_batches_small
from tests.journal.golden.cases import BY_NAME, Case, Kill
from tests.journal.golden.scene import Order, now, run_process, storage_loop
from tests.journal.golden.server import LoggedServer, log_writer, read_log
from tests.virtual import BASE
from truecaller_async import read_csv, read_jsonl
from truecaller_async.models import Request
from truecaller_async.models.journal_entries import SourceDescriptor
from truecaller_async.sources import FileSource
from truecaller_async.storage import filesystem
from truecaller_async.storage.sqlite_worker import SqliteWorker

JOURNAL, REQUESTS, ENDED = "journal.db", "requests", "ended"
FIXED_PROCESS_ID = 4711
FIXED_MODIFIED_NS = 1_760_000_000_000_000_000
NETWORK_MOUNT = "1 1 0:1 / / rw,relatime shared:1 - nfs4 server:/export rw,vers=4.2\n"
SECONDS_BETWEEN_RUNS = 10.0

_real_process_id = os.getpid()


def input_name(case_source: str) -> str:
    """Return the name of the input file."""
    return "input.jsonl" if case_source == "jsonl" else "input.csv"


def source_of(kind: str, path: Path) -> object:
    """Return the source of a case: a file, or a list of the records in it."""
    if kind == "list":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    return read_jsonl(path) if kind == "jsonl" else read_csv(path)


def main() -> None:
    """Run one process of a case in a folder that has its input."""
    name, run, folder = sys.argv[1:]
    os.chdir(folder)
    case, number = BY_NAME[name], int(run)
    _fix_what_differs()
    make_batches_small(case.batch_rows)
    if case.is_on_network:
        Path("mountinfo").write_text(NETWORK_MOUNT)
        setattr(filesystem, "MOUNTS", Path("mountinfo"))  # noqa: B010 - for mypy it is a constant
    requests = read_log(Path(REQUESTS))
    started = float(Path(ENDED).read_text()) - BASE + SECONDS_BETWEEN_RUNS if number else 0.0
    with storage_loop(started) as loop:
        Path(ENDED).write_text(repr(loop.run_until_complete(_run(case, number, requests))))


async def _run(case: Case, number: int, requests: list[Any]) -> float:
    """Run the process; return the time of its end, if it is not killed."""
    kill = case.kills[number] if number < len(case.kills) else None

    def handled(call: str, count: int) -> None:
        if kill == Kill("after", call, count):
            _die()

    server = LoggedServer(case.behaviour, log_writer(Path(REQUESTS)), handled)
    server.replay(requests)
    if kill is not None and kill.how == "at":
        asyncio.get_running_loop().call_later(kill.number, _die)
    if kill is not None and kill.how == "when":
        _die_when(kill.call)
    order = Order(
        Path(JOURNAL),
        is_new=number == 0,
        source=source_of(case.source, Path(input_name(case.source))) if number == 0 else None,
        options=case.campaign_options() if number == 0 else None,
        fault=lambda request, count, rng: _fault(case, kill, request, count, rng),
        stop=case.stop,
    )
    ended = await run_process(order, server)
    assert kill is None, f"the process was not killed: {ended.error or ended.summary}"
    return now()


def _fault(case: Case, kill: Kill | None, request: Request, count: int, rng: Random) -> str | None:
    if kill == Kill("before", request.call, count):
        _die()
    fault = case.fault()
    return None if fault is None else fault(request, count, rng)


_workers: list[SqliteWorker] = []


def _die(at: float | None = None) -> None:
    """Kill this process as soon as everything that was handed to the journal is on the disk."""
    while any(worker._is_serving for worker in _workers):
        time.sleep(0.001)
    Path(ENDED).write_text(repr(now() if at is None else at))
    os.kill(_real_process_id, signal.SIGKILL)


def _die_when(question: str) -> None:
    """Kill this process after the first commit after which the answer to a query is not 0."""
    write_group = SqliteWorker._write_group
    loop = asyncio.get_running_loop()

    def watched(worker: SqliteWorker, db: sqlite3.Connection, group: Any) -> Any:
        results = write_group(worker, db, group)
        if db.execute(question).fetchone()[0]:
            Path(ENDED).write_text(repr(BASE + loop.time()))
            os.kill(_real_process_id, signal.SIGKILL)
        return results

    setattr(SqliteWorker, "_write_group", watched)  # noqa: B010 - for mypy it is a method


def _fix_what_differs() -> None:
    """Replace the salt, the process id, and the path and time of the input."""
    describe, construct = FileSource.descriptor, SqliteWorker.__init__

    def descriptor(source: FileSource) -> SourceDescriptor | None:
        found = describe(source)
        return None if found is None else structs.replace(found, path=Path(found.path).name, modified=FIXED_MODIFIED_NS)

    def init(worker: SqliteWorker, *args: Any, **kwargs: Any) -> None:
        construct(worker, *args, **kwargs)
        _workers.append(worker)

    for owner, name, value in (
        (FileSource, "descriptor", descriptor),
        (SqliteWorker, "__init__", init),
        (secrets, "token_bytes", lambda size: bytes(range(size))),
        (os, "getpid", lambda: FIXED_PROCESS_ID),
    ):
        setattr(owner, name, value)


if __name__ == "__main__":
    main()
