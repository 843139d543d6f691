"""Comparison of the cases: shares within each round, then the median over the rounds.

The speed of a machine changes from minute to minute, so a case is compared only with cases of the same round. The share
of a case is relative to the limit under the same conditions: with TLS, to the limit with TLS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Literal

import attrs

from benchmarks import MARKS, Figure, at_least, share
from benchmarks.cases import Timing
from benchmarks.tables import markdown

SHIPPED = "shipped"


@attrs.frozen
class TableRow:
    """One case in the tables, with its target.

    A target is one of: `share` of the limit `reference`; `rate` in records per second; or, for a peer, the number of
    `times` by which `push_many` must be faster.
    """

    title: str
    kind: Literal["limit", "library", "peer"]
    reference: str = "limit"
    share: float | None = None
    rate: float | None = None
    times: float | None = None

    @property
    def target(self) -> str:
        """Text of the target."""
        if self.share is not None:
            return f">= {100 * self.share:g} % of LIMIT"
        if self.rate is not None:
            return f">= {self.rate:,.0f} records/s"
        return "" if self.times is None else f"push_many >= {self.times:g} x"


TABLE_ROWS = {
    "limit": TableRow("LIMIT: raw aiohttp, nothing decoded", "limit"),
    "checked": TableRow("push_many, records already checked", "library", share=0.60),
    "shipped": TableRow("push_many as shipped", "library", share=0.45),
    "file": TableRow("push_many, CSV to CSV, journal on disk", "library", rate=100_000),
    "aiolimiter": TableRow("aiohttp + aiolimiter + tenacity", "peer", times=2.0),
    "loop": TableRow("one loop with capacity counters", "peer", times=2.5),
    "requests": TableRow("requests + 16 threads", "peer", times=2.7),
    "bulk": TableRow("streaming bulk helper", "peer", times=3.5),
    "httpx": TableRow("httpx + gather + Semaphore", "peer", times=6.0),
    "tls_limit": TableRow("LIMIT with TLS", "limit"),
    "tls": TableRow("push_many as shipped, with TLS", "library", reference="tls_limit"),
    "uvloop_limit": TableRow("LIMIT on uvloop", "limit"),
    "uvloop": TableRow("push_many as shipped, on uvloop", "library", reference="uvloop_limit"),
}
SHORT_TABLE_CASES = ("limit", "checked", "shipped", "file", "aiolimiter", "loop", "requests", "bulk", "httpx")


@attrs.frozen
class CaseResult:
    """Results of one case over all rounds.

    `shares` are relative to its limit in records per second, `cpu_shares` in records per CPU second. `times` is the
    speed of `push_many` relative to the case.
    """

    row: TableRow
    rates: tuple[float, ...]
    cpus: tuple[float, ...]
    shares: tuple[float, ...]
    cpu_shares: tuple[float, ...]
    times: tuple[float, ...]

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None without a target."""
        line = self.row
        if line.share is not None:
            return median(self.shares) >= line.share
        if line.rate is not None:
            return median(self.rates) >= line.rate
        return None if line.times is None else median(self.times) >= line.times


def compare(rounds: Sequence[Mapping[str, Timing]]) -> dict[str, CaseResult]:
    """Return the results of each case; every round contains every compared case."""
    return {case: _case_result(case, line, rounds) for case, line in TABLE_ROWS.items() if case in rounds[0]}


def rate_share(timing: Timing, limit: Timing) -> float:
    """Return the share of the limit's records per second."""
    return timing.rate / limit.rate


def cpu_share(timing: Timing, limit: Timing) -> float:
    """Return the share of the limit's records per CPU second; other programs affect it little."""
    return limit.cpu_per_million / timing.cpu_per_million


def _case_result(case: str, line: TableRow, rounds: Sequence[Mapping[str, Timing]]) -> CaseResult:
    is_limit, is_peer = line.kind == "limit", line.kind == "peer"
    return CaseResult(
        line,
        rates=tuple(one[case].rate for one in rounds),
        cpus=tuple(one[case].cpu_per_million for one in rounds),
        shares=() if is_limit else tuple(rate_share(one[case], one[line.reference]) for one in rounds),
        cpu_shares=() if is_limit else tuple(cpu_share(one[case], one[line.reference]) for one in rounds),
        times=tuple(one[SHIPPED].rate / one[case].rate for one in rounds) if is_peer else (),
    )


def figures(found: Mapping[str, CaseResult]) -> list[Figure]:
    """Return a figure for each case with a target."""
    return [_figure(state) for state in found.values() if state.met is not None]


def _figure(state: CaseResult) -> Figure:
    line = state.row
    name = f"speed: {line.title}"
    if line.share is not None:
        return share(f"{name}, of LIMIT", median(state.shares), line.share, _spread(state.shares, 100, ".1f"))
    if line.rate is not None:
        return at_least(name, median(state.rates), line.rate, " records/s", _spread(state.rates, 1, ",.0f"))
    assert line.times is not None
    name = f"speed: push_many as shipped against {line.title}"
    return at_least(name, median(state.times), line.times, " x", _spread(state.times, 1, ".2f"))


def full_table(found: Mapping[str, CaseResult]) -> str:
    """Return all results, with the slowest and the fastest round."""
    head = ("what", "records/s", "of LIMIT", "processor s per million", "push_many is", "target", "")
    rows = [
        (
            one.row.title,
            f"{median(one.rates):,.0f}{_spread(one.rates, 1, ',.0f')}",
            f"{100 * median(one.shares):.1f} %{_spread(one.shares, 100, '.1f')}" if one.shares else "",
            f"{median(one.cpus):.2f}{_spread(one.cpus, 1, '.2f')}",
            f"{median(one.times):.2f} x{_spread(one.times, 1, '.2f')}" if one.times else "",
            one.row.target,
            MARKS[one.met],
        )
        for one in found.values()
    ]
    return markdown(head, rows)


def short_table(found: Mapping[str, CaseResult]) -> str:
    """Return the main results."""
    head = ("what", "records/s", "of LIMIT", "processor s per million", "push_many is")
    rows = [
        (
            one.row.title,
            rounded_rate(one),
            f"{100 * median(one.shares):.0f} %" if one.shares else "",
            f"{median(one.cpus):.1f}",
            f"{median(one.times):.1f} x" if one.times else "",
        )
        for one in without_tls_and_uvloop(found)
    ]
    return markdown(head, rows)


def without_tls_and_uvloop(found: Mapping[str, CaseResult]) -> list[CaseResult]:
    """Return the results of the cases without TLS and uvloop."""
    return [found[case] for case in SHORT_TABLE_CASES if case in found]


def rounded_rate(state: CaseResult) -> str:
    """Return records per second with three significant digits; the rest is noise."""
    return f"{float(f'{median(state.rates):.3g}'):,.0f}"


def medians(found: Mapping[str, CaseResult]) -> dict[str, Any]:
    """Return the medians in the form of the history."""
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
