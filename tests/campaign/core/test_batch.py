"""Test what a batch tells about its rows: which are open, which were sent, and what they wait for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.campaign.core.records import batch, record
from truecaller_async.campaign.core.batch import SAME_REJECTION_STREAK_MAX, CampaignBatch, Isolation
from truecaller_async.campaign.core.batch_state import BatchEvent, BatchState
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import SourcePosition


@given(st.sets(st.integers(0, 12), min_size=1), st.sets(st.integers(0, 12)), st.sets(st.integers(0, 12)))
def test_open_rows_are_the_planned_ones_without_the_closed(
    planned: set[int], settled: set[int], asked: set[int]
) -> None:
    rows = sorted(planned)
    is_consecutive = rows[-1] - rows[0] + 1 == len(rows)
    one = CampaignBatch(1, range(rows[0], rows[-1] + 1) if is_consecutive else tuple(rows), SourcePosition(0, 0, 0))
    one.close(sorted(planned & settled))
    left = planned - settled
    assert list(one.open_rows) == sorted(left)
    assert one.open_count == len(left)
    assert one.has_open(sorted(asked)) is (bool(asked) and asked <= left)


def test_next_attempt_sends_open_rows_and_a_status_is_about_sent_ones() -> None:
    one = batch(1, *(record(number) for number in range(4)))
    assert one.open_content is one.sent_content is one.content
    one.close([2])
    one.excluded_rows = frozenset(one.closed)
    one.close([4])
    assert (list(one.open_content.rows), list(one.sent_content.rows)) == ([1, 3], [1, 3, 4])
    assert one.open_content is one.open_content
    one.close([1])
    assert (list(one.open_content.rows), list(one.sent_content.rows)) == ([3], [1, 3, 4])


@pytest.mark.parametrize("state", list(BatchState))
def test_later_batches_wait_until_a_batch_is_accepted_or_released(state: BatchState) -> None:
    one = batch(1, record(1), record(2), state=state)
    is_settled = state in (BatchState.ACCEPTED, BatchState.UNTRACKED)
    assert one.is_settled is is_settled
    assert one.unsettled_count == (0 if is_settled else 2)
    one.released = True
    assert one.is_settled


def test_split_batch_is_settled_with_its_last_part() -> None:
    one = batch(1, record(1), state=BatchState.REJECTED, isolation=Isolation(1, 1))
    one.close([1])
    assert not one.is_settled
    one.isolation = Isolation(1, 0)
    assert one.is_settled


@pytest.mark.parametrize("state", list(BatchState))
@pytest.mark.parametrize("lost_answers", [0, 1])
def test_only_a_batch_that_was_certainly_not_applied_is_unsent(state: BatchState, lost_answers: int) -> None:
    unsent = state in (BatchState.PLANNED, BatchState.STOPPED, BatchState.REJECTED) and not lost_answers
    one = batch(1, record(1), state=state, lost_answers=lost_answers)
    assert one.provisional_outcome is (Outcome.UNSENT if unsent else Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("event", "was_processed", "expected"),
    [
        (BatchEvent.NOT_SENT, False, (0, 1, False)),
        (BatchEvent.THROTTLED, False, (1, 1, False)),
        (BatchEvent.LOST, True, (1, 2, True)),
        (BatchEvent.ACCEPTED, True, (1, 1, True)),
    ],
)
def test_attempt_after_a_lost_answer_is_flagged_if_it_was_processed(
    event: BatchEvent, was_processed: bool, expected: tuple[int, int, bool]
) -> None:
    one = batch(1, record(1), lost_answers=1)
    one.count_end(event, was_processed=was_processed)
    assert (one.maybe_received, one.lost_answers, one.possibly_duplicated) == expected


def test_equal_rejections_in_a_row_end_the_search() -> None:
    search = Isolation()
    for _ in range(SAME_REJECTION_STREAK_MAX - 1):
        search.record_push_rejected("bad label", "label_id", "bad batch")
    search.record_push_rejected("not a user", None, "bad batch")
    assert (search.streak, search.ended_early) == (0, False)
    for _ in range(SAME_REJECTION_STREAK_MAX):
        assert not search.ended_early
        search.record_push_rejected("bad label", "label_id", "bad batch")
    assert search.ended_early
