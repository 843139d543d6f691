"""Open a journal for writing: its lock, its connection and its statement builder.

Algorithm:
    `open_handle` takes the lock, then checks the file without changing its committed content, and only then opens the
    connection that may write. A journal of an older version is migrated and loaded in one transaction. On a network
    file system it writes without a write-ahead log and logs one warning per opening.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

import attrs

from truecaller_async.campaign.core.batch import CampaignBatch
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
from truecaller_async.journal.load import journal_errors, load_builder
from truecaller_async.journal.lock import JournalLock
from truecaller_async.journal.migrations import migrated
from truecaller_async.journal.statements import Statement, StatementBuilder
from truecaller_async.models.journal_entries import JournalEntry
from truecaller_async.storage.filesystem import network_of

logger = logging.getLogger("truecaller_async")


@attrs.frozen(eq=False)
class JournalHandle:
    """An open journal. Only one thread at a time may use it."""

    path: Path
    """The file of the journal."""
    lock: JournalLock
    """The lock that excludes other writing processes."""
    db: sqlite3.Connection
    """The only connection that writes to the file."""
    statements: StatementBuilder
    """The builder of the transactions, with the state of the campaign."""

    def commit(self, statements: Iterable[Statement]) -> None:
        """Commit the statements together; all of them are on disk when this returns.

        Raises:
            sqlite3.Error: They cannot be stored. After a failed COMMIT they may or may not be in the file: close the
                handle, and open the journal again.
        """
        self.db.execute("BEGIN IMMEDIATE")
        execute(self.db, statements)
        self.db.commit()

    def record(self, entries: Iterable[JournalEntry]) -> None:
        """Apply the entries to the state, each before the next one is requested, and commit them together.

        Raises:
            JournalError: An entry contradicts the state. Nothing is stored; close the handle.
            sqlite3.Error: As `commit`.
        """
        applied: list[JournalEntry] = []
        changed: dict[int, CampaignBatch] = {}
        for entry in entries:
            changed |= {batch.seq: batch for batch in self.statements.state.apply(entry)}
            applied.append(entry)
        self.commit(self.statements.build(applied, changed.values()))

    def is_purged(self) -> bool:
        """Return whether the journal contains only its summary."""
        return bool(self.db.execute("SELECT purged FROM campaign").fetchone()[0])

    def close_connection(self) -> None:
        """Close the connection, and keep the lock."""
        with contextlib.suppress(sqlite3.Error):
            self.db.close()

    def close(self) -> None:
        """Copy the log into the file, close the connection, and release the lock. May be called twice."""
        try:
            with contextlib.suppress(sqlite3.Error):
                checkpoint(self.db)
            self.close_connection()
        finally:
            # Last: another process must not open the file while this connection still writes to it.
            self.lock.release()


def execute(db: sqlite3.Connection, statements: Iterable[Statement]) -> None:
    """Execute the statements in the open transaction."""
    for sql, parameters in statements:
        db.executemany(sql, parameters)


def open_handle(
    path: Path, *, is_new: bool, may_be_purged: bool = False, factory: Factory = sqlite3.Connection
) -> JournalHandle:
    """Lock, check and open the journal.

    Args:
        path: The file of the journal.
        is_new: Create the file if it is missing or empty; it must contain no campaign. Otherwise it must contain one.
        may_be_purged: Open also a purged journal.
        factory: The class of the connection.

    Raises:
        JournalBusy: Another process has it open.
        JournalError: It cannot be used. Then its committed content is unchanged.
    """
    if is_new:
        make(path)
    elif not is_there(path):
        raise JournalError(f"there is no journal {path}. Check the name, or start a campaign with it.")
    network = network_of(path)
    lock = JournalLock(path, keep_file=network is not None)
    try:
        # Under the lock, and before the first connection that can write: a foreign or damaged file stays unchanged.
        if is_new and is_empty(path):
            create(path, use_wal=network is None)
        else:
            examine(path, is_locked=True)
        handle = _connect_and_load(
            path, lock, factory, network is None, lambda handle: _check_content(handle, is_new, may_be_purged)
        )
    except BaseException:
        lock.release()
        raise
    if network is not None:
        logger.warning(
            "the journal %s is on a network file system (%s): it is written without a write-ahead log, so writes are "
            "slower and readers wait for them. Run the campaign from one machine only, or move the journal to a local "
            "disk.",
            path,
            network,
        )
    return handle


def _connect_and_load(
    path: Path, lock: JournalLock, factory: Factory, use_wal: bool, check: Callable[[JournalHandle], None]
) -> JournalHandle:
    with journal_errors(path):
        db = connect(path, factory, use_wal=use_wal)
        try:
            # Checked before the migration is committed, so a journal that is refused keeps its version.
            with migrated(db):
                handle = JournalHandle(path, lock, db, load_builder(db))
                check(handle)
        except BaseException:
            db.close()
            raise
        return handle


def _check_content(handle: JournalHandle, is_new: bool, may_be_purged: bool) -> None:
    path = handle.path
    with journal_errors(path):
        has_campaign = handle.db.execute("SELECT totals IS NOT NULL OR started IS NOT NULL FROM campaign").fetchone()[0]
        purged = handle.is_purged()
    if is_new and has_campaign:
        raise JournalError(
            f"the journal {path} already contains a campaign. Resume it (client.resume, or: truecaller campaign resume "
            f"{path}), or choose another file."
        )
    if not is_new and not has_campaign:
        raise JournalError(f"the journal {path} contains no campaign. Start one with it.")
    if purged and not may_be_purged:
        raise JournalError(
            f"the journal {path} was purged: it contains only its summary. Start a new campaign with another file."
        )
