"""The durable journal: which files it accepts, what happens if the disk fails, and how it closes."""

# ruff: noqa: ASYNC240 - nothing else runs in these loops

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.journal.entry_generator import STARTED
from tests.journal.storing import store
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal import SqliteJournal
from truecaller_async.journal.lock import LOCK_ATTEMPTS_MAX, JournalLock, holder, lock_file
from truecaller_async.journal.migrations import OLDEST_VERSION
from truecaller_async.journal.reader import JournalReader
from truecaller_async.journal.schema import VERSION
from truecaller_async.models.journal_entries import BatchPlanned, NoteAdded, RowsRead, SourcePosition

PLANNED = (BatchPlanned(1, (1, 2)), RowsRead(SourcePosition(2, 3, 60), b"fingerprints"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "campaign.db"


async def written(path: Path) -> tuple[SqliteJournal, CampaignState]:
    """Write a campaign; return its open journal and its state."""
    journal = SqliteJournal(path)
    state = await journal.open(is_new=True)
    await store(journal, state, STARTED, *PLANNED)
    return journal, state


async def write_closed(path: Path) -> None:
    """Write a campaign and close its journal."""
    journal, _ = await written(path)
    await journal.aclose()


def is_sound(path: Path) -> bool:
    with closing(sqlite3.connect(path)) as db:
        return bool(db.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("truecaller-journal")}


async def test_journal_is_private_and_leaves_one_file(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "campaign.db"
    journal, _ = await written(path)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700
    await journal.aclose()
    assert [file.name for file in path.parent.iterdir()] == ["campaign.db"]
    assert is_sound(path)
    assert not threads()


async def test_commit_is_on_disk_before_the_write_returns(path: Path) -> None:
    journal, _ = await written(path)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as other:
        assert other.execute("SELECT count(*) FROM batch").fetchone() == (1,)
    assert journal._writer is not None
    handle = journal._writer._handle
    assert handle is not None
    pragmas = [handle.db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert pragmas == ["wal", 2]
    assert handle.db.execute("PRAGMA secure_delete").fetchone() == (1,)
    await journal.aclose()


def text(path: Path) -> None:
    path.write_text("row,outcome\n" * 100)


def short_text(path: Path) -> None:
    path.write_text("x")


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id = 7")
        db.execute("CREATE TABLE campaign(id)")


def empty_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("VACUUM")
        db.execute("PRAGMA user_version = 1")


def newer(path: Path) -> None:
    asyncio.run(write_closed(path))
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")


def older(path: Path) -> None:
    asyncio.run(write_closed(path))
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {OLDEST_VERSION - 1}")


def cut(path: Path) -> None:
    asyncio.run(write_closed(path))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def flipped(path: Path) -> None:
    asyncio.run(write_closed(path))
    data = bytearray(path.read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 16] = b"\xff" * 16
    path.write_bytes(data)


def wrong_totals(path: Path) -> None:
    asyncio.run(write_closed(path))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE campaign SET totals = x'7b7d'")


UNUSABLE_FILES = [
    (text, "no journal"),
    (short_text, "no journal"),
    (foreign, "no journal"),
    (empty_foreign, "no journal"),
    (newer, "newer version"),
    (older, "older version"),
    (cut, "restore a copy"),
    (flipped, "restore a copy"),
    (wrong_totals, "restore a copy"),
]


@pytest.mark.fault("F53")
@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize(("spoil", "message"), UNUSABLE_FILES)
def test_unsound_journal_file_is_refused_and_unchanged(
    path: Path, spoil: Callable[[Path], None], message: str, is_new: bool
) -> None:
    spoil(path)
    path.chmod(0o600)
    before = digest(path)

    async def refused() -> None:
        with pytest.raises(JournalError, match=message) as caught:
            await SqliteJournal(path).open(is_new=is_new)
        assert str(path) in str(caught.value)

    asyncio.run(refused())
    assert digest(path) == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert not threads()


@pytest.mark.fault("F53")
async def test_damage_found_beside_a_remaining_log_changes_nothing(path: Path) -> None:
    await kill_while_writing(path)
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(b"\xff" * 64)
    before = digest(path)
    log = path.with_name("campaign.db-wal")
    log.write_bytes(log.read_bytes()[:100])
    with pytest.raises(JournalError):
        await SqliteJournal(path).open(is_new=False)
    assert digest(path) == before


async def test_resume_of_a_missing_file_creates_none(tmp_path: Path) -> None:
    path = tmp_path / "none" / "campaign.db"
    with pytest.raises(JournalError, match="no journal"):
        await SqliteJournal(path).open(is_new=False)
    assert list(tmp_path.iterdir()) == []


async def test_empty_file_can_be_started_and_not_resumed(path: Path) -> None:
    path.touch(0o600)
    with pytest.raises(JournalError):
        await SqliteJournal(path).open(is_new=False)
    assert path.read_bytes() == b""
    await write_closed(path)


@pytest.mark.fault("F53")
async def test_existing_campaign_is_offered_for_resume_and_unchanged(path: Path) -> None:
    await write_closed(path)
    before = digest(path)
    with pytest.raises(JournalError, match=re.escape(f"truecaller campaign resume {path}")):
        await SqliteJournal(path).open(is_new=True)
    assert digest(path) == before


async def test_log_of_a_deleted_journal_is_not_used_for_a_new_one(path: Path) -> None:
    await kill_while_writing(path)
    path.unlink()
    with pytest.raises(JournalError, match=r"campaign\.db-wal, of a journal that was deleted"):
        await SqliteJournal(path).open(is_new=True)


@pytest.mark.parametrize("is_new", [True, False])
async def test_link_and_a_folder_are_refused(tmp_path: Path, is_new: bool) -> None:
    await write_closed(tmp_path / "real.db")
    link, folder = tmp_path / "link.db", tmp_path / "folder"
    link.symlink_to(tmp_path / "real.db")
    folder.mkdir()
    for path in (link, folder):
        with pytest.raises(JournalError, match=path.name):
            await SqliteJournal(path).open(is_new=is_new)


async def test_file_that_others_can_read_is_refused(path: Path) -> None:
    await write_closed(path)
    path.chmod(0o644)
    with pytest.raises(JournalError, match="chmod 600"):
        await SqliteJournal(path).open(is_new=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write in every folder")
async def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(JournalError, match="Permission denied"):
        await SqliteJournal(tmp_path / "campaign.db").open(is_new=True)
    tmp_path.chmod(0o700)


async def test_file_name_with_sqlite_syntax_is_only_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory#%41 b.db"
    await write_closed(path)
    journal = SqliteJournal(path)
    assert (await journal.open(is_new=False)).position.row == 2
    await journal.aclose()


@pytest.mark.fault("F51")
async def test_process_that_holds_the_journal_is_named(path: Path) -> None:
    journal, state = await written(path)
    assert holder(path) == os.getpid()
    with pytest.raises(JournalBusy, match=rf"process {os.getpid()} on \S+ since 2\d{{3}}-") as caught:
        await SqliteJournal(path).open(is_new=False)
    assert caught.value.pid == os.getpid()
    await store(journal, state, NoteAdded("still", "writing"))
    await journal.aclose()
    assert holder(path) is None


@pytest.mark.fault("F51")
async def test_stale_lock_file_blocks_no_process(path: Path) -> None:
    await write_closed(path)
    lock_file(path).write_text("1 elsewhere 2020-01-01T00:00:00+00:00\n")
    assert holder(path) is None
    journal = SqliteJournal(path)
    await journal.open(is_new=False)
    await journal.aclose()


def test_lock_on_a_just_deleted_file_is_not_accepted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The previous holder deletes the file after it was opened and before it is locked."""
    before = JournalLock(path)
    opened = os.open
    descriptors: list[int] = []

    def opening(*args: object, **options: object) -> int:
        descriptor = opened(*args, **options)  # type: ignore[arg-type]
        if not descriptors:
            before.release()
        descriptors.append(descriptor)
        return descriptor

    monkeypatch.setattr("truecaller_async.journal.lock.os.open", opening)
    lock = JournalLock(path)
    assert len(descriptors) == 2
    assert holder(path) == os.getpid()
    lock.release()


def test_lock_check_blocks_no_other_process(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    lock_file(path).touch()
    handle = os.open(lock_file(path), os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == LOCK_ATTEMPTS_MAX - 1:
            fcntl.flock(handle, fcntl.LOCK_UN)

    monkeypatch.setattr("truecaller_async.journal.lock.time.sleep", pause)
    JournalLock(path).release()
    os.close(handle)


class Failing(sqlite3.Connection):
    """Fails its third commit; later ones would succeed."""

    commits = 0
    error = sqlite3.OperationalError("disk I/O error")

    def commit(self) -> None:
        type(self).commits += 1
        if type(self).commits == 3:
            raise self.error
        super().commit()


@pytest.mark.fault("F50")
async def test_after_a_failed_commit_nothing_is_written_and_locks_are_released(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "commits", 0)
    journal = SqliteJournal(path, factory=Failing)
    state = await journal.open(is_new=True)
    await store(journal, state, STARTED)
    await store(journal, state, *PLANNED)
    waiting = [asyncio.create_task(store(journal, state, NoteAdded("n", str(n)))) for n in range(3)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [JournalError] * 3
    assert re.search(rf"{re.escape(str(path))}.*disk I/O error.*Free disk space.*resume", str(results[0]))
    for _ in range(2):
        with pytest.raises(JournalError, match="disk I/O error"):
            await store(journal, state, NoteAdded("n", "later"))
    with pytest.raises(JournalError, match="disk I/O error"):
        await journal.read_blocks(0, 1)
    assert Failing.commits == 3
    await journal.aclose()
    assert holder(path) is None
    assert not threads()
    again = SqliteJournal(path)
    state = await again.open(is_new=False)
    assert (state.notes, state.position.row) == ({}, 2)
    await again.aclose()
    assert is_sound(path)


class Recording(sqlite3.Connection):
    """Records how each transaction begins."""

    transactions: list[str] = []  # noqa: RUF012 - one list for all, emptied by the test

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql.startswith("BEGIN"):
            self.transactions.append(sql)
        return super().execute(sql, *parameters)


@pytest.mark.fault("F52")
async def test_write_transaction_locks_before_it_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recording, "transactions", [])
    for run in range(2):
        journal = SqliteJournal(path, factory=Recording)
        state = await journal.open(is_new=not run)
        await store(journal, state, *((STARTED, *PLANNED) if not run else (NoteAdded("n", "again"),)))
        await journal.aclose()
    assert Recording.transactions == ["BEGIN IMMEDIATE"] * len(Recording.transactions)
    assert len(Recording.transactions) >= 2


@pytest.mark.fault("F52")
async def test_reader_cannot_write(path: Path) -> None:
    await write_closed(path)
    with (
        JournalReader(path) as reader,
        reader._transaction() as db,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        db.execute("DELETE FROM batch")


class Delayed(sqlite3.Connection):
    """Delays its second commit until `go` is set."""

    commits = 0
    go = threading.Event()
    there = threading.Event()

    def commit(self) -> None:
        type(self).commits += 1
        if type(self).commits == 2:
            self.there.set()
            assert self.go.wait(60)
        super().commit()


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> type[Delayed]:
    monkeypatch.setattr(Delayed, "commits", 0)
    monkeypatch.setattr(Delayed, "go", threading.Event())
    monkeypatch.setattr(Delayed, "there", threading.Event())
    return Delayed


async def test_writes_queued_during_a_commit_share_the_next_commit(path: Path, slow_disk: type[Delayed]) -> None:
    journal = SqliteJournal(path, factory=slow_disk)
    state = await journal.open(is_new=True)
    await store(journal, state, STARTED)
    first = asyncio.create_task(store(journal, state, NoteAdded("n", "first")))
    await asyncio.to_thread(slow_disk.there.wait, 60)
    ends: list[int] = []

    async def write(n: int) -> None:
        await store(journal, state, NoteAdded("n", str(n)))
        ends.append(n)

    rest = [asyncio.create_task(write(n)) for n in range(300)]
    await asyncio.sleep(0)
    slow_disk.go.set()
    await asyncio.gather(first, *rest)
    assert slow_disk.commits == 2 + 2
    assert ends == list(range(300))
    await journal.aclose()


def test_loop_closed_during_a_write_ends_only_its_waiter(path: Path, slow_disk: type[Delayed]) -> None:
    journal = SqliteJournal(path, factory=slow_disk)

    async def leave() -> None:
        state = await journal.open(is_new=True)
        await store(journal, state, STARTED)
        waiter = asyncio.ensure_future(store(journal, state, *PLANNED))
        await asyncio.to_thread(slow_disk.there.wait, 60)
        waiter.cancel()

    asyncio.run(leave())
    slow_disk.go.set()

    async def close() -> None:
        await journal.aclose()

    asyncio.run(close())
    assert holder(path) is None
    assert not threads()

    async def reopen() -> None:
        again = SqliteJournal(path)
        assert (await again.open(is_new=False)).position.row == 2
        await again.aclose()

    asyncio.run(reopen())


async def test_cancelled_open_releases_everything(path: Path) -> None:
    for pauses in range(3):
        opening = asyncio.create_task(SqliteJournal(path).open(is_new=True))
        for _ in range(pauses):
            await asyncio.sleep(0)
        opening.cancel()
        await asyncio.wait([opening])
        while threads():  # noqa: ASYNC110 - a thread has no event
            await asyncio.sleep(0.001)
        assert holder(path) is None
    await write_closed(path)


CHILD = """
import asyncio, os, sys
from pathlib import Path
from tests.journal.entry_generator import STARTED
from tests.journal.storing import store
from truecaller_async.journal import SqliteJournal
from truecaller_async.models.journal_entries import AttemptStarted, NoteAdded, SourcePosition, BatchPlanned, RowsRead

async def main():
    journal = SqliteJournal(Path(sys.argv[1]))
    state = await journal.open(is_new=True)
    await store(journal, state, STARTED)
    for seq in range(1, 10**6):
        rows = tuple(range(10 * seq - 9, 10 * seq + 1))
        await store(journal, state, BatchPlanned(seq, rows), RowsRead(SourcePosition(rows[-1], 0, 0), b"p" * 500))
        await store(journal, state, AttemptStarted(seq, 1, "0123456789ab", float(seq)))
        print(seq, flush=True)
        if sys.argv[2:] == ["leave"]:
            return
asyncio.run(main())
"""


def child(path: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", CHILD, str(path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def killed(path: Path, after: int) -> int:
    """Kill the child after its batch number `after`; return the last batch that it reported as written."""
    seen = 0
    with child(path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            seen = int(line)
            if seen >= after:
                process.kill()
                break
        return max([seen, *map(int, process.stdout.read().split())])


async def kill_while_writing(path: Path, after: int = 20) -> int:
    return await asyncio.to_thread(killed, path, after)


@pytest.mark.fault("F47")
@pytest.mark.parametrize("after", [1, 7, 200])
async def test_confirmed_entries_survive_kill_9_and_the_file_is_sound(path: Path, after: int) -> None:
    seen = await kill_while_writing(path, after)
    journal = SqliteJournal(path)
    state = await journal.open(is_new=False)
    assert seen <= state.last_seq <= seen + 1
    assert all(state.batch(seq).state is BatchState.IN_FLIGHT for seq in range(1, seen + 1))
    await store(journal, state, NoteAdded("n", "goes on"))
    await journal.aclose()
    assert is_sound(path)


@pytest.mark.fault("F48")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
async def test_truncated_log_gives_an_earlier_state_and_never_a_wrong_one(path: Path, share: float) -> None:
    seen = await kill_while_writing(path, 30)
    log = path.with_name("campaign.db-wal")
    os.truncate(log, int(log.stat().st_size * share))
    journal = SqliteJournal(path)
    try:
        state = await journal.open(is_new=False)
    except JournalError as error:
        assert "contains no campaign" in str(error)  # noqa: PT017 - either end is right
    else:
        assert state.last_seq <= seen + 1
        assert state.outcome_counts().total() == state.position.row == 10 * state.last_seq
        await journal.aclose()
    assert is_sound(path)


@pytest.mark.fault("F51")
async def test_second_process_is_refused_while_the_first_writes(path: Path) -> None:
    process = await asyncio.to_thread(child, path)
    with process:
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
        with pytest.raises(JournalBusy) as caught:
            await SqliteJournal(path).open(is_new=False)
        assert caught.value.pid == process.pid
        process.kill()
        process.communicate()
    journal = SqliteJournal(path)
    await journal.open(is_new=False)
    await journal.aclose()


async def test_process_that_does_not_close_still_exits(path: Path) -> None:
    process = await asyncio.to_thread(child, path, "leave")
    out, _ = await asyncio.to_thread(process.communicate, timeout=60)
    assert (out, process.returncode) == ("1\n", 0)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    journal = SqliteJournal(path)
    assert (await journal.open(is_new=False)).last_seq == 1
    await journal.aclose()


FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(__import__("sys").argv.pop()), resource.RLIM_INFINITY))
"""


@pytest.mark.fault("F49")
@pytest.mark.parametrize("limit", [200_000, 300_000, 500_000])
async def test_full_disk_stops_writing_and_the_next_run_continues(path: Path, limit: int) -> None:
    process = await asyncio.to_thread(
        lambda: subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", FULL_DISK + CHILD, str(path), str(limit)],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            timeout=100,
        )
    )
    assert process.returncode == 1
    assert re.search(r"JournalError: the journal .* cannot be written: .*(full|I/O)", process.stderr)
    seen = int(process.stdout.split()[-1])
    journal = SqliteJournal(path)
    state = await journal.open(is_new=False)
    assert seen <= state.last_seq <= seen + 1
    await store(journal, state, NoteAdded("n", "goes on"))
    await journal.aclose()
    assert is_sound(path)


@pytest.mark.fault("F53")
async def test_file_that_is_no_journal_is_reported_even_if_readable_by_others(tmp_path: Path) -> None:
    """The message does not advise to change the permissions of a file that is something else."""
    path = tmp_path / "calls.csv"
    path.write_text("caller,receiver\n")
    path.chmod(0o644)
    for is_new in (True, False):
        with pytest.raises(JournalError, match="is no journal of this library") as caught:
            await SqliteJournal(path).open(is_new=is_new)
        assert "chmod" not in str(caught.value)
    assert path.read_text() == "caller,receiver\n"
