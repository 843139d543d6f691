"""Where results wait for their reader.

Results travel together, as they were found. The outlet never blocks a writer: what bounds it are the credits, because
the source is asked for a record only while fewer than `max_unresolved` are past it and not yet in the reader's hands.
So a reader that is slow stops the reading of the source, and never the polling.
"""

from __future__ import annotations

from collections import deque

from truecaller_async.engine.wakeup import Wakeup
from truecaller_async.models import ResultList


class ResultQueue:
    """A queue of results, closed by the end of the run."""

    def __init__(self) -> None:
        self._lists: deque[ResultList] = deque()
        self._arrived = Wakeup()
        self.delivered_count = 0
        self.queued_count = 0
        self.closed = False

    def put(self, results: ResultList) -> None:
        """Results are ready."""
        self._lists.append(results)
        self.queued_count += len(results)
        self._arrived.notify_all()

    def close(self) -> None:
        """Nothing more comes."""
        self.closed = True
        self._arrived.notify_all()

    async def get(self) -> ResultList:
        """The next results; none means the end."""
        while not self._lists:
            if self.closed:
                return []
            await self._arrived.wait()
        results = self._lists.popleft()
        self.queued_count -= len(results)
        self.delivered_count += len(results)
        return results
