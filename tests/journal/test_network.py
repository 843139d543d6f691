"""A journal on a network file system uses no write-ahead log and no shared memory, and loses nothing.

The mount table is replaced by one in which every path is on NFS; the files are real.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.journal.entry_generator import STARTED, comparable
from tests.journal.storing import store
from tests.journal.test_reader import CAMPAIGN, written
from tests.journal.test_sqlite import CHILD, is_sound
from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal import SqliteJournal, database_file
from truecaller_async.journal.handle import JournalHandle, open_handle
from truecaller_async.journal.lock import holder, lock_file
from truecaller_async.journal.maintenance import decide, purge
from truecaller_async.journal.reader import JournalReader
from truecaller_async.models.journal_entries import BatchPlanned, NoteAdded, RowsRead, SourcePosition
from truecaller_async.storage import filesystem

ON_NFS = "1 1 0:1 / / rw,relatime shared:1 - nfs4 server:/export rw,vers=4.2\n"
LOCAL = "1 1 0:1 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"


@pytest.fixture
def table(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    table = tmp_path_factory.mktemp("proc") / "mountinfo"
    table.write_text(ON_NFS)
    monkeypatch.setattr(filesystem, "MOUNTS", table)
    return table


@pytest.fixture
def path(tmp_path: Path, table: Path) -> Path:
    return tmp_path / "campaign.db"


@pytest.fixture
def running(path: Path) -> Iterator[JournalHandle]:
    """A run that has the journal open."""
    handle = written(path, *CAMPAIGN)
    yield handle
    handle.close()


def beside(path: Path) -> list[str]:
    return sorted(file.name.removeprefix(path.name) for file in path.parent.iterdir() if file != path)


@pytest.mark.fault("F54")
async def test_network_journal_uses_no_write_ahead_log_and_warns_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "truecaller_async")
    journal = SqliteJournal(path)
    state = await journal.open(is_new=True)
    await store(journal, state, STARTED, BatchPlanned(1, (1, 2)), RowsRead(SourcePosition(2, 3, 60)))
    await store(journal, state, NoteAdded("n", "v"))
    assert beside(path) == [".lock"]
    await journal.aclose()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("truecaller_async", logging.WARNING)
    assert f"{path} is on a network file system (nfs4)" in record.getMessage()


def test_each_commit_is_synced_with_its_folder(running: JournalHandle) -> None:
    pragmas = [running.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert pragmas == ["delete", 3]
    assert running.db.execute("PRAGMA secure_delete").fetchone() == (1,)


def test_local_disk_logs_no_warning(path: Path, table: Path, caplog: pytest.LogCaptureFixture) -> None:
    table.write_text(LOCAL)
    handle = written(path, *CAMPAIGN)
    assert handle.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    handle.close()
    assert not caplog.records
    assert beside(path) == []


def test_remaining_lock_file_blocks_no_process(path: Path, running: JournalHandle) -> None:
    with pytest.raises(JournalBusy):
        open_handle(path, is_new=False)
    running.close()
    assert beside(path) == [".lock"]
    assert holder(path) is None
    open_handle(path, is_new=False).close()


def test_journal_can_move_between_local_and_network_disk(path: Path, table: Path) -> None:
    written(path, *CAMPAIGN).close()
    for text, mode in ((LOCAL, "wal"), (ON_NFS, "delete"), (LOCAL, "wal")):
        table.write_text(text)
        handle = open_handle(path, is_new=False)
        assert handle.db.execute("PRAGMA journal_mode").fetchone() == (mode,)
        handle.record((NoteAdded(mode, "seen"),))
        handle.close()
    with JournalReader(path) as reader:
        assert reader.state().notes == {"wal": "seen", "delete": "seen"}
        assert len(list(reader.row_outcomes())) == 7


def test_journal_is_readable_between_two_commits_of_a_run(path: Path, running: JournalHandle) -> None:
    with JournalReader(path) as reader:
        assert len(list(reader.row_outcomes())) == 7
        running.db.execute("BEGIN IMMEDIATE")
        running.db.execute("INSERT INTO note VALUES ('n', '1')")
        assert reader.state().notes == {}
        running.db.commit()
        assert reader.state().notes.keys() == {"n"}


def test_reader_during_a_commit_waits_and_then_gets_an_error(
    path: Path, running: JournalHandle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_file, "BUSY_SECONDS", 0.0)
    with JournalReader(path) as reader:
        running.db.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalBusy, match="another process is writing or reading it"):
            reader.state()
        with pytest.raises(JournalBusy, match="Retry, and check"):
            JournalReader(path)
        running.db.rollback()
        assert len(list(reader.row_outcomes())) == 7


def copy_half_written(running: JournalHandle, copy: Path) -> None:
    """Copy what a crash in the middle of a commit leaves: new pages in the file, old ones in the rollback journal."""
    db = running.db
    db.execute("PRAGMA cache_size = 2")
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE outcome_kind SET reason = 'never committed'")
    db.execute("UPDATE batch SET state = 'resolved', open_rows = 0")
    db.executemany("INSERT INTO note VALUES (?, ?)", [(str(n), "x" * 1000) for n in range(200)])
    for suffix in ("", "-journal"):
        shutil.copy(running.path.with_name(running.path.name + suffix), copy.with_name(copy.name + suffix))
    db.rollback()


@pytest.fixture
def crashed(running: JournalHandle, tmp_path: Path) -> Path:
    folder = tmp_path / "crashed"
    folder.mkdir()
    copy_half_written(running, folder / "copy.db")
    assert b"never committed" in (folder / "copy.db").read_bytes()
    return folder / "copy.db"


def test_interrupted_commit_is_rolled_back_before_the_run_continues(crashed: Path, running: JournalHandle) -> None:
    handle = open_handle(crashed, is_new=False)
    assert comparable(handle.statements.state) == comparable(running.statements.state)
    handle.close()
    assert beside(crashed) == [".lock"]
    with closing(sqlite3.connect(crashed)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("text", [ON_NFS, LOCAL])
def test_interrupted_commit_is_rolled_back_by_a_reader(
    crashed: Path, running: JournalHandle, table: Path, text: str
) -> None:
    table.write_text(text)
    with JournalReader(crashed) as reader:
        assert reader.owner() is None
        assert comparable(reader.state()) == comparable(running.statements.state)
        assert len(list(reader.row_outcomes())) == 7
    assert not crashed.with_name("copy.db-journal").exists()


WITH_MOUNT_TABLE = """
import sys
from pathlib import Path
from truecaller_async.storage import filesystem
filesystem.MOUNTS = Path(sys.argv.pop())
"""


@pytest.mark.fault("F54")
@pytest.mark.parametrize("after", [1, 7, 20])
def test_confirmed_entries_survive_kill_9(path: Path, table: Path, after: int) -> None:
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", WITH_MOUNT_TABLE + CHILD, str(path), str(table)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= after:
                process.kill()
                break
        seen = max([int(line), *map(int, process.stdout.read().split())])
    handle = open_handle(path, is_new=False)
    assert seen <= handle.statements.state.last_seq <= seen + 1
    handle.close()
    assert is_sound(path)


def test_operator_decision_is_possible_after_a_crash(crashed: Path) -> None:
    decide(crashed, 2, True, 20.0)
    with JournalReader(crashed) as reader:
        assert reader.decidable() == []


def test_foreign_file_with_a_rollback_journal_is_unchanged(crashed: Path) -> None:
    crashed.write_bytes(b"row,outcome\n")
    for open_file in (JournalReader, lambda path: open_handle(path, is_new=False)):
        with pytest.raises(JournalError, match="no journal of this library"):
            open_file(crashed)
    assert crashed.read_bytes() == b"row,outcome\n"
    assert crashed.with_name("copy.db-journal").exists()


def test_remaining_lock_is_acquired_by_the_next_run(path: Path) -> None:
    written(path, *CAMPAIGN).close()
    assert lock_file(path).read_text().split()[0].isdecimal()
    with JournalReader(path) as reader:
        assert reader.owner() is None


def test_purge_leaves_no_network_side_files(path: Path) -> None:
    handle = written(
        path,
        (STARTED,),
        (BatchPlanned(1, (1,), payload=b"919876543210"), RowsRead(SourcePosition(1, 2, 30), b"a-row-digest")),
    )
    assert b"919876543210" in path.read_bytes()
    handle.close()
    purge(path, force=True)
    assert b"919876543210" not in path.read_bytes()
    assert b"a-row-digest" not in path.read_bytes()
    assert beside(path) == [".lock"]
    with JournalReader(path) as reader:
        assert reader.purged()


def test_nothing_is_erased_while_a_reader_is_open(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_file, "BUSY_SECONDS", 0.0)
    written(path, *CAMPAIGN).close()
    with JournalReader(path) as reader:
        reader._db.execute("BEGIN")
        reader._db.execute("SELECT count(*) FROM row_outcome").fetchone()
        with pytest.raises(JournalBusy):
            purge(path, force=True)
        reader._db.execute("ROLLBACK")
        assert not reader.purged()
    purge(path, force=True)
