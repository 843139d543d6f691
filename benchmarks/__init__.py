"""The figures of the main job, measured side by side: counts and ratios; only `journal` and `resume` aim at times.

    python -m benchmarks           all of them but the guard, and one table
    python -m benchmarks speed     records a second and processor time, beside five programs that a user would write
    python -m benchmarks stages    where the time of a record goes, step by step
    python -m benchmarks guard     in half a minute: did the share of the limit fall since it was last committed?
    python -m benchmarks clean     how much of the permitted rate a campaign over real HTTP uses, and what it breaks
    python -m benchmarks memory    what ten times the records cost in memory
    python -m benchmarks virtual   the documented limits, on a clock that jumps
    python -m benchmarks limiters  five limiters before strict servers, and what is used of the permitted rate
    python -m benchmarks polling   polls that found nothing, and how late a result is known
    python -m benchmarks scaling   what a record costs as records, tokens and processes grow
    python -m benchmarks imports   what an import costs, beside the HTTP library's
    python -m benchmarks journal   what a record costs in the journal on disk, and how fast a long one is opened again
    python -m benchmarks resume    how soon a campaign of ten million rows goes on after a crash
    python -m benchmarks webhooks  what a receiver that is killed ten times has lost, and how fast it answers

Each part measures and gives back figures; a figure knows its target and whether it was met. The server is on loopback
and in a process of its own, so that it cannot borrow the client's memory or its core: the sandbox, or, where the client
shall be the one that is measured, a server that costs next to nothing (`lean`). Only the virtual run has both in one
process, because there time does not depend on the machine.
"""

from __future__ import annotations

import attrs

MARKS = {True: "met", False: "MISSED", None: ""}
"""How it is said whether a target was met."""


@attrs.frozen
class Figure:
    """One line of the table. `met` is None where there is no target, only something to know."""

    name: str
    value: str
    target: str = ""
    met: bool | None = None


def exactly(name: str, value: int, target: int) -> Figure:
    """A count that must be this one."""
    return Figure(name, f"{value:,}", f"= {target:,}", value == target)


def at_most(name: str, value: float, target: float, unit: str = "") -> Figure:
    """A figure that must not be above its target."""
    return Figure(name, f"{value:,.4g}{unit}", f"<= {target:g}{unit}", value <= target)


def at_least(name: str, value: float, target: float, unit: str = "", spread: str = "") -> Figure:
    """A figure that must not be below its target."""
    shown = f"{value:,.0f}" if value >= 1_000 else f"{value:.2f}"
    return Figure(name, f"{shown}{unit}{spread}", f">= {target:,g}{unit}", value >= target)


def share(name: str, value: float, target: float, spread: str = "") -> Figure:
    """A part of the permitted rate that must be reached. A little above 1 is lawful: see `clean_run`."""
    shown = f"{100 * value:.2f} %{spread}"
    return Figure(name, shown, f">= {100 * target:g} %", value >= target)
