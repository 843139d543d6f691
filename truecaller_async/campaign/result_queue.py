"""Queue of results between the engine and the consumer of the results.

Invariants:
    - `put` never blocks, so a slow consumer never delays polling or sending.
    - The queue is bounded by the credits of the run: the source is read only while fewer than `max_unresolved` rows
      are read and not yet delivered to the consumer. A slow consumer therefore stops the reading of the source.
"""

from __future__ import annotations

from collections import deque

from truecaller_async.campaign.wakeup import Wakeup
from truecaller_async.models import ResultList


class ResultQueue:
    """Queue of lists of results; `close` marks the end of the run."""

    def __init__(self) -> None:
        self._result_lists: deque[ResultList] = deque()
        self._arrived = Wakeup()
        self.delivered_count = 0
        """Results that were given to the consumer, in all runs of the campaign."""
        self.queued_count = 0
        """Results that wait for the consumer."""
        self.closed = False

    def put(self, results: ResultList) -> None:
        """Add a list of results and wake the consumer."""
        self._result_lists.append(results)
        self.queued_count += len(results)
        self._arrived.notify_all()

    def close(self) -> None:
        """Mark the end of the results."""
        self.closed = True
        self._arrived.notify_all()

    async def get(self) -> ResultList:
        """Wait for the next list of results; return an empty list at the end."""
        while not self._result_lists:
            if self.closed:
                return []
            # No await between the two checks above and this wait, so no `put` or `close` is missed.
            await self._arrived.wait()
        results = self._result_lists.popleft()
        self.queued_count -= len(results)
        self.delivered_count += len(results)
        return results
