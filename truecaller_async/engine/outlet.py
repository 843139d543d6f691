"""Where results wait for their reader.

Results travel together, as they were found. The outlet never blocks a writer: what bounds it are the credits, because
the source is asked for a record only while fewer than `max_unresolved` are past it and not yet in the reader's hands.
So a reader that is slow stops the reading of the source, and never the polling.
"""

from __future__ import annotations

from collections import deque

from truecaller_async.engine.alarm import Alarm
from truecaller_async.models import Answered


class Outlet:
    """A queue of results, closed by the end of the run."""

    def __init__(self) -> None:
        self._lists: deque[Answered] = deque()
        self._arrived = Alarm()
        self.handed_over = 0
        self.waiting = 0
        self.closed = False

    def put(self, results: Answered) -> None:
        """Results are ready."""
        self._lists.append(results)
        self.waiting += len(results)
        self._arrived.ring()

    def close(self) -> None:
        """Nothing more comes."""
        self.closed = True
        self._arrived.ring()

    async def take(self) -> Answered:
        """The next results; none means the end."""
        while not self._lists:
            if self.closed:
                return []
            await self._arrived.wait()
        results = self._lists.popleft()
        self.waiting -= len(results)
        self.handed_over += len(results)
        return results
