"""Test the counts of records, outcomes and reasons."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.core.counters import OTHER_REASONS, REASONS_MAX, Counters
from truecaller_async.models import Outcome, RecordResult


def result(outcome: Outcome, reason: str | None = None, *, possibly_duplicated: bool = False) -> RecordResult:
    return RecordResult(None, 1, None, outcome, reason, possibly_duplicated=possibly_duplicated)


@given(st.lists(st.sampled_from(Outcome)), st.integers(0, 20))
def test_open_rows_are_read_rows_without_a_result(outcomes: list[Outcome], more: int) -> None:
    counters = Counters(CampaignState())
    counters.read = len(outcomes) + more
    counters.count([result(outcome) for outcome in outcomes])
    assert counters.resolved == len(outcomes)
    assert counters.open == more
    assert sum(counters.outcomes.values()) + counters.open == counters.read


def test_reasons_are_counted_for_undelivered_rows() -> None:
    counters = Counters(CampaignState())
    counters.count([result(Outcome.DELIVERED, "fine"), result(Outcome.DUPLICATE, "of row 1")])
    counters.count(
        [result(Outcome.FAILED, "not a user"), result(Outcome.FAILED, "not a user"), result(Outcome.EXPIRED)]
    )
    assert counters.reasons == {"not a user": 2, "expired": 1}


def test_distinct_reasons_are_kept_up_to_a_bound() -> None:
    counters = Counters(CampaignState())
    counters.count([result(Outcome.FAILED, f"reason {number}") for number in range(REASONS_MAX + 7)])
    counters.count([result(Outcome.FAILED, "reason 0")])
    assert len(counters.reasons) == REASONS_MAX + 1
    assert counters.reasons[OTHER_REASONS] == 7
    assert counters.reasons["reason 0"] == 2


def test_possible_duplicates_are_counted() -> None:
    counters = Counters(CampaignState())
    counters.count([result(Outcome.DELIVERED, possibly_duplicated=True), result(Outcome.DELIVERED)])
    assert counters.possibly_duplicated == 1
