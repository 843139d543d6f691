"""Bind a client to one event loop of one process: those of its first use.

Purpose:
    Locks, sockets and timers belong to the loop that made them, and a fork copies them without the thread that serves
    them. Shared with another loop or process they do not fail: they hang, or mix up answers. So each entry point checks
    the binding before it touches anything, and raises `ClientClosed` with a message that says what to do.
"""

from __future__ import annotations

import asyncio
import os

from truecaller_async.errors import ClientClosed

CLOSED = "the client is closed. Make a new one; a server makes one at its start and closes it at its end."
OTHER_PROCESS = (
    "the client cannot be used here: it was first used in another process, before a fork. "
    "Make a new one in this process, for example with TruecallerClient.from_env()."
)
OTHER_LOOP = (
    "the client cannot be used here: it was first used in another event loop. "
    "Make one client in each loop, or do all the work in one asyncio.run()."
)
OTHER_LOOP_IS_OPEN = (
    "the client cannot be closed here: it was first used in another event loop, which is still open. Close it there."
)


class LoopBinding:
    """The event loop and the process of the first use, and whether the client is closed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid: int | None = None
        self.closed = False

    @property
    def is_unclosed(self) -> bool:
        """Return whether the client was used in this process and is not closed."""
        return self._loop is not None and self._pid == os.getpid() and not self.closed

    def check(self) -> None:
        """Check that the client may be used here; bind nothing. Needs a running event loop.

        Raises:
            ClientClosed: The client is closed, or bound to another event loop or process.
        """
        loop = asyncio.get_running_loop()
        if self.closed:
            raise ClientClosed(CLOSED)
        if self._pid not in (None, os.getpid()):
            raise ClientClosed(OTHER_PROCESS)
        if self._loop not in (None, loop):
            raise ClientClosed(OTHER_LOOP)

    def bind(self) -> None:
        """Check, and bind the client to this event loop and process if it is not bound yet.

        Raises:
            ClientClosed: As `check()`.
        """
        self.check()
        if self._loop is None:
            self._loop, self._pid = asyncio.get_running_loop(), os.getpid()

    def close(self) -> bool:
        """Mark the client as closed.

        Returns:
            Whether its resources may be closed here. False in a forked child: they belong to the parent process.

        Raises:
            ClientClosed: The client is bound to another event loop that is still open; only there it can be closed.
        """
        if self._pid not in (None, os.getpid()):
            self.closed = True
            return False
        loop = self._loop
        if not (self.closed or loop is None or loop is asyncio.get_running_loop() or loop.is_closed()):
            raise ClientClosed(OTHER_LOOP_IS_OPEN)
        self.closed = True
        return True
