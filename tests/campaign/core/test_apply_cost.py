"""Test by counting calls that a batch of 500 rows costs the state as much as one of 5."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchPlanned,
    JournalEntry,
    RowsRead,
    RowsSettled,
    RunStarted,
    SourcePosition,
)

CALLS_MAX = 60
"""Python calls of the five entries of a batch; counted: 47."""


def life_of(seq: int, size: int) -> list[JournalEntry]:
    """Return the entries of a batch of consecutive rows that is delivered at once."""
    rows = range(size * (seq - 1) + 1, size * seq + 1)
    return [
        BatchPlanned(seq, rows),
        RowsRead(SourcePosition(rows[-1], rows[-1], 30 * rows[-1])),
        AttemptStarted(seq, 1, "0123456789ab", 1.0),
        AttemptEnded(seq, 1, "accepted", 2.0, f"b-{seq}"),
        RowsSettled(rows, Outcome.DELIVERED, seq=seq, attempts=1),
    ]


def calls_of(work: Callable[[], object]) -> tuple[int, int]:
    """Return how many Python functions and how many C functions are called."""
    counts = {"call": 0, "c_call": 0}

    def count(frame: FrameType, event: str, argument: Any) -> None:
        if event in counts:
            counts[event] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counts["call"], counts["c_call"]


def calls_of_a_batch(size: int, before: int = 3) -> tuple[int, int]:
    state = CampaignState()
    for entry in [RunStarted(0.0, 1), *(one for seq in range(1, before + 1) for one in life_of(seq, size))]:
        state.apply(entry)
    entries = life_of(before + 1, size)
    counts = calls_of(lambda: [state.apply(entry) for entry in entries])
    assert state.outcomes == {Outcome.DELIVERED: size * (before + 1)}
    assert state.batches == {}
    return counts


@pytest.mark.parametrize("before", [1, 3, 200])
def test_calls_do_not_depend_on_the_rows_or_on_earlier_batches(before: int) -> None:
    assert calls_of_a_batch(500, before) == calls_of_a_batch(5, before) == calls_of_a_batch(5)


def test_batch_costs_few_calls() -> None:
    calls, _ = calls_of_a_batch(500)
    assert calls <= CALLS_MAX
