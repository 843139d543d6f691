"""One thread, to which whole transactions are handed, and which writes as many as wait in one commit.

A disk says "safe" some hundred or thousand times a second, however much it is given at once. So while one commit is on
its way, the transactions that come meanwhile gather, and go together in the next. Nobody waits for a timer, and a
transaction never spans an await. What is asked of the file goes the same way, and so sees what was handed over before.

After the first failure nothing is written any more. The pages of a failed commit may be gone from memory and not be on
the disk, so nobody can tell what the same connection would write next; a new run reads again what is really there.

The thread ends with `aclose`. Where that is forgotten, it ends when nobody is left who could ask anything of it, and so
keeps no process alive.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread, main_thread
from typing import TypeAlias, TypeVar

from truecaller_async.errors import JournalError
from truecaller_async.journal.held import Held
from truecaller_async.journal.scribe import Statement

T = TypeVar("T")
Waiting: TypeAlias = tuple[Sequence[Statement], asyncio.Future[None]]
Errand: TypeAlias = Callable[[], None]

TOGETHER_MAX = 256
"""Transactions in one commit."""

PATIENCE = 1.0
"""Seconds without work after which the thread looks whether anybody is left who could bring some."""


class Writer:
    """The thread of one journal. Made inside the loop whose futures it resolves."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = Thread(target=self._work, name="truecaller-journal")
        self._queue: SimpleQueue[Waiting | Errand] = SimpleQueue()
        self._held: Held | None = None
        self._closing: Future[None] | None = None
        self._is_over = False
        self.failure: str | None = None

    async def open(self, take: Callable[[], Held]) -> Held:
        """Take the journal, in the thread. Raises what `take` raises; nothing is held then."""
        self._start()
        try:
            return await asyncio.wrap_future(self._send(lambda: self._take(take)))
        except asyncio.CancelledError:
            self._begin_closing()  # whatever the thread takes yet, it lets go of again
            raise
        except BaseException:
            await self.aclose()
            raise

    def put(self, statements: Sequence[Statement]) -> asyncio.Future[None]:
        """Hand over one transaction. The future is done when it is on disk, or fails with `JournalError`."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put((statements, done))
        return done

    async def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Read something, behind everything that was handed over before."""
        return await asyncio.wrap_future(self._send(lambda: self._answer(question)))

    async def aclose(self) -> None:
        """Write what waits, close the file, give up the lock, end the thread. May be called twice, and cancelled."""
        await asyncio.shield(asyncio.wrap_future(self._begin_closing()))
        self._thread.join()

    def _start(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:
            raise JournalError(
                f"the journal cannot be opened: {error}; end other threads, or raise their limit"
            ) from None

    def _send(self, work: Callable[[], T]) -> Future[T]:
        answer: Future[T] = Future()
        self._queue.put(lambda: _run(work, answer))
        return answer

    def _begin_closing(self) -> Future[None]:
        if self._closing is None:
            self._closing = self._send(self._close)
        return self._closing

    def _work(self) -> None:
        while not self._is_over:
            group, errand = self._gather()
            if group:
                self._write(group)
                with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
                    self._loop.call_soon_threadsafe(self._resolve, [done for _, done in group], self.failure)
            if errand is not None:
                errand()

    def _gather(self) -> tuple[list[Waiting], Errand | None]:
        """The transactions of the next commit, and what is asked behind them; waits until there is one of both."""
        group: list[Waiting] = []
        with suppress(Empty):
            work = self._first()
            while isinstance(work, tuple):
                group.append(work)
                if len(group) == TOGETHER_MAX:
                    return group, None
                work = self._queue.get_nowait()
            return group, work
        return group, None

    def _first(self) -> Waiting | Errand:
        while True:
            try:
                return self._queue.get(timeout=PATIENCE)
            except Empty:
                if not (self._loop.is_running() or main_thread().is_alive()):
                    return self._close

    def _take(self, take: Callable[[], Held]) -> Held:
        self._held = held = take()
        return held

    def _close(self) -> None:
        self._is_over = True
        if self._held is not None:
            self._held.close()

    def _answer(self, question: Callable[[sqlite3.Connection], T]) -> T:
        if self._held is None or self.failure is not None:
            raise JournalError(self.failure or "the journal is closed")
        try:
            return question(self._held.db)
        except sqlite3.Error as error:
            raise JournalError(f"the journal {self._held.path} cannot be read: {error}") from None

    def _write(self, group: list[Waiting]) -> None:
        if self.failure is not None or self._held is None:
            return
        try:
            self._held.transact(statements for statements, _ in group)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self.failure = (
                f"the journal {self._held.path} cannot be written: {error}; free space, see to the disk and to the "
                "rights on the file, then go on with client.resume, or: truecaller campaign resume "
                f"{self._held.path}"
            )
            self._held.abandon()

    @staticmethod
    def _resolve(futures: list[asyncio.Future[None]], failure: str | None) -> None:
        for done in futures:
            if done.done():
                continue
            if failure is None:
                done.set_result(None)
            else:
                done.set_exception(JournalError(failure))


def _run(work: Callable[[], T], answer: Future[T]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:  # noqa: BLE001 - whatever it is, who asked must hear of it
        answer.set_exception(error)
    else:
        answer.set_result(result)
