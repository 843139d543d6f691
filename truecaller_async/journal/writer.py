"""One thread, to which whole transactions are handed, and which writes as many as wait in one commit.

A disk says "safe" some hundred or thousand times a second, however much it is given at once. So while one commit is on
its way, the transactions that come meanwhile gather, and go together in the next. Nobody waits for a timer, and a
transaction never spans an await.

After the first failure nothing is written any more. The pages of a failed commit may be gone from memory and not be on
the disk, so nobody can tell what the same connection would write next; a new run reads again what is really there.

The thread ends with `aclose`, or with the process: an executor's threads do not keep a process alive.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import TypeAlias, TypeVar

from truecaller_async.errors import JournalError
from truecaller_async.journal.held import Held
from truecaller_async.journal.scribe import Statement

T = TypeVar("T")
Waiting: TypeAlias = tuple[Sequence[Statement], asyncio.Future[None]]

TOGETHER_MAX = 256
"""Transactions in one commit."""


class Writer:
    """The thread of one journal. Made inside the loop whose futures it resolves."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="truecaller-journal")
        self._guard = Lock()
        self._waiting: deque[Waiting] = deque()
        self._is_writing = False
        self._held: Held | None = None
        self._closing: Future[None] | None = None
        self.failure: str | None = None

    async def open(self, take: Callable[[], Held]) -> Held:
        """Take the journal, in the thread. Raises what `take` raises; nothing is held then."""
        try:
            self._held = held = await asyncio.wrap_future(self._thread.submit(self._take, take))
        except asyncio.CancelledError:
            self._begin_closing()  # whatever the thread takes yet, it lets go of again
            raise
        except BaseException:
            await self.aclose()
            raise
        return held

    def put(self, statements: Sequence[Statement]) -> asyncio.Future[None]:
        """Hand over one transaction. The future is done when it is on disk, or fails with `JournalError`."""
        done: asyncio.Future[None] = self._loop.create_future()
        with self._guard:
            self._waiting.append((statements, done))
            if not self._is_writing:
                self._submit(self._write_all)
                self._is_writing = True
        return done

    async def ask(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Read something, behind everything that was handed over before."""
        return await asyncio.wrap_future(self._submit(lambda: self._answer(question)))

    async def aclose(self) -> None:
        """Write what waits, close the file, give up the lock, end the thread. May be called twice, and cancelled."""
        await asyncio.shield(asyncio.wrap_future(self._begin_closing()))
        self._thread.shutdown(wait=True)

    def _submit(self, work: Callable[[], T]) -> Future[T]:
        try:
            return self._thread.submit(work)
        except RuntimeError:
            raise JournalError("the journal is closed, because the process ends") from None

    def _begin_closing(self) -> Future[None]:
        if self._closing is None:
            self._closing = self._submit(self._close)
            self._thread.shutdown(wait=False)
        return self._closing

    def _take(self, take: Callable[[], Held]) -> Held:
        self._held = take()
        return self._held

    def _close(self) -> None:
        if self._held is not None:
            self._held.close()

    def _answer(self, question: Callable[[sqlite3.Connection], T]) -> T:
        if self._held is None or self.failure is not None:
            raise JournalError(self.failure or "the journal is closed")
        try:
            return question(self._held.db)
        except sqlite3.Error as error:
            raise JournalError(f"the journal {self._held.path} cannot be read: {error}") from None

    def _write_all(self) -> None:
        while group := self._next_group():
            self._write(group)
            try:
                self._loop.call_soon_threadsafe(self._resolve, [done for _, done in group], self.failure)
            except RuntimeError:
                continue  # the loop is closed, and nobody waits any more

    def _next_group(self) -> list[Waiting]:
        with self._guard:
            group = [self._waiting.popleft() for _ in range(min(TOGETHER_MAX, len(self._waiting)))]
            self._is_writing = bool(group)
        return group

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
