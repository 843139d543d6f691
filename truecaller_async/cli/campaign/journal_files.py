"""Name, find, delete and purge the journal files of campaigns.

Algorithm:
    `campaign run` without `--journal` creates an automatic journal: a file in the user's state folder, named after the
    time and the input. It stores its own path in a note, so a journal that was moved or copied is no longer automatic.
    An automatic journal is deleted when every row has its final outcome.
    A stopped campaign leaves its automatic journal behind. Each `campaign run` and `campaign resume` first purges the
    automatic journals without a write in the last 30 days: it erases everything about single rows and keeps the
    summary. A record is valid for at most 24 hours, so such a campaign is not resumed any more.
Invariants:
    - A journal that was named with `--journal`, moved or copied is never deleted or purged automatically.
    - A journal that is in use, or that this version cannot read, is never purged.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.cli.account_options import state_folder
from truecaller_async.cli.formatting import counted
from truecaller_async.errors import ConfigError, JournalError

if TYPE_CHECKING:
    from truecaller_async.campaign.core.campaign_state import CampaignState
    from truecaller_async.journal.reader import JournalReader

MEMORY = "memory:"
FOLDER = "journals"
SUFFIX = ".db"
STEM_CHARS = 40
UNSAFE_IN_NAME = re.compile(r"[^A-Za-z0-9_-]+")
SIDE_FILES = ("", "-wal", "-shm", ".lock")
"""Suffixes of the files that belong to a journal, including the journal itself."""

RETENTION_DAYS = 30
RETENTION_SECONDS = RETENTION_DAYS * 86_400.0
WRITTEN_FILES = ("", "-wal", "-journal")
"""Suffixes of the files that a write changes. A reader may leave empty ones, so empty files do not count."""

RESULTS_NOTE = "results"
"""Journal note: the path of the results file."""
INPUT_NOTE = "input"
"""Journal note: the name of the input."""
DEFAULTS_NOTE = "column_defaults"
"""Journal note: values for missing columns, as JSON; only if the input cannot be reopened."""
AUTOMATIC_PATH_NOTE = "automatic_path"
"""Journal note: the path of an automatic journal."""


def create_automatic(name: str, at: float, environ: Mapping[str, str] = os.environ) -> Path:
    """Create a new, empty file for the journal of an input.

    Args:
        name: Name of the input.
        at: Start of the campaign, wall-clock seconds.
        environ: Environment variables that locate the state folder.

    Raises:
        ConfigError: The file cannot be created.
    """
    stem = UNSAFE_IN_NAME.sub("-", Path(name).name.partition(".")[0]).strip("-")[:STEM_CHARS] or "campaign"
    prefix = f"{datetime.fromtimestamp(at).astimezone():%Y%m%d-%H%M%S}-{stem}"
    folder = state_folder(environ) / FOLDER
    try:
        for missing in reversed((folder, *folder.parents)):
            missing.mkdir(mode=0o700, exist_ok=True)
        for number in count(1):
            path = folder / f"{prefix}{f'-{number}' if number > 1 else ''}{SUFFIX}"
            # O_EXCL: two campaigns that start in the same second get different files.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                return path
    except OSError as error:
        raise ConfigError(
            f"no journal can be created in {folder}: {error.strerror or error}. Name another file with --journal PATH, "
            "or keep no journal with --journal memory:"
        ) from error
    raise AssertionError("unreachable: the loop over file names does not end")


def reader_of(path: Path) -> JournalReader:
    """Open a journal for reading.

    Raises:
        JournalError: The file does not exist, is no journal, or its campaign has not started.
    """
    # SQLite is imported only by commands that need it, so that --help stays fast.
    from truecaller_async.journal.reader import JournalReader

    if state_folder(os.environ) / FOLDER in path.absolute().parents and not path.exists():
        raise JournalError(
            f"there is no journal {path}: an automatic journal is deleted when every row has its final outcome. "
            "Check the name"
        )
    if path.is_file() and not path.stat().st_size:
        raise JournalError(
            f"the journal {path} is empty: the process ended before the campaign started, and nothing was sent. "
            "Run the campaign again"
        )
    return JournalReader(path)


def state_in(path: Path) -> CampaignState | None:
    """Return the state of the campaign in a journal; None if it cannot be read or has no campaign."""
    try:
        with reader_of(path) as reader:
            state = reader.state()
    except JournalError:
        return None
    return None if state.started is None else state


def is_unused(path: Path) -> bool:
    """Return whether a journal contains no campaign; False for a file that cannot be read."""
    try:
        if not path.stat().st_size:
            return True
        with reader_of(path) as reader:
            return reader.state().started is None
    except (OSError, JournalError):
        return False


def is_automatic(path: Path, state: CampaignState) -> bool:
    """Return whether the journal was named automatically and is still where it was created."""
    return state.notes.get(AUTOMATIC_PATH_NOTE) == os.path.realpath(path)


def delete(path: Path) -> None:
    """Delete a journal and its side files; missing files are ignored."""
    for suffix in SIDE_FILES:
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink()


def command(verb: str, path: Path, *arguments: str) -> str:
    """Return the shell command `truecaller campaign VERB PATH ...`, quoted."""
    name = f".{os.sep}{path}" if str(path).startswith("-") else str(path)
    return shlex.join(["truecaller", "campaign", verb, name, *arguments])


def resume_command(path: Path, state: CampaignState | None) -> str:
    """Return the shell command that finishes the campaign.

    `--file INPUT` is added if the journal cannot reopen the input and one of these is true:

    - no batch is open, and rows of the input were not read yet;
    - an open batch was abandoned: the input shows whether a later row of the same pair supersedes one of its rows.
    """
    started = None if state is None else state.started
    if state is None or started is None or started.source is not None:
        return command("resume", path)
    has_unread_rows = not state.source_exhausted and not state.open
    if has_unread_rows or any(batch.abandoned and batch.state is not BatchState.ACCEPTED for batch in state.open):
        return f"{command('resume', path)} --file INPUT"
    return command("resume", path)


def purge_old_journals(now: float, keep: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Purge the automatic journals without a write in the last 30 days, and print one line about it.

    Args:
        now: Wall-clock seconds.
        keep: A journal that is not purged, because the command is about to resume it.
        environ: Environment variables that locate the state folder.
    """
    purged = [path for path in _old_journals(now, environ) if not _is_same(path, keep) and _purge(path)]
    if purged:
        folder = state_folder(environ) / FOLDER
        click.echo(
            f"Purged {counted(len(purged), 'journal')} in {folder} without a write for {RETENTION_DAYS} days. "
            f"Each summary is kept; show one with: {command('report', purged[0])}",
            err=True,
        )


def _old_journals(now: float, environ: Mapping[str, str]) -> Iterator[Path]:
    # Only file times are read here; no journal is opened.
    for path in sorted((state_folder(environ) / FOLDER).glob(f"*{SUFFIX}")):
        written_at = [_modified_at(path.with_name(path.name + suffix)) for suffix in WRITTEN_FILES]
        if max(written_at) < now - RETENTION_SECONDS:
            yield path


def _modified_at(path: Path) -> float:
    try:
        status = path.lstat()
    except OSError:
        return 0.0
    return status.st_mtime if status.st_size else 0.0


def _is_same(path: Path, other: Path | None) -> bool:
    return other is not None and os.path.realpath(path) == os.path.realpath(other)


def _purge(path: Path) -> bool:
    from truecaller_async.journal.maintenance import purge  # imports SQLite

    try:
        with reader_of(path) as reader:
            if reader.purged() or not is_automatic(path, reader.state()):
                return False
        purge(path, force=True)
    except (JournalError, OSError):
        return False
    return True
