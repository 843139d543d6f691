"""Run jobs on one SQLite connection in one thread, with group commit.

The stores of tokens, nonces, webhook events and the campaign journal run their SQL here, off the event loop.

Algorithm:
    Jobs wait in a FIFO queue. While one transaction is committed, further `write` jobs gather, and up to `GROUP_MAX` of
    them share the next transaction (`BEGIN IMMEDIATE`), because a disk completes only some hundred syncs per second. No
    timer delays a job. In a group each job has its own savepoint, so a job that raises undoes only itself. With
    `stops_after_failure` there are no savepoints: a job that raises fails its group and every later job.
Invariants:
    - An accepted job is executed, also if its waiter is cancelled, unless an earlier failure stopped the worker
      (`stops_after_failure`). The waiter resumes after the commit.
    - Results are reported in the order of the jobs. `run` sees the effect of every earlier `write`.
    - `aclose` executes what is queued, then closes the connection.
    - After a fork the child can use nothing here: thread and connection belong to the parent.
Failure modes:
    - A failed commit fails all jobs of its group. With `stops_after_failure` it is the last commit: SQLite may have
      dropped pages that are not on the disk, so only a new connection shows what was really stored.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from operator import methodcaller
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import attrs

from truecaller_async.errors import ClientClosed, ConfigError

T = TypeVar("T")
Job: TypeAlias = Callable[[sqlite3.Connection], T]
JobResult: TypeAlias = tuple[Any, BaseException | None]
"""The value of a job, or the exception that its caller gets."""


BUSY_SECONDS = 5.0
"""How long SQLite waits for a lock of another connection."""
BUSY_PAUSE_SECONDS = 0.05
GROUP_MAX = 256
"""Most jobs in one transaction."""


def connect(
    database: str | Path,
    prepare: Callable[[sqlite3.Connection], object],
    *,
    timeout: float | None = None,
    uri: bool = False,
    factory: type[sqlite3.Connection] | None = None,
) -> sqlite3.Connection:
    """Open a connection in autocommit mode, usable in any thread, and prepare it.

    Args:
        database: The file, or its URI if `uri` is set.
        prepare: Called with the connection. If it raises, the connection is closed.
        timeout: Seconds to wait for a lock of another connection; `BUSY_SECONDS` if None.
        uri: Whether `database` is a URI.
        factory: The class of the connection.

    Raises:
        sqlite3.Error: The file cannot be opened, or what `prepare` raises.
    """
    settings: dict[str, Any] = {} if factory is None else {"factory": factory}
    wait = BUSY_SECONDS if timeout is None else timeout
    db: sqlite3.Connection = sqlite3.connect(
        database, timeout=wait, isolation_level=None, check_same_thread=False, uri=uri, **settings
    )
    try:
        prepare(db)
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.close()
        raise
    return db


def open_database(
    path: Path | None,
    name: str,
    *,
    schema: str,
    version: int,
    power_safe: bool,
    upgrades: Mapping[int, str] = MappingProxyType({}),
) -> sqlite3.Connection:
    """Open a database in WAL mode, create missing tables, and overwrite deleted content with zeros.

    Args:
        path: The file, None for a database in memory.
        name: What the file is called in error messages.
        schema: SQL that can be executed repeatedly.
        version: The version of `schema`, stored as `user_version`.
        power_safe: Sync each commit (`synchronous=FULL`). Otherwise a power failure may undo the last commits.
        upgrades: SQL for each older version that turns its tables into those of the next version.

    Raises:
        ConfigError: The file was written by another version of this library.
        sqlite3.Error: The file cannot be used, or is locked for longer than about `2 * BUSY_SECONDS`.
    """

    def prepare(db: sqlite3.Connection) -> None:
        found = check_version(db, f"{name} {path}", version, upgradable=upgrades)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL" if power_safe else "PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA secure_delete=ON")
        if found:
            _upgrade(db, version, upgrades)
        db.executescript(schema)
        db.execute(f"PRAGMA user_version={version}")

    return connect(path or ":memory:", lambda db: _repeat_while_busy(lambda: prepare(db)))


def _upgrade(db: sqlite3.Connection, version: int, upgrades: Mapping[int, str]) -> None:
    db.execute("BEGIN IMMEDIATE")
    try:
        # Read again under the lock: another process may have upgraded the file meanwhile.
        found: int = db.execute("PRAGMA user_version").fetchone()[0]
        for older in range(found, version):
            for statement in filter(str.strip, upgrades[older].split(";")):
                db.execute(statement)
        db.execute(f"PRAGMA user_version={version}")
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise


def check_version(
    db: sqlite3.Connection,
    what: str,
    known: int,
    error: Callable[[str], Exception] = ConfigError,
    *,
    upgradable: Collection[int] = (),
) -> int:
    """Return the version of the tables, 0 if there are none yet.

    Args:
        db: A connection to the database.
        what: The name of the database in the error message.
        known: The version that this library reads and writes.
        error: The type of the error.
        upgradable: Older versions that this library can upgrade.

    Raises:
        ConfigError: The tables have another version. `error` names another type.
    """
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    if version > known:
        raise error(
            f"the {what} was written by a newer version of this library: its tables have version {version}, and this "
            f"library uses version {known}. Update truecaller-async."
        )
    if 0 < version < known and version not in upgradable:
        raise error(older_version_message(what, version, known))
    return version


def older_version_message(what: str, version: int, known: int) -> str:
    """Return the error message about a database with tables of an older version."""
    return (
        f"the {what} was written by an older version of this library: its tables have version {version}, and this "
        f"library uses version {known}. Finish its work with the version that wrote it, or delete the file and start "
        "again."
    )


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether SQLite gave up because another connection holds a lock."""
    code: int | None = getattr(error, "sqlite_errorcode", None)  # an error that SQLite did not raise has none
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


def _repeat_while_busy(work: Callable[[], None]) -> None:
    # SQLite waits for locks by itself, except for the change to WAL, which fails at once if another process has the
    # file open. One try may take BUSY_SECONDS, so the deadline leaves time for a second one.
    deadline = time.monotonic() + 2 * BUSY_SECONDS
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(BUSY_PAUSE_SECONDS)


@attrs.frozen(eq=False)
class _Queued:
    work: Callable[..., Any]
    is_write: bool = False
    waiter: asyncio.Future[Any] | None = None


def _same(error: BaseException) -> BaseException:
    return error


class SqliteWorker:
    """The thread of one database. It starts with the first job, and may be used from several event loops.

    Args:
        name: The name of the worker in error messages.
        connect: Opens the connection, in the thread, before the first job. If it raises, its job fails with that
            exception, and the next job tries again.
        thread_name: The prefix of the name of the thread.
        close: Closes the connection, in the thread.
        job_error: Turns an exception of a job or a commit into the exception that the caller gets.
        closed_error: The type of the error after the close, and after a fork.
        stops_after_failure: Close the connection at the first failed group, and fail every later job.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], sqlite3.Connection],
        *,
        thread_name: str,
        close: Callable[[sqlite3.Connection], object] = methodcaller("close"),
        job_error: Callable[[BaseException], BaseException] = _same,
        closed_error: Callable[[str], Exception] = ClientClosed,
        stops_after_failure: bool = False,
    ) -> None:
        self._name = name
        self._connect = connect
        self._thread_name = thread_name
        self._close = close
        self._job_error = job_error
        self._closed_error = closed_error
        self._stops_after_failure = stops_after_failure
        self._executor: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None
        self._pid: int | None = None
        self._lock = threading.Lock()
        self._queue: deque[_Queued] = deque()
        self._is_serving = False
        self._is_closed = False
        self._closing: Future[None] | None = None
        self.failure: BaseException | None = None
        """The error after which nothing is written, if `stops_after_failure`."""

    @property
    def is_started(self) -> bool:
        """Return whether a job was accepted."""
        return self._pid is not None

    @property
    def is_closed(self) -> bool:
        """Return whether it was closed, so that no job is accepted."""
        return self._is_closed

    @property
    def is_inherited(self) -> bool:
        """Return whether it was started in another process, before a fork."""
        return self._pid not in (None, os.getpid())

    def check(self) -> None:
        """Raise `closed_error` if no job is accepted."""
        if self._is_closed:
            raise self._closed_error(f"the {self._name} is closed. Make a new one.")
        if self.is_inherited:
            raise self._closed_error(
                f"the {self._name} was first used in another process, before a fork. Make a new one in this process."
            )

    def start(self) -> ThreadPoolExecutor:
        """Start the thread, and return its executor.

        Raises:
            RuntimeError: The system has no further thread, or the interpreter is ending.
        """
        self._pid = os.getpid()
        executor = ThreadPoolExecutor(1, thread_name_prefix=self._thread_name)
        try:
            # Threads start with the first task. `_serve` must not be that task: if the start fails, the task stays
            # in the queue of the executor, and `_enqueue` serves the jobs in place of it.
            executor.submit(bool)
        except RuntimeError:
            executor.shutdown(wait=False)
            raise
        self._executor = executor
        return executor

    def write(self, job: Job[T]) -> asyncio.Future[T]:
        """Execute a job in a transaction, possibly together with others; the future is done after the commit.

        Raises:
            closed_error: The worker is closed, or belongs to another process.
        """
        return self._submit(job, is_write=True)

    def run(self, job: Job[T]) -> asyncio.Future[T]:
        """Execute a job on its own, after every earlier one. It begins a transaction itself if it needs one.

        Raises:
            closed_error: As for `write`.
        """
        return self._submit(lambda: self._run_alone(job))

    def run_without_connection(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Execute work in the thread without opening the connection.

        Raises:
            closed_error: As for `write`.
        """
        return self._submit(work)

    async def aclose(self) -> None:
        """Execute what is queued, close the connection and end the thread; in a forked child do nothing.

        May be called twice, and cancelled: the close goes on.
        """
        closing = self.begin_close()
        if closing is None:
            return
        await asyncio.shield(asyncio.wrap_future(closing))
        if self._executor is not None:
            self._executor.shutdown(wait=True)

    def begin_close(self) -> Future[None] | None:
        """Accept no further jobs and close after the queued ones, without waiting. None: nothing is open here."""
        self._is_closed = True
        if self._pid is None or self.is_inherited:
            return None
        if self._closing is None:
            self._closing = Future()
            self._closing.set_running_or_notify_cancel()  # from here on a cancelled waiter cannot cancel it
            self._enqueue(_Queued(partial(self._close_connection, self._closing)))
            if self._executor is not None:
                self._executor.shutdown(wait=False)
        return self._closing

    def _submit(self, work: Callable[..., T], *, is_write: bool = False) -> asyncio.Future[T]:
        self.check()
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._enqueue(_Queued(work, is_write, waiter))
        return waiter

    def _enqueue(self, queued: _Queued) -> None:
        with self._lock:
            self._queue.append(queued)
            if self._is_serving:
                return
            self._is_serving = True
        try:
            (self._executor or self.start()).submit(self._serve)
        except RuntimeError:
            # When the interpreter ends, executors accept no work, and a client of a daemon thread is still to be
            # closed by `atexit`. No other thread uses the connection then, because `_is_serving` was False.
            self._serve()

    def _serve(self) -> None:
        while group := self._next_group():
            _resolve(group, self._results(group))

    def _next_group(self) -> list[_Queued]:
        # The lock closes the gap between "the queue is empty" and "the next job must wake the thread".
        with self._lock:
            if not self._queue:
                self._is_serving = False
                return []
            group = [self._queue.popleft()]
            # Before the connection is open, each job makes its own attempt to open it.
            if group[0].is_write and self._connection is not None:
                while self._queue and self._queue[0].is_write and len(group) < GROUP_MAX:
                    group.append(self._queue.popleft())
            return group

    def _results(self, group: list[_Queued]) -> list[JobResult]:
        try:
            if not group[0].is_write:
                return [(group[0].work(), None)]
            if self.failure is not None:
                return self._failed(group, self.failure)
            return self._write_group(self._opened(), group)
        except BaseException as error:  # noqa: BLE001 - the waiter must get it, whatever it is
            return [(None, error) for _ in group]

    def _opened(self) -> sqlite3.Connection:
        if self.failure is not None:
            raise self._job_error(self.failure)
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _run_alone(self, job: Job[T]) -> T:
        connection = self._opened()
        try:
            with connection as db:
                return job(db)
        except Exception as error:
            if (converted := self._job_error(error)) is error:
                raise
            raise converted from None

    def _write_group(self, db: sqlite3.Connection, group: list[_Queued]) -> list[JobResult]:
        is_isolated = len(group) > 1 and not self._stops_after_failure
        try:
            db.execute("BEGIN IMMEDIATE")
            results = [self._isolated(db, job.work) if is_isolated else (job.work(db), None) for job in group]
            db.commit()  # before any waiter of the group is resolved: a result means that the data is stored
        except BaseException as error:  # noqa: BLE001 - the waiters must get it, whatever it is
            with contextlib.suppress(sqlite3.Error):
                if self._stops_after_failure:
                    self.failure = error.with_traceback(None)
                    db.close()
                else:
                    db.rollback()
            return self._failed(group, error)
        return results

    def _failed(self, group: list[_Queued], error: BaseException) -> list[JobResult]:
        # Each waiter gets an exception of its own, because raising adds to the traceback.
        return [(None, self._job_error(error)) for _ in group]

    def _isolated(self, db: sqlite3.Connection, job: Job[Any]) -> JobResult:
        db.execute("SAVEPOINT job")
        try:
            result: JobResult = job(db), None
        except Exception as error:
            if not db.in_transaction:  # SQLite has undone the whole group, such as for a full disk
                raise
            db.execute("ROLLBACK TO job")
            result = None, self._job_error(error)
        db.execute("RELEASE job")
        return result

    def _close_connection(self, closing: Future[None]) -> None:
        connection, self._connection = self._connection, None
        try:
            if connection is not None:
                self._close(connection)
        except BaseException as error:  # noqa: BLE001 - the caller of the close must get it, whatever it is
            closing.set_exception(error)
        else:
            closing.set_result(None)


def _resolve(group: Sequence[_Queued], results: Sequence[JobResult]) -> None:
    """Hand the results to the loops of their waiters, with one wake-up for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], JobResult]]] = {}
    for queued, result in zip(group, results, strict=True):
        if queued.waiter is not None:
            by_loop.setdefault(queued.waiter.get_loop(), []).append((queued.waiter, result))
    for loop, settled in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop is closed, so no waiter is left
            loop.call_soon_threadsafe(_set_results, settled)


def _set_results(settled: list[tuple[asyncio.Future[Any], JobResult]]) -> None:
    for waiter, (value, error) in settled:
        if waiter.done():  # cancelled; the job was executed all the same
            continue
        if error is None:
            waiter.set_result(value)
        else:
            waiter.set_exception(error)
