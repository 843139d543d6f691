"""Kill campaigns with SIGKILL at random moments, resume them, and check the laws.

Algorithm:
    One sandbox process survives all kills. It breaks connections before and after a batch is applied, answers 502 and
    503 before and after, and hides new batches for a second. A campaign is run and resumed by the real command line,
    with a results file, and is killed repeatedly. After each kill the integrity of the journal is checked on a copy.
    A finished campaign is checked against the laws (`checking`), and the next one starts.

    Most commands are forked processes with small batches; one in ten is a plain `python -m truecaller_async.cli`. A
    seed determines the campaigns, lifetimes and faults, but not the timing of the machine.
"""

from __future__ import annotations

import csv
import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

import attrs

from tests.crash.campaigns import Row, row_of_reason, rows_of, write_csv
from tests.crash.checking import AppliedRecord, FinalJournal, Findings, check, check_results
from tests.crash.forker import REPOSITORY, TIMEOUT_SECONDS, ProcessEnd, ProcessForker, environment
from truecaller_async import Outcome
from truecaller_async.errors import JournalError
from truecaller_async.journal.reader import JournalReader

ROWS_COUNT = 2400
LIMITS = "batch=3/0.1,token=300/0.1,mint=1000000/0.1"
"""Limits with short windows: a token adopted from a dead process is unused for one window."""

PLAN: dict[str, Any] = {
    "faults": [
        {"call": "token", "do": ["apply"]},
        {"call": "batch.submit", "probability": 0.03, "do": ["reset"]},
        {"call": "batch.submit", "probability": 0.03, "do": ["close"]},
        {"call": "batch.submit", "probability": 0.03, "do": ["apply", "reset"]},
        {"call": "batch.submit", "probability": 0.03, "do": ["apply", "close"]},
        {"call": "batch.submit", "probability": 0.03, "do": ["503"]},
        {"call": "batch.submit", "probability": 0.03, "do": ["apply", "502"]},
        {"call": "push", "probability": 0.02, "do": ["reset"]},
        {"call": "push", "probability": 0.02, "do": ["apply", "reset"]},
        {"call": "batch.status", "probability": 0.02, "do": ["503"]},
    ]
}
PLAIN_FRACTION = 0.1
"""Share of the processes that are not forked."""
PLAIN_EXTRA_SECONDS = 0.35
"""Longest extra lifetime of such a process, because its imports are part of it."""

FINISHED = frozenset({0, 5})
TRUTH_PAGE_RECORDS = 100_000
PHASES = ("nothing on disk", "start-up", "reading", "sending", "last outcomes")
"""What was reached before a kill: no journal; this run not in the journal; input not read to its end; read, and
something not sent; all sent, and some final outcomes missing."""


@attrs.define
class KillResults:
    """The results of all campaigns under one policy."""

    policy: str
    runs: int = 0
    kills: int = 0
    seconds: float = 0.0
    phases: Counter[str] = attrs.field(factory=Counter)
    findings: Findings = attrs.field(factory=Findings)
    folders: list[Path] = attrs.field(factory=list)


class Server:
    """A sandbox in its own process. Use it in `with`."""

    def __init__(self, folder: Path, seed: int) -> None:
        plan = folder / "plan.json"
        plan.write_text(json.dumps({"seed": seed, **PLAN}))
        arguments = ["--port", "0", "--limits", "off", "--resolve-after", "0.1", "--variant", "late-batches", "--json"]
        self._command = [sys.executable, "-m", "truecaller_async.cli", "sandbox", *arguments]
        self._command += ["--faults", str(plan), "--seed", str(seed)]
        self._errors = folder / "sandbox.log"
        self._seen = 0

    def __enter__(self) -> Self:
        with self._errors.open("w") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own module
                self._command, stdout=subprocess.PIPE, stderr=errors, env=environment({}), cwd=REPOSITORY, text=True
            )
        assert self._process.stdout is not None
        self.variables: dict[str, str] = json.loads(self._process.stdout.readline())
        self.label = self.variables.pop("TRUECALLER_SANDBOX_LABEL_ID")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.terminate()
        self._process.communicate(timeout=TIMEOUT_SECONDS)

    def new_records(self) -> list[AppliedRecord]:
        """Return the records applied since the last call."""
        records: list[AppliedRecord] = []
        while page := self._page():
            for entry in page:
                if entry["n"] != self._seen + 1:
                    raise RuntimeError("the sandbox has dropped a part of its log")
                self._seen = entry["n"]
                records.append(AppliedRecord(row_of_reason(entry["reason"]), entry["outcome"] == "success"))
        return records

    def _page(self) -> list[dict[str, Any]]:
        url = f"{self.variables['TRUECALLER_BASE_URL']}/_sandbox/truth?after={self._seen}&limit={TRUTH_PAGE_RECORDS}"
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310 - loopback
            return [json.loads(line) for line in answer]


@attrs.define
class Campaign:
    """One campaign, its files and its processes."""

    folder: Path
    policy: str
    rows: Sequence[Row]
    server: Server
    forker: ProcessForker
    rng: Random
    violations: list[str] = attrs.field(factory=list)

    @property
    def journal(self) -> Path:
        return self.folder / "journal.db"

    @property
    def results(self) -> Path:
        return self.folder / "results.csv"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def run_process(self, life: float | None) -> ProcessEnd:
        """Start or resume the campaign in a process, and kill it after `life` seconds; None is never."""
        arguments = self._arguments()
        variables = {
            **self.server.variables,
            "XDG_STATE_HOME": str(self.folder.parent / "state"),
            "TRUECALLER_LIMITS": LIMITS,
        }
        if life is not None and self.rng.random() < PLAIN_FRACTION:
            return self._run_plain_process(arguments, variables, life + PLAIN_EXTRA_SECONDS * self.rng.random())
        return self.forker.run({"arguments": arguments, "variables": variables}, self.log, life=life)

    def phase(self, runs_before: int) -> tuple[str, int]:
        """Return the phase of the killed process, and the number of runs in the journal.

        A damaged journal is added to the violations.
        """
        if not self.journal.exists() or not self.journal.stat().st_size:
            return "nothing on disk", runs_before
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir(mode=0o700)
        for ending in ("", "-wal"):
            if (path := self.journal.with_name(self.journal.name + ending)).exists():
                shutil.copy(path, copy / path.name)
        try:
            return self._phase_of(copy / self.journal.name, runs_before)
        except (JournalError, sqlite3.Error) as error:
            self.violations.append(f"after a kill: {error}")
            return "start-up", runs_before

    def check(self) -> Findings:
        """Check the finished campaign."""
        content = FinalJournal.of(self.journal)
        found = check(self.rows, content, self.server.new_records(), self.policy)
        with self.results.open(newline="") as file:
            found.violations += check_results(csv.DictReader(file, strict=True), content)
        log = self.log.read_text(errors="replace")
        if "Traceback" in log:
            found.violations.append("a process wrote a traceback")
        found.violations += self.violations
        return found

    def _arguments(self) -> list[str]:
        state = None
        if self.journal.exists() and self.journal.stat().st_size:
            with JournalReader(self.journal) as reader:
                state = reader.state()
        common = ["--tokens", "1", "--json"]
        if state is None or state.started is None:
            arguments = ["campaign", "run", str(self.folder / "input.csv"), "--journal", str(self.journal)]
            return [*arguments, "--results", str(self.results), "--on-ambiguous", self.policy, *common]
        arguments = ["campaign", "resume", str(self.journal), *common]
        return arguments if "results" in state.notes else [*arguments, "--results", str(self.results)]

    def _run_plain_process(self, arguments: Sequence[str], variables: dict[str, str], life: float) -> ProcessEnd:
        start = time.monotonic()
        with self.log.open("a") as log:
            process = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "truecaller_async.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(variables),
                cwd=REPOSITORY,
            )
            try:
                code = process.wait(life)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                code = process.wait()
        return ProcessEnd(code, time.monotonic() - start)

    def _phase_of(self, copy: Path, runs_before: int) -> tuple[str, int]:
        with JournalReader(copy) as reader:
            state = reader.state()
        with closing(sqlite3.connect(copy)) as db:
            result = db.execute("PRAGMA integrity_check").fetchall()
        if result != [("ok",)]:
            self.violations.append(f"after a kill: integrity_check says {result[0][0]}")
        if state.runs == runs_before:
            return "start-up", runs_before
        if not state.source_exhausted:
            return "reading", state.runs
        unsent = any(batch.provisional_outcome is Outcome.UNSENT for batch in state.open)
        return "sending" if unsent else "last outcomes", state.runs


def kill_loop(
    folder: Path,
    policy: str,
    kills: int,
    seed: int,
    *,
    rows: int = ROWS_COUNT,
    report: Callable[[str], None] = lambda _: None,
) -> KillResults:
    """Kill processes of campaigns under one policy; keep the folders of campaigns that violated a law."""
    results = KillResults(policy)
    start = time.monotonic()
    rng = Random(f"{policy} {seed}")
    folder.mkdir(parents=True, exist_ok=True)
    with Server(folder, seed) as server, ProcessForker("tests.crash.command_line") as forker:
        while results.kills < kills:
            results.runs += 1
            campaign = _new_campaign(folder / f"{policy}-{results.runs}", policy, rows, server, forker, rng)
            _run_to_the_end(campaign, kills, results)
            found = campaign.check()
            results.findings.add(found)
            report(f"{campaign.folder.name}: {results.kills} kills, {len(found.violations)} violations")
            if found.violations:
                (campaign.folder / "violations").write_text("\n".join(found.violations))
                results.folders.append(campaign.folder)
            else:
                shutil.rmtree(campaign.folder)
    results.seconds = time.monotonic() - start
    return results


def _new_campaign(folder: Path, policy: str, rows: int, server: Server, forker: ProcessForker, rng: Random) -> Campaign:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    chosen = rows_of(rows, rng)
    write_csv(folder / "input.csv", chosen, server.label)
    return Campaign(folder, policy, chosen, server, forker, rng)


def _run_to_the_end(campaign: Campaign, kills: int, results: KillResults) -> None:
    """Run processes until one of them finishes the campaign."""
    runs = 0
    while True:
        end = campaign.run_process(_lifetime(campaign.rng) if results.kills < kills else None)
        if not end.killed:
            if end.code not in FINISHED:
                campaign.violations.append(f"a process ended with {end.code}; its output is in {campaign.log}")
            return
        if end.hung:
            campaign.violations.append(f"a process did not end in {TIMEOUT_SECONDS:.0f} seconds")
            return
        results.kills += 1
        phase, runs = campaign.phase(runs)
        results.phases[phase] += 1


def _lifetime(rng: Random) -> float:
    """Return a lifetime in seconds; three in ten end during the start-up."""
    return rng.uniform(0.0, 0.12) if rng.random() < 0.3 else rng.uniform(0.1, 0.75)
