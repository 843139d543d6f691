"""Crash a campaign of about twelve batches at each single system call on the files of its journal.

Algorithm:
    `strace` counts the calls of one kind on these files. At the n-th call it kills the process before the call is
    executed, or lets the call fail with ENOSPC (disk full) or EIO (broken disk), once or from there on. This is
    repeated for n = 1, 2, 3 ... until the run ends before its n-th call. Then another process resumes the campaign
    without a fault, and the laws are checked.
Invariants:
    - After a failed call the run ends by itself, cleanly or with `JournalError`. It writes no traceback and holds no
      lock.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Self

import attrs

from tests.crash.campaigns import Row, Shares, rows_of, write_csv
from tests.crash.checking import FinalJournal, check
from tests.crash.forker import ProcessEnd, ProcessForker
from tests.crash.small_campaign import (
    DONE,
    ENDING,
    INPUT,
    JOURNAL,
    JOURNAL_ERROR,
    OUTCOMES,
    REQUESTS,
    SETTINGS,
    RunReport,
    applied_records,
    reported_outcomes,
)
from truecaller_async.errors import JournalError

ROWS_COUNT = 48
SHARES = Shares(invalid=0.04, duplicate=0.06, same_pair=0.15, unknown_label=0.03, expired=0.04, failing=0.1)
SEED = 3
CALLS = ("pwrite64", "write", "fdatasync", "fsync", "ftruncate", "unlink", "rename", "openat", "flock", "fcntl")
NEVER_FAIL = ("fcntl",)
"""Locks between connections; no disk takes part in them."""

KILL = "SIGKILL"
ERRORS = ("ENOSPC", "EIO")
FILE_SUFFIXES = ("", "-wal", "-shm", "-journal", ".new", ".new-wal", ".new-shm", ".new-journal", ".lock")
WORKERS = 2
UNREACHED_MAX = 3
"""After this many consecutive points that were not reached, there are no further ones."""

POINTS_PER_CALL_MIN = 4
"""Fewest points of a rare call, if only every n-th point is tried."""

NOT_REACHED = "not reached"


@attrs.frozen
class Point:
    """One point at which a process is killed, or a call fails."""

    call: str
    """The name of the system call."""
    how: str
    """SIGKILL, or the name of an error."""
    n: int
    """The number of the call, from 1."""
    onward: bool = False
    """Whether all later calls fail, too."""

    @classmethod
    def of(cls, text: str) -> Point:
        """Parse a text such as "fdatasync:EIO:17+"."""
        call, how, n = text.split(":")
        return cls(call, how, int(n.removesuffix("+")), n.endswith("+"))

    def __str__(self) -> str:
        return f"{self.call}:{self.how}:{self.n}{'+' if self.onward else ''}"

    @property
    def injection(self) -> str:
        """Return the value of strace's `inject` option."""
        what = f"signal={KILL}" if self.how == KILL else f"error={self.how}"
        return f"{self.call}:{what}:when={self.n}{'+' if self.onward else ''}"


@attrs.frozen
class PointResult:
    """The result of one point."""

    point: Point
    """The point."""
    ended: str
    """How the run ended."""
    found: str
    """Whether the next run resumed the campaign or restarted it."""
    violations: tuple[str, ...] = ()
    """The laws that were violated."""


@attrs.define
class CallResults:
    """The results of all points of one system call: one line of the table."""

    call: str
    kills: int = 0
    errors: int = 0
    violations: int = 0
    seconds: float = 0.0
    endings: Counter[str] = attrs.field(factory=Counter)

    def add(self, outcome: PointResult) -> None:
        """Add the result of one point."""
        is_kill = outcome.point.how == KILL
        self.kills += is_kill
        self.errors += not is_kill
        self.violations += bool(outcome.violations)
        self.endings[outcome.found if is_kill else outcome.ended] += 1


def strace_problem() -> str | None:
    """Return why strace cannot be used here, None if it can."""
    if not sys.platform.startswith("linux"):
        return "strace exists only on Linux"
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(  # noqa: S603 - nothing from outside
        ["strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=fsync:error=EIO:when=1", "true"],  # noqa: S607
        capture_output=True,
        check=False,
        text=True,
    )
    return None if not tried.returncode else f"strace is not allowed to trace: {tried.stderr.strip()}"


class PointRunner:
    """Runs points, two at a time. Use it in `with`.

    Args:
        folder: The folder for the files; those of points that violated a law are kept.
        policy: The `on_ambiguous` of the campaign.
    """

    def __init__(self, folder: Path, policy: str = "resend") -> None:
        self._folder = folder
        self._policy = policy
        self._rows = rows_of(ROWS_COUNT, Random(SEED), SHARES)
        self._free: SimpleQueue[ProcessForker] = SimpleQueue()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for _ in range(WORKERS):
            self._free.put(self._stack.enter_context(ProcessForker("tests.crash.small_campaign")))
        self._workers = self._stack.enter_context(ThreadPoolExecutor(WORKERS))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def counts(self, calls: Sequence[str]) -> dict[str, int]:
        """Return how often each system call occurs in a run without a fault."""
        folder = self._new_folder("clean")
        trace = folder / "trace"
        end = self._run_process(folder, _tracer(folder, trace, calls))
        if end.code != DONE:
            raise RuntimeError(f"a clean run ended with {end.code}: see {folder}")
        names = re.findall(r"^\d+ +(\w+)\(", trace.read_text(errors="replace"), re.MULTILINE)
        shutil.rmtree(folder)
        return {call: names.count(call) for call in calls}

    def results(self, points: Iterator[Point]) -> Iterator[PointResult]:
        """Yield the result of each point, until `UNREACHED_MAX` in a row were not reached."""
        unreached = 0
        while unreached < UNREACHED_MAX:
            some = [point for point, _ in zip(points, range(8 * WORKERS), strict=False)]
            if not some:
                return
            for outcome in self._workers.map(self.run, some):
                unreached = unreached + 1 if outcome.ended == NOT_REACHED else 0
                if not unreached:
                    yield outcome

    def run(self, point: Point) -> PointResult:
        """Run one point: crash a campaign, resume it, and check the laws."""
        folder = self._new_folder(str(point).replace(":", "-"))
        end = self._run_process(
            folder, [*_tracer(folder, Path(os.devnull), (point.call,)), "-e", f"inject={point.injection}"]
        )
        if point.how == KILL and end.code == DONE:
            shutil.rmtree(folder)
            return PointResult(point, NOT_REACHED, "")
        violations = list(self._check_process(point, folder, end))
        ended = _ending(folder, end)
        found = self._resume(folder, violations)
        if violations:
            (folder / "violations").write_text("\n".join(violations))
        else:
            shutil.rmtree(folder)
        return PointResult(point, ended, found, tuple(violations))

    def _check_process(self, point: Point, folder: Path, end: ProcessEnd) -> Iterator[str]:
        """Yield what is wrong after the crashed process."""
        if point.how == KILL:
            if not end.killed or end.hung:
                yield f"the process ended with {end.code}"
        elif end.code not in (DONE, JOURNAL_ERROR):
            yield f"the process ended with {end.code}" + (" after it hung" if end.hung else "")
        elif _report_of(folder).is_locked:
            yield "the lock is held after the end"
        if "Traceback" in (folder / "log").read_text(errors="replace"):
            yield "it wrote a traceback"
        yield from _damage(folder)

    def _resume(self, folder: Path, violations: list[str]) -> str:
        """Run the campaign to its end without a fault; return whether it was resumed or restarted."""
        (folder / ENDING).unlink(missing_ok=True)
        end = self._run_process(folder, ())
        if end.code != DONE:
            violations.append(f"the next process ended with {end.code}: {_ending(folder, end)}")
            return "not resumed"
        violations += violated_laws(folder, self._rows, self._policy)
        return "resumed" if _report_of(folder).resumed else "restarted"

    def _run_process(self, folder: Path, tracer: Sequence[str]) -> ProcessEnd:
        forker = self._free.get()
        try:
            return forker.run({"folder": str(folder), "policy": self._policy}, folder / "log", tracer=tracer)
        finally:
            self._free.put(forker)

    def _new_folder(self, name: str) -> Path:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        write_csv(folder / INPUT, self._rows, SETTINGS.labels[0].id)
        return folder


def violated_laws(folder: Path, rows: Sequence[Row], policy: str) -> list[str]:
    """Return the laws that the finished campaign in a folder violated."""
    try:
        content = FinalJournal.of(folder / JOURNAL)
    except (JournalError, sqlite3.Error) as error:
        return [f"the journal cannot be read: {error}"]
    violations = check(rows, content, applied_records(folder / REQUESTS), policy).violations
    final = {one.row: str(one.outcome) for one in content.outcomes}
    for row, outcome in reported_outcomes(folder / OUTCOMES).items():
        if final.get(row) != outcome:
            violations.append(f"row {row} was reported as {outcome}, and is {final.get(row)} in the journal")
    return violations


def every_point(
    folder: Path,
    every: int = 1,
    policy: str = "resend",
    calls: Sequence[str] = CALLS,
    report: Callable[[str], None] = lambda _: None,
) -> tuple[list[CallResults], list[PointResult]]:
    """Run all points, or every n-th one; return the lines of the table and the points that violated a law."""
    lines: list[CallResults] = []
    broken: list[PointResult] = []
    with PointRunner(folder, policy) as bench:
        counts = bench.counts(calls)
        for call in (call for call in calls if counts[call]):
            line = CallResults(call)
            start = time.monotonic()
            step = min(every, -(-counts[call] // POINTS_PER_CALL_MIN))
            reached = _run_points(bench, _kills(call, counts[call], step), line, broken)
            if call not in NEVER_FAIL:
                _run_points(bench, _errors(call, reached, step), line, broken)
            line.seconds = time.monotonic() - start
            lines.append(line)
            report(f"{call}: {line.kills} kills, {line.errors} errors, {line.violations} violations")
    return lines, broken


def _run_points(bench: PointRunner, points: Iterator[Point], line: CallResults, broken: list[PointResult]) -> int:
    """Run the points, add their results, and return the number of the last call that was reached."""
    last = 0
    for outcome in bench.results(points):
        line.add(outcome)
        last = max(last, outcome.point.n)
        if outcome.violations:
            broken.append(outcome)
    return last


def _kills(call: str, calls: int, step: int) -> Iterator[Point]:
    # The number of calls differs from run to run, so there are more points than are usually reached.
    return (Point(call, KILL, n) for n in range(1, 2 * calls + 2 * UNREACHED_MAX, step))


def _errors(call: str, reached: int, step: int) -> Iterator[Point]:
    # An error without effect looks like a point that was not reached, so these end with the last point of the kills.
    for how in ERRORS:
        for onward in (False, True):
            yield from (Point(call, how, n, onward) for n in range(1, reached + 1, step))


def _tracer(folder: Path, trace: Path, calls: Sequence[str]) -> list[str]:
    paths = [str(folder / f"{JOURNAL}{ending}") for ending in FILE_SUFFIXES]
    watched = [argument for path in (*paths, str(folder)) for argument in ("-P", path)]
    return ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={','.join(calls)}", *watched]


def _report_of(folder: Path) -> RunReport:
    return RunReport(**json.loads((folder / ENDING).read_text()))


def _ending(folder: Path, end: ProcessEnd) -> str:
    """Describe how a process ended."""
    if end.killed:
        return "killed"
    if not (folder / ENDING).exists():
        return f"exit code {end.code}"
    return _report_of(folder).error or "clean end"


def _damage(folder: Path) -> Iterator[str]:
    """Yield what SQLite finds damaged in a copy of the journal."""
    journal = folder / JOURNAL
    if not journal.exists() or not journal.stat().st_size:
        return
    copy = folder / "copy"
    copy.mkdir()
    for ending in ("", "-wal"):
        if (path := journal.with_name(journal.name + ending)).exists():
            shutil.copy(path, copy / path.name)
    try:
        with closing(sqlite3.connect(copy / JOURNAL)) as db:
            result = db.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as error:
        result = str(error)
    if result != "ok":
        yield f"integrity_check says {result}"
    shutil.rmtree(copy)
