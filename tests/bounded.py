"""Check that each test leaves nothing behind (I9): tasks, threads, child processes, open descriptors.

Algorithm:
    - Count before and after each test, and around each module for fixtures that live as long. Objects that only wait
      for the garbage collector are collected first; an ending thread gets a moment to end. The rest is a leak, and the
      test fails.
    - Collect after each test, so that a warning raised while an object dies belongs to its test. This is cheap, because
      everything that existed at the start of the module is frozen and skipped by the collector.
    - Errors that asyncio only logs (an exception that was not retrieved, a destroyed task) count as well.
    - Some objects disappear without a warning: a database that was not closed and an executor that was not shut down
      are checked as they die. An async generator that is suspended when its loop ends was not closed.

Two things belong to the standard library and are excluded: the resource tracker of multiprocessing, which runs until
the process ends, and the handshake of a connection that a TLS server of asyncio has just accepted. Its socket counts.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sqlite3
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, finalize

import attrs
import pytest

THREAD_JOIN_SECONDS = 1.0
"""Seconds that an ending thread may take; used only if one is left."""

HANDSHAKE = "._accept_connection2"
PROCESSES = Path("/proc")
DESCRIPTORS = PROCESSES / "self" / "fd"

OpenLoops = WeakSet[asyncio.BaseEventLoop]


@attrs.frozen
class ResourceSnapshot:
    """Resources of the process at one moment."""

    tasks: frozenset[asyncio.Task[Any]]
    threads: frozenset[threading.Thread]
    children: frozenset[int]
    descriptors: Counter[str]

    def since(self, before: ResourceSnapshot) -> ResourceSnapshot:
        """Return the resources that were not there before."""
        return ResourceSnapshot(
            self.tasks - before.tasks,
            self.threads - before.threads,
            self.children - before.children,
            self.descriptors - before.descriptors,
        )

    def plus(self, other: ResourceSnapshot) -> ResourceSnapshot:
        """Return the union of both."""
        return ResourceSnapshot(
            self.tasks | other.tasks,
            self.threads | other.threads,
            self.children | other.children,
            self.descriptors + other.descriptors,
        )

    def __bool__(self) -> bool:
        return bool(self.tasks or self.threads or self.children or self.descriptors)

    def names(self) -> list[str]:
        """Return each resource as text."""
        return [
            *(_named(task) for task in self.tasks),
            *(f"a thread: {thread.name}" for thread in self.threads),
            *(f"a child process: {_command(pid)}" for pid in self.children),
            *(f"{count} open: {target}" for target, count in self.descriptors.items()),
        ]


class LeakDetector:
    """Watches the loops and the asyncio log while tests run, and takes snapshots."""

    def __init__(self) -> None:
        self.loops: OpenLoops = WeakSet()
        self._before: list[ResourceSnapshot] = []
        self._messages: list[str] = []

    def snapshot(self) -> ResourceSnapshot:
        """Return the current resources of the process."""
        tasks = frozenset(
            task for loop in tuple(self.loops) if not loop.is_closed() for task in asyncio.all_tasks(loop)
        )
        return ResourceSnapshot(tasks, frozenset(threading.enumerate()), _children(), _descriptors())

    def begin(self) -> None:
        """Mark the start of a module or a test."""
        self._before.append(self.snapshot())

    def end(self) -> list[str]:
        """Return what was left since the matching `begin`, as text.

        Objects that only wait for collection, and ending threads, are given the chance to end. Enclosing scopes do not
        report the same leak again.
        """
        before = self._before.pop()
        gc.collect()
        left = self.snapshot().since(before)
        if left:
            for thread in left.threads:
                thread.join(THREAD_JOIN_SECONDS)
            left = self.snapshot().since(before)
        self._before = [outer.plus(left) for outer in self._before]
        heard, self._messages = self._messages, []
        return left.names() + heard

    def check_tasks(self, loop: asyncio.AbstractEventLoop) -> None:
        """Report unfinished tasks of a loop that is about to be closed."""
        left = (_named(task) for task in asyncio.all_tasks(loop))
        self._messages += [f"{name}, when its loop was closed" for name in left if HANDSHAKE not in name]

    def check_generators(self, loop: asyncio.AbstractEventLoop) -> None:
        """Report async generators that were not closed by their users before the loop ends."""
        begun = (each for each in loop._asyncgens if each.ag_frame is not None)  # type: ignore[attr-defined]
        self._messages += [f"an async generator: {each.__qualname__}, when its loop ended" for each in begun]

    def report_dropped(self, what: str) -> None:
        """Report an object that was not closed."""
        self._messages.append(what)

    def report_asyncio_error(self, record: logging.LogRecord) -> None:
        """Report an error that asyncio logged."""
        why = f": {record.exc_info[1]!r}" if record.exc_info else ""
        self._messages.append(f"a complaint of asyncio: {record.getMessage().splitlines()[0]}{why}")


class _LogHandler(logging.Handler):
    def __init__(self, report: Callable[[logging.LogRecord], None]) -> None:
        super().__init__(logging.ERROR)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        self._report(record)


def _watched_connection(report: Callable[[str], None]) -> type[sqlite3.Connection]:
    class Connection(sqlite3.Connection):
        """Connection that reports if it is collected without having been closed."""

        _path = ""
        _is_open = False

        def __init__(self, database: Any, *args: Any, **settings: Any) -> None:
            super().__init__(database, *args, **settings)
            self._path, self._is_open = os.fspath(database), True

        def close(self) -> None:
            super().close()
            self._is_open = False

        def __del__(self) -> None:
            if self._is_open:
                super().close()
                report(f"a database that was dropped and not closed: {self._path}")

    return Connection


def _watch_databases(patched: pytest.MonkeyPatch, report: Callable[[str], None]) -> None:
    connect, watched = sqlite3.connect, _watched_connection(report)

    def is_opened(*args: Any, **settings: Any) -> sqlite3.Connection:
        settings.setdefault("factory", watched)
        opened: sqlite3.Connection = connect(*args, **settings)
        return opened

    patched.setattr(sqlite3, "connect", is_opened)


def _watch_executors(patched: pytest.MonkeyPatch, report: Callable[[str], None]) -> None:
    begun, shut = ThreadPoolExecutor.__init__, ThreadPoolExecutor.shutdown
    ends = WeakKeyDictionary[ThreadPoolExecutor, "finalize[Any, Any]"]()

    def is_begun(executor: ThreadPoolExecutor, *args: Any, **settings: Any) -> None:
        begun(executor, *args, **settings)
        name = executor._thread_name_prefix
        ends[executor] = finalize(executor, report, f"an executor that was dropped and not shut down: {name}")
        ends[executor].atexit = False

    def is_shut(executor: ThreadPoolExecutor, *args: Any, **settings: Any) -> None:
        if executor in ends:
            ends[executor].detach()
        shut(executor, *args, **settings)

    patched.setattr(ThreadPoolExecutor, "__init__", is_begun)
    patched.setattr(ThreadPoolExecutor, "shutdown", is_shut)


@pytest.fixture(scope="session")
def watch() -> Iterator[LeakDetector]:
    """Install the detector for the session."""
    watching = LeakDetector()
    loops, runners = asyncio.BaseEventLoop, asyncio.runners
    born, closed, finished = loops.__init__, loops.close, loops.shutdown_asyncgens
    cancelled = runners._cancel_all_tasks  # type: ignore[attr-defined]

    def is_born(loop: asyncio.BaseEventLoop, *args: Any, **settings: Any) -> None:
        born(loop, *args, **settings)
        watching.loops.add(loop)

    def is_closed(loop: asyncio.BaseEventLoop) -> None:
        if not loop.is_closed():
            watching.check_tasks(loop)
            watching.check_generators(loop)
        closed(loop)

    async def are_finished(loop: asyncio.BaseEventLoop) -> None:
        watching.check_generators(loop)
        await finished(loop)

    def are_cancelled(loop: asyncio.AbstractEventLoop) -> None:
        watching.check_tasks(loop)
        cancelled(loop)

    ear = _LogHandler(watching.report_asyncio_error)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loops, "__init__", is_born)
        patched.setattr(loops, "close", is_closed)
        patched.setattr(loops, "shutdown_asyncgens", are_finished)
        patched.setattr(runners, "_cancel_all_tasks", are_cancelled)
        _watch_databases(patched, watching.report_dropped)
        _watch_executors(patched, watching.report_dropped)
        logging.getLogger("asyncio").addHandler(ear)
        yield watching
        logging.getLogger("asyncio").removeHandler(ear)


@pytest.fixture(autouse=True, scope="module")
def bounded_module(watch: LeakDetector) -> Iterator[None]:
    """Check that the tests of a module and their shared fixtures leave nothing behind."""
    gc.collect()
    gc.freeze()
    yield from _bounded(watch, "the module")


@pytest.fixture(autouse=True)
def bounded(watch: LeakDetector, bounded_module: None) -> Iterator[None]:
    """Check that a test and its own fixtures leave nothing behind."""
    yield from _bounded(watch, "the test")


def _bounded(watch: LeakDetector, who: str) -> Iterator[None]:
    watch.begin()
    yield
    if left := watch.end():
        pytest.fail(f"{who} left behind (I9):\n  " + "\n  ".join(left), pytrace=False)


def _named(task: asyncio.Task[Any]) -> str:
    coroutine = task.get_coro()
    where = task.get_stack(limit=1)
    place = f" at {Path(where[0].f_code.co_filename).name}:{where[0].f_lineno}" if where else ""
    return f"a task: {getattr(coroutine, '__qualname__', coroutine)}{place}"


def _descriptors() -> Counter[str]:
    """Return the targets of the open descriptors; empty if the system does not list them."""
    if not DESCRIPTORS.is_dir():
        return Counter()
    spared = resource_tracker._resource_tracker._fd  # type: ignore[attr-defined]
    targets = Counter[str]()
    for name in os.listdir(DESCRIPTORS):  # noqa: PTH208 - a tenth of the cost, twice a test
        try:
            target = os.readlink(f"{DESCRIPTORS}/{name}")  # noqa: PTH115
        except FileNotFoundError:
            continue  # the descriptor by which this folder was read
        if int(name) != spared:
            targets[target] += 1
    return targets


def _children() -> frozenset[int]:
    """Return the ids of child processes that run, or that ended and were not waited for."""
    if not PROCESSES.is_dir():
        return frozenset()
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()
    spared = resource_tracker._resource_tracker._pid  # type: ignore[attr-defined]
    found = (int(entry.name) for entry in PROCESSES.iterdir() if entry.name.isdigit())
    return frozenset(pid for pid in found if _is_child(pid)) - {spared}


def _is_child(pid: int) -> bool:
    try:
        _, _, state = (PROCESSES / str(pid) / "stat").read_text().rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return int(state.split()[1]) == os.getpid()


def _command(pid: int) -> str:
    try:
        words = (PROCESSES / str(pid) / "cmdline").read_bytes().split(b"\0")
    except OSError:
        words = []
    return " ".join(word.decode(errors="replace") for word in words[:4]) or f"ended and not waited for ({pid})"
