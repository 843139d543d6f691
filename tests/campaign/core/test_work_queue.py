"""Test where the queue places batches, and in which order it gives the work."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.campaign.core.records import HOUR, START, record
from tests.journal.entry_generator import EntryGenerator, entry_generators
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.core.work_queue import Place, QueuedBatch, WorkQueue
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchPlanned,
    BatchReleased,
    JournalEntry,
    RowsSettled,
    RunStarted,
)
from truecaller_async.options import PollPolicy


class Campaign:
    """A state and its queue; each batch has one record, and rows are planned in the order of the calls."""

    def __init__(self) -> None:
        self.state = CampaignState()
        self.queue = WorkQueue(self.state, PollPolicy())
        self.state.apply(RunStarted(0.0, 1, "resend", 2))

    def plan(self, seq: int, hours: int = 1, **other: Any) -> QueuedBatch:
        """Plan a batch whose window ends after these hours."""
        row = 1 + sum(stop - start for start, stop in self.state.unconfirmed_rows)
        return self.add(BatchPlanned(seq, (row,), call=other.pop("call", "submit")), hours, **other)

    def add(
        self,
        entry: BatchPlanned,
        hours: int = 1,
        *,
        blocked_by: tuple[int, ...] = (),
        not_before: float = 0.0,
        now: float = 0.0,
    ) -> QueuedBatch:
        """Apply the plan, attach records and place the batch."""
        changed = self.state.apply(entry)
        records = [record(row, ends_at=START + hours * HOUR) for row in entry.rows]
        changed[0].attach(BatchContent.of(entry.rows, records, records))
        item = self.queue.enter(changed[0], blocked_by)
        self.queue.delay(entry.seq, not_before)
        for batch in changed:
            self.queue.place(batch, now)
        return item

    def apply(self, *entries: JournalEntry, now: float = 0.0) -> None:
        """Apply the entries one by one and place the batches that each changed."""
        for entry in entries:
            for batch in self.state.apply(entry):
                self.queue.place(batch, now)

    def send(self, seq: int, event: str = "accepted", now: float = 0.0) -> None:
        """Send a batch; the attempt ends with this event."""
        attempt = self.state.batch(seq).attempts + 1
        batch_id = f"b-{seq}" if event == "accepted" else None
        self.apply(
            AttemptStarted(seq, attempt, "t", 1.0), AttemptEnded(seq, attempt, event, 2.0, batch_id, "detail"), now=now
        )

    def peek(self, call: str = "submit", now: float = 0.0, *, with_retries: bool = True) -> int | None:
        """Return the number of the most urgent batch of a call."""
        self.queue.promote(now)
        item = self.queue.peek(call, now, with_retries=with_retries)
        return None if item is None else item.batch.seq

    def send_all(self, call: str = "submit") -> list[int]:
        """Send all ready batches of a call one by one; return their numbers."""
        sent = []
        while (seq := self.peek(call)) is not None:
            sent.append(seq)
            self.send(seq)
        return sent


def test_batches_are_ordered_by_window_end_then_source_order() -> None:
    campaign = Campaign()
    for seq, hours in ((1, 3), (2, 1), (3, 2), (4, 1)):
        campaign.plan(seq, hours)
    assert campaign.send_all() == [2, 4, 3, 1]


def test_part_of_a_batch_has_the_source_position_of_the_whole() -> None:
    campaign = Campaign()
    campaign.plan(1)
    campaign.plan(2)
    campaign.send(1, "rejected")
    campaign.add(BatchPlanned(3, (1,), parent=1))
    assert campaign.send_all() == [3, 2]


def test_pushes_keep_their_order_of_arrival() -> None:
    campaign = Campaign()
    for seq, hours in ((3, 9), (4, 1), (5, 5)):
        campaign.plan(seq, hours, call="push")
    assert campaign.peek("submit") is None
    assert (campaign.queue.waiting_count, campaign.queue.submits_waiting) == (3, 0)
    assert campaign.send_all("push") == [3, 4, 5]


def test_most_overdue_poll_is_first_and_none_is_given_before_it_is_due() -> None:
    campaign = Campaign()
    for seq, due in ((1, 3.0), (2, 1.0), (3, 2.0)):
        item = campaign.plan(seq)
        campaign.send(seq)
        campaign.queue.add_poll(item, due)
    assert campaign.queue.next_due(0.0) == 1.0
    assert campaign.peek("status", 0.9) is None
    polled = []
    while (polled_item := campaign.queue.peek("status", 9.0, with_retries=True)) is not None:
        polled.append(polled_item.batch.seq)
        campaign.queue.take_poll(polled_item)
    assert polled == [2, 3, 1]
    assert campaign.queue.accepted_count == 3


def test_accepted_batch_is_polled_after_the_learned_delay() -> None:
    campaign = Campaign()
    item = campaign.plan(1)
    campaign.send(1, now=100.0)
    due = 100.0 + campaign.queue.first_poll.delay
    assert campaign.queue.next_due(100.0) == due
    schedule = item.polls
    campaign.queue.take_poll(item)
    campaign.queue.place(item.batch, 200.0)
    assert (item.polls is schedule, item.place) == (True, Place.POLLED)


def test_batch_waits_until_each_batch_before_it_is_settled() -> None:
    campaign = Campaign()
    campaign.plan(1)
    campaign.plan(2)
    campaign.plan(3, blocked_by=(1, 2))
    campaign.send(1)
    assert campaign.peek() == 2
    campaign.send(2, "lost")
    assert campaign.peek() == 2
    assert campaign.queue.waiting()[-1].place is Place.BLOCKED
    campaign.apply(BatchReleased(2, Outcome.UNKNOWN))
    assert campaign.peek() == 3


def test_batch_waits_for_all_parts_of_a_split_batch() -> None:
    campaign = Campaign()
    campaign.plan(1)
    campaign.add(BatchPlanned(2, (2, 3)))
    waiting = campaign.plan(3, blocked_by=(2,))
    campaign.send(2, "rejected")
    for seq, row in ((4, 2), (5, 3)):
        campaign.add(BatchPlanned(seq, (row,), parent=2))
    assert campaign.queue.find(2) is None
    campaign.send(4)
    places = [waiting.place]
    campaign.send(5)
    assert [*places, waiting.place] == [Place.BLOCKED, Place.READY]


def test_part_that_is_split_again_blocks_with_its_parts() -> None:
    campaign = Campaign()
    campaign.add(BatchPlanned(1, (1, 2, 3)))
    campaign.send(1, "rejected")
    campaign.add(BatchPlanned(2, (1, 2), parent=1))
    waiting = campaign.add(BatchPlanned(3, (3,), parent=1), blocked_by=(2,))
    campaign.send(2, "rejected")
    campaign.queue.split(2, [4, 5])
    for seq, row in ((4, 1), (5, 2)):
        campaign.add(BatchPlanned(seq, (row,), parent=2))
    campaign.send(4)
    places = [waiting.place]
    campaign.send(5)
    assert [*places, waiting.place] == [Place.BLOCKED, Place.READY]


def test_batch_in_backoff_is_ready_after_its_delay() -> None:
    campaign = Campaign()
    item = campaign.plan(1, not_before=10.0)
    assert campaign.queue.next_due(0.0) == 10.0
    assert campaign.peek(now=9.9) is None
    assert campaign.peek(now=10.0) == 1
    campaign.queue.postpone(item, 30.0, 10.0)
    assert (campaign.peek(now=29.9), campaign.queue.next_due(10.0)) == (None, 30.0)
    assert campaign.peek(now=30.0) == 1


def test_due_work_causes_no_wakeup() -> None:
    campaign = Campaign()
    campaign.queue.add_poll(campaign.plan(1), 5.0)
    assert campaign.queue.next_due(7.0) == float("inf")
    campaign.plan(2, not_before=10.0)
    assert campaign.queue.next_due(7.0) == 10.0


def test_blocked_batch_keeps_its_backoff() -> None:
    campaign = Campaign()
    campaign.plan(1)
    campaign.plan(2, blocked_by=(1,), not_before=10.0)
    campaign.send(1, now=5.0)
    assert (campaign.peek(now=5.0), campaign.peek(now=10.0)) == (None, 2)


def test_retry_that_may_not_be_sent_delays_no_first_attempt() -> None:
    campaign = Campaign()
    campaign.plan(1)
    campaign.plan(2, 9)
    campaign.send(1, "not_sent")
    assert campaign.peek(with_retries=True) == 1
    assert campaign.peek(with_retries=False) == 2


def test_time_of_a_lost_answer_is_that_of_its_placing() -> None:
    campaign = Campaign()
    item = campaign.plan(1)
    assert item.lost_at == float("-inf")
    campaign.send(1, "lost", now=7.0)
    campaign.queue.place(item.batch, 9.0)
    assert (item.lost_at, item.lost_answers) == (7.0, 1)


def test_batch_is_found_while_it_is_open() -> None:
    campaign = Campaign()
    items = [campaign.plan(1), campaign.plan(2, not_before=9.0), campaign.plan(3, blocked_by=(1,))]
    assert [campaign.queue.find_waiting(seq) for seq in (1, 2, 3, 4)] == [*items, None]
    campaign.send(1)
    assert (campaign.queue.find_waiting(1), campaign.queue.find(1)) == (None, items[0])
    assert [item.batch.seq for item in campaign.queue.waiting()] == [2, 3]
    assert campaign.queue.accepted() == [items[0]]
    campaign.apply(RowsSettled((1,), Outcome.DELIVERED, seq=1))
    assert campaign.queue.find(1) is None


class Lookup(dict[Any, Any]):
    """A dict that cannot be searched through."""

    def __iter__(self) -> Any:
        raise AssertionError("iterated")

    items = values = keys = __iter__


def test_finding_a_batch_is_one_lookup() -> None:
    campaign = Campaign()
    item = campaign.plan(1)
    campaign.queue._items = Lookup(campaign.queue._items)
    assert campaign.queue.find(1) is campaign.queue.find_waiting(1) is item
    with pytest.raises(AssertionError, match="iterated"):
        campaign.queue.waiting()


class Model:
    """Places the batches of generated entries, and remembers independently which batches each one waits for."""

    def __init__(self, teller: EntryGenerator) -> None:
        self.teller = teller
        self.state = teller.state
        self.rng = Random(teller.rng.random())
        self.queue = WorkQueue(self.state, PollPolicy())
        self.blockers: dict[int, set[int]] = {}
        self.now = 0.0

    def step(self) -> None:
        """Apply one transaction, and place the batches that it changed and no others."""
        self.now += self.rng.random()
        entries = self.teller.transaction()
        changed = self.teller.changed
        if any(isinstance(entry, RunStarted) for entry in entries):  # each run has its own queue
            self.queue = WorkQueue(self.state, PollPolicy())
            self.blockers.clear()
            changed = {batch.seq: batch for batch in self.state.open}
            for batch in changed.values():
                self._enter(batch)
        for entry in entries:
            if isinstance(entry, BatchPlanned):
                self._enter(changed[entry.seq])
        for batch in changed.values():
            self.queue.place(batch, self.now)
        self.now += self.rng.random()
        self.queue.promote(self.now)

    def _enter(self, batch: CampaignBatch) -> None:
        records = [record(row % 7, ends_at=START + row % 3) for row in batch.rows]
        batch.attach(BatchContent.of(batch.rows, records, records))
        if self.queue.find(batch.seq) is not None:
            return
        unsettled = [seq for seq in sorted(self.state.batches) if seq < batch.seq and not self._is_settled(seq)]
        blockers = set(self.rng.sample(unsettled, min(len(unsettled), self.rng.choice((0, 0, 1, 2)))))
        blockers -= {batch.root_batch, batch.parent}
        self.blockers[batch.seq] = set(blockers)
        self.queue.enter(batch, blockers)
        self.queue.delay(batch.seq, self.rng.choice((0.0, self.now + 2.0)))

    def _is_settled(self, seq: int) -> bool:
        batch = self.state.batches.get(seq)
        return batch is None or batch.is_settled

    def check(self) -> None:
        """Check that each batch is in exactly the place that its state says."""
        for seq, waits in self.blockers.items():
            self.blockers[seq] = {one for one in waits if not self._is_settled(one)}
        is_open = {batch.seq: batch for batch in self.state.open if not batch.released}
        places = {seq: item.place for seq, item in self.queue._items.items()}
        assert places == {seq: self._expected_place(batch) for seq, batch in is_open.items()}
        assert self.queue.waiting_count == sum(place <= Place.READY for place in places.values())
        pushes = sum(place <= Place.READY and is_open[seq].call == "push" for seq, place in places.items())
        assert self.queue.submits_waiting == self.queue.waiting_count - pushes
        assert self.queue.accepted_count == sum(place is Place.POLLING for place in places.values())
        assert {item.batch.seq for item in self.queue.waiting()} == {
            seq for seq, place in places.items() if place <= Place.READY
        }
        self._check_order(is_open, places)

    def _expected_place(self, batch: CampaignBatch) -> Place:
        item = self.queue.find(batch.seq)
        assert item is not None
        match batch.state:
            case BatchState.PLANNED | BatchState.AMBIGUOUS | BatchState.ABANDONED:
                if self.blockers[batch.seq]:
                    return Place.BLOCKED
                return Place.DELAYED if item.not_before > self.now else Place.READY
            case BatchState.IN_FLIGHT:
                return Place.IN_FLIGHT
            case BatchState.ACCEPTED if batch.batch_id is not None:
                return Place.POLLING
            case _:
                return Place.NOWHERE

    def _check_order(self, is_open: dict[int, CampaignBatch], places: dict[int, Place]) -> None:
        ready = {seq for seq, place in places.items() if place is Place.READY}
        for call in ("push", "submit"):
            of_call = {seq for seq in ready if is_open[seq].call == call}
            for with_retries in (True, False):
                allowed = {seq for seq in of_call if with_retries or not is_open[seq].is_retry}
                first = self.queue.peek(call, self.now, with_retries=with_retries)
                assert (first is None) is (not allowed)
                assert first is None or first.batch.seq in allowed
                if first is not None and call == "submit":
                    ends = [is_open[seq].open_content.expires_ms for seq in allowed]
                    assert first.batch.open_content.expires_ms == min(ends)


@given(entry_generators(), st.integers(1, 60))
@settings(max_examples=80, deadline=None)
def test_each_open_batch_is_where_its_state_says(teller: EntryGenerator, steps: int) -> None:
    model = Model(teller)
    for _ in range(steps):
        model.step()
        model.check()
