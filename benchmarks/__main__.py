"""`python -m benchmarks [PART]`: measure, print the table, and exit with 1 if a target was missed."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence

from benchmarks import Figure, clean_run, imports, journal, memory, resume, webhooks

MARKS = {True: "met", False: "MISSED", None: ""}


def main() -> int:
    """Run the parts that were asked for; without a name, all of them."""
    asked = _arguments().parse_args()
    parts: dict[str, Callable[[], list[Figure]]] = {
        "memory": memory.compare,  # first, while this process is small: see the page of that module
        "clean": lambda: clean_run.over_http(asked.records, asked.rounds),
        "virtual": clean_run.on_virtual_clock,
        "imports": imports.compare,
        "webhooks": webhooks.measure,
        "journal": journal.measure,
        "resume": resume.measure,
    }
    chosen = [asked.part] if asked.part else list(parts)
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.2f} before the start")
    figures = []
    for name in chosen:
        print(name, flush=True)
        figures += parts[name]()
    _print_table(figures)
    return 1 if any(figure.met is False for figure in figures) else 0


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="The figures of the main job.")
    parser.add_argument(
        "part",
        nargs="?",
        choices=("clean", "imports", "journal", "memory", "resume", "virtual", "webhooks"),
        help="one part; all if left out",
    )
    parser.add_argument("--records", type=_records, default=clean_run.RECORDS, help="records of a clean round")
    parser.add_argument("--rounds", type=_rounds, default=5, help="clean rounds; the median counts")
    return parser


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
