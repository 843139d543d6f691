"""The kill loop: SIGKILL at random moments, until nobody believes in luck any more.

One sandbox lives through it all: it breaks connections before and after a batch took effect, answers 502 and 503 before
and after, and hides new batches for a second. A campaign runs and is resumed by the real command line, with a results
file, and is killed again and again; after each kill the journal's integrity is checked on a copy. When a campaign has
come to its end it is held to the laws (`checking`), and the next one begins.

Most commands are children of a nursery, with small batches; each tenth one is a plain `python -m truecaller_async.cli`,
interpreter start and all. The same seed gives the same campaigns, lives and faults; what the clock does in between is
the machine's.
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

from tests.crash.campaigns import Row, row_said, rows_of, write_csv
from tests.crash.checking import Deed, Findings, Story, check, check_results
from tests.crash.nursery import PATIENCE, REPOSITORY, End, Nursery, environment
from truecaller_async import Outcome
from truecaller_async.errors import JournalError
from truecaller_async.journal.reader import JournalReader

ROWS = 2400
LIMITS = "batch=3/0.1,token=300/0.1,mint=1000000/0.1"
"""The client paces itself, and in short windows: a token that was adopted from a dead process rests for one of them."""

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
PLAIN_SHARE = 0.1
PLAIN_EXTRA = 0.35
"""Seconds that a plain process lives longer, because its imports are a part of its life."""

FINISHED = frozenset({0, 5})
TRUTH_PAGE = 100_000
PHASES = ("nothing on disk", "start-up", "reading", "sending", "last outcomes")
"""Where a kill may fall: no journal yet, or this run not in it yet; the input not read to its end; read, and something
not sent; all sent, and some final outcomes missing."""


@attrs.define
class Tally:
    """What came of all campaigns under one policy."""

    policy: str
    runs: int = 0
    kills: int = 0
    seconds: float = 0.0
    phases: Counter[str] = attrs.field(factory=Counter)
    findings: Findings = attrs.field(factory=Findings)
    folders: list[Path] = attrs.field(factory=list)


class Server:
    """A sandbox in a process of its own. Use it in `with`."""

    def __init__(self, folder: Path, seed: int) -> None:
        plan = folder / "plan.json"
        plan.write_text(json.dumps({"seed": seed, **PLAN}))
        told = ["--port", "0", "--limits", "off", "--resolve-after", "0.1", "--variant", "late-batches", "--json"]
        self._command = [sys.executable, "-m", "truecaller_async.cli", "sandbox", *told]
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
        self._process.communicate(timeout=PATIENCE)

    def new_deeds(self) -> list[Deed]:
        """What took effect since this was asked last."""
        deeds: list[Deed] = []
        while page := self._page():
            for entry in page:
                if entry["n"] != self._seen + 1:
                    raise RuntimeError("the sandbox has forgotten a part of its truth")
                self._seen = entry["n"]
                deeds.append(Deed(row_said(entry["reason"]), entry["outcome"] == "success"))
        return deeds

    def _page(self) -> list[dict[str, Any]]:
        url = f"{self.variables['TRUECALLER_BASE_URL']}/_sandbox/truth?after={self._seen}&limit={TRUTH_PAGE}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310 - loopback
            return [json.loads(line) for line in answer]


@attrs.define
class Campaign:
    """One campaign, its files and its lives. `number` names its folder."""

    folder: Path
    policy: str
    rows: Sequence[Row]
    server: Server
    nursery: Nursery
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

    def live(self, life: float | None) -> End:
        """One process that begins the campaign or goes on with it, killed after `life` seconds; None is never."""
        arguments = self._arguments()
        variables = {
            **self.server.variables,
            "XDG_STATE_HOME": str(self.folder.parent / "state"),
            "TRUECALLER_LIMITS": LIMITS,
        }
        if life is not None and self.rng.random() < PLAIN_SHARE:
            return self._plain(arguments, variables, life + PLAIN_EXTRA * self.rng.random())
        return self.nursery.run({"arguments": arguments, "variables": variables}, self.log, life=life)

    def phase(self, runs_before: int) -> tuple[str, int]:
        """In which phase the killed process was, and the runs that the journal knows of. The journal is sound, or a
        violation."""
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
        """Hold it to the laws."""
        story = Story.of(self.journal)
        found = check(self.rows, story, self.server.new_deeds(), self.policy)
        with self.results.open(newline="") as file:
            found.violations += check_results(csv.DictReader(file, strict=True), story)
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
            told = ["campaign", "run", str(self.folder / "input.csv"), "--journal", str(self.journal)]
            return [*told, "--results", str(self.results), "--on-ambiguous", self.policy, *common]
        told = ["campaign", "resume", str(self.journal), *common]
        return told if "results" in state.notes else [*told, "--results", str(self.results)]

    def _plain(self, arguments: Sequence[str], variables: dict[str, str], life: float) -> End:
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
        return End(code, time.monotonic() - start)

    def _phase_of(self, copy: Path, runs_before: int) -> tuple[str, int]:
        with JournalReader(copy) as reader:
            state = reader.state()
        with closing(sqlite3.connect(copy)) as db:
            said = db.execute("PRAGMA integrity_check").fetchall()
        if said != [("ok",)]:
            self.violations.append(f"after a kill: integrity_check says {said[0][0]}")
        if state.runs == runs_before:
            return "start-up", runs_before
        if not state.source_exhausted:
            return "reading", state.runs
        owed = any(batch.provisional_outcome is Outcome.UNSENT for batch in state.open)
        return "sending" if owed else "last outcomes", state.runs


def kill_loop(
    folder: Path, policy: str, kills: int, seed: int, *, rows: int = ROWS, tell: Callable[[str], None] = lambda _: None
) -> Tally:
    """So many kills under one policy. The folders of campaigns that broke a law are kept."""
    counters = Tally(policy)
    start = time.monotonic()
    rng = Random(f"{policy} {seed}")
    folder.mkdir(parents=True, exist_ok=True)
    with Server(folder, seed) as server, Nursery("tests.crash.commanding") as nursery:
        while counters.kills < kills:
            counters.runs += 1
            campaign = _begun(folder / f"{policy}-{counters.runs}", policy, rows, server, nursery, rng)
            _run(campaign, kills, counters)
            found = campaign.check()
            counters.findings.add(found)
            tell(f"{campaign.folder.name}: {counters.kills} kills, {len(found.violations)} violations")
            if found.violations:
                (campaign.folder / "violations").write_text("\n".join(found.violations))
                counters.folders.append(campaign.folder)
            else:
                shutil.rmtree(campaign.folder)
    counters.seconds = time.monotonic() - start
    return counters


def _begun(folder: Path, policy: str, rows: int, server: Server, nursery: Nursery, rng: Random) -> Campaign:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    told = rows_of(rows, rng)
    write_csv(folder / "input.csv", told, server.label)
    return Campaign(folder, policy, told, server, nursery, rng)


def _run(campaign: Campaign, kills: int, counters: Tally) -> None:
    """Its lives, until one of them comes to the end of the campaign."""
    runs = 0
    while True:
        end = campaign.live(_life(campaign.rng) if counters.kills < kills else None)
        if not end.killed:
            if end.code not in FINISHED:
                campaign.violations.append(f"a process ended with {end.code}; its last words are in {campaign.log}")
            return
        if end.hung:
            campaign.violations.append(f"a process did not end in {PATIENCE:.0f} seconds")
            return
        counters.kills += 1
        phase, runs = campaign.phase(runs)
        counters.phases[phase] += 1


def _life(rng: Random) -> float:
    """Three in ten die as they are born."""
    return rng.uniform(0.0, 0.12) if rng.random() < 0.3 else rng.uniform(0.1, 0.75)
