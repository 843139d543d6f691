"""How fast is a campaign, beside the limit of the HTTP library and beside what a user would write instead?

Every case runs once in every round, in a fresh process on the first core, against a server on the last one; a round
goes through the cases in the other direction than the one before, so that a machine that gets slower favours none. What
counts is the median of the shares within a round (`standings`). The pushes of each round go into one distribution.
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

from benchmarks import Figure, at_most, history, machine, picture, realtime, standings, tables, workload
from benchmarks.cases import Place, Timing, timed, warm_up
from benchmarks.lean import lean_server, self_signed
from benchmarks.standings import LINES, Standing

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
    """All pushes of all rounds, in seconds, and the part of the permitted rate that was used meanwhile."""

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
            f"p99 is {self.added:.2f} intervals of the limiter ({1000 * realtime.INTERVAL:.0f} ms) more"
        )


def measure(rounds: int, *, write: bool = False) -> list[Figure]:
    """All rounds; `write` puts what was found into the pages, the picture and the history."""
    known = machine.facts()
    print(f"  {machine.told(known)}\n  {', '.join(f'{name} {version}' for name, version in _libraries(known))}")
    print(COMPARED, flush=True)
    with _both_servers() as (plain, tls):
        timings, pushes = _rounds(plain, tls, rounds)
    found = standings.standings(timings)
    print(f"\n{standings.full_table(found)}\n\nA push in real time: {pushes}\n", flush=True)
    if write:
        others = median(timing.disturbed for one in timings for timing in one.values())
        _write(found, pushes, {**known, "core_lost": round(others, 3)}, rounds)
    return [
        *standings.figures(found),
        at_most("speed: p99 of a push that a campaign adds, in intervals", pushes.added, INTERVALS_MAX),
    ]


@contextmanager
def warm_server(certificate: Path | None = None) -> Iterator[Place]:
    """A server that has seen every batch."""
    with lean_server(certificate) as server:
        place = Place(server.url, workload.hour(), certificate)
        warm_up(place)
        yield place


def one_round(places: Mapping[str, Place], number: int) -> dict[str, Timing]:
    """Each case once, at its place and in a fresh process; every second round the other way round."""
    order = list(places) if number % 2 else list(places)[::-1]
    timings = {case: timed(case, places[case]) for case in order}
    shown = ", ".join(f"{case} {timings[case].rate:,.0f}" for case in places)
    others = max(timing.disturbed for timing in timings.values())
    print(f"  round {number}, records/s: {shown}; others had the core {100 * others:.0f} % at most", flush=True)
    return timings


@contextmanager
def _both_servers() -> Iterator[tuple[Place, Place]]:
    with tempfile.TemporaryDirectory() as folder:
        certificate = self_signed(Path(folder))
        with warm_server() as plain, warm_server(certificate) as tls:
            yield plain, tls


def _rounds(plain: Place, tls: Place, rounds: int) -> tuple[list[Mapping[str, Timing]], Pushes]:
    places = {case: tls if case.startswith("tls") else plain for case in LINES}
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


def _bar(state: Standing) -> picture.Bar:
    line = state.line
    return picture.Bar(line.title, median(state.rates), standings.shown_rate(state), line.kind)


def _libraries(known: Mapping[str, object]) -> list[tuple[str, str]]:
    libraries = known["libraries"]
    assert isinstance(libraries, dict)
    return list(libraries.items())


def _write(found: Mapping[str, Standing], pushes: Pushes, known: Mapping[str, object], rounds: int) -> None:
    day = datetime.now(UTC).date().isoformat()
    where = f"{day}, {machine.told(known)}, {100 * float(str(known['core_lost'])):.0f} % of the core lost to others"
    versions = ", ".join(f"{name} {version}" for name, version in _libraries(known))
    legend = _wrapped(f"{where}; {versions}. Medians of {rounds} rounds.")
    told = _wrapped(f"A push in real time: {pushes}.")
    tables.write(SHORT_PAGE, NAME, f"{standings.short_table(found)}\n\n{legend}")
    tables.write(OWN_PAGE, NAME, f"{standings.full_table(found)}\n\n{legend}\n\n{told}")
    bars = [_bar(state) for state in standings.plain(found)]
    PICTURE.write_text(picture.draw("Records a second on one core", (where,), bars), "utf-8")
    history.append(
        {
            "date": day,
            "rounds": rounds,
            "machine": dict(known),
            "cases": standings.kept(found),
            "push_added_intervals": round(pushes.added, 3),
        }
    )
