"""Where results wait for their reader.

Results travel in lists. The outlet never blocks a writer: what bounds it are the credits, because the source is asked
for a record only while fewer than `max_unresolved` are past it and not yet in the reader's hands. So a reader that is
slow stops the reading of the source, and never the polling.
"""

from __future__ import annotations

from collections import deque

from truecaller_async.engine.alarm import Alarm
from truecaller_async.models import RecordResult


class Outlet:
    """A queue of lists of results, closed by the end of the run."""

    def __init__(self) -> None:
        self._lists: deque[list[RecordResult]] = deque()
        self._arrived = Alarm()
        self.handed_over = 0
        self.waiting = 0
        self.closed = False

    def put(self, results: list[RecordResult]) -> None:
        """Results are ready."""
        self._lists.append(results)
        self.waiting += len(results)
        self._arrived.ring()

    def close(self) -> None:
        """Nothing more comes."""
        self.closed = True
        self._arrived.ring()

    async def take(self) -> list[RecordResult]:
        """The next list; an empty one means the end."""
        while not self._lists:
            if self.closed:
                return []
            await self._arrived.wait()
        results = self._lists.popleft()
        self.waiting -= len(results)
        self.handed_over += len(results)
        return results
