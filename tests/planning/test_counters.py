"""The account of records."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.models import Outcome, RecordResult
from truecaller_async.planning.campaign_state import CampaignState
from truecaller_async.planning.counters import OTHER, REASONS_MAX, Counters


def result(outcome: Outcome, reason: str | None = None, *, twice: bool = False) -> RecordResult:
    return RecordResult(None, 1, None, outcome, reason, possibly_duplicated=twice)


@given(st.lists(st.sampled_from(Outcome)), st.integers(0, 20))
def test_open_rows_are_read_rows_without_a_result(outcomes: list[Outcome], more: int) -> None:
    tally = Counters(CampaignState())
    tally.read = len(outcomes) + more
    tally.count([result(outcome) for outcome in outcomes])
    assert tally.delivered_ahead == len(outcomes)
    assert tally.open == more
    assert sum(tally.outcomes.values()) + tally.open == tally.read


def test_reasons_are_counted_for_undelivered_rows() -> None:
    tally = Counters(CampaignState())
    tally.count([result(Outcome.DELIVERED, "fine"), result(Outcome.DUPLICATE, "of row 1")])
    tally.count([result(Outcome.FAILED, "not a user"), result(Outcome.FAILED, "not a user"), result(Outcome.EXPIRED)])
    assert tally.reasons == {"not a user": 2, "expired": 1}


def test_distinct_reasons_are_kept_up_to_a_bound() -> None:
    tally = Counters(CampaignState())
    tally.count([result(Outcome.FAILED, f"reason {number}") for number in range(REASONS_MAX + 7)])
    tally.count([result(Outcome.FAILED, "reason 0")])
    assert len(tally.reasons) == REASONS_MAX + 1
    assert tally.reasons[OTHER] == 7
    assert tally.reasons["reason 0"] == 2


def test_possible_duplicates_are_counted() -> None:
    tally = Counters(CampaignState())
    tally.count([result(Outcome.DELIVERED, twice=True), result(Outcome.DELIVERED)])
    assert tally.possibly_duplicated == 1
