"""Test the order of the waiting work."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.campaign.core.records import HOUR, START, outgoing_batch, record
from truecaller_async.campaign.core.outgoing_batch import OutgoingBatch
from truecaller_async.campaign.core.work_queue import WorkQueue


def closing_at(seq: int, hours: int, **other: Any) -> OutgoingBatch:
    return outgoing_batch(seq, record(seq, ends_at=START + hours * HOUR), **other)


def pop_all_batches(queue: WorkQueue, now: float = 0.0) -> list[int]:
    """Remove all ready batches one by one; return their numbers."""
    taken = []
    while "submit" in list(queue.ready(now)):
        taken.append(queue.pop("submit").seq)
    return taken


def test_pushes_precede_due_polls_and_polls_precede_batches() -> None:
    queue = WorkQueue()
    queue.add(closing_at(1, 1), 0.0)
    queue.add_poll(9, 5.0)
    queue.add(closing_at(2, 1, call="push"), 0.0)
    assert list(queue.ready(4.9)) == ["push", "submit"]
    assert list(queue.ready(5.0)) == ["push", "status", "submit"]


def test_batches_are_ordered_by_window_end_then_source_order() -> None:
    queue = WorkQueue()
    for seq, hours in ((1, 3), (4, 1), (2, 2), (3, 1)):
        queue.add(closing_at(seq, hours), 0.0)
    assert pop_all_batches(queue) == [3, 4, 2, 1]


def test_pushes_keep_their_order() -> None:
    queue = WorkQueue()
    for seq in (5, 3, 4):
        queue.add(closing_at(seq, seq, call="push"), 0.0)
    assert [queue.pop("push").seq for _ in range(3)] == [5, 3, 4]


def test_most_overdue_poll_is_taken_first() -> None:
    queue = WorkQueue()
    for seq, due in ((1, 3.0), (2, 1.0), (3, 2.0)):
        queue.add_poll(seq, due)
    assert [queue.pop_poll() for _ in range(3)] == [2, 3, 1]


def test_batch_waits_until_every_batch_before_it_is_finished() -> None:
    queue = WorkQueue()
    queue.add(closing_at(3, 1, blocked_by={1, 2}), 0.0)
    queue.unblock(1, 0.0)
    assert pop_all_batches(queue) == []
    queue.unblock(2, 0.0)
    assert pop_all_batches(queue) == [3]


def test_batch_in_backoff_is_ready_after_its_delay() -> None:
    queue = WorkQueue()
    queue.add(closing_at(1, 1, not_before=10.0), 0.0)
    queue.add_poll(9, 20.0)
    assert queue.next_due(0.0) == 10.0
    assert list(queue.ready(9.9)) == []
    assert list(queue.ready(10.0)) == ["submit"]
    assert queue.next_due(10.0) == 20.0


def test_due_work_waiting_for_a_permit_causes_no_wakeup() -> None:
    queue = WorkQueue()
    queue.add_poll(1, 5.0)
    queue.add_poll(2, 30.0)
    assert queue.next_due(7.0) is None
    queue.add(closing_at(3, 1, not_before=10.0), 0.0)
    assert queue.next_due(7.0) == 10.0


def test_blocked_batch_keeps_its_backoff() -> None:
    queue = WorkQueue()
    queue.add(closing_at(2, 1, blocked_by={1}, not_before=10.0), 0.0)
    queue.unblock(1, 5.0)
    assert list(queue.ready(5.0)) == []
    assert list(queue.ready(10.0)) == ["submit"]


def test_remove_all_returns_every_batch_in_source_order_and_keeps_polls() -> None:
    queue = WorkQueue()
    queue.add(closing_at(4, 1), 0.0)
    queue.add(closing_at(3, 1, not_before=9.0), 0.0)
    queue.add(closing_at(2, 1, blocked_by={1}), 0.0)
    queue.add(closing_at(5, 1, call="push"), 0.0)
    queue.add_poll(1, 0.0)
    assert [one.seq for one in queue.remove_all()] == [2, 3, 4, 5]
    assert (queue.records, queue.batches) == (0, 0)
    assert list(queue.ready(100.0)) == ["status"]


def test_remove_pushes_returns_those_of_one_batch_only() -> None:
    queue = WorkQueue()
    queue.add(closing_at(11, 1, call="push", root_batch=1), 0.0)
    queue.add(closing_at(12, 1, call="push", root_batch=1, not_before=9.0), 0.0)
    queue.add(closing_at(13, 1, call="push", root_batch=2), 0.0)
    queue.add(closing_at(14, 1, root_batch=1), 0.0)
    assert sorted(one.seq for one in queue.remove_pushes(1)) == [11, 12]
    assert queue.records == 2
    assert queue.next_due(0.0) is None


def test_waiting_batch_is_found_by_its_number() -> None:
    queue = WorkQueue()
    batches = [closing_at(1, 1), closing_at(2, 1, not_before=9.0), closing_at(3, 1, blocked_by={1})]
    for one in batches:
        queue.add(one, 0.0)
    assert [queue.find(seq) for seq in (1, 2, 3, 4)] == [*batches, None]


def random_step(queue: WorkQueue, rng: Random, waiting: dict[int, OutgoingBatch], seq: int, now: float) -> None:
    """Do one random operation of the engine; `waiting` is the expected content of the queue."""
    match rng.randrange(6):
        case 0 | 1:
            size, call = rng.randint(1, 4), rng.choice(["submit", "submit", "push"])
            one = outgoing_batch(
                seq, *[record(seq)] * (1 if call == "push" else size), call=call, root_batch=rng.randint(0, 2)
            )
            one.not_before = rng.choice([0.0, now + rng.random() * 5])
            one.blocked_by = {rng.randint(1, seq)} if call == "submit" and rng.random() < 0.4 else set()
            queue.add(one, now)
            waiting[seq] = one
        case 2:
            queue.unblock(rng.randint(0, seq), now)
        case 3:
            for ready_call in list(queue.ready(now)):
                taken = queue.pop(ready_call)
                assert waiting.pop(taken.seq) is taken
                assert taken.not_before <= now
                assert not taken.blocked_by
        case 4:
            for one in queue.remove_pushes(rng.randint(0, 2)):
                del waiting[one.seq]
        case 5 if rng.random() < 0.2:
            assert queue.remove_all() == [waiting.pop(number) for number in sorted(waiting)]


@given(st.integers(0, 2**32), st.integers(1, 120))
def test_record_count_is_that_of_the_waiting_batches(seed: int, steps: int) -> None:
    rng, queue, waiting = Random(seed), WorkQueue(), dict[int, OutgoingBatch]()
    for step in range(1, steps + 1):
        random_step(queue, rng, waiting, step, step / 2)
        assert queue.records == sum(len(one) for one in waiting.values())
        assert queue.batches <= len(waiting)
