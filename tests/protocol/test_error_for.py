"""Errors by slug and status, and what they may quote."""

from __future__ import annotations

import pickle

import pytest

from truecaller_async.errors import (
    APIStatusError,
    AuthenticationFailed,
    BadRequest,
    Forbidden,
    NotFound,
    RateLimited,
    ServerError,
    UnexpectedRedirect,
)
from truecaller_async.protocol.responses import error_for

from .answers import NOW, answer

LOST_TOKEN = {"slug": "internal-server-error", "message": "500/50011 - Failed to parse token"}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"slug": "invalid-input", "message": "m"}, BadRequest),
        (400, b"", BadRequest),
        (401, b"", AuthenticationFailed),
        (200, {"slug": "authorization-error"}, AuthenticationFailed),
        (400, {"slug": "authorization-error"}, AuthenticationFailed),
        (403, {"slug": "authorization-error"}, AuthenticationFailed),
        (500, {"slug": "authorization-error"}, AuthenticationFailed),
        (500, LOST_TOKEN, AuthenticationFailed),
        (400, LOST_TOKEN, AuthenticationFailed),
        (500, {"message": "failed to PARSE TOKEN"}, AuthenticationFailed),
        (400, {"slug": "invalid-input", "message": "cannot parse token"}, BadRequest),
        (403, b"<html>", Forbidden),
        (400, {"slug": "forbidden-error"}, Forbidden),
        (404, {"message": "m"}, NotFound),
        (405, b"", BadRequest),
        (408, b"", BadRequest),
        (413, b"", BadRequest),
        (422, {"status": "failure", "message": "m"}, BadRequest),
        (429, {"slug": "authorization-error"}, RateLimited),
        (307, {"slug": "authorization-error"}, UnexpectedRedirect),
        (500, {"slug": "internal-server-error", "message": "m"}, ServerError),
        (200, {"slug": "internal-server-error", "message": "m"}, ServerError),
        (502, b"<html>bad gateway</html>", ServerError),
        (599, b"", ServerError),
        (101, b"", ServerError),
        (999, b"", ServerError),
    ],
)
def test_slug_and_status_select_the_class(status: int, body: object, kind: type[APIStatusError]) -> None:
    error = error_for(answer(body, status), is_read=False, now=NOW)
    assert type(error) is kind
    assert (error.status, error.sent) == (status, "yes")


@pytest.mark.parametrize("is_read", [True, False])
def test_server_error_is_retryable_only_for_a_read(is_read: bool) -> None:
    assert error_for(answer(b"", 503), is_read=is_read, now=NOW).retryable is is_read


def test_message_of_every_documented_form_is_quoted() -> None:
    inner = {"status": "error", "field": "ends_at", "message": "too old"}
    for body in (inner, {"status_info": inner}, {"statusInfo": inner}):
        error = error_for(answer(body, 400), is_read=False, now=NOW)
        assert (error.message, error.field) == ("too old", "ends_at")


def test_throttling_reports_the_wait_by_the_server_clock() -> None:
    throttled = answer(b"", 429, retry_after="Wed, 23 Jul 2025 12:00:30 GMT", date="Wed, 23 Jul 2025 12:00:00 GMT")
    error = error_for(throttled, is_read=True, now=NOW)
    assert isinstance(error, RateLimited)
    assert error.retry_after == 30.0


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500])
def test_field_is_reported_for_every_class(status: int) -> None:
    body = {"status_info": {"status": "error", "field": "ends_at", "message": "m"}}
    assert error_for(answer(body, status), is_read=True, now=NOW).field == "ends_at"


def test_throttling_without_a_time_reports_none() -> None:
    error = error_for(answer(b"", 429), is_read=True, now=NOW)
    assert isinstance(error, RateLimited)
    assert error.retry_after is None


def test_redirect_names_the_target_without_its_query() -> None:
    error = error_for(
        answer(b"", 307, location="https://elsewhere.example/x?caller=911234567898"), is_read=True, now=NOW
    )
    assert isinstance(error, UnexpectedRedirect)
    assert error.location == "https://elsewhere.example/x"


def test_error_shows_no_full_number_no_token_and_no_forged_line() -> None:
    uuid = "d30ca8f7-ae64-4c30-8700-d63f6b2f1dd6"
    message = f"caller +911234567898 refused\r\n2025 ERROR forged; Authorization: Bearer s3cr3t; BatchID: {uuid}"
    error = error_for(answer({"slug": "invalid-input", "message": message}, 400), is_read=False, now=NOW)
    shown = f"{error!r} {error} {vars(error)}"
    assert "911234567898" not in shown
    assert "********7898" in shown
    assert "s3cr3t" not in shown
    assert "\n" not in str(error)
    assert error.message is not None
    assert error.message.endswith(uuid)


def test_number_at_the_end_of_the_kept_text_is_masked() -> None:
    for lead in range(470, 501):
        error = error_for(answer({"message": " " * lead + "911234567898"}, 400), is_read=False, now=NOW)
        assert "91123" not in f"{error.message} {error.body}"
    for lead in range(1960, 2001):
        error = error_for(answer(b" " * lead + b"911234567898", 400), is_read=False, now=NOW)
        assert "91123" not in error.body


def test_long_message_is_cut_and_the_error_pickles() -> None:
    error = error_for(answer({"slug": "s" * 5000, "message": "m" * 50_000}, 400), is_read=False, now=NOW)
    assert len(str(error)) < 1200
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301  # our own bytes
