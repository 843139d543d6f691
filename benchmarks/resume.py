"""Resume of a long campaign: time from a crash until the first request about a batch.

A journal of ten million rows is built with its CSV file: every row has a fingerprint, in 20,000 batches, with a crash
near the end that left 40 batches accepted, 3 in flight and 20 planned. The end of the source had not been reached, so
the rows of the duplicate window are read again too. Each round resumes a copy of that journal in this process, against
a sandbox in another one. The time is measured from entering `client.resume` to the end of the first request about a
batch, including the creation of the token; then the run is aborted.

If the file was touched, all rows are read and compared before anything is sent; that time is shown without a target.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from statistics import median
from time import perf_counter, time

import attrs

from benchmarks import Figure, at_most, exactly
from benchmarks.journal import statements
from benchmarks.server import HOUR_MS, LABEL, sandbox
from truecaller_async import CampaignOptions, TruecallerClient, read_csv
from truecaller_async.campaign.rows.fingerprints import RowFingerprints
from truecaller_async.journal.handle import JournalHandle, open_handle
from truecaller_async.models import Outcome, Row
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchPlanned,
    CampaignStarted,
    JournalEntry,
    RowsRead,
    RowsSettled,
    RunStarted,
    SourcePosition,
)
from truecaller_async.sandbox import SPEEDS
from truecaller_async.sources import ColumnDefaults, FileSource

ROWS = 10_000_000
ROWS_WITHOUT_DISK = 1_000_000
DISK_MIN = 3_000_000_000
SIZE = 500
ACCEPTED = 40
IN_FLIGHT = 3
PLANNED = 20
ROUNDS = 3
SECONDS_MAX = 5.0
TIMEOUT_SECONDS = 600.0
"""Time for the first request; a hang is an error and gives no figure."""

COMMIT_BATCHES = 100
"""Batches per commit while the journal is built."""

SALT = bytes(range(16))
HEADER = "caller,receiver,starts_at,ends_at,reason\n"


class FirstRequest:
    """Observer that records the end of the first request about a batch."""

    def __init__(self) -> None:
        self.at = 0.0
        self.there = asyncio.Event()

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        """Record one HTTP attempt."""
        if call in ("submit", "status") and not self.there.is_set():
            self.at = perf_counter()
            self.there.set()

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Ignore events."""


@attrs.frozen
class Crash:
    """State after the crash: file, journal, and number of open batches."""

    source: Path
    journal: Path
    rows: int
    open_batches: int


def measure() -> list[Figure]:
    """Return the median of three rounds, and one round with a touched file."""
    with (
        tempfile.TemporaryDirectory() as folder,
        sandbox(limits=SPEEDS["off"], resolve_after=1.0) as server,
    ):
        crash = _crashed(Path(folder), server.environment)
        seconds = [_resumed(crash, server.environment) for _ in range(ROUNDS)]
        os.utime(crash.source)
        touched = _resumed(crash, server.environment)
        size = crash.source.stat().st_size / crash.rows
    rows = f"{crash.rows:,} rows"
    return [
        exactly(f"resume: open batches of a journal of {rows}", crash.open_batches, ACCEPTED + IN_FLIGHT + PLANNED),
        Figure("resume: bytes a row in its file", f"{size:.1f}"),
        at_most(f"resume: to the first request, {rows}", median(seconds), SECONDS_MAX, " s"),
        Figure("resume: the rounds", ", ".join(f"{one:.2f} s" for one in seconds)),
        Figure("resume: to the first request where the file was touched", f"{touched:.1f} s"),
    ]


def _resumed(crash: Crash, environment: Mapping[str, str]) -> float:
    copy = crash.journal.with_name("copy.db")
    shutil.copy(crash.journal, copy)
    try:
        seconds = asyncio.run(_first_request(copy, environment))
    finally:
        copy.unlink()
    print(f"  first request after {seconds:.2f} s", flush=True)
    return seconds


async def _first_request(journal: Path, environment: Mapping[str, str]) -> float:
    first = FirstRequest()
    async with TruecallerClient.from_env(environment, observer=first) as client:
        start = perf_counter()
        async with client.resume(journal):
            await asyncio.wait_for(first.there.wait(), TIMEOUT_SECONDS)
    return first.at - start


def _crashed(folder: Path, environment: Mapping[str, str]) -> Crash:
    """Build the file and the journal of a crashed campaign."""
    rows = ROWS if shutil.disk_usage(folder).free >= DISK_MIN else ROWS_WITHOUT_DISK
    if rows < ROWS:
        print(f"  less than {DISK_MIN:,} bytes are free: only {rows:,} rows", flush=True)
    source, journal = folder / "campaign.csv", folder / "campaign.db"
    start = perf_counter()
    _write_file(source, rows)
    file = read_csv(source, defaults=ColumnDefaults(label_id=LABEL))
    handle = open_handle(journal, is_new=True)
    begun = CampaignStarted(
        time(),
        "0",
        environment["TRUECALLER_CLIENT_ACCOUNT_ID"],
        "v2",
        attrs.asdict(CampaignOptions()),
        file.descriptor(),
        SALT,
    )
    handle.commit(statements(handle, (begun, RunStarted(time(), os.getpid()))))
    _write_journal(handle, file, rows // SIZE)
    open_batches = len(handle.statements.state.open)
    handle.close()
    print(f"  built in {perf_counter() - start:.0f} s", flush=True)
    return Crash(source, journal, rows, open_batches)


def _write_file(path: Path, rows: int) -> None:
    now = int(time() * 1000)
    rest = f",{now},{now + 20 * HOUR_MS},Calling you for KYC\n"
    with path.open("w") as file:
        file.write(HEADER)
        for first in range(0, rows, 10_000):
            file.write("".join(f"911234567898,9198{number:07d}0{rest}" for number in range(first, first + 10_000)))


def _write_journal(handle: JournalHandle, file: FileSource, batches: int) -> None:
    fingerprints = RowFingerprints(SALT)
    lines = file.rows()
    for first in range(1, batches + 1, COMMIT_BATCHES):
        lives = (
            entries
            for seq in range(first, min(first + COMMIT_BATCHES, batches + 1))
            for entries in _life(seq, list(islice(lines, SIZE)), fingerprints, batches)
        )
        handle.commit(chain.from_iterable(statements(handle, entries) for entries in lives))
    lines.close()


def _life(seq: int, rows: list[Row], fingerprints: RowFingerprints, batches: int) -> Iterator[tuple[JournalEntry, ...]]:
    """Yield the writes of one batch up to the crash; the last batches are planned, those before them open."""
    numbers, end, at = tuple(row.number for row in rows), rows[-1].end, time()
    assert end is not None
    yield (
        BatchPlanned(seq, numbers),
        RowsRead(SourcePosition(numbers[-1], *end), fingerprints.of([row.record for row in rows])),
    )
    behind = batches - seq
    if behind < PLANNED:
        return
    yield (AttemptStarted(seq, 1, "0123456789ab", at),)
    if behind < PLANNED + IN_FLIGHT:
        return
    yield (AttemptEnded(seq, 1, "accepted", at, batch_id=f"d30c1234-5678-4abc-9def-{seq:012d}"),)
    if behind < PLANNED + IN_FLIGHT + ACCEPTED:
        return
    yield (
        RowsSettled(numbers[1::20], Outcome.FAILED, "not a user", seq, attempts=1),
        RowsSettled(tuple(n for n in numbers if n % 20 != 2), Outcome.DELIVERED, seq=seq, attempts=1),
    )
