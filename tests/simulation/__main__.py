"""Play many seeds, or print one as a timeline.

python -m tests.simulation --seeds 10000 [--first 0] [--jobs 2]
python -m tests.simulation --seed 4711
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from multiprocessing import get_context

from tests.simulation.invariants import violations
from tests.simulation.player import play
from tests.simulation.scenario import describe, draw

SHOWN_MAX = 8
"""Violations of one seed that are printed."""

SEEDS_PER_TASK = 20
"""Seeds that a worker process plays per task."""


def main() -> int:
    """Run the command; return 0 if nothing was violated, otherwise 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=_one_or_more, default=200, help="number of seeds")
    parser.add_argument("--first", type=_zero_or_more, default=0, help="first seed")
    parser.add_argument("--jobs", type=_one_or_more, default=2, help="number of processes")
    parser.add_argument("--go-on", action="store_true", help="do not stop at the first violation")
    parser.add_argument("--seed", type=_zero_or_more, help="play only this seed, and print its events")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _replay(arguments.seed)
    return _play_many(range(arguments.first, arguments.first + arguments.seeds), arguments.jobs, go_on=arguments.go_on)


def _one_or_more(text: str) -> int:
    return _at_least(1, text)


def _zero_or_more(text: str) -> int:
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
    return int(text)


def check(seed: int) -> list[str]:
    """Return the violations in the scenario of this seed."""
    try:
        return violations(play(draw(seed)))
    except Exception:  # noqa: BLE001 - a scenario that cannot be played is found like any other
        return ["the simulation itself fails:", *traceback.format_exc().splitlines()]


def _replay(seed: int) -> int:
    scenario = draw(seed)
    _print(f"seed {seed}{describe(scenario)}\n")
    found = violations(play(scenario, on_line=_print))
    _print(f"\nseed {seed}: {len(found)} violations", *found)
    return int(bool(found))


def _play_many(seeds: range, jobs: int, *, go_on: bool) -> int:
    began, done, failed = time.monotonic(), 0, 0
    with get_context("fork").Pool(jobs, maxtasksperchild=50) as pool:
        pieces = [
            range(first, min(first + SEEDS_PER_TASK, seeds.stop))
            for first in range(seeds.start, seeds.stop, SEEDS_PER_TASK)
        ]
        for found in pool.imap(_checked, pieces):
            done += len(found)
            for seed, said in found:
                if said:
                    failed += 1
                    _report(seed, said)
                    if not go_on:
                        return 1
            _progress(done, len(seeds), failed, time.monotonic() - began)
    _print("")
    return int(bool(failed))


def _checked(seeds: range) -> list[tuple[int, list[str]]]:
    return [(seed, check(seed)) for seed in seeds]


def _report(seed: int, said: list[str]) -> None:
    _print(
        f"\nseed {seed} violates:", *(f"  {line}" for line in said[:SHOWN_MAX]), f"its scenario:{describe(draw(seed))}"
    )
    _print(f"replay it with all events:  python -m tests.simulation --seed {seed}")


def _progress(done: int, all_of_them: int, failed: int, seconds: float) -> None:
    sys.stdout.write(f"\r{done} of {all_of_them} seeds, {failed} failed, {seconds:.0f} s")
    sys.stdout.flush()


def _print(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
