from __future__ import annotations

from truecaller_async.cli.campaign.failure_reasons import KINDS_MAX, FailureReasons
from truecaller_async.models import Outcome, RecordResult


def result(row: int, outcome: Outcome, reason: str | None = None) -> RecordResult:
    return RecordResult(None, row, None, outcome, reason)


def test_rows_with_the_same_problem_are_one_reason_without_values() -> None:
    reasons = FailureReasons()
    for digit in range(5):
        reason = f"receiver '*******{digit}' is not a phone number, optional leading '+'; reason 'a{digit}' is short"
        reasons.record(result(digit, Outcome.INVALID, reason))
    assert reasons.top(5) == ((5, "receiver is not a phone number, optional leading '+'; reason is short"),)


def test_number_of_distinct_reasons_is_bounded_and_none_is_lost() -> None:
    reasons = FailureReasons()
    for number in range(KINDS_MAX + 50):
        reasons.record(result(number, Outcome.FAILED, f"reason {number}"))
    assert sum(count for count, _ in reasons.top(1000)) == KINDS_MAX + 50
    assert reasons.top(1) == ((50, "other reasons"),)


def test_delivered_rows_have_no_reason() -> None:
    reasons = FailureReasons()
    reasons.record(result(1, Outcome.DELIVERED))
    reasons.record(result(2, Outcome.DUPLICATE, "equal to an earlier row"))
    assert reasons.top(5) == ()
    assert reasons.most_frequent(Outcome.DUPLICATE) == ""
