"""`python -m tests.crash kills | points | power`: crash it, print the table, and exit with 1 if a law was broken."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.crash import kills, points, power

POLICIES = ("resend", "hold")
SHOWN = 10
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
    """Run the part that was asked for."""
    asked = _arguments().parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="crash-"))
    policies = POLICIES if asked.policy == "both" else (asked.policy,)
    broken = {"kills": _kills, "points": _points, "power": _power}[asked.part](asked, folder, policies)
    if broken:
        _say(f"\n{broken} broke a law (seed {asked.seed}); what they left is kept in {folder}")
    return 1 if broken else 0


def _kills(asked: argparse.Namespace, folder: Path, policies: Sequence[str]) -> int:
    tallies = [
        kills.kill_loop(folder, policy, _part(asked.kills, policies, policy), asked.seed, tell=_say)
        for policy in policies
    ]
    _say("\n" + _line(KILL_COLUMNS) + "\n|" + " --- |" * len(KILL_COLUMNS))
    for counters in tallies:
        found = counters.findings
        applied, not_applied = found.unknown_applied, found.unknown_not_applied
        cells = (
            counters.policy,
            counters.runs,
            counters.kills,
            found.batches,
            found.ambiguous,
            found.lost,
            found.unflagged,
            found.flagged,
            f"{applied + not_applied:,} ({applied:,} / {not_applied:,})",
            len(found.violations),
            round(counters.seconds),
        )
        _say(_line(cells))
    _say("\n| kills in | " + " | ".join(kills.PHASES) + " |\n|" + " --- |" * (1 + len(kills.PHASES)))
    for counters in tallies:
        _say(_line((counters.policy, *(counters.phases[phase] for phase in kills.PHASES))))
    for counters in tallies:
        _show(counters.findings.violations)
    return sum(len(counters.folders) for counters in tallies)


def _points(asked: argparse.Namespace, folder: Path, policies: Sequence[str]) -> int:
    reason = points.why_not()
    if reason is not None:
        _say(f"skipped: {reason}")
        return 0
    broken: list[points.Outcome] = []
    if asked.only:
        with points.Bench(folder, policies[0]) as bench:
            broken = [outcome for text in asked.only if (outcome := bench.try_out(points.Point.of(text))).violations]
    else:
        lines, broken = points.every_point(folder, asked.every, policies[0], tell=_say)
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


def _power(asked: argparse.Namespace, folder: Path, policies: Sequence[str]) -> int:
    reason = points.why_not()
    if reason is not None:
        _say(f"skipped: {reason}")
        return 0
    counters = power.cut_power(folder, asked.cuts, asked.seed, policies[0])
    _say("\n| cuts | resumed | restarted | refused | violations | seconds |\n|" + " --- |" * 6)
    cells = (
        counters.cuts,
        counters.resumed,
        counters.anew,
        counters.refused,
        len(counters.violations),
        round(counters.seconds),
    )
    _say(_line(cells))
    _show(counters.violations)
    return len(counters.violations)


def _part(all_kills: int, policies: Sequence[str], policy: str) -> int:
    """An even share; the first has what is over."""
    share, over = divmod(all_kills, len(policies))
    return share + (over if policy == policies[0] else 0)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description="Campaigns that are killed, and the laws."
    )
    parser.add_argument("--folder", type=Path, help="where it happens; a new temporary one if left out")
    parser.add_argument("--seed", type=int, default=7, help="of the campaigns, the lives and the faults")
    parts = parser.add_subparsers(dest="part", required=True)
    loop = parts.add_parser("kills", help="SIGKILL at random moments")
    loop.add_argument("--kills", type=int, default=1000, help="how many, over all policies")
    loop.add_argument("--policy", choices=(*POLICIES, "both"), default="both")
    each = parts.add_parser("points", help="every single call on the journal's files, killed and failed")
    each.add_argument("--every", type=int, default=1, help="only each n-th point")
    each.add_argument("--only", action="append", metavar="CALL:HOW:N[+]", help="one point, such as fdatasync:EIO:17+")
    each.add_argument("--policy", choices=POLICIES, default="resend")
    cuts = parts.add_parser("power", help="the power goes, and what was not synced is lost")
    cuts.add_argument("--cuts", type=int, default=200)
    cuts.add_argument("--policy", choices=POLICIES, default="resend")
    return parser


def _line(cells: Sequence[object]) -> str:
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"


def _show(violations: Sequence[str]) -> None:
    for text in violations[:SHOWN]:
        _say(text)
    if len(violations) > SHOWN:
        _say(f"... and {len(violations) - SHOWN} more")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
