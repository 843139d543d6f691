"""Order the work of one campaign: which batch is sent or polled next, and when.

Purpose:
    The queue is a projection of `CampaignState`. After each entry the recorder calls `place` for the changed batches,
    and their states decide where they are. What no entry contains is kept here: times, back-off, poll schedules, and
    the order of the pairs (`pair_order`).
Algorithm:
    Kinds of work, in their order of priority:
    1. "push": single records that are pushed in real time to isolate a bad one, in order of arrival.
    2. "status": polls that are due, the most overdue first.
    3. "submit": batches, by earliest end of a window, then by source order. A part of a split batch has the position of
       the whole.
    A batch waits while its back-off is not over (`not_before`), or while a batch with earlier records of the same pairs
    is not settled (`blocked_by`). First attempts and retries have heaps of their own, so a retry that may not be sent
    delays no first attempt.
Invariants:
    - Each open batch that is not released is in exactly one place.
    - Heap entries are never searched: one whose `version` differs from that of its batch is ignored.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from heapq import heappop, heappush
from itertools import count
from typing import TypeAlias

import attrs

from truecaller_async.campaign.core.batch import WAITING_STATES, CampaignBatch
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.core.pair_order import PairOrder
from truecaller_async.campaign.core.poll_schedule import AdaptiveFirstPoll, PollSchedule
from truecaller_async.options import PollPolicy


class Place(IntEnum):
    """Define where an open batch is. Up to `READY` it waits to be sent."""

    BLOCKED = 0
    """It waits for batches with earlier records of the same pairs."""
    DELAYED = 1
    """It waits until `not_before`."""
    READY = 2
    """It may be sent."""
    IN_FLIGHT = 3
    """A worker sends it."""
    POLLING = 4
    """It waits for its next poll."""
    POLLED = 5
    """A worker polls it."""
    NOWHERE = 6
    """Its next step is taken in the same transaction, or by the resume."""


@attrs.define(eq=False)
class QueuedBatch:
    """One open batch in the queue. Times are seconds of the event loop's clock."""

    batch: CampaignBatch
    """The batch."""
    lost_answers: int = attrs.field(default=attrs.Factory(lambda item: item.batch.lost_answers, takes_self=True))
    """Number of its lost answers up to now."""
    lost_at: float = float("-inf")
    """Time at which its answer was lost; `-inf` if an earlier process lost it."""
    place: Place = Place.NOWHERE
    """Where it is."""
    not_before: float = 0.0
    """Earliest time of the next attempt."""
    blocked_by: set[int] = attrs.field(factory=set)
    """Numbers of the batches that must be settled first."""
    polls: PollSchedule | None = None
    """Times of its polls, once it is accepted."""
    version: int = 0
    """Number of its latest entry in a heap."""

    @property
    def is_retry(self) -> bool:
        """Return whether the next request repeats a failed one."""
        return self.polls.failures > 0 if self.polls is not None else self.batch.is_retry


HeapEntry: TypeAlias = tuple[float, int, int, int, QueuedBatch]
"""Entry of a heap: time or priority, source position, batch number, version, batch."""


CALLS = ("push", "status", "submit")
NEVER = float("inf")


class WorkQueue:
    """The open batches of one run, by what is to be done with them next.

    Args:
        state: The state of the campaign.
        poll: The policy of the campaign for polls.
    """

    def __init__(self, state: CampaignState, poll: PollPolicy) -> None:
        self.pairs = PairOrder()
        """Order of batches with the same caller and receiver."""
        self.first_poll = AdaptiveFirstPoll(poll)
        """Learned delay of the first status request."""
        self._state = state
        self._poll_policy = poll
        self.ready_at = NEVER
        """Time before which no work becomes ready. It may be too early, and is never too late."""
        self._items: dict[int, QueuedBatch] = {}
        self._first_attempts: dict[str, list[HeapEntry]] = {call: [] for call in CALLS}
        self._retries: dict[str, list[HeapEntry]] = {call: [] for call in CALLS}
        self._delayed: list[HeapEntry] = []
        self._waiting_for: dict[int, set[int]] = {}
        self._counts = [0] * len(Place)
        self._numbers = count(1)
        self._pushes_waiting = 0

    @property
    def waiting_count(self) -> int:
        """Return the number of batches that wait to be sent."""
        counts = self._counts
        return counts[Place.BLOCKED] + counts[Place.DELAYED] + counts[Place.READY]

    @property
    def submits_waiting(self) -> int:
        """Return the number of batches that wait to be sent, without pushes."""
        return self.waiting_count - self._pushes_waiting

    @property
    def accepted_count(self) -> int:
        """Return the number of accepted batches that are polled."""
        return self._counts[Place.POLLING] + self._counts[Place.POLLED]

    def waiting(self) -> list[QueuedBatch]:
        """Return the batches that wait to be sent, in source order."""
        return [item for _, item in sorted(self._items.items()) if item.place <= Place.READY]

    def accepted(self) -> list[QueuedBatch]:
        """Return the accepted batches that are polled, in source order."""
        return [item for _, item in sorted(self._items.items()) if item.place in (Place.POLLING, Place.POLLED)]

    def find(self, seq: int) -> QueuedBatch | None:
        """Return an open batch by number, None if there is none."""
        return self._items.get(seq)

    def find_waiting(self, seq: int) -> QueuedBatch | None:
        """Return a batch that waits to be sent by number, None if there is none."""
        item = self._items.get(seq)
        return item if item is not None and item.place <= Place.READY else None

    def enter(self, batch: CampaignBatch, blocked_by: Collection[int] = ()) -> QueuedBatch:
        """Add a new batch that must wait for these batches. Call it before the first `place`."""
        item = self._items[batch.seq] = QueuedBatch(batch)
        self._counts[Place.NOWHERE] += 1
        self.block(item, blocked_by)
        return item

    def block(self, item: QueuedBatch, blocked_by: Collection[int]) -> None:
        """Let a batch wait for more batches. Takes effect with the next `place`."""
        item.blocked_by.update(blocked_by)
        for seq in blocked_by:
            self._waiting_for.setdefault(seq, set()).add(item.batch.seq)

    def split(self, seq: int, parts: Collection[int]) -> None:
        """Record that a part of a batch is split again: batches that wait for it wait for all of its parts."""
        for waiting in sorted(self._waiting_for.get(seq, ())):
            item = self._items.get(waiting)
            if item is not None and seq in item.blocked_by:
                self.block(item, parts)

    def place(self, batch: CampaignBatch, now: float) -> None:
        """Put a changed batch where its state says, and unblock the batches that wait for it if it is settled."""
        item = self._items.get(batch.seq)
        if batch.open_count and not batch.released:
            self._locate(item or self.enter(batch), now)
        elif item is not None:
            self._move(item, Place.NOWHERE)
            self._counts[Place.NOWHERE] -= 1
            del self._items[batch.seq]
        if batch.is_settled:
            self._unblock(batch.seq, now)
        if batch.root_batch is not None:
            root = self._state.batches.get(batch.root_batch)
            if root is None or root.is_settled:
                self._unblock(batch.root_batch, now)

    def delay(self, seq: int, until: float) -> None:
        """Set the earliest time of the next attempt. Takes effect with the next `place`."""
        item = self._items.get(seq)
        if item is not None:
            item.not_before = until

    def postpone(self, item: QueuedBatch, until: float, now: float) -> None:
        """Let a waiting batch wait longer."""
        item.not_before = until
        self._locate(item, now)

    def promote(self, now: float) -> None:
        """Make the batches ready whose back-off is over."""
        while self._delayed and (entry := self._head(self._delayed)) is not None and entry[0] <= now:
            heappop(self._delayed)
            self._locate(entry[4], now)

    def peek(self, call: str, now: float, *, with_retries: bool) -> QueuedBatch | None:
        """Return the most urgent work of a call that is ready now, None if there is none.

        Args:
            call: "push", "status" or "submit".
            now: The time.
            with_retries: Consider retries too.
        """
        found = self._head(self._first_attempts[call])
        if with_retries and self._retries[call] and (retry := self._head(self._retries[call])) is not None:
            found = retry if found is None else min(found, retry)
        if found is None or (call == "status" and found[0] > now):
            return None
        return found[4]

    def take_poll(self, item: QueuedBatch) -> None:
        """Give an accepted batch to a worker that polls it."""
        self._move(item, Place.POLLED)

    def add_poll(self, item: QueuedBatch, due: float) -> None:
        """Let an accepted batch wait for a poll that is due at `due`."""
        self._move(item, Place.POLLING)
        self._push(self._heap("status", is_retry=item.is_retry), item, due)
        self.ready_at = min(self.ready_at, due)

    def next_due(self, now: float) -> float:
        """Return the time at which more work becomes ready, `inf` if there is none; ignore due work."""
        soonest = NEVER
        for heap in (self._delayed, self._first_attempts["status"], self._retries["status"]):
            if heap and (entry := self._head(heap)) is not None and now < entry[0] < soonest:
                soonest = entry[0]
        return soonest

    def _locate(self, item: QueuedBatch, now: float) -> None:
        batch = item.batch
        if batch.state in WAITING_STATES:
            self._locate_waiting(item, now)
        elif batch.state is BatchState.IN_FLIGHT:
            self._move(item, Place.IN_FLIGHT)
        elif batch.state is BatchState.ACCEPTED and batch.batch_id is not None:
            if item.polls is None:
                delay = self.first_poll.delay
                item.polls = PollSchedule(self._poll_policy, now, delay)
                self.add_poll(item, now + delay)
        else:
            self._move(item, Place.NOWHERE)

    def _locate_waiting(self, item: QueuedBatch, now: float) -> None:
        batch = item.batch
        if batch.lost_answers > item.lost_answers:
            item.lost_answers, item.lost_at = batch.lost_answers, now
        if item.blocked_by:
            self._move(item, Place.BLOCKED)
        elif item.not_before > now:
            self._move(item, Place.DELAYED)
            self._push(self._delayed, item, item.not_before)
            self.ready_at = min(self.ready_at, item.not_before)
        else:
            self._move(item, Place.READY)
            is_push = batch.call == "push"
            urgency = next(self._numbers) if is_push else batch.open_content.expires_ms
            self._push(self._heap(batch.call, is_retry=batch.is_retry), item, urgency)
            self.ready_at = now

    def _move(self, item: QueuedBatch, place: Place) -> None:
        if item.batch.call == "push":
            self._pushes_waiting += (place <= Place.READY) - (item.place <= Place.READY)
        self._counts[item.place] -= 1
        self._counts[place] += 1
        item.place = place
        item.version += 1

    def _heap(self, call: str, *, is_retry: bool) -> list[HeapEntry]:
        return (self._retries if is_retry else self._first_attempts)[call]

    def _push(self, heap: list[HeapEntry], item: QueuedBatch, priority: float) -> None:
        heappush(heap, (priority, item.batch.root_or_self, item.batch.seq, item.version, item))

    def _head(self, heap: list[HeapEntry]) -> HeapEntry | None:
        """Return the first entry of a heap that is still valid; remove those before it."""
        while heap:
            if heap[0][3] == heap[0][4].version:
                return heap[0]
            heappop(heap)
        return None

    def _unblock(self, seq: int, now: float) -> None:
        self.pairs.remove(seq)
        for waiting in sorted(self._waiting_for.pop(seq, ())):
            item = self._items.get(waiting)
            if item is None:
                continue
            item.blocked_by.discard(seq)
            if not item.blocked_by and item.place is Place.BLOCKED:
                self._locate(item, now)
