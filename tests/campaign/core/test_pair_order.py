"""Test the source order of the records of each pair."""

from __future__ import annotations

from tests.campaign.core.records import outgoing_batch, record
from truecaller_async.campaign.core.pair_order import PairOrder, earlier_in_batch


def test_batch_waits_for_open_batches_with_earlier_records_of_its_pairs() -> None:
    order = PairOrder()
    assert order.add(outgoing_batch(1, record(1))) == set()
    assert order.add(outgoing_batch(2, record(2))) == set()
    assert order.add(outgoing_batch(3, record(1), record(2), record(3))) == {1, 2}


def test_records_of_one_pair_within_one_batch_do_not_wait() -> None:
    assert PairOrder().add(outgoing_batch(1, record(1), record(1))) == set()


def test_another_caller_makes_another_pair() -> None:
    order = PairOrder()
    order.add(outgoing_batch(1, record(1)))
    assert order.add(outgoing_batch(2, record(1, caller="910000000002"))) == set()


def test_finished_batch_is_released_and_forgotten() -> None:
    order, first = PairOrder(), outgoing_batch(1, record(1), record(2))
    order.add(first)
    order.remove(first)
    assert len(order) == 0
    assert order.add(outgoing_batch(2, record(1))) == set()


def test_record_removed_from_a_batch_is_released_with_it() -> None:
    order, first = PairOrder(), outgoing_batch(1, record(1), record(2))
    order.add(first)
    first.remove([0])
    order.remove(first)
    assert len(order) == 0
    assert order.add(outgoing_batch(2, record(1))) == set()


def test_releasing_an_earlier_batch_keeps_the_later_one_blocking() -> None:
    order, first, second = PairOrder(), outgoing_batch(1, record(1)), outgoing_batch(2, record(1))
    order.add(first)
    order.add(second)
    order.remove(first)
    assert order.add(outgoing_batch(3, record(1))) == {2}


def test_only_records_with_a_newer_one_in_a_later_batch_are_superseded() -> None:
    order, first, second = PairOrder(), outgoing_batch(1, record(1), record(2)), outgoing_batch(2, record(2), record(3))
    order.add(first)
    order.add(second)
    assert order.superseded(first) == [1]
    assert order.superseded(second) == []


def test_only_records_before_a_late_one_of_their_pair_are_outdated() -> None:
    first, second = record(1), record(2)
    records = [first, second, first, second, first]
    assert earlier_in_batch(records, [2]) == [0]
    assert earlier_in_batch(records, [2, 3]) == [0, 1]
    assert earlier_in_batch(records, [0]) == []
    assert earlier_in_batch(records, []) == []


def test_superseded_batch_may_be_released_after_the_batch_that_replaces_it() -> None:
    order = PairOrder()
    older, newer = outgoing_batch(1, record(1), record(2)), outgoing_batch(2, record(2), record(1))
    order.add(older)
    assert order.add(newer) == {1}
    order.remove(newer)
    order.remove(older)
    assert len(order) == 0
    assert order.add(outgoing_batch(3, record(1))) == set()
