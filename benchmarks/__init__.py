"""Benchmarks: counts and ratios measured side by side; only `journal` and `resume` have targets in seconds.

    python -m benchmarks           all parts except the guard, and one table
    python -m benchmarks speed     records per second and CPU time, next to five hand-written programs
    python -m benchmarks stages    CPU time of a record, step by step
    python -m benchmarks guard     in half a minute: has the share of the limit fallen since the last committed one?
    python -m benchmarks clean     used share of the permitted rate over HTTP, and violations
    python -m benchmarks memory    memory for ten times as many records
    python -m benchmarks virtual   the documented limits on a virtual clock
    python -m benchmarks limiters  five limiters against strict servers, and the used share of the rate
    python -m benchmarks rates     requests that arrive too early at a strict server, and the used share of the rate
    python -m benchmarks polling   polls without news, and the delay of results
    python -m benchmarks scaling   cost per record as records, tokens and processes grow
    python -m benchmarks imports   cost of an import, next to the HTTP library
    python -m benchmarks journal   cost per record of the journal on disk, and the time to reopen a long one
    python -m benchmarks resume    time to resume a campaign of ten million rows after a crash
    python -m benchmarks webhooks  events lost by a receiver that is killed ten times, and its response time

Each part returns figures; a figure knows its target and whether it was met. The server runs on loopback in a process of
its own, so that it uses neither the memory nor the core of the client: the sandbox, or `minimal_server` if only the
client is to be measured. Only the virtual run has both in one process, because its time does not depend on the machine.
"""

from __future__ import annotations

import attrs

MARKS = {True: "met", False: "MISSED", None: ""}
"""Texts for a met target, a missed target, and no target."""


@attrs.frozen
class Figure:
    """One row of the table; `met` is None if the figure has no target."""

    name: str
    value: str
    target: str = ""
    met: bool | None = None


def exactly(name: str, value: int, target: int) -> Figure:
    """Return a figure for a count that must be equal to its target."""
    return Figure(name, f"{value:,}", f"= {target:,}", value == target)


def at_most(name: str, value: float, target: float, unit: str = "") -> Figure:
    """Return a figure that must not exceed its target."""
    return Figure(name, f"{value:,.4g}{unit}", f"<= {target:g}{unit}", value <= target)


def at_least(name: str, value: float, target: float, unit: str = "", spread: str = "") -> Figure:
    """Return a figure that must not be below its target."""
    shown = f"{value:,.0f}" if value >= 1_000 else f"{value:.2f}"
    return Figure(name, f"{shown}{unit}{spread}", f">= {target:,g}{unit}", value >= target)


def share(name: str, value: float, target: float, spread: str = "") -> Figure:
    """Return a figure for a share of the permitted rate. Slightly above 1 is possible: see `clean_run`."""
    shown = f"{100 * value:.2f} %{spread}"
    return Figure(name, shown, f">= {100 * target:g} %", value >= target)
