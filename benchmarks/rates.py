"""Rate law on the wire: requests that arrive too early at a strict server, and the used share of the permitted rate.

    python -m benchmarks rates                 all configurations except the long ones: less than five minutes
    python -m benchmarks rates --quick         two configurations: less than 40 seconds
    python -m benchmarks rates --long          also 60 per 60 s
    python -m benchmarks rates --only jitter   those with this text in their name
    python -m benchmarks rates --runs 20       each so many times
    python -m benchmarks rates --json FILE     also as JSON; without FILE on standard output

Algorithm:
    Client and server are processes of their own (`rate_client`, `strict`). The server keeps a sliding log for each
    token, without any leniency: a request is early if `limit` requests were accepted in the `per` seconds before its
    last byte was read. It is then answered 429 and not counted. Only requests under the limit are counted.

    The share is `accepted / (limit * tokens * windows)`. The windows begin at the first accepted request of the last
    token to start. The first window is left out. Then all whole windows count until the client wants no more requests.

    Injected refusals are measured on the virtual clock (`rate_recovery`), in the 300 s after the last one.
Failure modes:
    An early request, more refusals than were injected, or a share below the target in any run is a failure.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from statistics import median
from typing import Any

import attrs
import msgspec

from benchmarks import Figure, workload
from benchmarks.minimal_server import SPAWN, pin_to_core
from benchmarks.rate_client import ClientBehaviour, ClientSetup, run_client
from benchmarks.rate_recovery import INJECTED_COUNT, recover
from benchmarks.strict import ServerBehaviour, strict_server
from truecaller_async import RateLimit

SECOND = RateLimit("batch", 100, 1.0, calls=("submit",))
SIX_SECONDS = RateLimit("batch", 60, 6.0, calls=("submit",))
MINUTE = RateLimit("batch", 60, 60.0, calls=("submit",))
ALL_CALLS = RateLimit("token", 100, 1.0)
WINDOWS = {1.0: 5, 6.0: 2, 60.0: 3}
"""Whole windows that are counted, by the length of a window."""

START_SECONDS = 1.0
"""Time for all tokens to start."""

JITTER_SECONDS = (0.0, 0.08)
QUIET_SHARE = 0.98
JITTER_SHARE = 0.90


@attrs.frozen
class Configuration:
    """One setting of client and server, and what must hold."""

    name: str
    """Name in the table."""
    rule: RateLimit
    """Limit that the server counts."""
    tokens: int = 10
    """Number of tokens."""
    share_min: float | None = None
    """Minimum share of the permitted rate; None if the server or the machine is the bound."""
    server: ServerBehaviour = attrs.field(factory=ServerBehaviour)
    """Delays in the server."""
    client: ClientBehaviour = attrs.field(factory=ClientBehaviour)
    """What is special about the client."""
    busy_processes: int = 0
    """Processes that keep the first cores busy."""
    refused_max: int = 0
    """Refusals that are injected; if there are any, the run is on the virtual clock."""


@attrs.frozen
class RunCounts:
    """One run, as the server counted it."""

    arrivals: int
    """Requests under the limit."""
    early: int
    """Requests that arrived too early."""
    early_max_ms: float
    """Largest time by which a request was too early."""
    refused: int
    """Requests that were answered 429."""
    share: float
    """Used share of the permitted rate."""
    server_waited_ms: float = 0.0
    """Longest time for which other programs kept the server from its core."""


@attrs.frozen
class Row:
    """All runs of one configuration."""

    name: str
    share_min: float | None
    refused_max: int
    runs: tuple[RunCounts, ...]

    @property
    def is_met(self) -> bool:
        """Return whether each run meets its target."""
        return all(self._is_run_met(run) for run in self.runs)

    def _is_run_met(self, run: RunCounts) -> bool:
        is_share_met = self.share_min is None or run.share >= self.share_min
        return run.early == 0 and run.refused <= self.refused_max and is_share_met

    @property
    def figure(self) -> Figure:
        """Return the row of the table."""
        shares = [100 * run.share for run in self.runs]
        spread = f" ({min(shares):.2f} to {max(shares):.2f})" if len(shares) > 1 else ""
        target = "" if self.share_min is None else f", share >= {100 * self.share_min:g} %"
        return Figure(
            f"rates: {self.name}",
            f"{_counts(self.runs)}, share {median(shares):.2f} %{spread}",
            f"0 early, {self.refused_max} refused{target}",
            self.is_met,
        )


def measure(*, runs: int, only: str = "", is_quick: bool = False, is_long: bool = False) -> list[Row]:
    """Run the chosen configurations, and print a line for each run.

    Args:
        runs: Runs of each configuration.
        only: Text that the name must contain.
        is_quick: Only the two configurations for each change.
        is_long: Also the configurations that take minutes.
    """
    rows = []
    for configuration in _chosen(only, is_quick=is_quick, is_long=is_long):
        found = []
        for number in range(1, runs + 1):
            found.append(run := _run(configuration))
            shown = f"{_counts([run])}, share {100 * run.share:.2f} %, kept waiting for {run.server_waited_ms:.0f} ms"
            print(f"  {configuration.name}, run {number}: {shown}", flush=True)
        rows.append(Row(configuration.name, configuration.share_min, configuration.refused_max, tuple(found)))
    return rows


def to_json(rows: Sequence[Row]) -> str:
    """Return the rows as JSON; `is_met` says whether each run met its target."""
    kept = [{**attrs.asdict(row), "is_met": row.is_met} for row in rows]
    return msgspec.json.format(msgspec.json.encode(kept)).decode()


def used_share(accepted: Collection[Sequence[float]], rule: RateLimit, tokens: int, end: float) -> float:
    """Return the used share of the permitted rate in whole windows.

    Args:
        accepted: The times of the accepted requests of each token, ascending.
        rule: The limit.
        tokens: The number of tokens that may send.
        end: The time at which the client wanted no more requests.

    Returns:
        The share after the first window; 0.0 if there is no whole window.
    """
    if not accepted:
        return 0.0
    begin = max(times[0] for times in accepted) + rule.per
    windows = math.floor((end - begin) / rule.per)
    if windows < 1:
        return 0.0
    until = begin + windows * rule.per
    count = sum(bisect_left(times, until) - bisect_left(times, begin) for times in accepted)
    return count / (rule.limit * tokens * windows)


def _run(configuration: Configuration) -> RunCounts:
    return _virtual(configuration) if configuration.refused_max else _over_sockets(configuration)


def _over_sockets(configuration: Configuration) -> RunCounts:
    rule, client, start = configuration.rule, configuration.client, workload.hour()
    behaviour = attrs.evolve(configuration.server, workload_start=None if client.uses_pushes else start)
    seconds = START_SECONDS + (1 + WINDOWS[rule.per]) * rule.per
    setup = ClientSetup(rule, configuration.tokens, seconds, start, client)
    with strict_server(rule, behaviour) as server, _busy_processes(configuration.busy_processes):
        end = run_client(server.url, setup)
        seen = server.log()
    return RunCounts(
        seen.requests,
        len(seen.early),
        1000 * max(seen.early, default=0.0),
        seen.refused,
        used_share(seen.accepted.values(), rule, configuration.tokens, end),
        1000 * seen.waited,
    )


def _virtual(configuration: Configuration) -> RunCounts:
    found = recover(configuration.rule, configuration.tokens)
    return RunCounts(found.arrivals, found.early, 0.0, found.refused, found.share)


@contextmanager
def _busy_processes(count: int) -> Iterator[None]:
    """Keep the first cores busy during the block."""
    processes = [SPAWN.Process(target=_burn, args=(core,), daemon=True) for core in range(count)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _burn(core: int) -> None:
    pin_to_core(core)
    while True:
        pass


def _counts(runs: Sequence[RunCounts]) -> str:
    early = sum(run.early for run in runs)
    amount = f" by at most {max(run.early_max_ms for run in runs):.1f} ms" if early else ""
    arrivals, refused = sum(run.arrivals for run in runs), sum(run.refused for run in runs)
    return f"{arrivals:,} arrivals, {early} early{amount}, {refused} refused"


def _latency(milliseconds: float) -> ServerBehaviour:
    way = milliseconds / 2000
    return ServerBehaviour(outward=(way, way), backward=(way, way))


def _quiet(rule: RateLimit, tokens: int, latency: int, share: float) -> Configuration:
    name = f"{tokens} token{'s' if tokens > 1 else ''}, {rule.limit} per {rule.per:g} s, {latency} ms"
    return Configuration(name, rule, tokens, share, _latency(latency))


def _sixty(name: str, share: float | None, **other: Any) -> Configuration:
    return Configuration(f"{name}, 10 tokens, 60 per 6 s", SIX_SECONDS, 10, share, **other)


def _hundred(name: str, share: float | None, **other: Any) -> Configuration:
    return Configuration(f"{name}, 1 token, 100 per 1 s", SECOND, 1, share, **other)


def _after_refusals(rule: RateLimit, share: float) -> Configuration:
    name = f"one injected 429 a token, 10 tokens, {rule.limit} per {rule.per:g} s, virtual"
    return Configuration(name, rule, 10, share, refused_max=INJECTED_COUNT)


OUT = ServerBehaviour(outward=JITTER_SECONDS)
BOTH = ServerBehaviour(outward=JITTER_SECONDS, backward=JITTER_SECONDS)
QUICK = (_quiet(SECOND, 1, 20, 0.96), _quiet(SIX_SECONDS, 10, 20, QUIET_SHARE))
CONFIGURATIONS = (
    _quiet(SECOND, 1, 0, QUIET_SHARE),
    QUICK[0],
    _quiet(SECOND, 1, 50, 0.92),
    _quiet(SECOND, 1, 100, 0.88),
    Configuration(
        "single pushes, 10 tokens, 100 per 1 s, 50 ms",
        ALL_CALLS,
        share_min=0.92,
        server=_latency(50),
        client=ClientBehaviour(uses_pushes=True),
    ),
    _quiet(SIX_SECONDS, 10, 0, QUIET_SHARE),
    QUICK[1],
    _quiet(SIX_SECONDS, 10, 50, QUIET_SHARE),
    _quiet(SIX_SECONDS, 10, 100, QUIET_SHARE),
    _hundred("uvloop", QUIET_SHARE, client=ClientBehaviour(uses_uvloop=True)),
    _sixty("handlers compute 1 ms", QUIET_SHARE, server=ServerBehaviour(compute=0.001)),
    _hundred("handlers compute 3 ms", 0.96, server=ServerBehaviour(compute=0.003)),
    _hundred("handlers compute 6 ms", None, server=ServerBehaviour(compute=0.006)),
    _hundred("jitter 0 to 80 ms out", JITTER_SHARE, server=OUT),
    _hundred("jitter 0 to 80 ms both ways", JITTER_SHARE, server=BOTH),
    _sixty("jitter 0 to 80 ms both ways", JITTER_SHARE, server=BOTH),
    _hundred("two busy processes", None, busy_processes=2),
    _sixty("two busy processes", None, busy_processes=2),
    _hundred("client loop blocked 0 to 40 ms", JITTER_SHARE, client=ClientBehaviour(block_max_seconds=0.04)),
    _sixty("commits of 0.5 s for 4 s", 0.85, client=ClientBehaviour(has_slow_commits=True)),
    _hundred("one worker, 12 ms a request", None, server=ServerBehaviour(service=0.012)),
    _after_refusals(MINUTE, 0.94),
)
LONG = (_quiet(MINUTE, 10, 20, QUIET_SHARE), _after_refusals(SIX_SECONDS, 0.96))
"""About four and one minutes."""


def _chosen(only: str, *, is_quick: bool, is_long: bool) -> list[Configuration]:
    choice = QUICK if is_quick else CONFIGURATIONS + (LONG if is_long else ())
    return [one for one in choice if only in one.name and _is_possible(one)]


def _is_possible(configuration: Configuration) -> bool:
    if not configuration.client.uses_uvloop or find_spec("uvloop") is not None:
        return True
    print(f"  {configuration.name}: left out, because uvloop is not installed")
    return False
