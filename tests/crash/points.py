"""Every crash point: a campaign of twelve batches, killed or failed at each single call that touches its journal.

`strace` counts the calls of one kind on the journal's files and, at the n-th, kills the process, or lets the call
fail: no space (ENOSPC) or a broken disk (EIO), once or from there on. For n = 1, 2, 3 ... until the run ends before
that. Then the campaign is gone on with by a process that nothing happens to, and held to the laws.

A call that is killed is not done. After a failed call the run must end by itself, cleanly or with `JournalError`, write
no traceback, and hold no lock.
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
from tests.crash.checking import Story, check
from tests.crash.nursery import End, Nursery
from tests.crash.twelve import DONE, ENDING, FAULT, INPUT, JOURNAL, REQUESTS, SETTINGS, WORDS, Told, deeds_of, heard
from truecaller_async.errors import JournalError

ROWS = 48
SHARES = Shares(bad=0.04, repeat=0.06, again=0.15, poison=0.03, late=0.04, failing=0.1)
SEED = 3
CALLS = ("pwrite64", "write", "fdatasync", "fsync", "ftruncate", "unlink", "rename", "openat", "flock", "fcntl")
NEVER_FAIL = ("fcntl",)
"""Locks between connections: a full or broken disk has no part in them."""

KILL = "SIGKILL"
ERRORS = ("ENOSPC", "EIO")
BESIDE = ("", "-wal", "-shm", "-journal", ".new", ".new-wal", ".new-shm", ".new-journal", ".lock")
WORKERS = 2
MISSES = 3
"""So many points in a row that were not reached, and there are no more."""

AT_LEAST = 4
"""Points of each kind that are tried of a call that is rare, where only some are."""

NOT_REACHED = "not reached"


@attrs.frozen
class Point:
    """The n-th call of that name. `how` is SIGKILL or an error; `onward`: the calls after it fail, too."""

    call: str
    how: str
    n: int
    onward: bool = False

    @classmethod
    def of(cls, text: str) -> Point:
        """From a text such as "fdatasync:EIO:17+"."""
        call, how, n = text.split(":")
        return cls(call, how, int(n.removesuffix("+")), n.endswith("+"))

    def __str__(self) -> str:
        return f"{self.call}:{self.how}:{self.n}{'+' if self.onward else ''}"

    @property
    def injection(self) -> str:
        """As strace wants it."""
        what = f"signal={KILL}" if self.how == KILL else f"error={self.how}"
        return f"{self.call}:{what}:when={self.n}{'+' if self.onward else ''}"


@attrs.frozen
class Outcome:
    """What came of a point: how the run ended, what the next one found, and which laws were broken."""

    point: Point
    ended: str
    found: str
    violations: tuple[str, ...] = ()


@attrs.define
class Line:
    """The table's line for one kind of call."""

    call: str
    kills: int = 0
    errors: int = 0
    violations: int = 0
    seconds: float = 0.0
    endings: Counter[str] = attrs.field(factory=Counter)

    def add(self, outcome: Outcome) -> None:
        """One point more."""
        is_kill = outcome.point.how == KILL
        self.kills += is_kill
        self.errors += not is_kill
        self.violations += bool(outcome.violations)
        self.endings[outcome.found if is_kill else outcome.ended] += 1


def why_not() -> str | None:
    """Why strace cannot run here; None where it can."""
    if not sys.platform.startswith("linux"):
        return "strace is for Linux"
    if shutil.which("strace") is None:
        return "there is no strace"
    tried = subprocess.run(  # noqa: S603 - nothing from outside
        ["strace", "-f", "-qq", "-o", os.devnull, "-e", "inject=fsync:error=EIO:when=1", "true"],  # noqa: S607
        capture_output=True,
        check=False,
        text=True,
    )
    return None if not tried.returncode else f"strace may not trace: {tried.stderr.strip()}"


class Bench:
    """Tries points, some at once, below `folder`; what a broken law left behind is kept there. Use it in `with`."""

    def __init__(self, folder: Path, policy: str = "resend") -> None:
        self._folder = folder
        self._policy = policy
        self._rows = rows_of(ROWS, Random(SEED), SHARES)
        self._free: SimpleQueue[Nursery] = SimpleQueue()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for _ in range(WORKERS):
            self._free.put(self._stack.enter_context(Nursery("tests.crash.twelve")))
        self._workers = self._stack.enter_context(ThreadPoolExecutor(WORKERS))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def counts(self, calls: Sequence[str]) -> dict[str, int]:
        """How often each is called in a run that nothing happens to."""
        folder = self._new_folder("clean")
        trace = folder / "trace"
        end = self._live(folder, _tracer(folder, trace, calls))
        if end.code != DONE:
            raise RuntimeError(f"a clean run ended with {end.code}: see {folder}")
        said = re.findall(r"^\d+ +(\w+)\(", trace.read_text(errors="replace"), re.MULTILINE)
        shutil.rmtree(folder)
        return {call: said.count(call) for call in calls}

    def tried(self, points: Iterator[Point]) -> Iterator[Outcome]:
        """What came of each, until `MISSES` in a row were not reached."""
        missed = 0
        while missed < MISSES:
            some = [point for point, _ in zip(points, range(8 * WORKERS), strict=False)]
            if not some:
                return
            for outcome in self._workers.map(self.try_out, some):
                missed = missed + 1 if outcome.ended == NOT_REACHED else 0
                if not missed:
                    yield outcome

    def try_out(self, point: Point) -> Outcome:
        """One point, from the first process to the last law."""
        folder = self._new_folder(str(point).replace(":", "-"))
        end = self._live(folder, [*_tracer(folder, Path(os.devnull), (point.call,)), "-e", f"inject={point.injection}"])
        if point.how == KILL and end.code == DONE:
            shutil.rmtree(folder)
            return Outcome(point, NOT_REACHED, "")
        violations = list(self._after(point, folder, end))
        ended = _ended(folder, end)
        found = self._finish(folder, violations)
        if violations:
            (folder / "violations").write_text("\n".join(violations))
        else:
            shutil.rmtree(folder)
        return Outcome(point, ended, found, tuple(violations))

    def _after(self, point: Point, folder: Path, end: End) -> Iterator[str]:
        """What is wrong right after it."""
        if point.how == KILL:
            if not end.killed or end.hung:
                yield f"the process ended with {end.code}"
        elif end.code not in (DONE, FAULT):
            yield f"the process ended with {end.code}" + (" after it hung" if end.hung else "")
        elif _told(folder).locked:
            yield "the lock is held when all is over"
        if "Traceback" in (folder / "log").read_text(errors="replace"):
            yield "it wrote a traceback"
        yield from _unsound(folder)

    def _finish(self, folder: Path, violations: list[str]) -> str:
        """Go on without a fault, and hold it to the laws; what was there to go on with."""
        (folder / ENDING).unlink(missing_ok=True)
        end = self._live(folder, ())
        if end.code != DONE:
            violations.append(f"the next process ended with {end.code}: {_ended(folder, end)}")
            return "not resumed"
        violations += held_to_the_laws(folder, self._rows, self._policy)
        return "resumed" if _told(folder).resumed else "restarted"

    def _live(self, folder: Path, tracer: Sequence[str]) -> End:
        nursery = self._free.get()
        try:
            return nursery.run({"folder": str(folder), "policy": self._policy}, folder / "log", tracer=tracer)
        finally:
            self._free.put(nursery)

    def _new_folder(self, name: str) -> Path:
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        write_csv(folder / INPUT, self._rows, SETTINGS.labels[0].id)
        return folder


def held_to_the_laws(folder: Path, rows: Sequence[Row], policy: str) -> list[str]:
    """The laws that the finished campaign in that folder broke."""
    try:
        story = Story.of(folder / JOURNAL)
    except (JournalError, sqlite3.Error) as error:
        return [f"the journal cannot be read: {error}"]
    violations = check(rows, story, deeds_of(folder / REQUESTS), policy).violations
    final = {word.row: str(word.outcome) for word in story.words}
    for row, outcome in heard(folder / WORDS).items():
        if final.get(row) != outcome:
            violations.append(f"row {row} was told as {outcome}, and is {final.get(row)} in the journal")
    return violations


def every_point(
    folder: Path,
    every: int = 1,
    policy: str = "resend",
    calls: Sequence[str] = CALLS,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[list[Line], list[Outcome]]:
    """All points, or about each `every`-th; the table's lines, and the points that broke a law."""
    lines: list[Line] = []
    broken: list[Outcome] = []
    with Bench(folder, policy) as bench:
        counts = bench.counts(calls)
        for call in (call for call in calls if counts[call]):
            line = Line(call)
            start = time.monotonic()
            step = min(every, -(-counts[call] // AT_LEAST))
            reached = _try_all(bench, _kills(call, counts[call], step), line, broken)
            if call not in NEVER_FAIL:
                _try_all(bench, _errors(call, reached, step), line, broken)
            line.seconds = time.monotonic() - start
            lines.append(line)
            tell(f"{call}: {line.kills} kills, {line.errors} errors, {line.violations} violations")
    return lines, broken


def _try_all(bench: Bench, points: Iterator[Point], line: Line, broken: list[Outcome]) -> int:
    """Try them, and write down what came of them; the last call that was reached."""
    last = 0
    for outcome in bench.tried(points):
        line.add(outcome)
        last = max(last, outcome.point.n)
        if outcome.violations:
            broken.append(outcome)
    return last


def _kills(call: str, calls: int, step: int) -> Iterator[Point]:
    """No two runs make quite as many calls, so there are more points than may be reached."""
    return (Point(call, KILL, n) for n in range(1, 2 * calls + 2 * MISSES, step))


def _errors(call: str, reached: int, step: int) -> Iterator[Point]:
    """An error of which nothing comes cannot be told from one that was not reached, so these end where kills ended."""
    for how in ERRORS:
        for onward in (False, True):
            yield from (Point(call, how, n, onward) for n in range(1, reached + 1, step))


def _tracer(folder: Path, trace: Path, calls: Sequence[str]) -> list[str]:
    paths = [str(folder / f"{JOURNAL}{ending}") for ending in BESIDE]
    watched = [word for path in (*paths, str(folder)) for word in ("-P", path)]
    return ["strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={','.join(calls)}", *watched]


def _told(folder: Path) -> Told:
    return Told(**json.loads((folder / ENDING).read_text()))


def _ended(folder: Path, end: End) -> str:
    """In a word or two."""
    if end.killed:
        return "killed"
    if not (folder / ENDING).exists():
        return f"exit code {end.code}"
    return _told(folder).fault or "clean end"


def _unsound(folder: Path) -> Iterator[str]:
    """What SQLite finds wrong with a copy of the journal."""
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
            said = db.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error as error:
        said = str(error)
    if said != "ok":
        yield f"integrity_check says {said}"
    shutil.rmtree(copy)
