"""The outcome table and the closing sentence of a campaign."""

from __future__ import annotations

from io import StringIO

import pytest

from truecaller_async.cli.campaign.failure_reasons import FailureReasons
from truecaller_async.cli.campaign.summary import closing_sentence, print_summary
from truecaller_async.models import Outcome, RecordResult, Summary


def result(row: int, outcome: Outcome, reason: str | None = None) -> RecordResult:
    return RecordResult(None, row, None, outcome, reason)


def test_summary_has_every_outcome_with_main_reason_in_80_columns() -> None:
    reasons, text = FailureReasons(), StringIO()
    for row in range(3):
        reasons.record(result(row, Outcome.FAILED, "OS not supported"))
    reasons.record(result(4, Outcome.FAILED, "Failed to push"))
    reasons.record(result(5, Outcome.INVALID, "y" * 500))
    summary = Summary(read=6, delivered=1, failed=4, invalid=1, rate_utilisation=0.97, possibly_duplicated=2)
    print_summary(summary, reasons, text)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    firsts = [line.split()[0] for line in lines if line.strip()]
    assert firsts[1:9] == [*Outcome, "read"]
    assert "OS not supported" in next(line for line in lines if line.startswith("failed"))
    assert "97% of the permitted rate" in text.getvalue()
    assert "possibly delivered twice" in text.getvalue()


@pytest.mark.parametrize(
    ("summary", "sentence"),
    [
        (Summary(), "There was nothing to do."),
        (Summary(read=1, delivered=1), "All 1 record delivered."),
        (Summary(read=3, delivered=2, duplicate=1), "All 3 records delivered, 1 of them as a duplicate."),
        (
            Summary(read=5000, delivered=4000, duplicate=1, failed=999),
            "4,000 of 5,000 records delivered; 999 not delivered.",
        ),
    ],
)
def test_closing_sentence(summary: Summary, sentence: str) -> None:
    assert closing_sentence(summary) == sentence
