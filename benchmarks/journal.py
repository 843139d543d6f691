"""Journal on disk: cost per record, records per second, and the time to reopen a long journal.

Batches of 500 pass through all steps: planned with 509 bytes of fingerprints, attempt started, attempt ended,
outcomes; one record of twenty failed, for one of three reasons. Each of the four writes is awaited, as the engine does
it, with a number of batches in flight. CPU time is that of the whole process including the kernel. The slow disk is a
connection whose commits take 5 ms longer.

With one batch in flight, each write is one commit and two thread switches, which dominate. Load on the machine makes
them up to a third slower, so the median of five rounds counts, with the cheapest and the most expensive round.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import attrs

from benchmarks import Figure, at_most, exactly
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.journal import SqliteJournal
from truecaller_async.journal.handle import JournalHandle, open_handle
from truecaller_async.journal.reader import JournalReader
from truecaller_async.journal.statements import Statement
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchPlanned,
    CampaignStarted,
    JournalEntry,
    RowsRead,
    RowsSettled,
    RunStarted,
    SourceDescriptor,
    SourcePosition,
)

SIZE = 500
PRINTS = 509
LANES = (1, 16, 200)
BATCHES = {1: 1_000, 16: 4_000, 200: 8_000}
SLOW_BATCHES = {1: 100, 16: 1_600, 200: 8_000}
ROUNDS = {1: 5, 16: 1, 200: 1}
LONG_BATCHES = 20_000
OPEN_BATCHES = 64
COMMIT_LONGER = 0.005
MICROSECONDS_MAX = 2.0
BYTES_MAX = 5.0
SLOW_RATE_MIN = 100_000
OPEN_SECONDS_MAX = 5.0

BEGUN = CampaignStarted(1.76e9, "0", "account", "v2", {}, SourceDescriptor("csv", "/data/campaign.csv"), bytes(16))


class SlowDisk(sqlite3.Connection):
    """Connection whose commits take 5 ms longer."""

    def commit(self) -> None:
        """Commit after the delay."""
        time.sleep(COMMIT_LONGER)
        super().commit()


@attrs.frozen
class Load:
    """One run: wall-clock seconds, CPU seconds, and bytes of the file."""

    records: int
    seconds: float
    processor: float
    size: float

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.records / self.seconds


def measure() -> list[Figure]:
    """Return all figures of one run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "campaign.db"
        rounds = {
            lanes: [_load(path, lanes, BATCHES[lanes], sqlite3.Connection) for _ in range(ROUNDS[lanes])]
            for lanes in LANES
        }
        loads = {lanes: sorted(found, key=_cost)[len(found) // 2] for lanes, found in rounds.items()}
        slow = {lanes: _load(path, lanes, SLOW_BATCHES[lanes], SlowDisk) for lanes in LANES}
        return [
            *(_cost_of(lanes, found) for lanes, found in rounds.items()),
            at_most("journal: bytes a record", loads[16].size, BYTES_MAX),
            *(Figure(f"journal: records a second, {lanes} in flight", f"{loads[lanes].rate:,.0f}") for lanes in LANES),
            *(_slow_rate(lanes, load) for lanes, load in slow.items()),
            *_long(Path(folder) / "long.db"),
        ]


def _cost(load: Load) -> float:
    return 1e6 * load.processor / load.records


def _cost_of(lanes: int, rounds: list[Load]) -> Figure:
    costs = [_cost(load) for load in rounds]
    figure = at_most(f"journal: processor time a record, {lanes} in flight", median(costs), MICROSECONDS_MAX, " us")
    spread = f" ({min(costs):.2f} to {max(costs):.2f})" if len(costs) > 1 else ""
    return attrs.evolve(figure, value=figure.value + spread)


def _at_least(name: str, value: float, target: float) -> Figure:
    return Figure(name, f"{value:,.0f}", f">= {target:,.0f}", value >= target)


def _slow_rate(lanes: int, load: Load) -> Figure:
    name = f"journal: records a second, {lanes} in flight, commit 5 ms slower"
    return _at_least(name, load.rate, SLOW_RATE_MIN) if lanes == 16 else Figure(name, f"{load.rate:,.0f}")


def _load(path: Path, lanes: int, batches: int, factory: type[sqlite3.Connection]) -> Load:
    seconds, processor = asyncio.run(_written(path, lanes, batches, factory))
    size = path.stat().st_size / (batches * SIZE)
    path.unlink()
    return Load(batches * SIZE, seconds, processor, size)


async def _written(path: Path, lanes: int, batches: int, factory: type[sqlite3.Connection]) -> tuple[float, float]:
    journal = SqliteJournal(path, factory=factory)
    state = await journal.open(is_new=True)

    def write(entries: Sequence[JournalEntry]) -> asyncio.Future[None] | None:
        return journal.append(entries, applied(state, entries))

    write((BEGUN, RunStarted(1.76e9, os.getpid())))
    lives = [list(life(seq)) for seq in range(1, batches + 1)]
    work = iter(lives)

    async def lane() -> None:
        for writes in work:
            for entries in writes:
                if (durable := write(entries)) is not None:
                    await durable

    start, processor = perf_counter(), process_time()
    await asyncio.gather(*(lane() for _ in range(lanes)))
    seconds, processor = perf_counter() - start, process_time() - processor
    await journal.aclose()
    return seconds, processor


def applied(state: CampaignState, entries: Iterable[JournalEntry]) -> Collection[CampaignBatch]:
    """Apply the entries of one transaction; return the batches that they changed."""
    return {batch.seq: batch for entry in entries for batch in state.apply(entry)}.values()


def statements(handle: JournalHandle, entries: Sequence[JournalEntry]) -> list[Statement]:
    """Apply the entries of one transaction; return its statements."""
    return handle.statements.build(entries, applied(handle.statements.state, entries))


def life(seq: int) -> Iterator[tuple[JournalEntry, ...]]:
    """Yield the writes of one batch."""
    rows = tuple(range((seq - 1) * SIZE + 1, seq * SIZE + 1))
    at = 1.76e9 + seq / 10
    yield BatchPlanned(seq, rows), RowsRead(SourcePosition(rows[-1], rows[-1] + 1, 80 * rows[-1]), os.urandom(PRINTS))
    yield (AttemptStarted(seq, 1, "0123456789ab", at),)
    yield (AttemptEnded(seq, 1, "accepted", at + 0.05, batch_id=f"d30c1234-5678-4abc-9def-{seq:012d}"),)
    failed = [rows[first::60] for first in (0, 20, 40)]
    good = tuple(row for index, row in enumerate(rows) if index % 20)
    yield (
        RowsSettled(good, Outcome.DELIVERED, seq=seq, attempts=1),
        *(RowsSettled(part, Outcome.FAILED, f"reason {n}", seq, attempts=1) for n, part in enumerate(failed)),
    )


def _long(path: Path) -> list[Figure]:
    """Write ten million rows, of which the last 64 batches are accepted without an outcome."""
    handle = open_handle(path, is_new=True)
    handle.commit(statements(handle, (BEGUN, RunStarted(1.76e9, os.getpid()))))
    for seq in range(1, LONG_BATCHES + 1):
        writes = list(life(seq))
        kept = writes[:-1] if _stays_open(seq) else writes
        handle.commit(chain.from_iterable(statements(handle, entries) for entries in kept))
    handle.close()
    start = perf_counter()
    open_batches = asyncio.run(_opened(path))
    seconds = perf_counter() - start
    start = perf_counter()
    with JournalReader(path) as reader:
        words = sum(1 for _ in reader.row_outcomes())
    reading = words / (perf_counter() - start)
    return [
        exactly("journal: open batches of a journal of 10,000,000 rows", open_batches, OPEN_BATCHES),
        at_most("journal: opening a journal of 10,000,000 rows", seconds, OPEN_SECONDS_MAX, " s"),
        exactly("journal: outcomes read from it", words, LONG_BATCHES * SIZE),
        _at_least("journal: outcomes read per second", reading, 300_000),
    ]


def _stays_open(seq: int) -> bool:
    return seq > LONG_BATCHES - OPEN_BATCHES


async def _opened(path: Path) -> int:
    journal = SqliteJournal(path)
    state = await journal.open(is_new=False)
    await journal.aclose()
    return len(state.open)
