"""Read a plain iterable in its own thread.

Generators that query a database, cursors and query sets block while they wait, and some must not be read on an event
loop. One thread creates the iterator, reads it and closes it. The event loop receives lists only.

Algorithm:
    - The thread sleeps until a caller waits in `read`, and stops at its limit. So it never reads further than
      requested.
    - Items are returned as soon as there is one. A slow source gives single items, a fast one full lists, because the
      thread continues while the loop wakes up.
Failure modes:
    - A source that blocks inside an item cannot be interrupted. `aclose` waits `CLOSE_TIMEOUT_SECONDS` and then
      returns. The daemon thread closes the source when it continues, or ends with the process.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

CLOSE_TIMEOUT_SECONDS = 2.0
"""How long `aclose` waits for a source that blocks inside an item."""


class ThreadSource:
    """Reads `items` once, in a thread. The event loop does not touch them, not even their `__iter__`."""

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
        """Return the next 1 to `limit` items; an empty list at the end.

        A cancelled call loses no items.

        Args:
            limit: Largest number of items, from 1.

        Returns:
            The items.

        Raises:
            Exception: The exception of the source, after the items before it.
        """
        arrived = asyncio.Event()
        loop = asyncio.get_running_loop()
        with self._condition:
            self._buffer_limit = limit
            self._wake_loop = lambda: loop.call_soon_threadsafe(arrived.set)
            self._start_thread()
            self._condition.notify()
            # Checked under the lock, after `_wake_loop` is set: items that arrived before would wake no caller.
            if self._buffer or self._ended:
                arrived.set()
        try:
            await arrived.wait()
        finally:
            with self._condition:  # also after a cancellation: the thread stops, and its items stay in the buffer
                self._buffer_limit, self._wake_loop = 0, None
        with self._condition:
            items = [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]
            failure, self._failure = (None, self._failure) if items else (self._failure, None)
        if failure is not None:
            raise failure
        return items

    async def aclose(self) -> None:
        """Close the source in its thread, and wait for it at most `CLOSE_TIMEOUT_SECONDS`.

        Raises:
            Exception: As closing the source does.
        """
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
        """Run in the thread: read on demand, then close."""
        failure: Exception | None = None
        try:
            items = iter(self._items)
            try:
                self._fill_buffer(items)
            finally:
                if hasattr(items, "close"):
                    items.close()
        except Exception as error:  # noqa: BLE001 - every exception of the source is raised to its reader
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
        """Sleep until there is something to read. Return False after a close."""
        with self._condition:
            self._condition.wait_for(lambda: self._closing or len(self._buffer) < self._buffer_limit)
            return not self._closing

    def _notify_loop(self) -> None:
        wake_loop, self._wake_loop = self._wake_loop, None
        if wake_loop is not None:
            wake_loop()
