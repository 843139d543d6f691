"""A journal that this process has for itself: its lock, its one connection, and who writes in it.

The lock comes first, then the looks at the file, and only then the connection that may write. On a network file system
it writes without a log, which is said once for each opening.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from truecaller_async.errors import JournalError
from truecaller_async.journal.database_file import (
    Factory,
    checkpoint,
    connect,
    create,
    examine,
    is_empty,
    is_there,
    make,
)
from truecaller_async.journal.filesystem import network_of
from truecaller_async.journal.load import journal_errors, load_statements
from truecaller_async.journal.lock import JournalLock
from truecaller_async.journal.statements import Statement, StatementBuilder

logger = logging.getLogger("truecaller_async")


@attrs.frozen(eq=False)
class JournalHandle:
    """An open journal. All of it is used by one thread at a time."""

    path: Path
    lock: JournalLock
    db: sqlite3.Connection
    statements: StatementBuilder

    def transact(self, transactions: Iterable[Sequence[Statement]]) -> None:
        """Write these, on disk when this returns, or all of them not. Raises what SQLite raises."""
        self.db.execute("BEGIN IMMEDIATE")
        for statements in transactions:
            execute(self.db, statements)
        self.db.commit()

    def is_purged(self) -> bool:
        """Whether only its account is left."""
        return bool(self.db.execute("SELECT purged FROM campaign").fetchone()[0])

    def abandon(self) -> None:
        """Close the connection after a failure: what was not written is not tried again. The lock is kept."""
        with contextlib.suppress(sqlite3.Error):
            self.db.close()

    def close(self) -> None:
        """Bring everything into the one file, and let go. May be called twice."""
        try:
            with contextlib.suppress(sqlite3.Error):
                checkpoint(self.db)
            self.abandon()
        finally:
            self.lock.release()


def execute(db: sqlite3.Connection, statements: Sequence[Statement]) -> None:
    """Execute the statements in the transaction that is open."""
    for sql, parameters in statements:
        db.executemany(sql, parameters)


def open_handle(
    path: Path, *, is_new: bool, purged: bool = False, factory: Factory = sqlite3.Connection
) -> JournalHandle:
    """Take the journal, even a `purged` one if asked for.

    Raises `JournalBusy` where another process has it, `JournalError` where it cannot be used.
    """
    if is_new:
        make(path)
    elif not is_there(path):
        raise JournalError(f"there is no journal {path}; see to the name, or begin a campaign with it")
    network = network_of(path)
    lock = JournalLock(path, stays=network is not None)
    try:
        if is_new and is_empty(path):
            create(path, log=network is None)
        else:
            examine(path, alone=True)
        held = _connected(path, lock, factory, log=network is None)
    except BaseException:
        lock.release()
        raise
    try:
        _look(held, is_new, purged)
    except BaseException:
        held.close()
        raise
    if network is not None:
        logger.warning(
            "the journal %s lies on a network file system (%s): it is written without a log, more slowly, and readers "
            "wait for it; run the campaign from one machine only, or keep the journal on a disk of this one",
            path,
            network,
        )
    return held


def _connected(path: Path, lock: JournalLock, factory: Factory, *, log: bool) -> JournalHandle:
    with journal_errors(path):
        db = connect(path, factory, log=log)
        try:
            return JournalHandle(path, lock, db, load_statements(db))
        except BaseException:
            db.close()
            raise


def _look(held: JournalHandle, anew: bool, may_be_purged: bool) -> None:
    """Whether it holds a campaign just where it should."""
    path = held.path
    with journal_errors(path):
        holds = held.db.execute("SELECT totals IS NOT NULL OR begun IS NOT NULL FROM campaign").fetchone()[0]
        purged = held.is_purged()
    if anew and holds:
        raise JournalError(
            f"the journal {path} holds a campaign already; go on with it "
            f"(client.resume, or: truecaller campaign resume {path}), or name another file"
        )
    if not anew and not holds:
        raise JournalError(f"the journal {path} holds no campaign; begin one with it")
    if purged and not may_be_purged:
        raise JournalError(f"the journal {path} was purged: only its account is left, and nothing can go on from it")
