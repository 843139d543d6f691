"""The ledger on disk: one job of `storage.sqlite_worker` for each act.

An event is answered 200 only when it is safe on disk (`synchronous=FULL`), so acts that come while a transaction is
written go together in the next one. An act that fails is a `JournalError`, and the sender gets the answer 503.

Several processes may share the file (a server with several workers). All write events down; one at a time handles them,
the one that holds the lock on the file beside it, which the system takes away when a process ends, however it ends.
Where the system has no such lock (Windows), run one process.
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
    """The ledger in a file, or in memory where `path` is None."""

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
        """Open the file, creating it where there is none. Raises `ConfigError` where it cannot be used."""
        try:
            await self._worker.run(lambda db: None)
        except BaseException:
            self._worker.begin_close()
            raise

    async def run(self, operation: Operation[T]) -> T:
        """One act, on disk when this returns. Raises `JournalError` where it is not, or where the store is closed."""
        return await self._worker.write(operation)

    def try_own(self) -> bool:
        """Whether this store, of all that share the file, is the one whose process handles the events.

        Raises `JournalError` where that cannot be known.
        """
        if self._path is None or not file_lock.HAS_LOCKS or self._lock is not None:
            return True
        try:
            self._lock = _try_lock_file(self._path.with_name(self._path.name + ".lock"))
        except OSError as error:
            raise JournalError(f"the lock beside {self._path} cannot be had: {error.strerror}") from None
        return self._lock is not None

    async def aclose(self) -> None:
        """Write what is pending, close the file, give up the lock. May be called twice."""
        await self._worker.aclose()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _job_error(self, error: BaseException) -> BaseException:
        return JournalError(
            f"the store of events {self._path or 'in memory'} cannot be written: {error}; "
            "see to free space and to the rights on it"
        )


def _try_lock_file(path: Path) -> int | None:
    """The handle of the locked file, None where another has the lock."""
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
        raise ConfigError(f"the store {path} cannot be used: {error}; name another with store=") from None
