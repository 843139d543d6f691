"""A bounded client (I9), held by every test: when it is over, nothing is left that was not there before.

What is counted: tasks, of loops that are still open and of loops that were closed around them; threads; child
processes; and open descriptors, where the system lists them, each by what it points at. What only waited for the
garbage collector may go first, and a thread that is just ending has a moment to end. What is there then is a leak, and
the test that made it fails with its name. The same count is held around each module, for fixtures that live as long.

A warning that nobody hears is a leak too. Warnings are errors in this suite, but one that is raised while an object
dies reaches nobody until pytest asks for it, so the objects of a test must die with that test: the collector runs after
each one. That is cheap because all that was there when the module began is frozen, which the collector passes over.
What asyncio has to complain of when nobody listens (an exception that no one took, a task that was destroyed) goes to
its log, and is counted as well. And there are things that vanish with the collector without a word, and would never be
counted: a database that nobody closed and an executor that nobody shut down are asked as they die, and an async
generator that waits in its middle when its loop ends was not closed by whoever began it.

Two things are the standard library's own and nobody can hold them: the tracker that multiprocessing starts once and
keeps for good, and the handshake of a connection that a TLS server of asyncio has just taken. Its socket is counted.
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
"""Seconds that an ending thread may take; nobody waits for them where none is left."""

HANDSHAKE = "._accept_connection2"
PROCESSES = Path("/proc")
DESCRIPTORS = PROCESSES / "self" / "fd"

OpenLoops = WeakSet[asyncio.BaseEventLoop]


@attrs.frozen
class ResourceSnapshot:
    """What the process holds at one moment."""

    tasks: frozenset[asyncio.Task[Any]]
    threads: frozenset[threading.Thread]
    children: frozenset[int]
    descriptors: Counter[str]

    def since(self, before: ResourceSnapshot) -> ResourceSnapshot:
        """What is here and was not before."""
        return ResourceSnapshot(
            self.tasks - before.tasks,
            self.threads - before.threads,
            self.children - before.children,
            self.descriptors - before.descriptors,
        )

    def plus(self, other: ResourceSnapshot) -> ResourceSnapshot:
        """Both together."""
        return ResourceSnapshot(
            self.tasks | other.tasks,
            self.threads | other.threads,
            self.children | other.children,
            self.descriptors + other.descriptors,
        )

    def __bool__(self) -> bool:
        return bool(self.tasks or self.threads or self.children or self.descriptors)

    def names(self) -> list[str]:
        """Each thing in words."""
        return [
            *(_named(task) for task in self.tasks),
            *(f"a thread: {thread.name}" for thread in self.threads),
            *(f"a child process: {_command(pid)}" for pid in self.children),
            *(f"{count} open: {target}" for target, count in self.descriptors.items()),
        ]


class LeakDetector:
    """Looks at the loops and at the log of asyncio while tests run, and takes the census."""

    def __init__(self) -> None:
        self.loops: OpenLoops = WeakSet()
        self._before: list[ResourceSnapshot] = []
        self._messages: list[str] = []

    def snapshot(self) -> ResourceSnapshot:
        """What the process holds now."""
        tasks = frozenset(
            task for loop in tuple(self.loops) if not loop.is_closed() for task in asyncio.all_tasks(loop)
        )
        return ResourceSnapshot(tasks, frozenset(threading.enumerate()), _children(), _descriptors())

    def begin(self) -> None:
        """A module begins, or a test in it."""
        self._before.append(self.snapshot())

    def end(self) -> list[str]:
        """It is over: what it left, in words. Whatever only awaits collection or its own end is let go first.

        Who is around it is not blamed for the same once more.
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
        """This loop is about to end. Tasks that are not done would be cancelled by nobody's wish, or forgotten."""
        left = (_named(task) for task in asyncio.all_tasks(loop))
        self._messages += [f"{name}, when its loop was closed" for name in left if HANDSHAKE not in name]

    def check_generators(self, loop: asyncio.AbstractEventLoop) -> None:
        """The async generators of this loop are about to be closed in the place of whoever began them."""
        begun = (each for each in loop._asyncgens if each.ag_frame is not None)  # type: ignore[attr-defined]
        self._messages += [f"an async generator: {each.__qualname__}, when its loop ended" for each in begun]

    def report_dropped(self, what: str) -> None:
        """Something died that should have been closed."""
        self._messages.append(what)

    def report_asyncio_error(self, record: logging.LogRecord) -> None:
        """Asyncio has something to say that nobody was there to hear."""
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
        """One that says so when it dies without having been closed."""

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
    """The one watch of the session."""
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
    """Nothing is left by the tests of a module and by the fixtures that all of them share."""
    gc.collect()
    gc.freeze()
    yield from _bounded(watch, "the module")


@pytest.fixture(autouse=True)
def bounded(watch: LeakDetector, bounded_module: None) -> Iterator[None]:
    """Nothing is left by a test and by its own fixtures."""
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
    """What the open descriptors point at; nothing where the system does not say."""
    if not DESCRIPTORS.is_dir():
        return Counter()
    spared = resource_tracker._resource_tracker._fd  # type: ignore[attr-defined]
    targets = Counter[str]()
    for name in os.listdir(DESCRIPTORS):  # noqa: PTH208 - a tenth of the cost, twice a test
        try:
            target = os.readlink(f"{DESCRIPTORS}/{name}")  # noqa: PTH115
        except FileNotFoundError:
            continue  # the one through which this folder was read
        if int(name) != spared:
            targets[target] += 1
    return targets


def _children() -> frozenset[int]:
    """The process ids of children that run, or have ended and were not waited for. Asks first whether there is any."""
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
