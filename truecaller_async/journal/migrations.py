"""Migrate the tables of a journal of an older version.

Algorithm:
    `MIGRATIONS[n]` changes tables of version n to version n + 1. `migrated` runs the missing steps and the caller's
    checks of the result in one transaction, which also sets `user_version`. For a read-only user, `migrated_copy`
    copies the journal into memory and migrates the copy.

    A step executes single statements with `db.execute`. It must not use `executescript`, `commit` or `VACUUM`, because
    they end the transaction.
Invariants:
    - A journal from version 2 on is never refused for its age: there is a step for each version from
      `OLDEST_VERSION` to `VERSION` - 1, and `tests/journal/golden/` has journals of each version.
    - After an error, or a crash at any statement, the journal has its old content and its old version.
Failure modes:
    - A copy shows the journal at the time of the copy, and needs memory for the whole file.
"""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from truecaller_async.campaign.core.row_ranges import ranges_of
from truecaller_async.errors import JournalError
from truecaller_async.journal.row_packing import unpack_rows
from truecaller_async.journal.schema import VERSION
from truecaller_async.storage import sqlite_worker

OLDEST_VERSION = 2
"""The oldest version that can be read."""


def _to_version_3(db: sqlite3.Connection) -> None:
    """Store the unconfirmed rows as pairs, and mark batches as ambiguous that version 2 had planned again.

    Version 2 planned a batch again after a lost answer. A run with another policy would send it although the answer was
    lost, so it becomes ambiguous, unless the operator decided about it.
    """
    db.execute(
        "UPDATE batch SET state = CASE WHEN abandoned THEN 'abandoned' ELSE 'ambiguous' END "
        "WHERE state = 'planned' AND open_rows > 0 AND seq IN (SELECT seq FROM attempt WHERE event = 'lost') "
        "AND seq NOT IN (SELECT seq FROM operator_decision)"
    )
    (text,) = db.execute("SELECT totals FROM campaign").fetchone()
    if text is None:
        return
    totals = json.loads(text)
    totals["unconfirmed_rows"] = list(ranges_of(unpack_rows(b64decode(totals["unconfirmed_rows"]))))
    db.execute("UPDATE campaign SET totals = ?", (json.dumps(totals).encode(),))


MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {2: _to_version_3}
"""By version n: the step from the tables of version n to those of version n + 1."""


def check_version(db: sqlite3.Connection, path: Path) -> None:
    """Check that the tables have this version, or an older one that can be migrated.

    Raises:
        JournalError: They have a newer version, or one that is too old.
    """
    if not needs_migration(db):
        sqlite_worker.check_version(db, f"journal {path}", VERSION, JournalError)


def needs_migration(db: sqlite3.Connection) -> bool:
    """Return whether the tables have an older version, from which there are steps to this one."""
    version = _version(db)
    return 0 < version < VERSION and all(step in MIGRATIONS for step in range(version, VERSION))


@contextmanager
def migrated(db: sqlite3.Connection) -> Iterator[None]:
    """Migrate the tables if they are older; keep the migration only if the body raises no exception.

    Args:
        db: A connection in autocommit mode that can write. The caller holds the lock of the journal.

    Raises:
        sqlite3.Error: The file cannot be written. A step also raises other errors, if a stored value is damaged.
    """
    if not needs_migration(db):
        yield
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for version in range(_version(db), VERSION):
            MIGRATIONS[version](db)
        db.execute(f"PRAGMA user_version = {VERSION}")
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite has ended the transaction itself after some errors, such as a full disk.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def migrated_copy(db: sqlite3.Connection) -> sqlite3.Connection:
    """Return a migrated copy in memory, from which the caller can only read. `db` stays open.

    Raises:
        sqlite3.Error: The journal cannot be read. A step also raises other errors, if a stored value is damaged.
    """

    def fill(copy: sqlite3.Connection) -> None:
        db.backup(copy)
        with migrated(copy):
            pass
        copy.execute("PRAGMA query_only = ON")

    return sqlite_worker.connect(":memory:", fill)


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version
