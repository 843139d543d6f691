"""Test the results of a batch by column, and the journal entries of them."""

from __future__ import annotations

from truecaller_async.campaign.core.results import settled_entries
from truecaller_async.models import BatchResults, CallRecord, Outcome, RecordResult
from truecaller_async.models.journal_entries import RowsSettled

RECORDS = [CallRecord("911234567898", f"91980000000{number}", 1, 2, key=f"k{number}") for number in range(3)]


def results(outcomes: list[Outcome], reasons: list[str | None], *, is_plain: bool = False) -> BatchResults:
    keys = [record.key for record in RECORDS]
    ids = ["a", "b", None]
    return BatchResults(RECORDS, range(7, 10), keys, outcomes, reasons, [None] * 3, ids, "b-1", 2, True, is_plain)


def test_batch_result_combines_own_and_common_values() -> None:
    found = results([Outcome.DELIVERED, Outcome.FAILED, Outcome.DELIVERED], [None, "not a user", None])
    assert len(found) == 3
    assert list(found)[1] == RecordResult(
        RECORDS[1], 8, "k1", Outcome.FAILED, "not a user", None, "b-1", "b", 2, True, True
    )
    found.final = False
    assert [result.final for result in found] == [False] * 3


def test_identical_outcomes_are_journalled_once() -> None:
    mixed = results([Outcome.DELIVERED, Outcome.FAILED, Outcome.DELIVERED], [None, "not a user", None])
    assert settled_entries(mixed, 3) == settled_entries(list(mixed), 3)
    assert settled_entries(mixed, 3) == [
        RowsSettled((7, 9), Outcome.DELIVERED, None, 3, None, 2, True),
        RowsSettled(range(8, 9), Outcome.FAILED, "not a user", 3, None, 2, True),
    ]
    plain = results([Outcome.DELIVERED] * 3, [None] * 3, is_plain=True)
    assert (
        settled_entries(plain, 3)
        == settled_entries(list(plain), 3)
        == [RowsSettled(range(7, 10), Outcome.DELIVERED, None, 3, None, 2, True)]
    )
