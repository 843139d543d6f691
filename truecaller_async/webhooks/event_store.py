"""Event table on disk; every operation is one job of `storage.sqlite_worker`.

An event is answered with 200 only after it is durable (`synchronous=FULL`). Operations that arrive during a transaction
share the next one. A failed operation raises `JournalError`, and the sender gets a 503.

Several processes can share the file, for example several workers of one server. All of them insert events. One process
at a time handles them: the owner of the lock on the file next to the database. The operating system releases the lock
when the process ends. On systems without such locks (Windows), run one process.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias, TypeVar

from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.storage import file_lock
from truecaller_async.storage.sqlite_worker import SqliteWorker, open_database
from truecaller_async.webhooks.event_queries import SCHEMA, VERSION
from truecaller_async.webhooks.store_path import STORE_FILE

T = TypeVar("T")
Operation: TypeAlias = Callable[[sqlite3.Connection], T]


class EventStore:
    """Event table in a file, or in memory if `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._worker = SqliteWorker(
            "store of events",
            lambda: _open(path),
            thread_name="truecaller-webhooks",
            job_error=self._job_error,
            closed_error=JournalError,
        )
        self._lock: int | None = None

    async def open(self) -> None:
        """Open the file; create it if it does not exist.

        Raises:
            ConfigError: The file cannot be used.
        """
        try:
            await self._worker.run(lambda db: None)
        except BaseException:
            self._worker.begin_close()
            raise

    async def run(self, operation: Operation[T]) -> T:
        """Run one operation; its changes are durable when this returns.

        Raises:
            JournalError: The operation failed, or the store is closed.
        """
        return await self._worker.write(operation)

    def try_acquire_lock(self) -> bool:
        """Return whether the process of this store handles the events, and try to acquire the lock for it.

        Raises:
            JournalError: The lock file cannot be opened.
        """
        if self._path is None or not file_lock.HAS_LOCKS or self._lock is not None:
            return True
        try:
            self._lock = _try_lock_file(self._path.with_name(self._path.name + ".lock"))
        except OSError as error:
            raise JournalError(
                f"the lock file next to {self._path} cannot be opened: {error.strerror}. Check its permissions"
            ) from None
        return self._lock is not None

    async def aclose(self) -> None:
        """Write pending operations, close the file and release the lock. A second call does nothing."""
        await self._worker.aclose()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _job_error(self, error: BaseException) -> BaseException:
        return JournalError(
            f"the store of events {self._path or 'in memory'} cannot be written: {error}. "
            "Free disk space and check the file permissions"
        )


def _try_lock_file(path: Path) -> int | None:
    """Return the handle of the locked file, or None if another process has the lock."""
    handle = file_lock.open_lock_file(path)
    try:
        if file_lock.try_lock(handle):
            return handle
    except BaseException:
        os.close(handle)
        raise
    os.close(handle)
    return None


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        STORE_FILE.make(path)
    try:
        return open_database(path, STORE_FILE.name, schema=SCHEMA, version=VERSION, power_safe=True)
    except sqlite3.Error as error:
        raise ConfigError(f"the store {path} cannot be used: {error}. Choose another with store=") from None
