"""Create, check and open the SQLite file of a journal.

Algorithm:
    Before SQLite opens a file, its header is read: SQLite repairs a database that was not closed cleanly, so it would
    change a foreign file. Then a read-only connection checks the whole file, and only after that a connection may
    write. A new journal is written under another name and renamed, so at any instant the file is empty or a complete
    journal.

    Local disk: write-ahead log, `synchronous=FULL`. Network file system: rollback journal, deleted by each commit
    (`storage.filesystem` has the reason), and `synchronous=EXTRA`, which also syncs the folder. With FULL, a deleted
    rollback journal may reappear after a power failure and undo a commit that was reported.

Failure modes:
    - On a network file system the writer and the readers wait for each other, each up to `BUSY_SECONDS`.
    - A rollback journal that a crash left is rolled back first, also by a reader: until then the file is half written
      and cannot be checked.
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
from truecaller_async.journal.migrations import check_version
from truecaller_async.journal.schema import APPLICATION_ID, SCHEMA, VERSION
from truecaller_async.storage import sqlite_worker
from truecaller_async.storage.private_file import SIDE_SUFFIXES, PrivateFile

Factory: TypeAlias = type[sqlite3.Connection]

JOURNAL_FILE = PrivateFile("journal", "the outcome of each record", "journal=")
HEADER_BYTES = 100
"""Length of the header of a SQLite file."""

MAGIC = b"SQLite format 3\0"
APPLICATION_ID_BYTES = slice(68, 72)
"""Where the header has the application id."""

BUSY_SECONDS = 30.0
"""How long a connection waits for a lock, without a write-ahead log and when reading."""

CHECKPOINT_PAGES = 1000
"""Length of the write-ahead log, in pages, after which SQLite copies it into the file."""

LOG_SUFFIX, _, ROLLBACK_SUFFIX = SIDE_SUFFIXES


def is_there(path: Path) -> bool:
    """Return whether the file exists; check that it is private.

    Raises:
        JournalError: It is a link, a folder or a device, or others can read it.
    """
    with _journal_errors_for_private_file(path):
        return JOURNAL_FILE.is_there(path)


def make(path: Path) -> None:
    """Create the file, empty, if it is missing; check that it is private.

    Raises:
        JournalError: It cannot be created, or is unsafe.
    """
    with _journal_errors_for_private_file(path):
        JOURNAL_FILE.make(path)


@contextmanager
def _journal_errors_for_private_file(path: Path) -> Iterator[None]:
    # The kind of the file is checked first: the error must not advise chmod for a file that is no journal.
    try:
        yield
    except ConfigError as error:
        if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK) and path.stat().st_size:
            _check_kind(path, _header(path))
        raise JournalError(str(error)) from None


def examine(path: Path, *, is_locked: bool) -> None:
    """Check that the file is a sound journal that can be used, without changing its committed content.

    Args:
        path: The file.
        is_locked: The caller holds the lock. Then no file is written beside it, unless a log was left there, and a
            commit that a crash interrupted is rolled back first.

    Raises:
        JournalError: It is no journal, has a version that cannot be used, or is damaged.
        JournalBusy: Another process kept it locked for too long.
    """
    _check_kind(path, _header(path))
    if is_locked and has_rollback_journal(path):
        _roll_back(path)
    with journal_errors(path), closing(read_only(path, is_locked=is_locked)) as db:
        check_version(db, path)
        result = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if result != "ok":
            raise sqlite3.DatabaseError(result)


def _check_kind(path: Path, header: bytes) -> None:
    if header[: len(MAGIC)] != MAGIC or int.from_bytes(header[APPLICATION_ID_BYTES]) != APPLICATION_ID:
        raise JournalError(
            f"the file {path} is no journal of this library. It was not changed. Check the name, or choose another "
            "file."
        )


def is_empty(path: Path) -> bool:
    """Return whether the file has no content.

    Raises:
        JournalError: It cannot be read.
    """
    return not _header(path)


def has_rollback_journal(path: Path) -> bool:
    """Return whether a commit is under way, or was interrupted by a crash."""
    return _size(path.with_name(path.name + ROLLBACK_SUFFIX)) > 0


def _roll_back(path: Path) -> None:
    with journal_errors(path), closing(_open_uri(path, "mode=rw")):
        pass  # SQLite rolls back when it first reads the file


def read_only(path: Path, *, is_locked: bool = False) -> sqlite3.Connection:
    """Open a connection that cannot change the file.

    With a write-ahead log, SQLite creates a shared-memory file beside the database and leaves it there. If it cannot,
    because the folder is read-only, no process writes, and the file is opened as immutable.

    Args:
        path: The file.
        is_locked: The caller holds the lock, so no other process writes.

    Raises:
        sqlite3.Error: The file cannot be read.
    """
    has_log = _size(path.with_name(path.name + LOG_SUFFIX)) > 0
    if is_locked and not has_log:
        return _open_uri(path, "mode=ro&immutable=1")
    try:
        return _open_uri(path, "mode=ro")
    except sqlite3.OperationalError:
        if has_log or has_rollback_journal(path) or os.access(path.parent, os.W_OK):
            raise
        return _open_uri(path, "mode=ro&immutable=1")


def _open_uri(path: Path, parameters: str) -> sqlite3.Connection:
    def prepare(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA query_only = ON")
        # SQLite opens the file lazily. This read makes it report an unreadable file here.
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()

    uri = f"file:{quote(os.fsencode(path.absolute()))}?{parameters}"
    return sqlite_worker.connect(uri, prepare, timeout=BUSY_SECONDS, uri=True)


def create(path: Path, *, use_wal: bool = True) -> None:
    """Replace the empty file by a journal without a campaign. The caller holds the lock.

    Args:
        path: The empty file.
        use_wal: Write with a write-ahead log.

    Raises:
        JournalError: It cannot be created, or a log of a deleted journal lies beside it.
    """
    left = [path.name + suffix for suffix in SIDE_SUFFIXES if _size(path.with_name(path.name + suffix))]
    if left:
        raise JournalError(
            f"the journal {path} cannot be created: beside it is {left[0]}, of a journal that was deleted. Move it "
            "away, or choose another file."
        )
    new = path.with_name(path.name + ".new")
    try:
        for suffix in ("", *SIDE_SUFFIXES):
            new.with_name(new.name + suffix).unlink(missing_ok=True)
        os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        # Order: the content is synced under the other name, then renamed, then the folder is synced. After a crash at
        # any point the file is empty or a complete journal.
        _write_tables(new, use_wal)
        new.replace(path)
        _sync_folder(path.parent)
    except (OSError, sqlite3.Error, JournalError) as error:
        raise JournalError(
            f"the journal {path} cannot be created: {error}. Free disk space, or check the permissions of its folder."
        ) from None


def connect(path: Path, factory: Factory = sqlite3.Connection, *, use_wal: bool = True) -> sqlite3.Connection:
    """Open the connection that writes; there must be only one.

    Args:
        path: The file.
        factory: The class of the connection.
        use_wal: Write with a write-ahead log, otherwise with a rollback journal.

    Raises:
        sqlite3.Error: The file cannot be opened.
    """

    def prepare(db: sqlite3.Connection) -> None:
        _use_write_ahead_log(db) if use_wal else _use_rollback_journal(db)
        db.execute("PRAGMA secure_delete = ON")

    return sqlite_worker.connect(path, prepare, timeout=None if use_wal else BUSY_SECONDS, factory=factory)


def _use_write_ahead_log(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")


def _use_rollback_journal(db: sqlite3.Connection) -> None:
    # The file may come from a local disk, with a write-ahead log that must be copied into it first. In exclusive mode
    # SQLite does that without shared memory, which network file systems do not have.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    mode = db.execute("PRAGMA journal_mode = DELETE").fetchone()[0]
    if mode != "delete":
        raise sqlite3.OperationalError(f"its log ({mode}) cannot be removed")
    db.execute("PRAGMA locking_mode = NORMAL")
    db.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the exclusive lock ends with the next read
    db.execute("PRAGMA synchronous = EXTRA")


def checkpoint(db: sqlite3.Connection) -> bool:
    """Copy the log into the file and truncate it; return False if another process is reading."""
    db.execute("PRAGMA busy_timeout = 0")
    return bool(db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)


def _write_tables(path: Path, use_wal: bool) -> None:
    # One transaction without a write-ahead log: SQLite may fail to copy a log at the close and report no error, and the
    # log would not be renamed with the file. WAL mode is set in the header only after the commit.
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(
            f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {SCHEMA} COMMIT;"
        )
        if use_wal:
            db.execute("PRAGMA journal_mode = WAL").fetchall()
    examine(path, is_locked=True)


def _header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(HEADER_BYTES)
    except OSError as error:
        raise JournalError(
            f"the journal {path} cannot be read: {error.strerror}. Check the name and the permissions of the file."
        ) from None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _sync_folder(folder: Path) -> None:
    # A rename is durable only after a sync of the folder. Windows has no such call and does not need it.
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
