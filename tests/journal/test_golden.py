"""Journals of each schema version are read, resumed and judged by the laws; no version is refused for its age."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from tests.crash.checking import FinalJournal, check
from tests.journal.golden.cases import CASES
from tests.journal.golden.child import NETWORK_MOUNT
from tests.journal.golden.files import FOLDER_MAX_BYTES, HERE, Contents, Golden, stored, versions
from tests.journal.golden.scene import Ended, Order, run_on_storage_loop, run_process
from tests.journal.golden.server import LoggedServer
from tests.virtual import BASE
from truecaller_async import Outcome
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.cli.app import app
from truecaller_async.errors import JournalError
from truecaller_async.journal.handle import open_handle
from truecaller_async.journal.maintenance import decide, purge
from truecaller_async.journal.migrations import MIGRATIONS, OLDEST_VERSION
from truecaller_async.journal.reader import JournalReader, RowOutcome
from truecaller_async.journal.schema import VERSION
from truecaller_async.storage import filesystem

GOLDEN = list(stored())
OLDEST = [golden for golden in GOLDEN if golden.version == OLDEST_VERSION]
STATES_WITHOUT_OPEN_ROWS = frozenset({"resolved"})
RENAMED_STATES: dict[str, str] = {}
"""By the name of a batch state in an older version: its present name."""

SECONDS_UNTIL_RESUME = 10.0
SUPERSEDED = "a later row of the same caller and receiver replaces it"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, so that the relative path of an input is found in it."""
    folder = tmp_path / "campaign"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def each(journals: list[Golden]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("golden", journals, ids=lambda golden: golden.name)


def named(*names: str) -> list[Golden]:
    return [golden for golden in OLDEST if golden.folder.name in names]


def content_of(path: Path) -> tuple[int, list[str]]:
    """Return version and committed content, read from a copy, because SQLite changes files when it opens them."""
    copy = path.parent.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for suffix in ("", "-wal", "-journal"):
        if (beside := path.with_name(path.name + suffix)).exists():
            shutil.copy(beside, copy)
    with closing(sqlite3.connect(copy / path.name)) as db:
        return db.execute("PRAGMA user_version").fetchone()[0], list(db.iterdump())


def expected(golden: Golden) -> Contents:
    """Return what a reader must find."""
    batches = [[seq, RENAMED_STATES.get(state, state), *more] for seq, state, *more in golden.contents.batches]
    return attrs.evolve(golden.contents, batches=batches)


def outcomes_of(path: Path) -> list[RowOutcome]:
    with JournalReader(path) as reader:
        return list(reader.row_outcomes())


def resume(golden: Golden, path: Path, source: object = None) -> tuple[Ended, LoggedServer]:
    server = golden.server()
    start = golden.ended_at - BASE + SECONDS_UNTIL_RESUME
    return run_on_storage_loop(lambda: run_process(Order(path, source=source), server), start), server


def resume_and_judge(golden: Golden, path: Path, source: object = None) -> None:
    """Resume a journal, and check the laws row by row; then resume it again, which must change nothing."""
    final = [outcome for outcome in outcomes_of(path) if outcome.final]
    ended, server = resume(golden, path, source)
    assert ended.error is None
    judge(golden, path, server)
    assert ended.summary.adds_up
    assert ended.summary.runs == golden.contents.runs + 1
    after = outcomes_of(path)
    assert [after[outcome.row - 1] for outcome in final] == final
    read = {result.row: (result.outcome, result.possibly_duplicated, result.final) for result in ended.results}
    assert len(read) == len(ended.results)
    assert read == {
        outcome.row: (outcome.outcome, outcome.possibly_duplicated, outcome.final)
        for outcome in after
        if outcome not in final
    }
    again, _ = resume(attrs.evolve(golden, ended_at=golden.ended_at + 3600.0), path, source)
    assert again.error is None
    assert not again.summary.this_run.requests.get("submit")
    assert not again.summary.this_run.requests.get("push")
    assert outcomes_of(path) == after


def judge(golden: Golden, path: Path, server: LoggedServer) -> None:
    """Check laws 1 to 4 with the journal and the log of the server."""
    assert not +Counter(server.stats().violations)
    journal = FinalJournal.of(path)
    replaced = {outcome.row for outcome in journal.outcomes if outcome.reason == SUPERSEDED and outcome.final}
    found = check(golden.rows, journal, server.applied(), golden.policy)
    allowed = tuple(f"row {row} " for row in replaced)
    violations = [text for text in found.violations if not (text.startswith(allowed) and "it is unsent" in text)]
    assert violations == []
    held = [outcome for outcome in journal.outcomes if not outcome.final]
    assert all(outcome.outcome is Outcome.UNKNOWN for outcome in held)
    assert not held or golden.policy == "hold"


def test_each_version_has_golden_journals_and_a_step() -> None:
    assert versions() == list(range(OLDEST_VERSION, VERSION + 1)), "run python -m tests.journal.golden"
    assert sorted(MIGRATIONS) == list(range(OLDEST_VERSION, VERSION))


def test_each_case_is_stored_for_this_version() -> None:
    assert {golden.folder.name for golden in GOLDEN if golden.version == VERSION} >= {case.name for case in CASES}


def test_golden_journals_cover_each_batch_state_and_mode() -> None:
    states = {state for golden in GOLDEN for state in expected(golden).states}
    assert states == {state.value for state in BatchState} - STATES_WITHOUT_OPEN_ROWS
    assert {golden.source for golden in OLDEST} == {"csv", "jsonl", "list"}
    assert {golden.policy for golden in OLDEST} == {"resend", "hold"}
    assert {golden.is_on_network for golden in OLDEST} == {True, False}
    assert {batch[2] for golden in OLDEST for batch in golden.contents.batches} == {"submit", "push"}


def test_golden_journals_are_small_and_name_no_machine() -> None:
    for golden in GOLDEN:
        assert sum(file.stat().st_size for file in golden.folder.iterdir()) <= FOLDER_MAX_BYTES
        assert len(golden.rows) <= 40
    assert all(path.parent.name.startswith("v") for path in HERE.glob("*/*") if path.suffix != ".pyc")


@each(GOLDEN)
def test_reader_finds_the_content_and_changes_nothing(golden: Golden, folder: Path) -> None:
    path = golden.unpack(folder)
    before = content_of(path)
    assert before[0] == golden.version
    assert Contents.of(path) == expected(golden)
    with JournalReader(path) as reader:
        state = reader.state()
        source = None if state.started is None else state.started.source
        assert (source is None) == (golden.source == "list" or golden.contents.is_purged)
        assert source is None or not Path(source.path).is_absolute()
        if not golden.contents.is_purged:
            outcomes = list(reader.row_outcomes())
            assert [outcome.row for outcome in outcomes] == list(range(1, golden.contents.read + 1))
            counts = Counter(outcome.outcome.value for outcome in outcomes if outcome.final)
            assert counts == golden.contents.final
            assert state.outcome_counts() == Counter(outcome.outcome for outcome in outcomes)
    assert content_of(path) == before


@each([golden for golden in GOLDEN if not golden.contents.is_purged])
def test_golden_journal_is_resumed_and_keeps_the_laws(
    golden: Golden, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if golden.is_on_network:
        (tmp_path / "mountinfo").write_text(NETWORK_MOUNT)
        monkeypatch.setattr(filesystem, "MOUNTS", tmp_path / "mountinfo")
    path = golden.unpack(folder)
    resume_and_judge(golden, path)
    assert content_of(path)[0] == VERSION


def test_blind_resend_of_a_golden_journal_would_be_found(folder: Path) -> None:
    (golden,) = named("in_flight_hold")
    path = golden.unpack(folder)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE batch SET state = 'planned', attempts = 0 WHERE state = 'in_flight'")
        db.execute("DELETE FROM attempt WHERE event IS NULL")
    with pytest.raises(AssertionError, match="was applied 2 times"):
        resume_and_judge(golden, path)


@each([golden for golden in GOLDEN if golden.source == "list"])
def test_payload_journal_is_resumed_with_its_source_given_again(golden: Golden, folder: Path) -> None:
    path = golden.unpack(folder)
    resume_and_judge(golden, path, golden.source_in(folder))


@each([golden for golden in GOLDEN if golden.contents.is_purged])
def test_purged_golden_journal_is_not_resumed_for_that_reason(golden: Golden, folder: Path) -> None:
    path = golden.unpack(folder)
    before = content_of(path)
    with pytest.raises(JournalError, match="was purged"):
        resume(golden, path)
    assert content_of(path) == before


@each(GOLDEN)
def test_commands_show_a_golden_journal_and_do_not_change_it(golden: Golden, folder: Path) -> None:
    path = golden.unpack(folder)
    before = content_of(path)
    for words in (["status"], ["report"]):
        done = CliRunner().invoke(app, ["campaign", *words, str(path), "--json"])
        assert done.exit_code == 0, done.output
        shown = json.loads(done.stdout)
        assert golden.contents.read == _found(shown, "read")
    if not golden.contents.is_purged:
        done = CliRunner().invoke(app, ["campaign", "results", str(path), "--out", "results.csv"])
        assert done.exit_code == 0, done.output
        assert len((folder / "results.csv").read_text().splitlines()) == golden.contents.read + 1
    assert content_of(path) == before


def _found(shown: Any, name: str) -> Any:
    """Return the first value with this name in JSON."""
    if isinstance(shown, dict):
        return shown[name] if name in shown else next((_found(one, name) for one in shown.values()), None)
    return None


@each(GOLDEN)
def test_golden_journal_is_purged_and_keeps_its_summary(golden: Golden, folder: Path) -> None:
    path = golden.unpack(folder)
    with JournalReader(path) as reader:
        counts = reader.state().outcome_counts()
    purge(path, force=True)
    with JournalReader(path) as reader:
        assert reader.purged()
        assert reader.state().outcomes == counts
    assert content_of(path)[0] == VERSION


@each([golden for golden in GOLDEN if golden.contents.states.keys() & {"ambiguous", "abandoned", "in_flight"}])
def test_operator_decides_about_a_golden_journal(golden: Golden, folder: Path) -> None:
    path = golden.unpack(folder)
    with JournalReader(path) as reader:
        seqs = [batch.seq for batch in reader.decidable()]
    for seq in seqs:
        decide(path, seq, True, golden.ended_at + 1.0)
    with JournalReader(path) as reader:
        assert seqs
        assert reader.decidable() == []


# A step from version 1, which is not supported, shows how a step works before the first real one is needed.


def age(path: Path) -> None:
    """Give a journal of the oldest version a name of a table, a column and a total that version 1 would have."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("ALTER TABLE note RENAME TO remark")
        db.execute("ALTER TABLE batch RENAME COLUMN lost_answers TO doubts")
        _rename_total(db, "runs", "lives")
        db.execute(f"PRAGMA user_version = {OLDEST_VERSION - 1}")


def step(db: sqlite3.Connection) -> None:
    """Migrate from version 1: undo what `age` did."""
    db.execute("ALTER TABLE remark RENAME TO note")
    db.execute("ALTER TABLE batch RENAME COLUMN doubts TO lost_answers")
    _rename_total(db, "lives", "runs")


def _rename_total(db: sqlite3.Connection, name: str, new_name: str) -> None:
    totals = json.loads(db.execute("SELECT totals FROM campaign").fetchone()[0])
    totals = {new_name if key == name else key: value for key, value in totals.items()}
    db.execute("UPDATE campaign SET totals = ?", (json.dumps(totals).encode(),))


@pytest.fixture
def with_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MIGRATIONS, OLDEST_VERSION - 1, step)


@pytest.fixture
def aged(folder: Path) -> Callable[[Golden], Path]:
    def unpack(golden: Golden) -> Path:
        path = golden.unpack(folder)
        age(path)
        return path

    return unpack


Aged = Callable[[Golden], Path]
FEW = named("in_flight_applied", "isolation_realtime", "payload", "abandoned", "two_runs", "finished")


def test_version_without_a_step_is_refused(aged: Aged) -> None:
    path = aged(FEW[0])
    before = content_of(path)
    for use in (JournalReader, lambda path: open_handle(path, is_new=False), purge):
        with pytest.raises(JournalError, match=r"older version .*Finish its work with the version that wrote it"):
            use(path)
    assert content_of(path) == before


@each(OLDEST)
@pytest.mark.usefixtures("with_step")
def test_older_journal_is_read_through_a_migrated_copy(golden: Golden, aged: Aged) -> None:
    path = aged(golden)
    before = content_of(path)
    assert Contents.of(path) == expected(golden)
    for words in (["status"], ["report"]):
        assert CliRunner().invoke(app, ["campaign", *words, str(path), "--json"]).exit_code == 0
    assert content_of(path) == before


@pytest.mark.usefixtures("with_step")
def test_copy_of_an_older_journal_cannot_be_written(aged: Aged) -> None:
    with JournalReader(aged(FEW[0])) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader._db.execute("DELETE FROM batch")


@each(FEW)
@pytest.mark.usefixtures("with_step")
def test_older_journal_is_migrated_resumed_and_judged(golden: Golden, aged: Aged) -> None:
    path = aged(golden)
    resume_and_judge(golden, path)
    assert content_of(path)[0] == VERSION


@pytest.mark.usefixtures("with_step")
def test_older_journal_is_migrated_by_an_operator_decision(aged: Aged) -> None:
    path = aged(named("abandoned")[0])
    decide(path, 2, True, BASE + 100.0)
    assert content_of(path)[0] == VERSION
    with JournalReader(path) as reader:
        assert reader.state().complete


@pytest.mark.usefixtures("with_step")
def test_older_journal_is_migrated_by_a_purge(aged: Aged) -> None:
    path = aged(named("finished")[0])
    purge(path)
    assert content_of(path)[0] == VERSION
    with JournalReader(path) as reader:
        assert reader.purged()


@pytest.mark.usefixtures("with_step")
def test_older_journal_that_is_refused_keeps_its_version(aged: Aged) -> None:
    path = aged(named("purged")[0])
    before = content_of(path)
    for is_new, message in ((True, "already contains a campaign"), (False, "was purged")):
        with pytest.raises(JournalError, match=message):
            open_handle(path, is_new=is_new)
        assert content_of(path) == before


def test_step_with_a_wrong_result_leaves_the_journal(aged: Aged, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(db: sqlite3.Connection) -> None:
        step(db)
        db.execute("UPDATE campaign SET totals = x'7b7d'")

    monkeypatch.setitem(MIGRATIONS, OLDEST_VERSION - 1, wrong)
    path = aged(FEW[0])
    before = content_of(path)
    with pytest.raises(JournalError, match="cannot be used"):
        open_handle(path, is_new=False)
    assert content_of(path) == before


class Failing(sqlite3.Connection):
    """A connection that fails at one statement."""

    statements = 0
    fails_at = 0

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        Failing.statements += 1
        if Failing.statements == Failing.fails_at:
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(*arguments)


def statements_of_an_opening(path: Path) -> int:
    Failing.statements = Failing.fails_at = 0
    open_handle(path, is_new=False, factory=Failing).close()
    return Failing.statements


def rewritten(db: sqlite3.Connection) -> None:
    """Migrate, with pages that leave the cache before the commit."""
    db.execute("PRAGMA cache_size = 1")
    step(db)
    db.execute("CREATE TABLE filler AS SELECT hex(zeroblob(1000)) AS text FROM batch a, batch b, batch c")
    db.execute("DROP TABLE filler")


@each(named("two_runs", "network"))
def test_migration_that_fails_at_any_statement_changes_nothing(
    golden: Golden, aged: Aged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MIGRATIONS, OLDEST_VERSION - 1, rewritten)
    path = aged(golden)
    before = content_of(path)
    whole = path.with_name("whole.db")
    shutil.copy(path, whole)
    failed = 0
    for number in range(1, statements_of_an_opening(whole) + 1):
        Failing.statements, Failing.fails_at = 0, number
        try:
            open_handle(path, is_new=False, factory=Failing).close()
        except (JournalError, sqlite3.Error):
            failed += 1
            assert content_of(path) == before, f"statement {number}"
        else:
            break  # the statement is behind the commit
    assert failed > 10
    assert content_of(path)[0] == VERSION


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from tests.journal.test_golden import MIGRATIONS, OLDEST_VERSION, open_handle, rewritten
from truecaller_async.storage import filesystem

class Killed(sqlite3.Connection):
    statements = 0
    def execute(self, *arguments):
        Killed.statements += 1
        if Killed.statements == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*arguments)

if len(sys.argv) > 3:
    filesystem.MOUNTS = Path(sys.argv[3])
MIGRATIONS[OLDEST_VERSION - 1] = rewritten
open_handle(Path(sys.argv[1]), is_new=False, factory=Killed)
"""


def kill_during_migration(path: Path, number: int, mounts: Path | None) -> None:
    command = [sys.executable, "-c", KILLED, str(path), str(number), *([] if mounts is None else [str(mounts)])]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == -9, done.stderr


@each(named("two_runs", "network"))
@pytest.mark.usefixtures("with_step")
def test_kill_9_during_a_migration_leaves_a_usable_journal(golden: Golden, aged: Aged, tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo" if golden.is_on_network else None
    if mounts is not None:
        mounts.write_text(NETWORK_MOUNT)
    path = aged(golden)
    before = content_of(path)
    commit = _number_of_the_commit(path)
    for number in (commit, commit - 5, commit - 9):
        kill_during_migration(path, number, mounts)
        left = path.with_name(path.name + ("-journal" if golden.is_on_network else "-wal"))
        assert left.stat().st_size > 0
        assert content_of(path) == before
    assert Contents.of(path) == expected(golden)
    resume_and_judge(golden, path)


def _number_of_the_commit(path: Path) -> int:
    whole = path.with_name("whole.db")
    shutil.copy(path, whole)
    numbers: list[int] = []

    class Counting(sqlite3.Connection):
        statements = 0

        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            Counting.statements += 1
            numbers.extend([Counting.statements] * (arguments[0] == "COMMIT"))
            return super().execute(*arguments)

    migration, MIGRATIONS[OLDEST_VERSION - 1] = MIGRATIONS[OLDEST_VERSION - 1], rewritten
    try:
        open_handle(whole, is_new=False, factory=Counting).close()
    finally:
        MIGRATIONS[OLDEST_VERSION - 1] = migration
    return numbers[0]
