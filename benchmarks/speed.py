"""Speed of a campaign, compared with the limit of the HTTP library and with hand-written programs.

Every case runs once per round, in a fresh process on the first core, against a server on the last one. Every second
round has the reverse order, so that a machine that slows down favours no case. The median of the shares within a round
counts (`comparison`). The pushes of all rounds form one distribution.
"""

from __future__ import annotations

import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import attrs

from benchmarks import Figure, at_most, bar_chart, comparison, history, machine, realtime, tables, workload
from benchmarks.cases import Target, Timing, timed, warm_up
from benchmarks.comparison import TABLE_ROWS, CaseResult
from benchmarks.minimal_server import minimal_server, self_signed

HERE = Path(__file__).parent
SHORT_PAGE, OWN_PAGE = HERE.parent / "docs" / "explanation" / "performance.md", HERE / "README.md"
PICTURE = HERE / "speed.svg"
NAME = "speed"
INTERVALS_MAX = 2.0

COMPARED = """\
  what: batches of 500 records (274 bytes a record out, 391 back), each posted and then asked for until it is final
  against: a server that answers at once, over loopback; the client on the first core, the server on the last
  LIMIT: encoded bodies posted and statuses read as bytes over raw aiohttp, 16 in flight, nothing decoded"""


@attrs.frozen
class Pushes:
    """Seconds of all pushes of all rounds, and the used share of the permitted rate during them."""

    quiet: tuple[float, ...]
    busy: tuple[float, ...]
    used: tuple[float, ...]

    @property
    def added(self) -> float:
        """What the campaign adds to the 99th percentile, in intervals of the limiter."""
        return realtime.added(self.quiet, self.busy)

    def __str__(self) -> str:
        alone, beside = _percentiles(self.quiet), _percentiles(self.busy)
        return (
            f"alone {alone}, during a campaign that uses {100 * min(self.used):.0f} % of the permitted rate {beside}: "
            f"p99 is {self.added:.2f} intervals of the limiter ({1000 * realtime.INTERVAL_SECONDS:.0f} ms) more"
        )


def measure(rounds: int, *, write: bool = False) -> list[Figure]:
    """Run all rounds; with `write`, update the documents, the chart and the history."""
    known = machine.facts()
    print(f"  {machine.description(known)}\n  {', '.join(f'{name} {version}' for name, version in _libraries(known))}")
    print(COMPARED, flush=True)
    with _both_servers() as (plain, tls):
        timings, pushes = _rounds(plain, tls, rounds)
    found = comparison.compare(timings)
    print(f"\n{comparison.full_table(found)}\n\nA push in real time: {pushes}\n", flush=True)
    if write:
        others = median(timing.waiting_share for one in timings for timing in one.values())
        _write(found, pushes, {**known, "core_lost": round(others, 3)}, rounds)
    return [
        *comparison.figures(found),
        at_most("speed: p99 of a push that a campaign adds, in intervals", pushes.added, INTERVALS_MAX),
    ]


@contextmanager
def warm_server(certificate: Path | None = None) -> Iterator[Target]:
    """Run a server that has seen every batch."""
    with minimal_server(certificate) as server:
        target = Target(server.url, workload.hour(), certificate)
        warm_up(target)
        yield target


def one_round(places: Mapping[str, Target], number: int) -> dict[str, Timing]:
    """Run each case once in a fresh process; every second round in reverse order."""
    order = list(places) if number % 2 else list(places)[::-1]
    timings = {case: timed(case, places[case]) for case in order}
    shown = ", ".join(f"{case} {timings[case].rate:,.0f}" for case in places)
    others = max(timing.waiting_share for timing in timings.values())
    print(f"  round {number}, records/s: {shown}; others had the core {100 * others:.0f} % at most", flush=True)
    return timings


@contextmanager
def _both_servers() -> Iterator[tuple[Target, Target]]:
    with tempfile.TemporaryDirectory() as folder:
        certificate = self_signed(Path(folder))
        with warm_server() as plain, warm_server(certificate) as tls:
            yield plain, tls


def _rounds(plain: Target, tls: Target, rounds: int) -> tuple[list[Mapping[str, Timing]], Pushes]:
    places = {case: tls if case.startswith("tls") else plain for case in TABLE_ROWS}
    timings: list[Mapping[str, Timing]] = []
    pushed = []
    for number in range(1, rounds + 1):
        timings.append(one_round(places, number))
        pushed.append(realtime.measured(plain, number))
    quiet, busy = (tuple(second for one in pushed for second in getattr(one, name)) for name in ("quiet", "busy"))
    return timings, Pushes(quiet, busy, tuple(one.used for one in pushed))


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_on_hyphens=False)


def _percentiles(seconds: Sequence[float]) -> str:
    half, most = (1000 * realtime.percentile(seconds, part) for part in (0.5, 0.99))
    return f"p50 {half:.1f} ms and p99 {most:.1f} ms ({len(seconds)} pushes)"


def _bar(state: CaseResult) -> bar_chart.Bar:
    line = state.row
    return bar_chart.Bar(line.title, median(state.rates), comparison.rounded_rate(state), line.kind)


def _libraries(known: Mapping[str, object]) -> list[tuple[str, str]]:
    libraries = known["libraries"]
    assert isinstance(libraries, dict)
    return list(libraries.items())


def _write(found: Mapping[str, CaseResult], pushes: Pushes, known: Mapping[str, object], rounds: int) -> None:
    day = datetime.now(UTC).date().isoformat()
    where = (
        f"{day}, {machine.description(known)}, {100 * float(str(known['core_lost'])):.0f} % of the core lost to others"
    )
    versions = ", ".join(f"{name} {version}" for name, version in _libraries(known))
    legend = _wrapped(f"{where}; {versions}. Medians of {rounds} rounds.")
    told = _wrapped(f"A push in real time: {pushes}.")
    tables.write(SHORT_PAGE, NAME, f"{comparison.short_table(found)}\n\n{legend}")
    tables.write(OWN_PAGE, NAME, f"{comparison.full_table(found)}\n\n{legend}\n\n{told}")
    bars = [_bar(state) for state in comparison.without_tls_and_uvloop(found)]
    PICTURE.write_text(bar_chart.render("Records a second on one core", (where,), bars), "utf-8")
    history.append(
        {
            "date": day,
            "rounds": rounds,
            "machine": dict(known),
            "cases": comparison.medians(found),
            "push_added_intervals": round(pushes.added, 3),
        }
    )
