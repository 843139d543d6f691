"""Timed cases: the limit, variants of `push_many`, and the peers, each in a fresh process on one core.

Algorithm:
    The process imports the code of the case and sends a few thousand records to warm up. Then it sends more and more
    until it knows its speed, and prepares as many as take about a second: encoded bodies, dictionaries, `CallRecord`s
    or a file. Then the timing starts. A prepare function returns the function to time, which returns the number of
    delivered records; fewer than all is an error and gives no figure.
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
from benchmarks.minimal_server import SPAWN, pin_to_core
from truecaller_async import CampaignOptions, Limits, Outcome, PollPolicy, RecordResult, TruecallerClient

WARM_UP_RECORDS = 3_000
SECONDS = 1.0
"""Intended duration of a timing."""

TRIAL, TRIAL_GROWS = 0.2, 4
"""Minimum duration of a valid trial as a fraction of `SECONDS`, and the factor to the next trial."""

TOKEN = "invented"  # noqa: S105 - the server checks no token
LIMITS = Limits.documented().replace(token=(1_000_000, 1.0), batch=(1_000_000, 1.0))
"""Enforced limits that never delay a request."""

POLL = PollPolicy(first=0.05)
WRITE_BATCH_ROWS = 500
SCHEDULED = Path("/proc/self/schedstat")
COLUMNS = ("caller", "receiver", "starts_at", "ends_at", "label_id", "label_name", "reason")


@attrs.frozen
class Target:
    """URL of the server, its certificate if it uses TLS, and the start of all records' windows."""

    url: str
    start: int
    certificate: Path | None = None

    @property
    def context(self) -> ssl.SSLContext | None:
        """TLS context that trusts the server."""
        return None if self.certificate is None else ssl.create_default_context(cafile=self.certificate)

    def client(self, limits: Limits = LIMITS) -> TruecallerClient:
        """Return a client with default options, except for the limits."""
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
    """Result of one run of one case.

    All in seconds: `seconds` of wall clock, `cpu` including the kernel, `delay` while another process had the core.
    """

    records: int
    seconds: float
    cpu: float
    delay: float = 0.0

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.records / self.seconds

    @property
    def cpu_per_million(self) -> float:
        """CPU seconds per million records."""
        return 1e6 * self.cpu / self.records

    @property
    def waiting_share(self) -> float:
        """Fraction of the time in which the process waited for its core."""
        return self.delay / self.seconds


Run: TypeAlias = Callable[[], int]
Prepare: TypeAlias = Callable[[Target, int, Path], Run]
"""Takes the target, the number of records and a folder; returns the function to time."""

Runner: TypeAlias = Callable[[Coroutine[Any, Any, Any]], Any]


def timed(case: str, target: Target, seconds: float = SECONDS) -> Timing:
    """Run a case once in a new process for about this number of seconds."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as process:
        return process.submit(_timed, case, target, seconds).result()


def warm_up(target: Target) -> None:
    """Send every batch to the server once, so that it decodes none afterwards."""
    with ProcessPoolExecutor(1, mp_context=SPAWN) as process:
        process.submit(_warm_up, target).result()


def _timed(case: str, target: Target, seconds: float) -> Timing:
    pin_to_core(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _measured(CASES[case], target, WARM_UP_RECORDS, folder)
        trial = _measured(CASES[case], target, TRIAL_GROWS * WARM_UP_RECORDS, folder)
        while trial.seconds < TRIAL * seconds:
            trial = _measured(CASES[case], target, TRIAL_GROWS * trial.records, folder)
        return _measured(CASES[case], target, _whole_batches(trial.rate * seconds), folder)


def _warm_up(target: Target) -> None:
    pin_to_core(0)
    _limit(target, workload.CYCLE, Path())()


def _measured(prepare: Prepare, target: Target, count: int, folder: Path) -> Timing:
    run = prepare(target, count, Path(tempfile.mkdtemp(dir=folder)))
    gc.collect()
    delay, cpu, began = _delay(), process_time(), perf_counter()
    delivered = run()
    timing = Timing(count, perf_counter() - began, process_time() - cpu, _delay() - delay)
    if delivered != count:
        raise RuntimeError(f"{delivered:,} of {count:,} records were delivered: this is no measurement")
    return timing


def _delay() -> float:
    """Return the seconds for which the main thread has waited for its core; 0 if the system has no such value."""
    return int(SCHEDULED.read_text().split()[1]) / 1e9 if SCHEDULED.exists() else 0.0


def _whole_batches(count: float) -> int:
    return max(1, round(count / workload.BATCH)) * workload.BATCH


def run_on_uvloop(main: Coroutine[Any, Any, Any]) -> Any:
    """Run the coroutine on uvloop, as `asyncio.run` does."""
    import uvloop

    return uvloop.run(main)


def _limit(target: Target, count: int, folder: Path, runner: Runner = asyncio.run) -> Run:
    from benchmarks.peers.limit import post_all

    rows = workload.mappings(min(count, workload.CYCLE), target.start)
    bodies = [json.dumps({"call_records": batch}, separators=(",", ":")).encode() for batch in workload.chunks(rows)]
    context = target.context

    def run() -> int:
        work = islice(cycle(bodies), count // workload.BATCH)
        runner(post_all(target.url, TOKEN, work, context))
        return count

    return run


def _peer(name: str) -> Prepare:
    def prepare(target: Target, count: int, folder: Path) -> Run:
        push_all = import_module(f"benchmarks.peers.{name}").push_all
        rows = list(workload.mappings(count, target.start))
        return lambda: sum(status == "success" for _, status in push_all(target.url, TOKEN, rows))

    return prepare


def _push_many(target: Target, count: int, folder: Path, runner: Runner = asyncio.run, *, validate: bool = True) -> Run:
    records = list(workload.records(count, target.start))
    options = CampaignOptions(poll=POLL, validate=validate)
    return lambda: int(runner(_pushed(target, records, options)))


async def _pushed(target: Target, records: Sequence[object], options: CampaignOptions) -> int:
    delivered = 0
    async with target.client() as client, client.push_many(records, options=options) as results:
        async for result in results:
            delivered += result.outcome is Outcome.DELIVERED
    return delivered


def _file(target: Target, count: int, folder: Path) -> Run:
    source = folder / "calls.csv"
    with source.open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(COLUMNS)
        lines.writerows(_lines(workload.records(count, target.start)))
    return lambda: asyncio.run(_pushed_from_file(target, source))


def _lines(records: Iterable[object]) -> Iterator[list[object]]:
    return ([getattr(record, column) for column in COLUMNS] for record in records)


async def _pushed_from_file(target: Target, source: Path) -> int:
    """Push as `truecaller campaign run` does: write results in large groups, and the rest at the end."""
    from truecaller_async import open_sink, read_csv

    journal, options = source.with_name("journal.db"), CampaignOptions(poll=POLL)
    results: list[RecordResult] = []
    client = target.client()
    stream = client.push_many(read_csv(source), journal=journal, options=options)
    with open_sink(source.with_name("results.csv"), source=source) as sink:
        async with client, stream:
            async for result in stream:
                results.append(result)
                if len(results) >= WRITE_BATCH_ROWS:
                    sink.write(results)
                    results.clear()
        sink.write(results)
    return stream.summary.delivered


CASES: dict[str, Prepare] = {
    "limit": _limit,
    "shipped": _push_many,
    "checked": partial(_push_many, validate=False),
    "file": _file,
    "aiolimiter": _peer("aiohttp_aiolimiter"),
    "loop": _peer("capacity_loop"),
    "requests": _peer("requests_threads"),
    "bulk": _peer("streaming_bulk"),
    "httpx": _peer("httpx_gather"),
    "tls_limit": _limit,
    "tls": _push_many,
    "uvloop_limit": partial(_limit, runner=run_on_uvloop),
    "uvloop": partial(_push_many, runner=run_on_uvloop),
}
