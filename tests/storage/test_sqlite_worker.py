"""The worker of one database: grouping, isolation of jobs, refusals, locks, forks, closing, cancellation."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from truecaller_async.errors import ClientClosed, ConfigError, JournalError
from truecaller_async.storage import sqlite_worker
from truecaller_async.storage.sqlite_worker import (
    GROUP_MAX,
    Job,
    SqliteWorker,
    check_version,
    connect,
    is_busy,
    open_database,
)

SCHEMA = "CREATE TABLE IF NOT EXISTS item(n INTEGER PRIMARY KEY)"

Opener = Callable[..., SqliteWorker]


class Watched(sqlite3.Connection):
    """Counts its commits, records how transactions begin, and fails a commit on demand."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.commits = 0
        self.transactions: list[str] = []
        self.failing_commits = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if sql.startswith("BEGIN"):
            self.transactions.append(sql)
        return super().execute(sql, *parameters)

    def commit(self) -> None:
        self.commits += 1
        if self.failing_commits:
            self.failing_commits -= 1
            raise sqlite3.OperationalError("disk I/O error")
        super().commit()


class World:
    """The connections that the workers of a test have opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: list[Watched] = []

    def connect(self) -> sqlite3.Connection:
        db = connect(self.path, self._prepare, factory=Watched)
        assert isinstance(db, Watched)
        self.opened.append(db)
        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(SCHEMA)

    @property
    def db(self) -> Watched:
        return self.opened[-1]

    def items(self) -> list[int]:
        with closing(sqlite3.connect(self.path)) as db:
            return [n for (n,) in db.execute("SELECT n FROM item ORDER BY n")]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "items.db")


@pytest_asyncio.fixture
async def open_worker(world: World) -> AsyncIterator[Opener]:
    opened: list[SqliteWorker] = []

    def open_one(**settings: Any) -> SqliteWorker:
        settings.setdefault("connect", world.connect)
        opened.append(SqliteWorker("store of items", thread_name="items", **settings))
        return opened[-1]

    yield open_one
    for worker in opened:
        await worker.aclose()


def insert(n: int) -> Job[int]:
    def job(db: sqlite3.Connection) -> int:
        db.execute("INSERT INTO item(n) VALUES (?)", (n,))
        return n

    return job


def count(db: sqlite3.Connection) -> int:
    found: int = db.execute("SELECT count(*) FROM item").fetchone()[0]
    return found


async def blocked(worker: SqliteWorker) -> threading.Event:
    """Occupy the thread until the event is set, so that further jobs gather."""
    await worker.run(lambda db: None)
    started, go = threading.Event(), threading.Event()

    def wait() -> None:
        started.set()
        assert go.wait(60)

    worker.run_without_connection(wait)
    await asyncio.to_thread(started.wait, 60)
    return go


async def test_jobs_that_wait_share_one_immediate_transaction(open_worker: Opener, world: World) -> None:
    worker = open_worker()
    go = await blocked(worker)
    waiters = [worker.write(insert(n)) for n in range(100)]
    go.set()
    assert await asyncio.gather(*waiters) == list(range(100))
    assert (world.db.commits, world.db.transactions) == (1, ["BEGIN IMMEDIATE"])
    assert world.items() == list(range(100))


async def test_a_group_has_a_maximum_and_results_come_in_the_order_of_the_jobs(
    open_worker: Opener, world: World
) -> None:
    worker = open_worker()
    go = await blocked(worker)
    ends: list[int] = []
    for n in range(2 * GROUP_MAX + 1):
        worker.write(insert(n)).add_done_callback(lambda waiter: ends.append(waiter.result()))
    go.set()
    assert await worker.run(count) == 2 * GROUP_MAX + 1
    assert world.db.commits == 3
    assert ends == list(range(2 * GROUP_MAX + 1))


async def test_a_job_of_its_own_ends_a_group_and_sees_what_was_written_before(
    open_worker: Opener, world: World
) -> None:
    worker = open_worker()
    go = await blocked(worker)
    first, seen, second = worker.write(insert(1)), worker.run(count), worker.write(insert(2))
    go.set()
    assert [await first, await seen, await second] == [1, 1, 2]
    assert world.db.commits == 2


async def test_an_exception_in_one_job_does_not_harm_the_others_of_its_group(open_worker: Opener, world: World) -> None:
    def broken(db: sqlite3.Connection) -> int:
        db.execute("INSERT INTO item(n) VALUES (1000)")
        raise OverflowError("no")

    worker = open_worker()
    go = await blocked(worker)
    waiters = [worker.write(insert(1)), worker.write(broken), worker.write(insert(1)), worker.write(insert(2))]
    go.set()
    ended = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(one) for one in ended] == [int, OverflowError, sqlite3.IntegrityError, int]
    assert world.db.commits == 1
    assert world.items() == [1, 2]


async def test_a_job_that_fails_alone_is_undone(open_worker: Opener, world: World) -> None:
    def broken(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO item(n) VALUES (1000)")
        raise OverflowError("no")

    def broken_in_its_own_transaction(db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        broken(db)

    worker = open_worker()
    for start, job in ((worker.write, broken), (worker.run, broken_in_its_own_transaction)):
        with pytest.raises(OverflowError):
            await start(job)
    await worker.write(insert(1))
    assert world.items() == [1]


async def test_a_transaction_undone_by_sqlite_fails_for_its_whole_group(open_worker: Opener, world: World) -> None:
    def undone(db: sqlite3.Connection) -> int:
        return db.execute("INSERT OR ROLLBACK INTO item(n) VALUES (1)").rowcount

    worker = open_worker()
    go = await blocked(worker)
    waiters = [worker.write(insert(1)), worker.write(undone), worker.write(insert(2))]
    go.set()
    ended = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(one) for one in ended] == [sqlite3.IntegrityError] * 3
    await worker.write(insert(3))
    assert world.items() == [3]


async def test_a_failed_commit_fails_its_group_and_the_next_one_works(open_worker: Opener, world: World) -> None:
    worker = open_worker(job_error=lambda error: JournalError(f"cannot be written: {error}"))
    go = await blocked(worker)
    world.db.failing_commits = 1
    waiters = [worker.write(insert(n)) for n in range(3)]
    go.set()
    ended = await asyncio.gather(*waiters, return_exceptions=True)
    assert [str(one) for one in ended] == ["cannot be written: disk I/O error"] * 3
    assert len({id(one) for one in ended}) == 3
    await worker.write(insert(7))
    assert world.items() == [7]


async def test_stops_after_failure_writes_nothing_after_a_failed_group(open_worker: Opener, world: World) -> None:
    closed: list[sqlite3.Connection] = []

    def close(db: sqlite3.Connection) -> None:
        closed.append(db)
        db.close()

    worker = open_worker(
        stops_after_failure=True,
        job_error=lambda error: JournalError(f"cannot be written: {error}"),
        close=close,
    )
    go = await blocked(worker)
    world.db.failing_commits = 1
    waiters = [worker.write(insert(n)) for n in range(3)]
    go.set()
    assert {type(one) for one in await asyncio.gather(*waiters, return_exceptions=True)} == {JournalError}
    for again in (worker.write(insert(7)), worker.run(count)):
        with pytest.raises(JournalError, match="cannot be written: disk I/O error"):
            await again
    assert str(worker.failure) == "disk I/O error"
    assert (world.items(), len(world.opened), closed) == ([], 1, [])
    await worker.aclose()
    assert closed == [world.db]


async def test_a_failed_opening_reaches_its_job_and_the_next_job_retries(open_worker: Opener, world: World) -> None:
    errors = [ConfigError("no such folder")]

    def connect_at_last() -> sqlite3.Connection:
        if errors:
            raise errors.pop()
        return world.connect()

    worker = open_worker(connect=connect_at_last, job_error=lambda error: JournalError("not used"))
    first, second = worker.write(insert(1)), worker.write(insert(2))
    with pytest.raises(ConfigError, match="no such folder"):
        await first
    assert await second == 2
    assert world.items() == [2]


async def test_work_without_a_connection_opens_none(open_worker: Opener, world: World) -> None:
    worker = open_worker()
    assert not worker.is_started
    assert await worker.run_without_connection(lambda: 7) == 7
    assert worker.is_started
    assert not world.path.exists()


async def test_a_cancelled_waiter_does_not_lose_its_job(open_worker: Opener, world: World) -> None:
    worker = open_worker()
    go = await blocked(worker)

    async def write(n: int) -> None:
        await worker.write(insert(n))

    tasks = [asyncio.create_task(write(n)) for n in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.wait([tasks[1]])
    go.set()
    await asyncio.gather(tasks[0], tasks[2])
    assert tasks[1].cancelled()
    assert world.items() == [0, 1, 2]


async def test_a_close_executes_what_is_queued_and_accepts_nothing_more(open_worker: Opener, world: World) -> None:
    worker = open_worker()
    go = await blocked(worker)
    waiters = [worker.write(insert(n)) for n in range(300)]
    close = asyncio.create_task(worker.aclose())
    await asyncio.sleep(0)
    with pytest.raises(ClientClosed, match="store of items is closed"):
        worker.write(insert(1000))
    go.set()
    await close
    assert await asyncio.gather(*waiters) == list(range(300))
    assert len(world.items()) == 300
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("items")]
    await worker.aclose()


async def test_a_close_that_is_cancelled_goes_on(open_worker: Opener, world: World) -> None:
    worker = open_worker()
    go = await blocked(worker)
    waiter = worker.write(insert(1))
    close = asyncio.create_task(worker.aclose())
    await asyncio.sleep(0)
    close.cancel()
    await asyncio.wait([close])
    go.set()
    await worker.aclose()
    assert await waiter == 1
    with pytest.raises(sqlite3.ProgrammingError):
        world.db.execute("SELECT 1")


async def test_a_worker_that_was_never_used_closes_and_starts_no_thread(open_worker: Opener, world: World) -> None:
    worker = open_worker(closed_error=JournalError)
    await worker.aclose()
    with pytest.raises(JournalError, match="is closed"):
        worker.run(count)
    assert not world.path.exists()


def test_several_loops_may_use_it_and_one_may_close_meanwhile(world: World) -> None:
    worker = SqliteWorker("store of items", world.connect, thread_name="items")
    gates: list[threading.Event] = []

    async def leave() -> None:
        gates.append(await blocked(worker))
        worker.write(insert(1))

    asyncio.run(leave())
    gates[0].set()

    async def go_on() -> int:
        seen = await worker.run(count)
        await worker.aclose()
        return seen

    assert asyncio.run(go_on()) == 1


async def test_in_a_forked_child_nothing_is_accepted_or_closed(
    open_worker: Opener, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = open_worker()
    await worker.write(insert(1))
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        assert worker.is_inherited
        for start in (worker.write, worker.run):
            with pytest.raises(ClientClosed, match="another process"):
                start(insert(2))
        assert worker.begin_close() is None
    assert world.db.execute("SELECT n FROM item").fetchall() == [(1,)]


async def test_an_unused_worker_made_before_a_fork_belongs_to_the_child(
    open_worker: Opener, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = open_worker()
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        await worker.write(insert(1))
        await worker.aclose()
    assert world.items() == [1]


async def test_without_a_further_thread_the_job_is_executed_by_the_caller(
    open_worker: Opener, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the end of the interpreter, when executors accept no work."""

    def refuse(self: object, *args: object) -> None:
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    worker = open_worker()
    await worker.write(insert(1))
    with monkeypatch.context() as ending:
        ending.setattr("concurrent.futures.ThreadPoolExecutor.submit", refuse)
        assert await worker.write(insert(2)) == 2
        assert await worker.run(count) == 2
        await worker.aclose()
        late = open_worker()
        with pytest.raises(RuntimeError):
            late.start()
        assert await late.write(insert(3)) == 3
        await late.aclose()
    assert world.items() == [1, 2, 3]


def opened(path: Path | None, version: int = 3) -> sqlite3.Connection:
    return open_database(path, "store", schema=SCHEMA, version=version, power_safe=True)


def test_a_database_is_set_as_it_was_asked_for(tmp_path: Path) -> None:
    with closing(opened(tmp_path / "a.db")) as db:
        names = ("journal_mode", "synchronous", "secure_delete", "user_version")
        assert [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names] == ["wal", 2, 1, 3]
        assert not db.in_transaction
    with closing(opened(None)) as db:
        assert count(db) == 0


def test_a_file_of_another_version_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    opened(path, 3).close()
    before = path.read_bytes()
    with pytest.raises(
        ConfigError, match=rf"store {path} was written by a newer version.*version 3.*uses version 2\. Up"
    ):
        opened(path, 2)
    with pytest.raises(
        ConfigError, match=rf"store {path} was written by an older version.*version 3.*uses version 4\. "
    ):
        opened(path, 4)
    assert path.read_bytes() == before
    with closing(opened(path, 3)) as db:
        assert check_version(db, "store", 3) == 3
        with pytest.raises(JournalError, match="newer version"):
            check_version(db, "store", 2, JournalError)
        with pytest.raises(JournalError, match="or delete the file and start again"):
            check_version(db, "store", 4, JournalError)


def test_a_file_without_tables_has_version_0(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db")) as db:
        assert check_version(db, "store", 3) == 0


def test_a_lock_of_another_connection_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pauses = tmp_path / "a.db", list[float]()
    other = sqlite3.connect(path, isolation_level=None)
    other.executescript("CREATE TABLE another(x); BEGIN; SELECT * FROM another;")
    assert other.execute("SELECT count(*) FROM another").fetchone() == (0,)

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            other.execute("ROLLBACK")

    monkeypatch.setattr(sqlite_worker, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr("truecaller_async.storage.sqlite_worker.time.monotonic", lambda: 0.0)
    monkeypatch.setattr("truecaller_async.storage.sqlite_worker.time.sleep", pause)
    opened(path).close()
    assert len(pauses) == 3
    other.close()


def test_a_lock_that_is_not_released_in_time_is_an_error_of_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.db"
    opened(path).close()
    moments = iter(range(100))
    monkeypatch.setattr(sqlite_worker, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr("truecaller_async.storage.sqlite_worker.time.monotonic", lambda: next(moments))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked") as caught:
            opened(path)
        assert is_busy(caught.value)
    assert not is_busy(sqlite3.OperationalError("disk I/O error"))


def test_a_preparation_that_fails_closes_the_connection(tmp_path: Path) -> None:
    seen: list[sqlite3.Connection] = []

    def fail(db: sqlite3.Connection) -> None:
        seen.append(db)
        raise OverflowError

    with pytest.raises(OverflowError):
        connect(tmp_path / "a.db", fail)
    with pytest.raises(sqlite3.ProgrammingError):
        seen[0].execute("SELECT 1")
