"""The writer of one journal: a `storage.sqlite_worker` that stops at the first failure.

After the first failure nothing is written any more. The pages of a failed commit may be gone from memory and not be on
the disk, so nobody can tell what the same connection would write next; a new run reads again what is really there.

A journal that is not closed keeps its lock until the program ends, and is closed then.
"""

from __future__ import annotations

import asyncio
import atexit
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from truecaller_async.errors import JournalError
from truecaller_async.journal.handle import JournalHandle, execute
from truecaller_async.journal.statements import Statement
from truecaller_async.storage.sqlite_worker import SqliteWorker

T = TypeVar("T")

_open: set[Writer] = set()


class Writer:
    """The thread of one journal, which `take` takes in that thread. Made inside the loop of its campaign."""

    def __init__(self, build: Callable[[], JournalHandle]) -> None:
        self._loop = asyncio.get_running_loop()
        self._take = build
        self._held: JournalHandle | None = None
        self._worker = SqliteWorker(
            "journal",
            self._connect,
            thread_name="truecaller-journal",
            close=lambda _: self._close(),  # of the journal, not only of the connection
            job_error=self._job_error,
            closed_error=JournalError,
            stops_after_failure=True,
        )

    @property
    def failure(self) -> str | None:
        """Why nothing is written any more."""
        failure = self._worker.failure
        return None if failure is None else str(self._job_error(failure))

    async def open(self) -> JournalHandle:
        """Take the journal, in the thread. Raises what `take` raises; nothing is held then."""
        try:
            self._worker.start()
        except RuntimeError as error:
            raise JournalError(
                f"the journal cannot be opened: {error}; end other threads, or raise their limit"
            ) from None
        try:
            await self._worker.run(lambda db: None)
        except asyncio.CancelledError:
            self._worker.begin_close()  # whatever the thread takes yet, it lets go of again
            raise
        except BaseException:
            await self._worker.aclose()
            raise
        assert self._held is not None  # noqa: S101 - for mypy
        return self._held

    def write(self, statements: Sequence[Statement]) -> asyncio.Future[None]:
        """Hand over one transaction. The future is done when it is on disk, or fails with `JournalError`."""
        return self._worker.write(partial(execute, statements=statements))

    async def query(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Read something, behind everything that was handed over before."""

        def answer(db: sqlite3.Connection) -> T:
            try:
                return question(db)
            except sqlite3.Error as error:
                raise JournalError(f"the journal cannot be read: {error}") from None

        return await self._worker.run(answer)

    async def aclose(self) -> None:
        """Write what waits, close the file, give up the lock, end the thread. May be called twice, and cancelled."""
        await self._worker.aclose()

    def close_if_forgotten(self) -> None:
        """Close it at the end of the program, when its thread has ended, unless its loop goes on in another thread."""
        if not (self._worker.is_inherited or self._loop.is_running()):
            self._close()

    def _connect(self) -> sqlite3.Connection:
        self._held = held = self._take()
        _open.add(self)
        return held.db

    def _close(self) -> None:
        _open.discard(self)
        if self._held is not None:
            self._held.close()

    def _job_error(self, error: BaseException) -> BaseException:
        if isinstance(error, JournalError) or self._held is None:
            return error
        path = self._held.path
        return JournalError(
            f"the journal {path} cannot be written: {error}; free space, see to the disk and to the rights on the "
            f"file, then go on with client.resume, or: truecaller campaign resume {path}"
        )


@atexit.register
def _close_forgotten() -> None:
    for writer in tuple(_open):
        writer.close_if_forgotten()
