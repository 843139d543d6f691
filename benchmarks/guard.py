"""Under a minute for every change: is push_many still as near to the limit as it was when it was last measured?

The limit, push_many as shipped and one program that a user would write take turns. What counts is processor time, which
other programs on the machine change least, and the median of the shares, beside the least of those in the last lines of
the history: a machine has good hours and bad ones. A share that is a little smaller may be the machine; one that lost a
fifth is a change of ours.

The limit alone is no fair witness: it is kernel and C, and a machine in a slow hour takes twice as much from a program
in Python as from it. So the share of the limit has to have fallen, and the lead over the other program as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks import Figure, history
from benchmarks.cases import Timing
from benchmarks.speed import one_round, warm_server
from benchmarks.standings import OURS, cpu_share

ROUNDS = 5
KEPT = 0.80
LIMIT = "limit"
WITNESS = "loop"
MEASUREMENTS = 3
"""Lines of the history that count."""


def measure(rounds: int = ROUNDS) -> list[Figure]:
    """The shares now, and whether enough of the committed ones is left. Raises as `committed`."""
    kept = committed(history.latest(MEASUREMENTS))
    with warm_server() as place:
        found = [one_round(dict.fromkeys((LIMIT, OURS, WITNESS), place), number) for number in range(1, rounds + 1)]
    return verdicts([(one[OURS], one[LIMIT], one[WITNESS]) for one in found], kept)


def committed(measurements: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The least that these have, in processor time: the share of the limit, and the lead over the witness.

    Raises `ValueError` where there is none: then nothing would be guarded.
    """
    if not measurements:
        raise ValueError("there is no measurement to compare with: run 'python -m benchmarks speed --write'")
    shares = [{case: float(one["cases"][case]["cpu_share"]) for case in (OURS, WITNESS)} for one in measurements]
    return min(one[OURS] for one in shares), min(one[OURS] / one[WITNESS] for one in shares)


def verdicts(rounds: Sequence[tuple[Timing, Timing, Timing]], kept: tuple[float, float]) -> list[Figure]:
    """Whether four fifths of the committed figures are left, of one or the other. A round is ours, limit, witness."""
    shares = [cpu_share(ours, limit) for ours, limit, _ in rounds]
    leads = [cpu_share(ours, witness) for ours, _, witness in rounds]
    share, lead = kept
    met = median(shares) >= KEPT * share or median(leads) >= KEPT * lead
    return [
        _figure("guard: share of LIMIT", shares, share, met=met),
        _figure("guard: lead over the capacity loop", leads, lead, met=met),
    ]


def _figure(name: str, found: Sequence[float], kept: float, *, met: bool) -> Figure:
    shown = f"{median(found):.3f} ({min(found):.3f} to {max(found):.3f}, committed {kept:.3f})"
    return Figure(name, shown, f">= {KEPT * kept:.3f}, or the other", met)
