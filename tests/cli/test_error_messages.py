from __future__ import annotations

import pytest

from truecaller_async import errors
from truecaller_async.cli.error_messages import error_text, internal_error_text
from truecaller_async.models import NumberJob, Problem


def test_invalid_record_lists_each_problem_on_a_line() -> None:
    problems = [Problem("receiver", "phone.missing", "is missing"), Problem("reason", "r", "is short", "ab", "add")]
    assert error_text(errors.ValidationError(problems)).splitlines() == [
        "Error: the values are not valid, and nothing was sent:",
        "  receiver is missing",
        "  reason 'ab' is short (add)",
    ]


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (errors.NotSent("api.example:443: the name is not known"), "TRUECALLER_BASE_URL"),
        (errors.AuthenticationFailed(401, "authorization-error", "no"), "TRUECALLER_API_KEY"),
        (errors.Forbidden(403), "administrator"),
        (errors.RateLimited(retry_after=5), "--limit"),
        (errors.UnexpectedRedirect(302, location="https://192.168.100.200/"), "TRUECALLER_BASE_URL"),
        (errors.ResponseLost("the answer was lost"), "before you send it again"),
        (errors.ServerError(503), "before you send it again"),
        (errors.NotFound(404), "Check the id"),
        (errors.NumberJobIncomplete(NumberJob(), 1, 2, errors.NotSent("x")), "numbers list"),
    ],
)
def test_error_message_has_cause_and_advice(error: errors.TruecallerError, advice: str) -> None:
    first, second = error_text(error).splitlines()
    assert first == f"Error: {error}"
    assert advice in second


def response_lost(*, is_read: bool) -> errors.ResponseLost:
    error = errors.ResponseLost("the answer was lost")
    error.retryable = is_read
    return error


def not_sent(error: errors.TruecallerError) -> errors.TruecallerError:
    error.sent = "no"
    return error


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (errors.ServerError(503, retryable=True), "Try again later."),
        (response_lost(is_read=True), "Try again later."),
        (not_sent(errors.ServerError(503)), "Nothing was sent. Try again later."),
        (not_sent(response_lost(is_read=False)), "Nothing was sent. Try again later."),
    ],
)
def test_failed_read_or_unsent_request_gets_no_advice_to_check_the_server(
    error: errors.TruecallerError, advice: str
) -> None:
    assert error_text(error).splitlines()[1:] == [f"  {advice}"]


def test_full_number_in_a_server_message_is_masked() -> None:
    text = error_text(errors.PushRejected("receiver", "919812345678 is not reachable"))
    assert "********5678 is not reachable" in text
    assert "919812" not in text


def test_error_text_cannot_control_the_terminal() -> None:
    assert error_text(errors.BadRequest(400, message="a\x1b[2Jb\nc")) == "Error: HTTP 400: a\\x1b[2Jb\\nc"


def test_internal_error_is_one_line_without_numbers() -> None:
    text = internal_error_text(KeyError("919812345678\nmore"))
    assert len(text.splitlines()) == 1
    assert "KeyError" in text
    assert "919812" not in text
