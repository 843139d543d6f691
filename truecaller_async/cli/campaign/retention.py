"""How long journals that nobody named are kept.

A journal that nobody named goes when every row has its final word. One whose campaign was stopped and never resumed
stays behind, and there are prints of records in it, or records themselves where the input could not be read again.
After 30 days nobody will resume it: a record is good for a day at most. So a campaign that is run or resumed first
purges those of ours to which nobody has written for so long; their accounts are kept.

Never touched are journals that somebody named, moved or copied, those on which a run works or that somebody reads just
now, and those that this version cannot read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from truecaller_async.cli.account_options import state_folder
from truecaller_async.cli.campaign import journal_files
from truecaller_async.cli.formatting import counted
from truecaller_async.errors import JournalError

DAYS = 30
SECONDS = DAYS * 86_400.0
WRITTEN = ("", "-wal", "-journal")
"""What is written into; who only looks into a journal may leave empty ones of these beside it."""


def keep_retention(now: float, spared: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Purge the journals of ours that are too old at `now` (wall-clock seconds), and say so on stderr.

    `spared` is the journal that the command is about.
    """
    purged = [path for path in _forgotten(now, environ) if not _is_same(path, spared) and _purge(path)]
    if purged:
        folder = state_folder(environ) / journal_files.FOLDER
        click.echo(
            f"Purged {counted(len(purged), 'journal')} in {folder} that nobody had written to for {DAYS} days; "
            f"the account of each is kept ({journal_files.command('report', purged[0])}).",
            err=True,
        )


def _forgotten(now: float, environ: Mapping[str, str]) -> Iterator[Path]:
    """The files among which they are: nothing is opened to find out."""
    for path in sorted((state_folder(environ) / journal_files.FOLDER).glob(f"*{journal_files.SUFFIX}")):
        written = [_time(path.with_name(path.name + ending)) for ending in WRITTEN]
        if max(written) < now - SECONDS:
            yield path


def _time(path: Path) -> float:
    try:
        facts = path.lstat()
    except OSError:
        return 0.0
    return facts.st_mtime if facts.st_size else 0.0


def _is_same(path: Path, other: Path | None) -> bool:
    return other is not None and os.path.realpath(path) == os.path.realpath(other)


def _purge(path: Path) -> bool:
    """Whether it was purged."""
    from truecaller_async.journal.maintenance import purge

    try:
        with journal_files.reader_of(path) as reader:
            if reader.purged() or not journal_files.is_ours(path, reader.state()):
                return False
        purge(path, force=True)
    except (JournalError, OSError):
        return False
    return True
