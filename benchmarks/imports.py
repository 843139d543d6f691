"""What an import costs, beside the HTTP library that any client of this kind needs.

Fresh interpreters, one after the other and in turns, so that a busy moment of the machine hits all of them; the median
of each counts. The target is relative, 1.15 times the import of aiohttp and 30 ms more, both measured in the same run.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter

from benchmarks import Figure

ROUNDS = 15
BASE = "import aiohttp"
IMPORTS = (
    "import truecaller_async",
    "from truecaller_async import TruecallerClient",
    "from truecaller_async.blocking import TruecallerClient",
)
AIMED_AT = IMPORTS[:2]
"""Those with a target. The blocking client loads a little more, and is told for the reader."""

FACTOR = 1.15
EXTRA = 0.030


def compare(rounds: int = ROUNDS) -> list[Figure]:
    """The seconds of each import, and how they compare with what they may be."""
    seconds: dict[str, list[float]] = {code: [] for code in (BASE, *IMPORTS)}
    for code in seconds:
        _timed(code)  # compiles what is not compiled yet
    for _ in range(rounds):
        for code, found in seconds.items():
            found.append(_timed(code))
    base = median(seconds[BASE])
    allowed = FACTOR * base + EXTRA
    return [Figure(f"imports: {BASE}", _shown(base))] + [
        _figure(code, median(seconds[code]), base, allowed) for code in IMPORTS
    ]


def _figure(code: str, seconds: float, base: float, allowed: float) -> Figure:
    value = f"{_shown(seconds)}, {seconds / base:.2f} x"
    if code not in AIMED_AT:
        return Figure(f"imports: {code}", value)
    return Figure(f"imports: {code}", value, f"<= {_shown(allowed)}", seconds <= allowed)


def _timed(code: str) -> float:
    began = perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)  # noqa: S603 - our own line
    return perf_counter() - began


def _shown(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
