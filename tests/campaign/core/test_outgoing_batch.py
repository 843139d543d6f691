"""Test the parts, the removal of records and the state of a batch."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.campaign.core.records import HOUR, START, outgoing_batch, record
from truecaller_async.campaign.core.batch_state import BatchEvent, BatchState
from truecaller_async.campaign.core.outgoing_batch import earliest_expiry


@given(st.sets(st.integers(0, 9)))
def test_split_keeps_every_record_exactly_once(indexes: set[int]) -> None:
    records = [record(number, ends_at=START + (number + 1) * HOUR) for number in range(10)]
    batch = outgoing_batch(1, *records)
    taken = batch.remove(indexes)
    assert sorted(row for row, _ in taken) == [index + 1 for index in sorted(indexes)]
    assert sorted([*batch.rows, *(row for row, _ in taken)]) == list(range(1, 11))
    assert batch.wire_records == batch.originals == [records[row - 1] for row in batch.rows]
    assert batch.expires_ms == earliest_expiry(batch.wire_records)
    assert len(batch) == 10 - len(indexes)


def test_part_keeps_its_root_and_what_was_sent() -> None:
    batch = outgoing_batch(7, *(record(number) for number in range(4)), maybe_received=2, possibly_duplicated=True)
    part = batch.part(8, 1, 3, "submit")
    single = part.part(9, 0, 1, "push")
    assert (part.rows, part.root_batch, part.maybe_received, part.possibly_duplicated, part.call) == (
        [2, 3],
        7,
        2,
        True,
        "submit",
    )
    assert (single.rows, single.root_batch, single.call) == ([2], 7, "push")
    assert single.wire_records == [record(1)]
    assert part.state is BatchState.PLANNED


def test_batch_changes_state_only_by_the_table() -> None:
    batch = outgoing_batch(1, record())
    batch.apply(BatchEvent.ATTEMPT_STARTED)
    assert batch.state is BatchState.IN_FLIGHT
    with pytest.raises(AssertionError, match="event resend is not possible for a batch in state in_flight"):
        batch.apply(BatchEvent.RESEND)


def test_batch_without_window_never_closes() -> None:
    assert earliest_expiry([]) == 0
    assert earliest_expiry([record(ends_at=5), record(ends_at=3)]) == 3
