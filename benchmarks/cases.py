"""What is timed: the limit, our own variants and the peers, each in a fresh process that sits on one core.

The process loads what the case needs, sends a few thousand records to be warm, then more and more until it knows how
fast it is, and prepares as many as take about a second: encoded bodies, dictionaries, `CallRecord`s or a file. Then the
clock runs. Whoever prepares gives back what is to be timed, which answers how many records were delivered; fewer than
all is an error and no figure.
"""

from __future__ import annotations

import asyncio
import csv
import gc
import json
import ssl
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TypeAlias

import attrs

from benchmarks import workload
from benchmarks.lean import SPAWN, sit_on
from truecaller_async import CampaignOptions, Limits, Outcome, PollPolicy, RecordResult, TruecallerClient

WARM = 3_000
SECONDS = 1.0
"""What a timing is meant to last."""

TRIAL, TRIAL_GROWS = 0.2, 4
"""The part of that which a trial must have lasted to be trusted, and how much larger the next one is."""

TOKEN = "invented"  # noqa: S105 - the server asks nobody
LIMITS = Limits.documented().replace(token=(1_000_000, 1.0), batch=(1_000_000, 1.0))
"""Limits that are on and do not bind."""

POLL = PollPolicy(first=0.05)
RESULTS_AT_ONCE = 500
SCHEDULED = Path("/proc/self/schedstat")
COLUMNS = ("caller", "receiver", "starts_at", "ends_at", "label_id", "label_name", "reason")


@attrs.frozen
class Place:
    """The server, the certificate where it speaks TLS, and the start of every record's window."""

    url: str
    start: int
    certificate: Path | None = None

    @property
    def context(self) -> ssl.SSLContext | None:
        """What trusts the server."""
        return None if self.certificate is None else ssl.create_default_context(cafile=self.certificate)

    def client(self, limits: Limits = LIMITS) -> TruecallerClient:
        """A client as shipped, but for the limits."""
        return TruecallerClient(
            client_account_id=workload.ACCOUNT,
            key_id="invented",
            api_key="invented",
            base_url=self.url,
            limits=limits,
            max_tokens=1,
            ssl=self.context,
        )


@attrs.frozen
class Timing:
    """One case, once.

    Seconds: by the wall; of the processor, the kernel's included; and of `delay`, while another process had the core.
    """

    records: int
    seconds: float
    cpu: float
    delay: float = 0.0

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def cpu_per_million(self) -> float:
        """Processor seconds for a million records."""
        return 1e6 * self.cpu / self.records

    @property
    def disturbed(self) -> float:
        """The part of the time that others took."""
        return self.delay / self.seconds


Run: TypeAlias = Callable[[], int]
Prepare: TypeAlias = Callable[[Place, int, Path], Run]
"""What is to be timed with so many records; files of its own go into the folder."""

Runner: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]


def timed(case: str, place: Place, seconds: float = SECONDS) -> Timing:
    """This case once, in a process of its own, for about so many seconds."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as process:
        return process.submit(_timed, case, place, seconds).result()


def warm_up(place: Place) -> None:
    """Have the server see every batch, so that from then on it decodes none."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as process:
        process.submit(_warm_up, place).result()


def _timed(case: str, place: Place, seconds: float) -> Timing:
    sit_on(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _clocked(CASES[case], place, WARM, folder)
        trial = _clocked(CASES[case], place, TRIAL_GROWS * WARM, folder)
        while trial.seconds < TRIAL * seconds:
            trial = _clocked(CASES[case], place, TRIAL_GROWS * trial.records, folder)
        return _clocked(CASES[case], place, _whole_batches(trial.rate * seconds), folder)


def _warm_up(place: Place) -> None:
    sit_on(0)
    _limit(place, workload.CYCLE, Path())()


def _clocked(prepare: Prepare, place: Place, count: int, folder: Path) -> Timing:
    run = prepare(place, count, Path(tempfile.mkdtemp(dir=folder)))
    gc.collect()
    delay, cpu, began = _delay(), process_time(), perf_counter()
    delivered = run()
    timing = Timing(count, perf_counter() - began, process_time() - cpu, _delay() - delay)
    if delivered != count:
        raise RuntimeError(f"{delivered:,} of {count:,} records were delivered: this is no measurement")
    return timing


def _delay() -> float:
    """Seconds that the main thread has waited for its core so far; 0 where the system does not say."""
    return int(SCHEDULED.read_text().split()[1]) / 1e9 if SCHEDULED.exists() else 0.0


def _whole_batches(count: float) -> int:
    return max(1, round(count / workload.BATCH)) * workload.BATCH


def _run_on_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    import uvloop

    return uvloop.run(main)


def _limit(place: Place, count: int, folder: Path, runner: Runner = asyncio.run) -> Run:
    from benchmarks.peers.limit import post_all

    rows = workload.mappings(min(count, workload.CYCLE), place.start)
    bodies = [json.dumps({"call_records": batch}, separators=(",", ":")).encode() for batch in workload.chunks(rows)]
    context = place.context

    def run() -> int:
        work = islice(cycle(bodies), count // workload.BATCH)
        runner(post_all(place.url, TOKEN, work, context))
        return count

    return run


def _peer(name: str) -> Prepare:
    def prepare(place: Place, count: int, folder: Path) -> Run:
        push_all = import_module(f"benchmarks.peers.{name}").push_all
        rows = list(workload.mappings(count, place.start))
        return lambda: sum(word == "success" for _, word in push_all(place.url, TOKEN, rows))

    return prepare


def _ours(place: Place, count: int, folder: Path, runner: Runner = asyncio.run, *, validate: bool = True) -> Run:
    records = list(workload.records(count, place.start))
    options = CampaignOptions(poll=POLL, validate=validate)
    return lambda: int(runner(_pushed(place, records, options)))


async def _pushed(place: Place, records: Sequence[object], options: CampaignOptions) -> int:
    delivered = 0
    async with place.client() as client, client.push_many(records, options=options) as results:
        async for result in results:
            delivered += result.outcome is Outcome.DELIVERED
    return delivered


def _file(place: Place, count: int, folder: Path) -> Run:
    source = folder / "calls.csv"
    with source.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(COLUMNS)
        lines.writerows(_lines(workload.records(count, place.start)))
    return lambda: asyncio.run(_pushed_from_file(place, source))


def _lines(records: Iterable[object]) -> Iterator[list[object]]:
    return ([getattr(record, column) for column in COLUMNS] for record in records)


async def _pushed_from_file(place: Place, source: Path) -> int:
    """As `truecaller campaign run` does it: results are written when there are many, and the rest at the end."""
    from truecaller_async import open_sink, read_csv

    journal, options = source.with_name("journal.db"), CampaignOptions(poll=POLL)
    held: list[RecordResult] = []
    client = place.client()
    stream = client.push_many(read_csv(source), journal=journal, options=options)
    with open_sink(source.with_name("results.csv"), source=source) as sink:
        async with client, stream:
            async for result in stream:
                held.append(result)
                if len(held) >= RESULTS_AT_ONCE:
                    sink.write(held)
                    held.clear()
        sink.write(held)
    return stream.summary.delivered


CASES: dict[str, Prepare] = {
    "limit": _limit,
    "shipped": _ours,
    "checked": partial(_ours, validate=False),
    "file": _file,
    "aiolimiter": _peer("aiohttp_aiolimiter"),
    "loop": _peer("capacity_loop"),
    "requests": _peer("requests_threads"),
    "bulk": _peer("streaming_bulk"),
    "httpx": _peer("httpx_gather"),
    "tls_limit": _limit,
    "tls": _ours,
    "uvloop_limit": partial(_limit, runner=_run_on_uvloop),
    "uvloop": partial(_ours, runner=_run_on_uvloop),
}
