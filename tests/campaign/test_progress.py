"""Test the figures of one run: open rows, reasons, requests, rates and cost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.journal.entry_generator import EntryGenerator, entry_generators
from truecaller_async.campaign.core.batch_state import BatchEvent, BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.progress import OTHER_REASONS, REASONS_MAX, RunProgress, TokenRequestCounts
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchPlanned,
    BatchReleased,
    JournalEntry,
    RowsSettled,
    SourcePosition,
)
from truecaller_async.options import Limits


class Clock:
    """A time and token counts that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.tokens = TokenRequestCounts(5, 4, 1)

    def progress(self, state: CampaignState) -> RunProgress:
        """Begin the figures of a run."""
        return RunProgress(state, lambda: self.tokens, lambda: self.now)


def count(progress: RunProgress, state: CampaignState, *entries: JournalEntry) -> None:
    """Apply the entries and count each, as the engine does."""
    for entry in entries:
        state.apply(entry)
        progress.count(entry)


def settled(outcome: Outcome, *rows: int, reason: str | None = None, field: str | None = None) -> RowsSettled:
    return RowsSettled(rows, outcome, reason, field=field)


@given(entry_generators(), st.integers(1, 60))
@settings(max_examples=50, deadline=None)
def test_each_row_read_is_resolved_or_open(generator: EntryGenerator, steps: int) -> None:
    state = generator.state
    progress = Clock().progress(state)
    for _ in range(steps):
        generator.transaction()
        progress.read = state.position.row + sum(stop - start for start, stop in state.unconfirmed_rows)
        assert progress.resolved + progress.open == progress.read
        assert progress.open == sum(one.open_count for one in state.open if not one.released)
        assert sum(progress.outcomes().values()) == progress.resolved
        sent = (BatchState.IN_FLIGHT, BatchState.ACCEPTED)
        assert progress.rows_in_flight() + progress.rows_pending() == sum(
            one.open_count for one in state.open if one.state in sent and not one.released
        )


def test_rows_without_an_entry_at_the_end_are_resolved_too() -> None:
    state = CampaignState()
    progress = Clock().progress(state)
    progress.read = 3
    count(progress, state, settled(Outcome.INVALID, 1))
    progress.swept[Outcome.UNSENT] += 2
    assert (progress.resolved, progress.open) == (3, 0)
    assert progress.outcomes() == {str(one): 0 for one in Outcome} | {"invalid": 1, "unsent": 2}
    assert progress.sent_and_resolved() == 0


def test_reasons_are_counted_for_undelivered_rows() -> None:
    state = CampaignState()
    progress = Clock().progress(state)
    count(
        progress,
        state,
        settled(Outcome.DELIVERED, 1, reason="fine"),
        settled(Outcome.DUPLICATE, 2, reason="of row 1"),
        settled(Outcome.FAILED, 3, 4, reason="not a user"),
        settled(Outcome.EXPIRED, 5),
        settled(Outcome.INVALID, 6, reason="'x' is no number", field="receiver"),
        settled(Outcome.INVALID, 7, reason="'y' is no number", field="receiver"),
        BatchPlanned(1, (8, 9)),
        BatchReleased(1, Outcome.UNSENT, "the run stopped"),
    )
    assert progress.reasons == {"not a user": 2, "expired": 1, "invalid receiver": 2, "the run stopped": 2}


def test_distinct_reasons_are_kept_up_to_a_bound() -> None:
    state = CampaignState()
    progress = Clock().progress(state)
    for number in range(REASONS_MAX + 7):
        count(progress, state, settled(Outcome.FAILED, number + 1, reason=f"reason {number}"))
    count(progress, state, settled(Outcome.FAILED, 1000, reason="reason 0"))
    assert len(progress.reasons) == REASONS_MAX + 1
    assert (progress.reasons[OTHER_REASONS], progress.reasons["reason 0"]) == (7, 2)


def test_requests_retries_and_cost_are_those_of_this_run() -> None:
    state, clock = CampaignState(position=SourcePosition(2, 2, 20)), Clock()
    progress = clock.progress(state)
    assert progress.read == 2
    count(progress, state, BatchPlanned(1, (3,)), BatchPlanned(2, (4,), call="push"))
    for seq, attempt, event in ((1, 1, "not_sent"), (2, 1, "throttled"), (1, 2, "accepted")):
        assert progress.server_reached is (attempt == 2)
        count(
            progress,
            state,
            AttemptStarted(seq, attempt, "t", 1.0),
            AttemptEnded(seq, attempt, event, 2.0, "b", "detail"),
        )
    progress.count_poll(is_retry=False)
    progress.count_poll(is_retry=True)
    clock.tokens, clock.now = TokenRequestCounts(8, 6, 2), 107.0
    cost = progress.cost()
    assert cost.requests == {"submit": 2, "push": 1, "status": 2, "mint": 3}
    assert (cost.retries, cost.throttled, cost.tokens_minted, cost.elapsed) == (2, 1 + 1, 2, 7.0)
    entry = progress.cost_entry()
    assert (entry.requests, entry.retries, entry.elapsed) == (cost.requests, cost.retries, 7.0)


def test_cost_is_due_once_a_second() -> None:
    clock = Clock()
    progress = clock.progress(CampaignState())
    due = []
    for clock.now in (100.5, 101.0, 101.5, 102.0, 102.1):
        due.append(progress.cost_entry_if_due() is not None)
    assert due == [False, True, False, True, False]


def test_elapsed_time_ends_with_the_run() -> None:
    clock = Clock()
    progress = clock.progress(CampaignState())
    clock.now = 103.0
    assert progress.elapsed == 3.0
    progress.ended_at = 103.0
    clock.now = 200.0
    assert progress.elapsed == 3.0


def sent_batches(progress: RunProgress, state: CampaignState, clock: Clock, batches: int, rows: int) -> None:
    """Send batches, one a second."""
    for _ in range(batches):
        first = 1 + sum(stop - start for start, stop in state.unconfirmed_rows)
        seq = state.last_seq + 1
        planned = BatchPlanned(seq, range(first, first + rows))
        started, ended = AttemptStarted(seq, 1, "t", 1.0), AttemptEnded(seq, 1, BatchEvent.ACCEPTED, 2.0, f"b-{seq}")
        count(progress, state, planned, started, ended)
        clock.now += 1.0


def test_rate_is_that_of_the_last_seconds() -> None:
    state, clock = CampaignState(), Clock()
    progress = clock.progress(state)
    assert progress.rate() == 0.0
    sent_batches(progress, state, clock, 1, 50)
    assert progress.rate() == 10.0  # over at least 5 seconds
    sent_batches(progress, state, clock, 40, 50)
    assert progress.rate() == pytest.approx(50.0)
    clock.now += 100.0
    assert progress.rate() == 0.0


def test_utilisation_compares_with_what_the_tokens_may_send() -> None:
    state, clock = CampaignState(), Clock()
    progress = clock.progress(state)
    progress.peak_tokens = 1
    sent_batches(progress, state, clock, 2, 1)
    assert progress.utilisation(Limits.documented()) is None  # says nothing yet
    sent_batches(progress, state, clock, 20, 1)
    assert progress.utilisation(Limits.documented()) == 1.0  # one a second, as the documented limit permits
    progress.peak_tokens = 2
    assert progress.utilisation(Limits.documented()) == pytest.approx(0.5, abs=0.05)
    assert progress.utilisation(Limits(())) is None


def test_token_requests_are_counted_since_the_start() -> None:
    pool = type("Pool", (), {"minted": 4, "mints_throttled": 1})()
    counts = TokenRequestCounts.of(Counter(mint=7), pool)
    assert counts.since(TokenRequestCounts(5, 4, 0)) == TokenRequestCounts(2, 0, 1)
