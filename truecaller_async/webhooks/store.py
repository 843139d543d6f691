"""The ledger on disk: one connection in one thread, and many acts in one transaction.

An event is answered 200 only when it is safe on disk (`synchronous=FULL`), and a disk says "safe" some hundred times a
second. So acts are gathered: while one transaction is written, those that come meanwhile wait, and go together in the
next. Nobody waits for a timer, and the loop waits for nobody.

All acts of a transaction succeed or fail together; a failure is a `JournalError`, and the sender is told 503.

Several processes may share the file (a server with several workers). All write events down; one at a time handles them,
the one that holds the lock on the file beside it, which the system takes away when a process ends, however it ends.
Where the system has no such lock (Windows), run one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from truecaller_async.errors import ConfigError, JournalError
from truecaller_async.webhooks.files import STORE_FILE
from truecaller_async.webhooks.ledger import SCHEMA, VERSION

try:
    import fcntl
except ImportError:  # no such lock on this system
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
Act: TypeAlias = Callable[[sqlite3.Connection], T]

BUSY_SECONDS = 5.0
BUSY_PAUSE = 0.05
TOGETHER_MAX = 512
"""Acts in one transaction."""


class EventStore:
    """The ledger in a file, or in memory where `path` is None."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._pending: list[tuple[Act[Any], asyncio.Future[Any]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._lock: int | None = None

    async def open(self) -> None:
        """Open the file, creating it where there is none. Raises `ConfigError` where it cannot be used."""
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="truecaller-webhooks")
        try:
            self._connection = await self._in_thread(lambda: _open(self._path))
        except BaseException:
            self._thread.shutdown(wait=False)
            self._thread = None
            raise

    async def do(self, act: Act[T]) -> T:
        """One act, on disk when this returns. Raises `JournalError` where it is not, or where the store is closed."""
        if self._thread is None:
            raise JournalError("the store of events is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending.append((act, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return await future

    def own(self) -> bool:
        """Whether this store, of all that share the file, is the one whose process handles the events.

        Raises `JournalError` where that cannot be known.
        """
        if self._path is None or fcntl is None or self._lock is not None:
            return True
        try:
            self._lock = _locked(self._path.with_name(self._path.name + ".lock"))
        except OSError as error:
            raise JournalError(f"the lock beside {self._path} cannot be had: {error.strerror}") from None
        return self._lock is not None

    async def aclose(self) -> None:
        """Write what is pending, close the file, give up the lock. May be called twice."""
        while self._writing is not None:
            await asyncio.wait([self._writing])
        thread, self._thread = self._thread, None
        connection, self._connection = self._connection, None
        if thread is not None and connection is not None:
            await asyncio.get_running_loop().run_in_executor(thread, connection.close)
            thread.shutdown(wait=True)
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    async def _write(self) -> None:
        try:
            while self._pending:
                together, self._pending = self._pending[:TOGETHER_MAX], self._pending[TOGETHER_MAX:]
                await self._write_together(together)
        finally:
            self._writing = None

    async def _write_together(self, together: list[tuple[Act[Any], asyncio.Future[Any]]]) -> None:
        acts = [act for act, _ in together]
        try:
            results = await self._in_thread(lambda: self._transaction(acts))
        except JournalError as error:
            for _, future in together:
                if not future.done():
                    future.set_exception(JournalError(str(error)))
            return
        for (_, future), result in zip(together, results, strict=True):
            if not future.done():
                future.set_result(result)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _transaction(self, acts: list[Act[Any]]) -> list[Any]:
        if self._connection is None:
            raise JournalError("the store of events is closed")
        try:
            with self._connection as db:
                db.execute("BEGIN IMMEDIATE")
                return [act(db) for act in acts]
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            raise JournalError(
                f"the store of events {self._path or 'in memory'} cannot be written: {error}; "
                "see to free space and to the rights on it"
            ) from None


def _locked(path: Path) -> int | None:
    """The handle of the locked file, None where another has the lock."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BaseException as error:
        os.close(handle)
        if isinstance(error, BlockingIOError):
            return None
        raise
    return handle


def _open(path: Path | None) -> sqlite3.Connection:
    if path is not None:
        STORE_FILE.make(path)
    connection = None
    try:
        connection = sqlite3.connect(
            path or ":memory:", timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        _prepare_when_free(connection, path)
    except BaseException as error:
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        if isinstance(error, sqlite3.Error):
            raise ConfigError(f"the store {path} cannot be used: {error}; name another with store=") from None
        raise
    return connection


def _prepare_when_free(connection: sqlite3.Connection, path: Path | None) -> None:
    """Several workers of one server open the file at the same moment, and the change to WAL waits for nobody.

    Elsewhere SQLite itself waits, so the tries are bounded by time and not by number.
    """
    until = time.monotonic() + 2 * BUSY_SECONDS
    while True:
        try:
            return _prepare(connection, path)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
        time.sleep(BUSY_PAUSE)


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise ConfigError(f"the store {path} was written by a newer version of this library; update it")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")
    connection.executescript(SCHEMA)
    connection.execute(f"PRAGMA user_version={VERSION}")
