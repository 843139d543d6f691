"""S37: a journal in the default folder loses its row data 30 days after the last write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.shell import CALLER, Shell, receiver, write_rows
from truecaller_async.cli.campaign import journal_files
from truecaller_async.cli.campaign.journal_files import RETENTION_DAYS, purge_old_journals
from truecaller_async.journal.handle import JournalHandle, open_handle
from truecaller_async.journal.reader import JournalReader
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    BatchPlanned,
    CampaignStarted,
    JournalEntry,
    NoteAdded,
    RowsRead,
    RunStarted,
    SourcePosition,
)
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

NOW = 1_763_740_800.0
DAY = 86_400.0
PAYLOAD = b"what was kept of one record"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the default journals."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return journal_files.create_automatic("first.csv", NOW).parent


def unfinished(path: Path, *, is_default: bool = True) -> JournalHandle:
    """Create the journal of an unfinished campaign, and leave it open."""
    handle = open_handle(path, is_new=True)
    entries: list[JournalEntry] = [
        CampaignStarted(NOW, "1", "account", "v2", {}, None, b"salt"),
        RunStarted(NOW, 1),
        BatchPlanned(1, (1,), payload=PAYLOAD),
        RowsRead(SourcePosition(1, 1, 1)),
    ]
    if is_default:
        entries.append(NoteAdded(journal_files.AUTOMATIC_PATH_NOTE, os.path.realpath(path)))
    handle.record(entries)
    return handle


def made(name: str = "input.csv", *, days: float, is_default: bool = True, path: Path | None = None) -> Path:
    """Create the journal of a campaign that was stopped the given number of days ago."""
    path = path or journal_files.create_automatic(name, NOW)
    unfinished(path, is_default=is_default).close()
    aged(path, days)
    return path


def aged(path: Path, days: float) -> None:
    for file in path.parent.glob(path.name + "*"):
        os.utime(file, (NOW - days * DAY, NOW - days * DAY))


def is_purged(path: Path) -> bool:
    with JournalReader(path) as reader:
        return reader.purged()


@pytest.mark.fault("S37")
def test_purge_after_thirty_days_keeps_the_summary_and_logs_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = [made("a.csv", days=RETENTION_DAYS + 0.1), made("b.csv", days=400)]
    young = made("c.csv", days=RETENTION_DAYS - 0.1)
    assert all(PAYLOAD in path.read_bytes() for path in old)
    purge_old_journals(NOW)
    assert [is_purged(path) for path in (*old, young)] == [True, True, False]
    assert not any(PAYLOAD in path.read_bytes() for path in old)
    assert PAYLOAD in young.read_bytes()
    with JournalReader(old[0]) as reader:
        assert reader.state().outcome_counts() == {Outcome.UNSENT: 1}
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Purged 2 journals in {folder} without a write for 30 days")
    purge_old_journals(NOW + 400 * DAY, keep=young)
    assert capsys.readouterr().err == "", "what is purged is not purged again"


def named_by_the_caller(folder: Path) -> Path:
    return made(days=99, is_default=False, path=folder / "mine.db")


def moved_here(folder: Path) -> Path:
    return made(days=99).rename(folder / "moved.db")


def somewhere_else(folder: Path) -> Path:
    return made(days=99, path=folder.parent / "elsewhere.db")


def of_another_program(folder: Path) -> Path:
    path = folder / "20240101-000000-x.db"
    path.write_bytes(b"no journal at all, and long enough to be one" * 20)
    path.chmod(0o600)
    aged(path, 99)
    return path


def with_a_newer_log(folder: Path) -> Path:
    """The process was killed yesterday; the main file was last written long ago."""
    path = made(days=99)
    log = path.with_name(path.name + "-wal")
    log.touch(0o600)
    log.write_bytes(bytes(32))
    os.utime(log, (NOW - DAY, NOW - DAY))
    return path


@pytest.mark.fault("S37")
@pytest.mark.parametrize(
    "make", [named_by_the_caller, moved_here, somewhere_else, of_another_program, with_a_newer_log]
)
def test_named_or_recent_journal_is_never_purged(
    folder: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], Path]
) -> None:
    path = make(folder)
    before = path.read_bytes()
    purge_old_journals(NOW)
    assert path.read_bytes() == before
    assert capsys.readouterr().err == ""


@pytest.mark.fault("S37")
def test_active_journal_and_journal_to_resume_are_never_purged(folder: Path) -> None:
    path, resumed = journal_files.create_automatic("running.csv", NOW), made("resumed.csv", days=99)
    running = unfinished(path)
    aged(path, 99)
    purge_old_journals(NOW, keep=resumed)
    assert not is_purged(path)
    assert not is_purged(resumed)
    running.close()


@pytest.mark.fault("S37")
async def test_run_and_resume_apply_retention_and_read_commands_do_not(
    tmp_path: Path,
) -> None:
    async with await Sandbox.start(SandboxSettings(limits=SPEEDS["off"], resolve_after=0.0)) as sandbox:
        shell = Shell(tmp_path, sandbox.environment())
        rows = write_rows(tmp_path / "new.csv", "caller,receiver,reason", [(CALLER, receiver(1), "A parcel is here")])
        named = str(tmp_path / "named.db")
        for verb in (("run", str(rows), "--journal", named), ("resume", named)):
            old = journal_files.create_automatic("old.csv", NOW, {"XDG_STATE_HOME": shell.env["XDG_STATE_HOME"]})
            unfinished(old).close()
            os.utime(old, (time.time() - (RETENTION_DAYS + 1) * DAY,) * 2)
            assert (await shell.call("campaign", "status", str(old))).code == 0
            assert not is_purged(old)
            ended = await shell.run("campaign", *verb, "--json")
            assert (ended.code, ended.summary["delivered"]) == (0, 1)
            assert "Purged 1 journal in " in ended.stderr
            assert is_purged(old)
