"""Cost of an import, next to the HTTP library that every such client needs, and the time until the help is shown.

Fresh interpreters run in turns, so that load on the machine affects all of them; the median counts. They use compiled
modules and can write them, as in an installation. The target of the imports is 1.15 times the import of aiohttp plus
30 ms, both measured in the same run; `truecaller --help` must finish in 250 ms including the start of the interpreter.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from statistics import median
from time import perf_counter

from benchmarks import Figure, at_most

ROUNDS = 15
BASE = "import aiohttp"
IMPORTS = (
    "import truecaller_async",
    "from truecaller_async import TruecallerClient",
    "from truecaller_async.blocking import TruecallerClient",
)
TARGETS = IMPORTS[:2]
"""Imports with a target. The blocking client imports slightly more and is shown for information."""

FACTOR = 1.15
EXTRA = 0.030
HELP = ("-m", "truecaller_async.cli", "--help")
HELP_MS = 250.0
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"


def compare(rounds: int = ROUNDS) -> list[Figure]:
    """Return the seconds of each import, compared with their targets."""
    commands = {BASE: ("-c", BASE), **{code: ("-c", code) for code in IMPORTS}, "help": HELP}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for arguments in commands.values():
        _timed(arguments)  # compile first
    for _ in range(rounds):
        for name, arguments in commands.items():
            seconds[name].append(_timed(arguments))
    base = median(seconds[BASE])
    allowed = FACTOR * base + EXTRA
    return [
        Figure(f"imports: {BASE}", _shown(base)),
        *(_figure(code, median(seconds[code]), base, allowed) for code in IMPORTS),
        at_most("imports: truecaller --help", round(1000 * median(seconds["help"])), HELP_MS, " ms"),
    ]


def _figure(code: str, seconds: float, base: float, allowed: float) -> Figure:
    value = f"{_shown(seconds)}, {seconds / base:.2f} x"
    if code not in TARGETS:
        return Figure(f"imports: {code}", value)
    return Figure(f"imports: {code}", value, f"<= {_shown(allowed)}", seconds <= allowed)


def _timed(arguments: Sequence[str]) -> float:
    environment = {name: value for name, value in os.environ.items() if name != NO_BYTECODE}
    began = perf_counter()
    subprocess.run(  # noqa: S603 - a fixed command
        [sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=environment
    )
    return perf_counter() - began


def _shown(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"
