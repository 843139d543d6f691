"""Automatic journals: where they are, their names, and when they are deleted."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.journal.storing import store
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.cli.campaign import journal_files
from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.journal import SqliteJournal
from truecaller_async.models.journal_entries import (
    CampaignStarted,
    NoteAdded,
    RunStarted,
    SourceDescriptor,
    SourceEnded,
)

AT = 1_763_740_800.0
ALL_NAMES = ("a.db", "a.db-wal", "a.db-shm", "a.db.lock", "a.db.mine")


def started(source: SourceDescriptor | None = None) -> CampaignStarted:
    return CampaignStarted(AT, "1", "account", "v2", {"on_ambiguous": "hold"}, source, b"salt")


async def create_journal(path: Path, *entries: CampaignStarted | RunStarted | NoteAdded | SourceEnded) -> Path:
    journal = SqliteJournal(path)
    state = await journal.open(is_new=True)
    if entries:
        await store(journal, state, *entries)
    await journal.aclose()
    return path


def test_automatic_journals_have_distinct_names_with_time_and_input(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    paths = [journal_files.create_automatic("in/Büro & co.csv.gz", AT, environ) for _ in range(3)]
    assert len(set(paths)) == 3
    assert {path.parent for path in paths} == {tmp_path / "truecaller" / "journals"}
    assert paths[0].name.endswith("-B-ro-co.db")
    assert [path.name.removeprefix(paths[0].stem) for path in paths] == [".db", "-2.db", "-3.db"]
    assert paths[0].stat().st_mode & 0o777 == 0o600
    assert paths[0].parent.stat().st_mode & 0o777 == 0o700
    assert journal_files.create_automatic("///", AT, environ).name.endswith("-campaign.db")


def test_unwritable_journal_folder_is_reported_with_advice(tmp_path: Path) -> None:
    (tmp_path / "truecaller").write_text("a file")
    with pytest.raises(ConfigError, match=r"no journal can be created in .*--journal PATH.*--journal memory:"):
        journal_files.create_automatic("x.csv", AT, {"XDG_STATE_HOME": str(tmp_path)})


async def test_journal_is_automatic_only_in_its_own_folder(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    await create_journal(
        path, started(), RunStarted(AT, 1), NoteAdded(journal_files.AUTOMATIC_PATH_NOTE, str(path.resolve()))
    )
    state = journal_files.state_in(path)
    assert state is not None
    assert journal_files.is_automatic(path, state)
    moved = path.rename(tmp_path / "b.db")
    assert not journal_files.is_automatic(moved, state)
    named = await create_journal(tmp_path / "c.db", started(), RunStarted(AT, 1))
    assert not journal_files.is_automatic(named, journal_files.state_in(named) or CampaignState())


async def test_only_a_journal_without_campaign_is_unused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch(0o600)
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"something")
    broken.chmod(0o600)
    assert journal_files.is_unused(empty)
    assert journal_files.is_unused(await create_journal(tmp_path / "tables.db"))
    assert not journal_files.is_unused(broken)
    assert not journal_files.is_unused(await create_journal(tmp_path / "started.db", started(), RunStarted(AT, 1)))
    assert not journal_files.is_unused(tmp_path / "none.db")


def test_empty_journal_reports_that_nothing_was_sent(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch(0o600)
    with pytest.raises(JournalError, match=r"nothing was sent\. Run the campaign again"):
        journal_files.reader_of(tmp_path / "empty.db")
    assert journal_files.state_in(tmp_path / "empty.db") is None


def test_deleted_automatic_journal_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    path = journal_files.create_automatic("in.csv", 0.0)
    journal_files.delete(path)
    with pytest.raises(JournalError, match="deleted when every row has its final outcome"):
        journal_files.reader_of(path)
    with pytest.raises(JournalError, match="no journal") as elsewhere:
        journal_files.reader_of(tmp_path / "mine.db")
    assert "is deleted" not in str(elsewhere.value)


async def test_deleting_a_journal_deletes_its_side_files(tmp_path: Path) -> None:
    path = await create_journal(tmp_path / "a.db", started())
    for name in ALL_NAMES:
        (tmp_path / name).touch()
    journal_files.delete(path)
    journal_files.delete(path)
    assert [name for name in ALL_NAMES if (tmp_path / name).exists()] == ["a.db.mine"]


def test_command_can_be_pasted_into_a_shell() -> None:
    path = Path("my $HOME/it's.db")
    assert shlex.split(journal_files.command("decide", path, "3"))[-2:] == [str(path), "3"]
    assert shlex.split(journal_files.command("resume", Path("-j.db")))[-1] == "./-j.db"


async def test_resume_of_standard_input_asks_for_the_remaining_rows(tmp_path: Path) -> None:
    note = SourceDescriptor("csv", "/data/in.csv")
    for name, source, entries, ending in (
        ("cut.db", None, (), " --file INPUT"),
        ("whole.db", None, (SourceEnded(),), ""),
        ("file.db", note, (), ""),
    ):
        path = tmp_path / name
        await create_journal(path, started(source), RunStarted(AT, 1), *entries)
        command = journal_files.resume_command(path, journal_files.state_in(path))
        assert command == f"truecaller campaign resume {path}{ending}"
