"""The writer thread of one journal: a `storage.sqlite_worker` that stops at the first failure.

Invariants:
    - After the first failure nothing more is written. Pages of a failed commit may be missing both in memory and on the
      disk, so what the same connection would write next is unknown. A new run reads what is really on the disk.
    - The lock is released after the connection is closed, so the next process sees a complete file.

Failure modes:
    - If the writer is not closed, its lock is held until the program exits; an `atexit` function closes it then.
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
    """The thread that owns the handle of one journal. Create it inside the event loop of the campaign.

    Args:
        open_journal: Called in the thread; opens the journal or raises.
    """

    def __init__(self, open_journal: Callable[[], JournalHandle]) -> None:
        self._loop = asyncio.get_running_loop()
        self._open_journal = open_journal
        self._handle: JournalHandle | None = None
        self._worker = SqliteWorker(
            "journal",
            self._connect,
            thread_name="truecaller-journal",
            close=lambda _: self._close(),  # the whole handle with its lock, not only the connection
            job_error=self._job_error,
            closed_error=JournalError,
            stops_after_failure=True,
        )

    @property
    def failure(self) -> str | None:
        """Return the message of the error after which nothing is written, None if there was none."""
        failure = self._worker.failure
        return None if failure is None else str(self._job_error(failure))

    async def open(self) -> JournalHandle:
        """Start the thread and open the journal in it.

        Raises:
            JournalError: The thread cannot be started, or what `open_journal` raises. Then nothing stays open.
        """
        try:
            self._worker.start()
        except RuntimeError as error:
            raise JournalError(
                f"the journal cannot be opened: {error}. End other threads, or raise their limit."
            ) from None
        try:
            await self._worker.run(lambda db: None)
        except asyncio.CancelledError:
            # The thread may still be opening the journal. The close is queued behind that, and releases the lock.
            self._worker.begin_close()
            raise
        except BaseException:
            await self._worker.aclose()
            raise
        assert self._handle is not None  # noqa: S101 - for mypy
        return self._handle

    def write(self, statements: Sequence[Statement]) -> asyncio.Future[None]:
        """Queue one transaction. The future is done when it is on disk, or fails with `JournalError`."""
        return self._worker.write(partial(execute, statements=statements))

    async def query(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Read from the journal, after every earlier `write`.

        Raises:
            JournalError: The journal cannot be read, or nothing is written any more.
        """

        def answer(db: sqlite3.Connection) -> T:
            try:
                return question(db)
            except sqlite3.Error as error:
                raise JournalError(f"the journal cannot be read: {error}. Check the disk and resume.") from None

        return await self._worker.run(answer)

    async def aclose(self) -> None:
        """Write what is queued, close the file, release the lock and end the thread.

        May be called twice, and cancelled: the close goes on.
        """
        await self._worker.aclose()

    def close_at_exit(self) -> None:
        """Close the journal at the exit of the program, unless its loop still runs in another thread."""
        if not (self._worker.is_inherited or self._loop.is_running()):
            self._close()

    def _connect(self) -> sqlite3.Connection:
        self._handle = handle = self._open_journal()
        _open.add(self)
        return handle.db

    def _close(self) -> None:
        _open.discard(self)
        if self._handle is not None:
            self._handle.close()

    def _job_error(self, error: BaseException) -> BaseException:
        if isinstance(error, JournalError) or self._handle is None:
            return error
        path = self._handle.path
        return JournalError(
            f"the journal {path} cannot be written: {error}. Free disk space, check the disk and the permissions of "
            f"the file, then continue with client.resume, or: truecaller campaign resume {path}"
        )


@atexit.register
def _close_all_at_exit() -> None:
    for writer in tuple(_open):
        writer.close_at_exit()
