"""Run the long crash tests and print their tables; the exit code is 1 if a law was violated."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.crash import kills, points, power

POLICIES = ("resend", "hold")
SHOWN_VIOLATIONS_MAX = 10
KILL_COLUMNS = (
    "policy",
    "runs",
    "kills",
    "batches",
    "ambiguous attempts",
    "lost",
    "unflagged duplicates",
    "duplicates (all flagged)",
    "final unknown (applied / not)",
    "violations",
    "seconds",
)


def main() -> int:
    """Run the part that the command line names."""
    args = _arguments().parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="crash-"))
    policies = POLICIES if args.policy == "both" else (args.policy,)
    broken = {"kills": _kills, "points": _points, "power": _power}[args.part](args, folder, policies)
    if broken:
        _say(f"\n{broken} violated a law (seed {args.seed}); their files are kept in {folder}")
    return 1 if broken else 0


def _kills(args: argparse.Namespace, folder: Path, policies: Sequence[str]) -> int:
    all_results = [
        kills.kill_loop(folder, policy, _share(args.kills, policies, policy), args.seed, report=_say)
        for policy in policies
    ]
    _say("\n" + _line(KILL_COLUMNS) + "\n|" + " --- |" * len(KILL_COLUMNS))
    for results in all_results:
        found = results.findings
        applied, not_applied = found.unknown_applied, found.unknown_not_applied
        cells = (
            results.policy,
            results.runs,
            results.kills,
            found.batches,
            found.ambiguous,
            found.lost,
            found.unflagged,
            found.flagged,
            f"{applied + not_applied:,} ({applied:,} / {not_applied:,})",
            len(found.violations),
            round(results.seconds),
        )
        _say(_line(cells))
    _say("\n| kills in | " + " | ".join(kills.PHASES) + " |\n|" + " --- |" * (1 + len(kills.PHASES)))
    for results in all_results:
        _say(_line((results.policy, *(results.phases[phase] for phase in kills.PHASES))))
    for results in all_results:
        _show(results.findings.violations)
    return sum(len(results.folders) for results in all_results)


def _points(args: argparse.Namespace, folder: Path, policies: Sequence[str]) -> int:
    reason = points.strace_problem()
    if reason is not None:
        _say(f"skipped: {reason}")
        return 0
    broken: list[points.PointResult] = []
    if args.only:
        with points.PointRunner(folder, policies[0]) as bench:
            broken = [outcome for text in args.only if (outcome := bench.run(points.Point.of(text))).violations]
    else:
        lines, broken = points.every_point(folder, args.every, policies[0], report=_say)
        _say("\n| call | kill points | error points | violations | seconds | how they ended |\n|" + " --- |" * 6)
        for line in lines:
            endings = ", ".join(f"{count} {ending}" for ending, count in line.endings.most_common())
            _say(_line((line.call, line.kills, line.errors, line.violations, round(line.seconds), endings)))
        _say(
            _line(
                (
                    "all",
                    sum(line.kills for line in lines),
                    sum(line.errors for line in lines),
                    len(broken),
                    round(sum(line.seconds for line in lines)),
                    "",
                )
            )
        )
    _show([f"{outcome.point}: {'; '.join(outcome.violations)}" for outcome in broken])
    return len(broken)


def _power(args: argparse.Namespace, folder: Path, policies: Sequence[str]) -> int:
    reason = points.strace_problem()
    if reason is not None:
        _say(f"skipped: {reason}")
        return 0
    results = power.cut_power(folder, args.cuts, args.seed, policies[0])
    _say("\n| cuts | resumed | restarted | refused | violations | seconds |\n|" + " --- |" * 6)
    cells = (
        results.cuts,
        results.resumed,
        results.restarted,
        results.refused,
        len(results.violations),
        round(results.seconds),
    )
    _say(_line(cells))
    _show(results.violations)
    return len(results.violations)


def _share(all_kills: int, policies: Sequence[str], policy: str) -> int:
    """Return an equal share of the kills; the first policy also gets the remainder."""
    share, remainder = divmod(all_kills, len(policies))
    return share + (remainder if policy == policies[0] else 0)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description="Crash campaigns, resume them, and check the laws."
    )
    parser.add_argument("--folder", type=Path, help="for the files; a new temporary folder if missing")
    parser.add_argument("--seed", type=int, default=7, help="of the campaigns, lifetimes and faults")
    parts = parser.add_subparsers(dest="part", required=True)
    loop = parts.add_parser("kills", help="SIGKILL at random moments")
    loop.add_argument("--kills", type=int, default=1000, help="number of kills of all policies together")
    loop.add_argument("--policy", choices=(*POLICIES, "both"), default="both")
    each = parts.add_parser("points", help="kill or fail every single call on the journal's files")
    each.add_argument("--every", type=int, default=1, help="only every n-th point")
    each.add_argument("--only", action="append", metavar="CALL:HOW:N[+]", help="one point, such as fdatasync:EIO:17+")
    each.add_argument("--policy", choices=POLICIES, default="resend")
    cuts = parts.add_parser("power", help="cut the power, so that unsynced data is lost")
    cuts.add_argument("--cuts", type=int, default=200)
    cuts.add_argument("--policy", choices=POLICIES, default="resend")
    return parser


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"


def _show(violations: Sequence[str]) -> None:
    for text in violations[:SHOWN_VIOLATIONS_MAX]:
        _say(text)
    if len(violations) > SHOWN_VIOLATIONS_MAX:
        _say(f"... and {len(violations) - SHOWN_VIOLATIONS_MAX} more")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
