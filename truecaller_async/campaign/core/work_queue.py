"""Order the waiting work of one campaign.

Algorithm:
    Priority of the kinds of work:
    1. "push": single records that are pushed in real time to isolate a bad one, in order of arrival.
    2. "status": polls that are due, the most overdue first.
    3. "submit": batches, by earliest end of a window, then by source order. A part of a split batch has the position of
       the whole.
    A batch waits while its backoff is not over (`not_before`), or while a batch with earlier records of the same pairs
    is not settled (`blocked_by`). `ready` lists the calls that have work now. The dispatcher first acquires a permit
    for one of them and then calls `pop`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from heapq import heapify, heappop, heappush

from truecaller_async.campaign.core.outgoing_batch import OutgoingBatch


class WorkQueue:
    """Hold the batches and polls of one campaign that are not in flight."""

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
        """Return the number of waiting batches, without pushes that are ready."""
        return len(self._ready) + len(self._delayed) + len(self._blocked)

    def add(self, batch: OutgoingBatch, now: float) -> None:
        """Add a batch. It becomes ready when its backoff is over and the batches that block it are settled."""
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
        """Record that a batch is settled; batches that waited only for it become ready."""
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
        """Record that a batch was split; batches that waited for it wait for all parts."""
        for waiting in self._waiting_for.pop(seq, ()):
            batch = self._blocked.get(waiting)
            if batch is None:
                continue
            batch.blocked_by.discard(seq)
            batch.blocked_by.update(parts)
            for part in parts:
                self._waiting_for.setdefault(part, set()).add(waiting)

    def add_poll(self, seq: int, due: float) -> None:
        """Add a poll of an accepted batch that is due at `due`."""
        heappush(self._polls, (due, seq))

    def ready(self, now: float) -> Iterator[str]:
        """Yield the calls that have work now, most urgent first."""
        self._move_due_batches(now)
        if self._pushes:
            yield "push"
        if self._polls and self._polls[0][0] <= now:
            yield "status"
        if self._ready:
            yield "submit"

    def pop(self, call: str) -> OutgoingBatch:
        """Remove and return the most urgent batch for "push" or "submit"; `ready` must have listed the call."""
        batch = self._pushes.popleft() if call == "push" else heappop(self._ready)[3]
        self.records -= len(batch)
        return batch

    def pop_poll(self) -> int:
        """Remove the most overdue poll and return the number of its batch; `ready` must have listed "status"."""
        return heappop(self._polls)[1]

    def next_due(self, now: float) -> float | None:
        """Return the time at which more work becomes ready, or None. Work that is due already is ignored."""
        times = [heap[0][0] for heap in (self._delayed, self._polls) if heap and heap[0][0] > now]
        return min(times, default=None)

    def remove_all(self) -> list[OutgoingBatch]:
        """Remove and return all batches, in source order. Polls stay."""
        batches = [entry[3] for entry in self._ready] + [entry[2] for entry in self._delayed]
        batches += [*self._blocked.values(), *self._pushes]
        self._ready, self._delayed, self._blocked, self._waiting_for = [], [], {}, {}
        self._pushes.clear()
        self.records = 0
        return sorted(batches, key=lambda batch: batch.seq)

    def remove_pushes(self, root_batch: int) -> list[OutgoingBatch]:
        """Remove and return the waiting pushes that were split from a batch to isolate its bad records."""
        waiting = [batch for batch in self._pushes if batch.root_batch == root_batch]
        not_ready = [*(entry[2] for entry in self._delayed), *self._blocked.values()]
        waiting += [batch for batch in not_ready if batch.call == "push" and batch.root_batch == root_batch]
        removed = {batch.seq for batch in waiting}
        self._pushes = deque(batch for batch in self._pushes if batch.seq not in removed)
        self._delayed = [entry for entry in self._delayed if entry[1] not in removed]
        heapify(self._delayed)
        self._blocked = {seq: batch for seq, batch in self._blocked.items() if seq not in removed}
        self.records -= sum(len(batch) for batch in waiting)
        return waiting

    def remove_records(self, records: int) -> None:
        """Correct the record count after records were removed from a waiting batch."""
        self.records -= records

    def find(self, seq: int) -> OutgoingBatch | None:
        """Return a waiting batch by number, or None. Ready pushes are not searched."""
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
