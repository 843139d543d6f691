"""Growth of the cost with the records of a campaign, its tokens, and the processes that share one state.

    python -m benchmarks.scaling               up to a million records
    python -m benchmarks.scaling --largest     up to ten million
    python -m benchmarks.scaling --write       and write the table to SCALING.md

Each campaign runs in a fresh process (`benchmarks.campaign`) against the minimal server, which repeats the answers for
120,000 records and does not grow. Compared runs alternate, medians count, and the targets are ratios: the CPU time per
record must not depend on the number of records. With a state file and limits of the documented kind, each batch is
recorded in that file by all processes; this write is also measured alone, because the processes share it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter, process_time, time
from uuid import uuid4

import attrs
from msgspec.json import decode, encode

from benchmarks import MARKS, Figure, at_most, exactly
from benchmarks.campaign import Campaign, Cost, client_cores, cost_of, started
from benchmarks.machine import description, facts
from benchmarks.minimal_server import SPAWN, Answers, minimal_server, self_signed
from benchmarks.tables import markdown, write
from benchmarks.workload import BATCH, CYCLE, mappings, records
from truecaller_async import read_csv
from truecaller_async.models.tokens import SentRequest
from truecaller_async.tokens import SqliteTokenStore

PREFIX = "scaling: "
PAGE = Path(__file__).with_name("SCALING.md")
ROUNDS = 5
SIZES = (10_000, 100_000, 1_000_000)
LARGEST = 10_000_000
BASE_RECORDS = 100_000
"""Size with which larger campaigns are compared."""

JOURNALED = (100_000, 1_000_000)
TOKENS = (1, 10, 20)
TOKENS_TOLD = 100_000
PROCESSES = (1, 2, 3, 4)
PROCESSES_TOLD = 240_000
TLS_TOLD = 100_000
BUDGET_TOKENS = 10
"""Tokens that can be created in half an hour."""

LINEAR_FACTOR = 1.15
"""Maximum cost of a record relative to the smaller campaign; above it the cost counts as growing."""

FLAT_MB = 20.0
NOTES_SECONDS = 2.0
ROWS = 200_000


def measure(rounds: int = ROUNDS, *, largest: bool = False) -> list[Figure]:
    """Run all parts."""
    sizes = (*SIZES, LARGEST) if largest else SIZES
    with minimal_server() as server, tempfile.TemporaryDirectory() as folder:
        cost_of(Campaign(url=server.url, records=CYCLE))  # afterwards the server knows every batch
        return [
            *_by_size(server.url, sizes, rounds),
            *_with_journal(server.url, Path(folder), (*JOURNALED, LARGEST) if largest else JOURNALED, rounds),
            *_by_tokens(server.url, rounds),
            *_by_processes(server.url, Path(folder), rounds),
            *_with_tls(server.url, Path(folder), rounds),
            *_state_file(Path(folder)),
            _network(),
            _reader(Path(folder)),
        ]


def _by_size(url: str, sizes: Sequence[int], rounds: int) -> list[Figure]:
    costs = _in_turns({size: Campaign(url=url, records=size) for size in sizes}, rounds)
    generator = median(cost.generator for found in costs.values() for cost in found)
    base_peak = max(cost.peak for cost in costs[BASE_RECORDS])
    top_peak = max(cost.peak for cost in costs[max(sizes)])
    return [
        exactly("scaling: records without their result", _missing(costs), 0),
        *(_told(f"scaling: {size:,} records", found) for size, found in costs.items()),
        Figure("scaling: of that the generator of the records", f"{1e6 * generator:.2f} us"),
        *(
            at_most(
                f"scaling: a record of {size:,} / of {BASE_RECORDS:,}", _ratio(costs, size, BASE_RECORDS), LINEAR_FACTOR
            )
            for size in sizes
            if size > BASE_RECORDS
        ),
        at_most(
            f"scaling: peak with {max(sizes):,} above that with {BASE_RECORDS:,}", top_peak - base_peak, FLAT_MB, " MB"
        ),
    ]


def _with_journal(url: str, folder: Path, sizes: Sequence[int], rounds: int) -> list[Figure]:
    """Measure with a journal that contains the records, because a generator cannot be read again."""
    costs: dict[int, list[Cost]] = {size: [] for size in sizes}
    bytes_each: dict[int, float] = {}
    for number in range(rounds):
        for size, found in costs.items():
            if number and size == LARGEST:
                continue
            path = folder / f"{size}-{number}.journal"
            found.append(_said(f"{size:,}, journal", cost_of(Campaign(url=url, records=size, journal=str(path)))))
            bytes_each[size] = sum(file.stat().st_size for file in folder.glob(f"{path.name}*")) / size
            for file in folder.glob(f"{path.name}*"):
                file.unlink()
    return [
        *(
            _told(f"scaling: {size:,} records, kept in a journal", found, f", {bytes_each[size]:.1f} B on disk")
            for size, found in costs.items()
        ),
        *(
            at_most(
                f"scaling: with journal, a record of {size:,} / of {BASE_RECORDS:,}",
                _ratio(costs, size, BASE_RECORDS),
                LINEAR_FACTOR,
            )
            for size in sizes
            if size > BASE_RECORDS
        ),
    ]


def _by_tokens(url: str, rounds: int) -> list[Figure]:
    campaigns = {
        tokens: Campaign(url=url, records=TOKENS_TOLD, tokens=tokens, mints=max(TOKENS) + 1) for tokens in TOKENS
    }
    costs = _in_turns(campaigns, rounds)
    return [
        *(_told(f"scaling: {_counted(tokens, 'token')}", found) for tokens, found in costs.items()),
        *(
            at_most(f"scaling: a record with {tokens} tokens / with 1", _ratio(costs, tokens, 1), LINEAR_FACTOR)
            for tokens in TOKENS[1:]
        ),
    ]


def _by_processes(url: str, folder: Path, rounds: int) -> list[Figure]:
    costs: dict[int, list[Cost]] = {count: [] for count in PROCESSES}
    minted: list[int] = []
    for number in range(rounds):
        for count in PROCESSES:
            state = f"sqlite:///{folder / f'{count}-{number}.state'}"
            found, made = _together(url, state, count)
            costs[count].append(_said(f"{_counted(count, 'process')} with one state", found))
            minted.append(made)
    return [
        *(
            _told(f"scaling: {_counted(count, 'process')}", found, f", {_rate(found):,.0f} records/s in all")
            for count, found in costs.items()
        ),
        *(_against_one(count, _ratio(costs, count, 1)) for count in PROCESSES[1:]),
        exactly("scaling: tokens made by hungry processes that share a state, at most", max(minted), BUDGET_TOKENS),
        exactly("scaling: tokens made by hungry processes that share a state, at least", min(minted), BUDGET_TOKENS),
    ]


def _against_one(count: int, ratio: float) -> Figure:
    """Return a figure; without a target if the processes must share a core and its caches."""
    name, cores = f"scaling: a record with {count} processes / with 1", client_cores()
    return (
        at_most(name, ratio, LINEAR_FACTOR)
        if count <= len(cores)
        else Figure(name, f"{ratio:.4g}, fewer cores than processes")
    )


def _together(url: str, state: str, count: int) -> tuple[Cost, int]:
    """Start processes at the same moment; return their total cost and the number of created tokens."""
    each = Campaign(
        url=url,
        records=PROCESSES_TOLD // count,
        tokens=BUDGET_TOKENS // count,
        mints=BUDGET_TOKENS,
        state=state,
        hungry=True,
    )
    with started([attrs.evolve(each, core=core) for core in range(count)]) as children:
        began = perf_counter()
        for child in children:
            child.begin()
        costs = [child.cost() for child in children]
        seconds = perf_counter() - began
        minted = sum(child.release() for child in children)
    return attrs.evolve(
        max(costs, key=lambda cost: cost.peak),
        delivered=sum(cost.delivered for cost in costs),
        seconds=seconds,
        cpu=sum(cost.cpu for cost in costs),
    ), minted


def _with_tls(url: str, folder: Path, rounds: int) -> list[Figure]:
    certificate = self_signed(folder)
    plain = Campaign(url=url, records=TLS_TOLD)
    with minimal_server(certificate) as server:
        encrypted = attrs.evolve(plain, url=server.url, certificate=str(certificate))
        cost_of(attrs.evolve(encrypted, records=CYCLE))
        costs = _in_turns({0: plain, 1: encrypted}, rounds)
    return [
        _told("scaling: with TLS", costs[1]),
        Figure(
            "scaling: of that TLS",
            f"{median(_us(tls) - _us(bare) for bare, tls in zip(*costs.values(), strict=True)):.2f} us",
        ),
    ]


def _network() -> Figure:
    """Return the bytes of a record in a submit and in a status, without headers."""
    answers = Answers()
    body = encode({"call_records": list(islice(mappings(BATCH), BATCH))})
    batch_id = decode(answers.submit(body))["batch_id"]
    status = answers.status(batch_id.encode())
    return Figure("scaling: a record on the wire", f"{len(body) / BATCH:.0f} B out, {len(status) / BATCH:.0f} B in")


def _state_file(folder: Path) -> list[Figure]:
    """Return the batches per second that this number of processes can record in one file."""
    figures = []
    for count in PROCESSES:
        path = folder / f"notes-{count}.state"
        with ProcessPoolExecutor(count, mp_context=SPAWN) as processes:
            until = time() + NOTES_SECONDS + count
            found = list(processes.map(_notes, [path] * count, [until - NOTES_SECONDS] * count, [until] * count))
        noted = sum(notes for notes, _, _ in found)
        cpu = sum(cpu for _, cpu, _ in found)
        slowest = max(slowest for _, _, slowest in found)
        value = (
            f"{noted / NOTES_SECONDS:,.0f} a second, {1e6 * cpu / noted:.0f} us each, slowest {1e3 * slowest:.0f} ms"
        )
        figures.append(Figure(f"scaling: batches noted in a state file by {_counted(count, 'process')}", value))
    return figures


def _notes(path: Path, since: float, until: float) -> tuple[int, float, float]:
    """Write records between two wall-clock times; return their number, CPU seconds, and the slowest in seconds."""
    return asyncio.run(_noting(path, since, until))


async def _noting(path: Path, since: float, until: float) -> tuple[int, float, float]:
    store = SqliteTokenStore(path, "account")
    token = uuid4().hex
    await store.record_sent_request(SentRequest(token, ("batch",), time(), 0))
    await asyncio.sleep(max(0.0, since - time()))
    count, slowest, cpu = 0, 0.0, process_time()
    while (at := time()) < until:
        count += 1
        request = SentRequest(token, ("batch",), at, count)
        await store.record_sent_request(request)
        store.record_request_end(request, time())
        slowest = max(slowest, time() - at)
    cpu = process_time() - cpu
    await store.aclose()
    return count, cpu, slowest


def _reader(folder: Path) -> Figure:
    """Return the cost of converting a row of a CSV file to a record."""
    path = folder / "rows.csv"
    with path.open("w") as file:
        file.write("caller,receiver,starts_at,ends_at,label_id,label_name,reason\n")
        for record in records(ROWS):
            file.write(",".join(str(value) for value in attrs.astuple(record)[:-1]) + "\n")
    began = process_time()
    rows = sum(row.record is not None for row in read_csv(path).rows())
    spent = process_time() - began
    size = path.stat().st_size / ROWS
    return Figure("scaling: a row read from a CSV file", f"{1e6 * spent / rows:.2f} us, {size:.0f} B")


def _in_turns(campaigns: Mapping[int, Campaign], rounds: int) -> dict[int, list[Cost]]:
    """Run each once per round; the largest only in the first round, because it is long enough."""
    costs: dict[int, list[Cost]] = {key: [] for key in campaigns}
    for number in range(rounds):
        for key, campaign in campaigns.items():
            if number == 0 or campaign.records < LARGEST:
                costs[key].append(
                    _said(f"{campaign.records:,}, {_counted(campaign.tokens, 'token')}", cost_of(campaign))
                )
    return costs


def _said(what: str, cost: Cost) -> Cost:
    print(f"  {what}: {_us(cost):.2f} us a record, {cost.seconds:.1f} s, peak {cost.peak:.1f} MB", flush=True)
    return cost


def _told(name: str, costs: Sequence[Cost], more: str = "") -> Figure:
    found = sorted(_us(cost) for cost in costs)
    peak = max(cost.peak for cost in costs)
    return Figure(name, f"{median(found):.2f} us ({found[0]:.2f} to {found[-1]:.2f}), peak {peak:.1f} MB{more}")


def _us(cost: Cost) -> float:
    return 1e6 * cost.cpu / cost.delivered


def _rate(costs: Sequence[Cost]) -> float:
    return median(cost.delivered / cost.seconds for cost in costs)


def _ratio(costs: Mapping[int, Sequence[Cost]], key: int, base: int) -> float:
    """Return the ratio of the cost per record within each round that has both."""
    return median(_us(cost) / _us(other) for cost, other in zip(costs[key], costs[base], strict=False))


def _missing(costs: Mapping[int, Sequence[Cost]]) -> int:
    return sum(size - cost.delivered for size, found in costs.items() for cost in found)


def _counted(count: int, word: str) -> str:
    plural = f"{word}es" if word.endswith("s") else f"{word}s"
    return f"{count} {word if count == 1 else plural}"


def main() -> int:
    """Measure, print the table, and exit with 1 if a target was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each campaign runs; the median counts")
    parser.add_argument("--largest", action="store_true", help=f"also {LARGEST:,} records")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    asked = parser.parse_args()
    machine = description(facts())
    print(machine, flush=True)
    figures = measure(asked.rounds, largest=asked.largest)
    rows = [(figure.name.removeprefix(PREFIX), figure.value, figure.target, MARKS[figure.met]) for figure in figures]
    table = markdown(("figure", "measured", "target", ""), rows)
    print(table)
    if asked.write:
        command = " ".join(
            ["python -m benchmarks.scaling", f"--rounds {asked.rounds}", *(["--largest"] if asked.largest else [])]
        )
        write(PAGE, "scaling", f"`{command}`, {datetime.now(UTC):%Y-%m-%d}; {machine}:\n\n{table}")
    return 1 if any(figure.met is False for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
