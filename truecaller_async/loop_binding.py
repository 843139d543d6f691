"""Where a client lives: one event loop of one process.

Locks, sockets and timers belong to the loop that made them, and a fork copies them without the thread that serves
them. Shared with another loop or process they do not fail, they hang or mix up answers. So a client is bound to the
loop and the process of its first use, every entry asks here before it touches anything, and the answer is a sentence
that says what to do.
"""

from __future__ import annotations

import asyncio
import os

from truecaller_async.errors import ClientClosed

CLOSED = "the client is closed; make a new one (a server makes one at its start and closes it at its end)"
OTHER_PROCESS = (
    "the client was first used in another process, before a fork; make a new one in this process, "
    "such as with TruecallerClient.from_env()"
)
OTHER_LOOP = (
    "the client was first used in another event loop; make one client in each loop, "
    "or do all the work in one asyncio.run()"
)
OTHER_LOOP_LIVES = "the client was first used in another event loop, which is still open; close it there"


class LoopBinding:
    """The loop and the process of a client's first use, and whether it is closed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid: int | None = None
        self.closed = False

    @property
    def is_unclosed(self) -> bool:
        """Whether it was used in this process and never closed."""
        return self._loop is not None and self._pid == os.getpid() and not self.closed

    def check(self) -> None:
        """Raises `ClientClosed` where the client may not be used here; binds nothing. Needs a running loop."""
        loop = asyncio.get_running_loop()
        if self.closed:
            raise ClientClosed(CLOSED)
        if self._pid not in (None, os.getpid()):
            raise ClientClosed(OTHER_PROCESS)
        if self._loop not in (None, loop):
            raise ClientClosed(OTHER_LOOP)

    def bind(self) -> None:
        """Check, and be at home here from now on."""
        self.check()
        if self._loop is None:
            self._loop, self._pid = asyncio.get_running_loop(), os.getpid()

    def close(self) -> bool:
        """Close it. False means that nothing may be touched: what is open belongs to the process before the fork.

        Raises `ClientClosed` in another loop while its own is still open, since only that one can close it.
        """
        if self._pid not in (None, os.getpid()):
            self.closed = True
            return False
        loop = self._loop
        if not (self.closed or loop is None or loop is asyncio.get_running_loop() or loop.is_closed()):
            raise ClientClosed(OTHER_LOOP_LIVES)
        self.closed = True
        return True
