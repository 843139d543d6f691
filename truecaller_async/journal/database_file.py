"""The file of a journal: is it one of ours, and sound? Nothing is written to it before that is known.

Its first bytes are looked at before SQLite may: SQLite would write into a foreign database that was left open. Then a
connection that can only read checks it whole. A new journal is made beside its name, complete, and renamed to it; so
the file is empty or a journal, at any instant.

On a network file system SQLite keeps no log but a rollback journal, which is deleted with each commit (`mounts` says
why). The folder is synced with it (`synchronous=EXTRA`): with FULL alone a deleted rollback journal may come back after
a power cut and undo a commit that was confirmed. Readers and the one that writes wait for each other there, each for
`WAIT_SECONDS`. A rollback journal that a crash left is played back before anything else, also by one that only reads:
until then the file is half written, and cannot be checked.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeAlias
from urllib.parse import quote

from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.journal.load import journal_errors
from truecaller_async.journal.schema import APPLICATION_ID, SCHEMA, VERSION
from truecaller_async.storage import sqlite_worker
from truecaller_async.storage.private_file import SIDE_SUFFIXES as BESIDE
from truecaller_async.storage.private_file import PrivateFile

Factory: TypeAlias = type[sqlite3.Connection]

JOURNAL_FILE = PrivateFile("journal", "what became of each record", "journal=")
HEADER = 100
MAGIC = b"SQLite format 3\0"
WAIT_SECONDS = 30.0
AUTO_CHECKPOINT = 1000
"""Pages of the log after which it is brought into the file."""


def is_there(path: Path) -> bool:
    """Whether there is a file, ours alone. Raises `JournalError` where it is something else."""
    with _in_our_words(path):
        return JOURNAL_FILE.is_there(path)


def make(path: Path) -> None:
    """See to it that there is a file, empty where there was none. Raises `JournalError` where it cannot be."""
    with _in_our_words(path):
        JOURNAL_FILE.make(path)


@contextmanager
def _in_our_words(path: Path) -> Iterator[None]:
    """What a file is goes before who may read it: nobody should be told to close one that is no journal."""
    try:
        yield
    except ConfigError as error:
        if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK) and path.stat().st_size:
            _check_kind(path, _header(path))
        raise JournalError(str(error)) from None


def examine(path: Path, *, alone: bool) -> None:
    """Raises `JournalError` where the file is no journal of ours, or of a newer library, or damaged.

    `alone` where the lock is held: then nothing is written beside it either, unless a log was left there; and what a
    crash left half written on a network file system is put right first.
    """
    _check_kind(path, _header(path))
    if alone and is_broken_off(path):
        _play_back(path)
    with journal_errors(path), closing(read_only(path, alone=alone)) as db:
        sqlite_worker.check_version(db, f"journal {path}", VERSION, JournalError)
        said = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if said != "ok":
            raise sqlite3.DatabaseError(said)


def _check_kind(path: Path, header: bytes) -> None:
    if header[: len(MAGIC)] != MAGIC or int.from_bytes(header[68:72]) != APPLICATION_ID:
        raise JournalError(
            f"the file {path} is no journal of this library, and is left as it is; name the journal, or another file"
        )


def is_empty(path: Path) -> bool:
    """Whether there is nothing in the file. Raises `JournalError` where it cannot be read."""
    return not _header(path)


def is_broken_off(path: Path) -> bool:
    """Whether there is a rollback journal: a write is going on, or a crash broke it off."""
    return _size(path.with_name(path.name + BESIDE[2])) > 0


def _play_back(path: Path) -> None:
    with journal_errors(path), closing(_opened(path, "mode=rw")):
        """SQLite does it as soon as it looks into the file."""


def read_only(path: Path, *, alone: bool = False) -> sqlite3.Connection:
    """A connection that cannot change the file. `alone` where nobody else can, either.

    SQLite shares the log with those who write by a file beside it, and leaves that there. Where it may not make one,
    in a folder that cannot be written, nobody else writes.
    """
    has_log = _size(path.with_name(path.name + BESIDE[0])) > 0
    if alone and not has_log:
        return _opened(path, "mode=ro&immutable=1")
    try:
        return _opened(path, "mode=ro")
    except sqlite3.OperationalError:
        if has_log or is_broken_off(path) or os.access(path.parent, os.W_OK):
            raise
        return _opened(path, "mode=ro&immutable=1")


def _opened(path: Path, how: str) -> sqlite3.Connection:
    """A connection through which nothing is asked to be changed."""

    def prepare(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA query_only = ON")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()

    uri = f"file:{quote(os.fsencode(path.absolute()))}?{how}"
    return sqlite_worker.connect(uri, prepare, timeout=WAIT_SECONDS, uri=True)


def create(path: Path, *, log: bool = True) -> None:
    """Put a journal that holds nothing yet in the place of the empty file. `log`: whether it keeps one (WAL)."""
    left = [path.name + suffix for suffix in BESIDE if _size(path.with_name(path.name + suffix))]
    if left:
        raise JournalError(
            f"beside {path} there is {left[0]}, of a journal that is gone; move it away, or name another file"
        )
    new = path.with_name(path.name + ".new")
    try:
        for suffix in ("", *BESIDE):
            new.with_name(new.name + suffix).unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        _fill(new, log)
        new.replace(path)
        _sync_folder(path.parent)
    except (OSError, sqlite3.Error, JournalError) as error:
        raise JournalError(
            f"the journal {path} cannot be made: {error}; free space, or see to the rights on its folder"
        ) from None


def connect(path: Path, factory: Factory = sqlite3.Connection, *, log: bool = True) -> sqlite3.Connection:
    """The connection that writes, the only one that there may be. `log`: whether it keeps one (WAL)."""

    def prepare(db: sqlite3.Connection) -> None:
        _keep_log(db) if log else _keep_no_log(db)
        db.execute("PRAGMA secure_delete = ON")

    return sqlite_worker.connect(path, prepare, timeout=None if log else WAIT_SECONDS, factory=factory)


def _keep_log(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {AUTO_CHECKPOINT}")


def _keep_no_log(db: sqlite3.Connection) -> None:
    """A log from another place is brought in; alone with the file, that takes no shared memory."""
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    mode = db.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
    if mode != "delete":
        raise sqlite3.OperationalError(f"its log ({mode}) cannot be given up")
    db.execute("PRAGMA locking_mode = NORMAL")
    db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # with this look the lock is let go
    db.execute("PRAGMA synchronous = EXTRA")


def checkpoint(db: sqlite3.Connection) -> bool:
    """Bring the log into the file and empty it; False where somebody is reading just now."""
    db.execute("PRAGMA busy_timeout = 0")
    return bool(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)


def _fill(path: Path, log: bool) -> None:
    """One transaction without a log: a log may fail to be closed without a word, and would not be renamed with it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {SCHEMA} COMMIT;"
        )
        if log:
            db.execute("PRAGMA journal_mode = WAL").fetchall()
    examine(path, alone=True)


def _header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEADER)
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be read: {error.strerror}") from None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _sync_folder(folder: Path) -> None:
    """A new name is on disk only with its folder. Windows has no such call, and no need of it."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
