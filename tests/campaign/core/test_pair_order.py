"""Test the source order of the records of each pair."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from tests.campaign.core.records import content, record
from truecaller_async.campaign.core.pair_order import PairOrder, earlier_in_batch, pair_of, replaced_in_batch


def test_batch_waits_for_open_batches_with_earlier_records_of_its_pairs() -> None:
    order = PairOrder()
    assert order.add(1, content(record(1))) == set()
    assert order.add(2, content(record(2))) == set()
    assert order.add(3, content(record(1), record(2), record(3))) == {1, 2}


def test_records_of_one_pair_within_one_batch_do_not_wait() -> None:
    assert PairOrder().add(1, content(record(1), record(1))) == set()


def test_another_caller_makes_another_pair() -> None:
    order = PairOrder()
    order.add(1, content(record(1)))
    assert order.add(2, content(record(1, caller="910000000002"))) == set()


def test_finished_batch_is_released_and_forgotten() -> None:
    order, first = PairOrder(), content(record(1), record(2))
    order.add(1, first)
    order.remove(1)
    assert len(order) == 0
    assert order.add(2, content(record(1))) == set()


def test_removing_a_batch_without_pairs_changes_nothing() -> None:
    order = PairOrder()
    order.add(1, content(record(1)))
    order.remove(2)
    order.remove(1)
    order.remove(1)
    assert len(order) == 0


def test_content_knows_whether_its_pairs_are_distinct() -> None:
    order, distinct, repeated = PairOrder(), content(record(1), record(2)), content(record(3), record(3))
    order.add(1, distinct)
    order.add(2, repeated)
    assert (distinct.is_distinct, repeated.is_distinct) == (True, False)
    assert distinct.at([1]).is_distinct


MODEL_STEPS = st.lists(st.tuples(st.booleans(), st.lists(st.integers(0, 5), min_size=1, max_size=4)), max_size=25)


def removable(held: dict[int, set[tuple[str, str]]]) -> list[int]:
    """Return the batches that wait for no earlier one: only these are settled."""
    return [seq for seq, pairs in held.items() if all(pairs.isdisjoint(held[other]) for other in held if other < seq)]


@given(MODEL_STEPS, st.integers(0, 2**32))
def test_order_answers_like_a_plain_search(steps: list[tuple[bool, list[int]]], seed: int) -> None:
    order, rng, held = PairOrder(), Random(seed), dict[int, set[tuple[str, str]]]()
    for seq, (removes, numbers) in enumerate(steps, 1):
        if removes and held:
            removed = rng.choice(removable(held))
            order.remove(removed)
            del held[removed]
        else:
            new = content(*(record(number % 3, caller=f"91000000000{number // 3}") for number in numbers))
            pairs = {pair_of(one) for one in new.wire_records}
            newest = {pair: other for other in sorted(held) for pair in held[other]}
            assert order.add(seq, new) == {newest[pair] for pair in pairs if pair in newest}
            held[seq] = pairs
        assert len(order) == len(set().union(*held.values()))
    while held:
        order.remove(seq := removable(held)[-1])
        del held[seq]
    assert len(order) == 0


def test_releasing_an_earlier_batch_keeps_the_later_one_blocking() -> None:
    order, first, second = PairOrder(), content(record(1)), content(record(1))
    order.add(1, first)
    order.add(2, second)
    order.remove(1)
    assert order.add(3, content(record(1))) == {2}


def test_only_records_with_a_newer_one_in_a_later_batch_are_superseded() -> None:
    order, first, second = PairOrder(), content(record(1), record(2)), content(record(2), record(3))
    order.add(1, first)
    order.add(2, second)
    assert order.superseded(1, first) == [1]
    assert order.superseded(2, second) == []


def test_only_records_before_a_late_one_of_their_pair_are_outdated() -> None:
    first, second = record(1), record(2)
    records = [first, second, first, second, first]
    assert earlier_in_batch(records, [2]) == [0]
    assert earlier_in_batch(records, [2, 3]) == [0, 1]
    assert earlier_in_batch(records, [0]) == []
    assert earlier_in_batch(records, []) == []


def test_superseded_batch_may_be_released_after_the_batch_that_replaces_it() -> None:
    order = PairOrder()
    older, newer = content(record(1), record(2)), content(record(2), record(1))
    order.add(1, older)
    assert order.add(2, newer) == {1}
    order.remove(2)
    order.remove(1)
    assert len(order) == 0
    assert order.add(3, content(record(1))) == set()


def test_rows_replaced_within_a_batch_are_those_with_a_later_different_row() -> None:
    older, newer, other = record(1), record(1, reason="The newer reason"), record(2)
    assert replaced_in_batch([older, other, newer]) == [0]
    assert replaced_in_batch([older, other, older]) == []
    assert replaced_in_batch([newer, older, newer]) == [1]
    assert replaced_in_batch([]) == []
