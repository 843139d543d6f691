"""From timings to standings: shares within each round, and then the median over the rounds.

A machine is faster in one minute than in the next, so a case is compared only with what ran in the same round. The
share of a case is that of the limit under the same conditions: with TLS, of the limit with TLS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Literal

import attrs

from benchmarks import MARKS, Figure, at_least, share
from benchmarks.cases import Timing
from benchmarks.tables import markdown

OURS = "shipped"


@attrs.frozen
class Line:
    """One case in the tables.

    What it shall reach: `share` of the limit `of`, or `rate` in records a second; and push_many as shipped shall be so
    many `times` as fast as a peer.
    """

    title: str
    kind: Literal["limit", "ours", "peer"]
    of: str = "limit"
    share: float | None = None
    rate: float | None = None
    times: float | None = None

    @property
    def target(self) -> str:
        """What shall be reached, in words."""
        if self.share is not None:
            return f">= {100 * self.share:g} % of LIMIT"
        if self.rate is not None:
            return f">= {self.rate:,.0f} records/s"
        return "" if self.times is None else f"push_many >= {self.times:g} x"


LINES = {
    "limit": Line("LIMIT: raw aiohttp, nothing decoded", "limit"),
    "checked": Line("push_many, records already checked", "ours", share=0.60),
    "shipped": Line("push_many as shipped", "ours", share=0.45),
    "file": Line("push_many, CSV to CSV, journal on disk", "ours", rate=100_000),
    "aiolimiter": Line("aiohttp + aiolimiter + tenacity", "peer", times=2.0),
    "loop": Line("one loop with capacity counters", "peer", times=2.5),
    "requests": Line("requests + 16 threads", "peer", times=2.7),
    "bulk": Line("streaming bulk helper", "peer", times=3.5),
    "httpx": Line("httpx + gather + Semaphore", "peer", times=6.0),
    "tls_limit": Line("LIMIT with TLS", "limit"),
    "tls": Line("push_many as shipped, with TLS", "ours", of="tls_limit"),
    "uvloop_limit": Line("LIMIT on uvloop", "limit"),
    "uvloop": Line("push_many as shipped, on uvloop", "ours", of="uvloop_limit"),
}
PLAIN = ("limit", "checked", "shipped", "file", "aiolimiter", "loop", "requests", "bulk", "httpx")


@attrs.frozen
class Standing:
    """One case over all rounds.

    `shares` are of its limit: in records a second, and in `cpu_shares` in records for a second of the processor.
    `times` says how many times as fast push_many was.
    """

    line: Line
    rates: tuple[float, ...]
    cpus: tuple[float, ...]
    shares: tuple[float, ...]
    cpu_shares: tuple[float, ...]
    times: tuple[float, ...]

    @property
    def met(self) -> bool | None:
        """Whether the target was reached; None where there is none."""
        line = self.line
        if line.share is not None:
            return median(self.shares) >= line.share
        if line.rate is not None:
            return median(self.rates) >= line.rate
        return None if line.times is None else median(self.times) >= line.times


def standings(rounds: Sequence[Mapping[str, Timing]]) -> dict[str, Standing]:
    """What the rounds say of each case; every round has every case that is compared."""
    return {case: _standing(case, line, rounds) for case, line in LINES.items() if case in rounds[0]}


def rate_share(timing: Timing, limit: Timing) -> float:
    """Of the limit's records a second."""
    return timing.rate / limit.rate


def cpu_share(timing: Timing, limit: Timing) -> float:
    """Of the limit's records for a second of the processor, which others that want the core change little."""
    return limit.cpu_per_million / timing.cpu_per_million


def _standing(case: str, line: Line, rounds: Sequence[Mapping[str, Timing]]) -> Standing:
    is_limit, is_peer = line.kind == "limit", line.kind == "peer"
    return Standing(
        line,
        rates=tuple(one[case].rate for one in rounds),
        cpus=tuple(one[case].cpu_per_million for one in rounds),
        shares=() if is_limit else tuple(rate_share(one[case], one[line.of]) for one in rounds),
        cpu_shares=() if is_limit else tuple(cpu_share(one[case], one[line.of]) for one in rounds),
        times=tuple(one[OURS].rate / one[case].rate for one in rounds) if is_peer else (),
    )


def figures(found: Mapping[str, Standing]) -> list[Figure]:
    """Those with a target."""
    return [_figure(state) for state in found.values() if state.met is not None]


def _figure(state: Standing) -> Figure:
    line = state.line
    name = f"speed: {line.title}"
    if line.share is not None:
        return share(f"{name}, of LIMIT", median(state.shares), line.share, _spread(state.shares, 100, ".1f"))
    if line.rate is not None:
        return at_least(name, median(state.rates), line.rate, " records/s", _spread(state.rates, 1, ",.0f"))
    assert line.times is not None
    name = f"speed: push_many as shipped against {line.title}"
    return at_least(name, median(state.times), line.times, " x", _spread(state.times, 1, ".2f"))


def full_table(found: Mapping[str, Standing]) -> str:
    """Everything that was measured, from the slowest round to the fastest."""
    head = ("what", "records/s", "of LIMIT", "processor s per million", "push_many is", "target", "")
    rows = [
        (
            one.line.title,
            f"{median(one.rates):,.0f}{_spread(one.rates, 1, ',.0f')}",
            f"{100 * median(one.shares):.1f} %{_spread(one.shares, 100, '.1f')}" if one.shares else "",
            f"{median(one.cpus):.2f}{_spread(one.cpus, 1, '.2f')}",
            f"{median(one.times):.2f} x{_spread(one.times, 1, '.2f')}" if one.times else "",
            one.line.target,
            MARKS[one.met],
        )
        for one in found.values()
    ]
    return markdown(head, rows)


def short_table(found: Mapping[str, Standing]) -> str:
    """What a reader wants to know first."""
    head = ("what", "records/s", "of LIMIT", "processor s per million", "push_many is")
    rows = [
        (
            one.line.title,
            shown_rate(one),
            f"{100 * median(one.shares):.0f} %" if one.shares else "",
            f"{median(one.cpus):.1f}",
            f"{median(one.times):.1f} x" if one.times else "",
        )
        for one in plain(found)
    ]
    return markdown(head, rows)


def plain(found: Mapping[str, Standing]) -> list[Standing]:
    """Without TLS and uvloop."""
    return [found[case] for case in PLAIN if case in found]


def shown_rate(state: Standing) -> str:
    """Records a second, to three figures: more the machine does not tell."""
    return f"{float(f'{median(state.rates):.3g}'):,.0f}"


def kept(found: Mapping[str, Standing]) -> dict[str, Any]:
    """The medians, as the history keeps them."""
    return {
        case: {
            "records_per_second": round(median(one.rates)),
            "cpu_seconds_per_million": round(median(one.cpus), 3),
            **({"share": round(median(one.shares), 4)} if one.shares else {}),
            **({"cpu_share": round(median(one.cpu_shares), 4)} if one.cpu_shares else {}),
            **({"times": round(median(one.times), 2)} if one.times else {}),
        }
        for case, one in found.items()
    }


def _spread(values: Sequence[float], factor: float, form: str) -> str:
    return f" ({factor * min(values):{form}} to {factor * max(values):{form}})"
