"""What next, for a token that may send.

Three kinds of work wait here, in this order of urgency: single records pushed in real time (to isolate a bad one),
polls that are due, and batches, first the one whose window closes first, then source order; the parts of a split one
stand where the whole stood. A batch may have to wait:
for its backoff (`not_before`) or for earlier batches of the same (caller, receiver) pair (`after`). `ready` names the
calls that have work now, most urgent first; a lane takes permission for one of them, and only then the work.

Nothing here sleeps or reads a clock; `next_due` says when something that waits will be ready.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from heapq import heapify, heappop, heappush

from truecaller_async.planning.outgoing_batch import OutgoingBatch


class WorkQueue:
    """The work of one campaign that is not in flight."""

    def __init__(self) -> None:
        self._pushes: deque[OutgoingBatch] = deque()
        self._ready: list[tuple[int, int, int, OutgoingBatch]] = []
        self._delayed: list[tuple[float, int, OutgoingBatch]] = []
        self._blocked: dict[int, OutgoingBatch] = {}
        self._waiting_for: dict[int, set[int]] = {}
        self._polls: list[tuple[float, int]] = []
        self.records = 0

    @property
    def batches(self) -> int:
        """Batches that wait to be sent, for whatever reason."""
        return len(self._ready) + len(self._delayed) + len(self._blocked)

    def add(self, batch: OutgoingBatch, now: float) -> None:
        """A draft is to be sent, when its backoff is over and the drafts it comes after are settled."""
        self.records += len(batch)
        if batch.blocked_by:
            self._blocked[batch.seq] = batch
            for seq in batch.blocked_by:
                self._waiting_for.setdefault(seq, set()).add(batch.seq)
        elif batch.not_before > now:
            heappush(self._delayed, (batch.not_before, batch.seq, batch))
        elif batch.call == "push":
            self._pushes.append(batch)
        else:
            heappush(self._ready, (batch.expires_ms, batch.root_batch or batch.seq, batch.seq, batch))

    def unblock(self, seq: int, now: float) -> None:
        """A draft is settled: those that came after it may go."""
        for waiting in sorted(self._waiting_for.pop(seq, ())):
            batch = self._blocked.get(waiting)
            if batch is None:
                continue
            batch.blocked_by.discard(seq)
            if not batch.blocked_by:
                del self._blocked[waiting]
                self.records -= len(batch)
                self.add(batch, now)

    def split(self, seq: int, parts: Collection[int]) -> None:
        """A draft was split: those that came after it come after all of its parts."""
        for waiting in self._waiting_for.pop(seq, ()):
            batch = self._blocked.get(waiting)
            if batch is None:
                continue
            batch.blocked_by.discard(seq)
            batch.blocked_by.update(parts)
            for part in parts:
                self._waiting_for.setdefault(part, set()).add(waiting)

    def add_poll(self, seq: int, due: float) -> None:
        """Ask for the status of this accepted draft at `due`."""
        heappush(self._polls, (due, seq))

    def ready(self, now: float) -> Iterator[str]:
        """The calls for which there is work now, most urgent first."""
        self._move_due_batches(now)
        if self._pushes:
            yield "push"
        if self._polls and self._polls[0][0] <= now:
            yield "status"
        if self._ready:
            yield "submit"

    def pop(self, call: str) -> OutgoingBatch:
        """The most urgent draft for "push" or "submit"; `ready` said there is one."""
        batch = self._pushes.popleft() if call == "push" else heappop(self._ready)[3]
        self.records -= len(batch)
        return batch

    def pop_poll(self) -> int:
        """The draft whose poll has been due longest; `ready` said there is one."""
        return heappop(self._polls)[1]

    def next_due(self, now: float) -> float | None:
        """When more will be ready than is now. What is due already waits for a permit, not for its time."""
        times = [heap[0][0] for heap in (self._delayed, self._polls) if heap and heap[0][0] > now]
        return min(times, default=None)

    def remove_all(self) -> list[OutgoingBatch]:
        """Take out every draft: nothing more is sent. Polls stay."""
        drafts = [entry[3] for entry in self._ready] + [entry[2] for entry in self._delayed]
        drafts += [*self._blocked.values(), *self._pushes]
        self._ready, self._delayed, self._blocked, self._waiting_for = [], [], {}, {}
        self._pushes.clear()
        self.records = 0
        return sorted(drafts, key=lambda batch: batch.seq)

    def remove_pushes(self, root_batch: int) -> list[OutgoingBatch]:
        """Take out the single records that still wait to be isolated from this batch."""
        waiting = [batch for batch in self._pushes if batch.root_batch == root_batch]
        held = [*(entry[2] for entry in self._delayed), *self._blocked.values()]
        waiting += [batch for batch in held if batch.call == "push" and batch.root_batch == root_batch]
        gone = {batch.seq for batch in waiting}
        self._pushes = deque(batch for batch in self._pushes if batch.seq not in gone)
        self._delayed = [entry for entry in self._delayed if entry[1] not in gone]
        heapify(self._delayed)
        self._blocked = {seq: batch for seq, batch in self._blocked.items() if seq not in gone}
        self.records -= sum(len(batch) for batch in waiting)
        return waiting

    def remove_records(self, records: int) -> None:
        """So many records were taken out of a draft that waits here."""
        self.records -= records

    def find(self, seq: int) -> OutgoingBatch | None:
        """A draft that waits, by its number."""
        found = self._blocked.get(seq)
        if found is not None:
            return found
        waiting = [*(entry[3] for entry in self._ready), *(entry[2] for entry in self._delayed)]
        return next((batch for batch in waiting if batch.seq == seq), None)

    def _move_due_batches(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            batch = heappop(self._delayed)[2]
            self.records -= len(batch)
            self.add(batch, now)
