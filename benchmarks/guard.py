"""Regression check in under a minute: is `push_many` still as close to the limit as in the last committed measurement?

The limit, `push_many` and one hand-written program run in turns. The measure is CPU time, which other programs affect
least. The median of the shares is compared with the smallest one of the last lines of the history, because the speed of
a machine varies. A loss of a few percent can be noise; a loss of a fifth is a regression.

The limit alone is not a sufficient reference: it is kernel and C code, and on a slow machine a Python program can slow
down twice as much. So the check fails only if both fell: the share of the limit, and the lead over the other program.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks import Figure, history
from benchmarks.cases import Timing
from benchmarks.comparison import SHIPPED, cpu_share
from benchmarks.speed import one_round, warm_server

ROUNDS = 5
REMAINING_FACTOR = 0.80
LIMIT = "limit"
REFERENCE = "loop"
MEASUREMENTS = 3
"""Lines of the history that are used."""


def measure(rounds: int = ROUNDS) -> list[Figure]:
    """Return the current shares and whether they are sufficient. Raises as `committed`."""
    committed_values = committed(history.latest(MEASUREMENTS))
    with warm_server() as target:
        found = [
            one_round(dict.fromkeys((LIMIT, SHIPPED, REFERENCE), target), number) for number in range(1, rounds + 1)
        ]
    return evaluate([(one[SHIPPED], one[LIMIT], one[REFERENCE]) for one in found], committed_values)


def committed(measurements: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return the smallest committed values in CPU time: share of the limit, and lead over the reference program.

    Raises `ValueError` if there are none, because nothing would be checked.
    """
    if not measurements:
        raise ValueError("there is no measurement to compare with: run 'python -m benchmarks speed --write'")
    shares = [{case: float(one["cases"][case]["cpu_share"]) for case in (SHIPPED, REFERENCE)} for one in measurements]
    return min(one[SHIPPED] for one in shares), min(one[SHIPPED] / one[REFERENCE] for one in shares)


def evaluate(rounds: Sequence[tuple[Timing, Timing, Timing]], committed_values: tuple[float, float]) -> list[Figure]:
    """Return whether four fifths of a committed value remain. A round is `push_many`, limit, reference."""
    shares = [cpu_share(shipped, limit) for shipped, limit, _ in rounds]
    leads = [cpu_share(shipped, reference) for shipped, _, reference in rounds]
    share, lead = committed_values
    met = median(shares) >= REMAINING_FACTOR * share or median(leads) >= REMAINING_FACTOR * lead
    return [
        _figure("guard: share of LIMIT", shares, share, met=met),
        _figure("guard: lead over the capacity loop", leads, lead, met=met),
    ]


def _figure(name: str, found: Sequence[float], committed_values: float, *, met: bool) -> Figure:
    shown = f"{median(found):.3f} ({min(found):.3f} to {max(found):.3f}, committed {committed_values:.3f})"
    return Figure(name, shown, f">= {REMAINING_FACTOR * committed_values:.3f}, or the other", met)
