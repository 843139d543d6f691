"""`python -m benchmarks [PART]`: measure, print the table, and exit with 1 if a target was missed."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import (
    MARKS,
    Figure,
    calls,
    clean_run,
    guard,
    imports,
    journal,
    limiters,
    memory,
    polling,
    rates,
    resume,
    scaling,
    speed,
    stages,
    webhooks,
)

PARTS: dict[str, Callable[[Namespace], list[Figure]]] = {
    "memory": lambda _: memory.compare(),  # first, while this process is small: see the docstring of that module
    "speed": lambda arguments: speed.measure(arguments.rounds, write=arguments.write),
    "calls": lambda _: calls.measure(),
    "clean": lambda arguments: clean_run.over_http(arguments.records, arguments.rounds),
    "virtual": lambda _: clean_run.on_virtual_clock(),
    "stages": lambda arguments: stages.measure(arguments.rounds),
    "limiters": lambda _: limiters.measure(),
    "rates": lambda arguments: _rates(arguments),
    "polling": lambda _: polling.measure(),
    "scaling": lambda arguments: scaling.measure(arguments.rounds),
    "imports": lambda _: imports.compare(),
    "webhooks": lambda _: webhooks.measure(),
    "journal": lambda _: journal.measure(),
    "resume": lambda _: resume.measure(),
    "guard": lambda _: guard.measure(),
}
ONLY_WHEN_NAMED = {"guard"}


def main() -> int:
    """Run the requested part; without one, all parts except the guard."""
    arguments = _arguments().parse_args()
    chosen = [arguments.part] if arguments.part else [name for name in PARTS if name not in ONLY_WHEN_NAMED]
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.2f} before the start")
    figures = []
    for name in chosen:
        print(name, flush=True)
        figures += PARTS[name](arguments)
    _print_table(figures)
    return 1 if any(figure.met is False for figure in figures) else 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Benchmarks of the package.")
    parser.add_argument("part", nargs="?", choices=sorted(PARTS), help="one part; all but the guard if left out")
    parser.add_argument(
        "--write", action="store_true", help="write the results of speed to the documents and the history"
    )
    parser.add_argument("--records", type=_records, default=clean_run.RECORDS, help="records of a clean round")
    parser.add_argument("--rounds", type=_rounds, default=5, help="rounds of clean and speed; the median counts")
    parser.add_argument("--runs", type=_rounds, default=1, help="runs of each configuration of rates")
    parser.add_argument("--quick", action="store_true", help="rates: two configurations only, less than 40 s")
    parser.add_argument("--long", action="store_true", help="rates: also the configurations that take minutes")
    parser.add_argument("--only", default="", metavar="TEXT", help="rates: configurations with this text in their name")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="rates: write the rows as JSON, without FILE to stdout"
    )
    return parser


def _rates(arguments: Namespace) -> list[Figure]:
    rows = rates.measure(runs=arguments.runs, only=arguments.only, is_quick=arguments.quick, is_long=arguments.long)
    if not rows:
        raise SystemExit(f"no configuration of rates has {arguments.only!r} in its name. Check --only.")
    if arguments.json is not None:
        _write(arguments.json, rates.to_json(rows))
    return [row.figure for row in rows]


def _write(file: str, text: str) -> None:
    if file == "-":
        print(text)
    else:
        Path(file).write_text(text + "\n", "utf-8")


def _records(text: str) -> int:
    return _from(clean_run.RECORDS_MIN, text)


def _rounds(text: str) -> int:
    return _from(1, text)


def _from(least: int, text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least:,}")
    return int(text)


def _print_table(figures: Sequence[Figure]) -> None:
    print("\n| figure | measured | target | |\n| --- | --- | --- | --- |")
    for figure in figures:
        print(f"| {figure.name} | {figure.value} | {figure.target} | {MARKS[figure.met]} |")


if __name__ == "__main__":
    sys.exit(main())
