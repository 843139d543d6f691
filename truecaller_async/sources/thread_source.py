"""A plain iterable, read in a thread of its own.

Generators that ask a database, cursors and query sets block while they think, and some refuse to be read on an event
loop at all. So one thread, always the same, makes the iterator, reads it and closes it; the loop only ever sees lists.

The thread reads no further than it was asked to: it sleeps until somebody waits in `read`, and stops at the limit given
there. What it has read is handed over in one go, as soon as there is something: a slow source gives its items one by
one, a fast one in full lists, because the thread goes on while the loop wakes up.

Nothing can interrupt a source that blocks in the middle of an item. `aclose` waits a while for it, and then leaves it
to its thread, which is a daemon and closes the source when it comes back, or ends with the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

CLOSE_TIMEOUT_SECONDS = 2.0
"""Seconds for which a source may go on thinking over one item after it was closed, before it is left alone."""


class ThreadSource:
    """Reads `items` once. Nothing of it is touched on the event loop, not even its `__iter__`."""

    def __init__(self, items: Iterable[object]) -> None:
        self._items = items
        self._condition = threading.Condition()
        self._buffer: deque[Any] = deque()
        self._buffer_limit = 0
        self._wake_loop: Callable[[], object] | None = None
        self._failure: Exception | None = None
        self._closing = False
        self._ended = False
        self._thread: threading.Thread | None = None

    async def read(self, limit: int) -> list[Any]:
        """The next 1 to `limit` items; an empty list at the end.

        Raises what the source raised, after the items before it. Cancelled, it loses nothing.
        """
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        with self._condition:
            self._buffer_limit = limit
            self._wake_loop = lambda: loop.call_soon_threadsafe(arrived.set)
            self._start_thread()
            self._condition.notify()
            if self._buffer or self._ended:
                arrived.set()
        try:
            await arrived.wait()
        finally:
            with self._condition:
                self._buffer_limit, self._wake_loop = 0, None
        with self._condition:
            items = [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]
            failure, self._failure = (None, self._failure) if items else (self._failure, None)
        if failure is not None:
            raise failure
        return items

    async def aclose(self) -> None:
        """Close the source in its own thread, and wait for that, but not for ever. Raises what closing raises."""
        with self._condition:
            self._closing = True
            if self._thread is None or self._ended:
                return
            closed = asyncio.Event()
            loop = asyncio.get_running_loop()
            self._wake_loop = lambda: loop.call_soon_threadsafe(closed.set)
            self._condition.notify()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_SECONDS):
                await closed.wait()
        except TimeoutError:
            pass
        with self._condition:
            self._wake_loop = None
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _start_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="truecaller source", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        """The thread: read when asked, then close."""
        failure: Exception | None = None
        try:
            items = iter(self._items)
            try:
                self._fill_buffer(items)
            finally:
                if hasattr(items, "close"):
                    items.close()
        except Exception as error:  # noqa: BLE001 - whatever the source raises is raised to its reader
            failure = error
        with self._condition:
            self._failure = failure
            self._ended = True
            self._notify_loop()

    def _fill_buffer(self, items: Iterator[object]) -> None:
        while self._wait_for_demand():
            for item in items:
                with self._condition:
                    self._buffer.append(item)
                    self._notify_loop()
                    if self._closing or len(self._buffer) >= self._buffer_limit:
                        break
            else:
                return

    def _wait_for_demand(self) -> bool:
        """Sleep until there is something to read for; False when it is over."""
        with self._condition:
            self._condition.wait_for(lambda: self._closing or len(self._buffer) < self._buffer_limit)
            return not self._closing

    def _notify_loop(self) -> None:
        wake_loop, self._wake_loop = self._wake_loop, None
        if wake_loop is not None:
            wake_loop()
