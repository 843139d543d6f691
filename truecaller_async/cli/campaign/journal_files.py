"""Where journals lie, what they are called, and how they go.

A campaign has a journal unless none is wanted. One that nobody named is ours: it lies in a folder of the user's, is
named by the time and the input, and goes when every row has its final word. It knows its own path, so that one that
was moved or copied is ours no more. A journal that somebody named is never removed. What becomes of one that was left
behind is said in `retention`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Mapping
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from truecaller_async.cli.account_options import state_folder
from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.planning.batch_state import BatchState

if TYPE_CHECKING:
    from truecaller_async.journal.reader import JournalReader
    from truecaller_async.planning.campaign_state import CampaignState

MEMORY = "memory:"
FOLDER = "journals"
SUFFIX = ".db"
STEM_MAX = 40
STRANGE = re.compile(r"[^A-Za-z0-9_-]+")
BESIDE = ("", "-wal", "-shm", ".lock")
"""What belongs to a journal: its name with each of these behind it."""

RESULTS, INPUT, FILL, OWN = "results", "input", "fill", "own"
"""The names under which a journal remembers the path of the results, the name of the input, the values for columns
that the input does not have, and its own path where it is ours."""


def claimed(name: str, at: float, environ: Mapping[str, str] = os.environ) -> Path:
    """A new, empty file for the journal of that input; nobody else gets the same. Raises `ConfigError`."""
    stem = STRANGE.sub("-", Path(name).name.partition(".")[0]).strip("-")[:STEM_MAX] or "campaign"
    begins = f"{datetime.fromtimestamp(at).astimezone():%Y%m%d-%H%M%S}-{stem}"
    folder = state_folder(environ) / FOLDER
    try:
        for missing in reversed((folder, *folder.parents)):
            missing.mkdir(mode=0o700, exist_ok=True)
        for number in count(1):
            path = folder / f"{begins}{f'-{number}' if number > 1 else ''}{SUFFIX}"
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                return path
    except OSError as error:
        raise ConfigError(
            f"no journal can be made in {folder}: {error.strerror or error}; name another place with --journal PATH, "
            "or do without one: --journal memory:"
        ) from error
    raise AssertionError("counting ends never")


def reader_of(path: Path) -> JournalReader:
    """To look at that journal. Raises `JournalError`, also where the campaign had not begun."""
    from truecaller_async.journal.reader import JournalReader

    if state_folder(os.environ) / FOLDER in path.absolute().parents and not path.exists():
        raise JournalError(
            f"there is no journal {path}: one that nobody named is removed when every row has its final word"
        )
    if path.is_file() and not path.stat().st_size:
        raise JournalError(
            f"the journal {path} is empty: the campaign had not begun when its process ended, and nothing was sent; "
            "run it again"
        )
    return JournalReader(path)


def standing_of(path: Path) -> CampaignState | None:
    """Where the campaign of that journal stands; None where the journal cannot be read or holds none."""
    try:
        with reader_of(path) as reader:
            state = reader.state()
    except JournalError:
        return None
    return None if state.started is None else state


def is_unused(path: Path) -> bool:
    """Whether no campaign was begun in it. One that cannot be read may hold something."""
    try:
        if not path.stat().st_size:
            return True
        with reader_of(path) as reader:
            return reader.state().started is None
    except (OSError, JournalError):
        return False


def is_ours(path: Path, state: CampaignState) -> bool:
    """Whether nobody named it, and it is where it was made."""
    return state.notes.get(OWN) == os.path.realpath(path)


def erase(path: Path) -> None:
    """The journal, and what belongs to it."""
    for ending in BESIDE:
        with contextlib.suppress(OSError):
            path.with_name(path.name + ending).unlink()


def command(verb: str, path: Path, *more: str) -> str:
    """What to type at a shell: `truecaller campaign VERB PATH ...`."""
    name = f".{os.sep}{path}" if str(path).startswith("-") else str(path)
    return shlex.join(["truecaller", "campaign", verb, name, *more])


def resume_command(path: Path, state: CampaignState | None) -> str:
    """What finishes the job. A source that cannot be read again has to be given for its rest, and for a batch that may
    be sent again behind later ones: whether those are of the same people, only their rows can tell."""
    begun = None if state is None else state.started
    if state is None or begun is None or begun.source is not None:
        return command("resume", path)
    is_cut = not state.source_exhausted and not state.open
    if is_cut or any(batch.abandoned and batch.state is not BatchState.ACCEPTED for batch in state.open):
        return f"{command('resume', path)} --file INPUT"
    return command("resume", path)
