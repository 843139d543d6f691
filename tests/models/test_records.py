"""Test the value classes: masked numbers, final statuses, sums."""

from __future__ import annotations

import pytest

from truecaller_async.models import Answer, CallRecord, Outcome, Problem, RecordStatus, Request, Summary

CALLER, RECEIVER = "910000000001", "919900000007"


def test_record_shows_the_last_four_digits_of_its_numbers() -> None:
    shown = repr(CallRecord(CALLER, RECEIVER, 1, 2, key="k-1"))
    assert CALLER not in shown
    assert RECEIVER not in shown
    assert "'********0001'" in shown
    assert "'********0007'" in shown
    assert "k-1" in shown


def test_status_row_masks_what_the_server_did_not() -> None:
    shown = repr(RecordStatus(caller=CALLER, receiver=RECEIVER, status="success"))
    assert CALLER not in shown
    assert RECEIVER not in shown


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("success", Outcome.DELIVERED),
        ("error", Outcome.FAILED),
        ("failure", Outcome.FAILED),
        ("failed", Outcome.FAILED),
        ("Success", None),
        ("FAILED", None),
        ("queued", None),
        ("", None),
        (None, None),
    ],
)
def test_only_the_documented_statuses_are_final(status: str | None, outcome: Outcome | None) -> None:
    assert RecordStatus(status=status).outcome is outcome


def test_problem_text_has_field_value_and_advice() -> None:
    problem = Problem("receiver", "phone.length", "has 5 digits", "*2345", "give 7-15")
    assert str(problem) == "receiver '*2345' has 5 digits (give 7-15)"
    assert str(Problem("receiver", "phone.missing", "is missing")) == "receiver is missing"


def test_requests_and_answers_show_no_body_and_no_path() -> None:
    request = Request("push", "POST", f"/clients/{CALLER}", RECEIVER.encode())
    assert repr(request) == "Request(push POST, 12 bytes)"
    assert repr(Answer(200, {"authorization": CALLER}, RECEIVER.encode())) == "Answer(200, 12 bytes)"


def test_only_get_is_a_read() -> None:
    assert Request("status", "GET", "/").is_read
    assert not Request("push", "POST", "/").is_read


def test_summary_reports_whether_it_adds_up() -> None:
    assert Summary(read=7, delivered=1, failed=1, invalid=1, expired=1, duplicate=1, unknown=1, unsent=1).adds_up
    assert not Summary(read=2, delivered=1).adds_up
