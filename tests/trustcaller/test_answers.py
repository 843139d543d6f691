"""Decoding of TrustCaller answers: the documented samples, and other bodies."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.resources.script import answer
from truecaller_async.errors import (
    APIStatusError,
    AuthenticationFailed,
    BadRequest,
    DecodeError,
    Forbidden,
    NotFound,
    RateLimited,
    ResponseLost,
    ServerError,
    TruecallerError,
    UnexpectedRedirect,
)
from truecaller_async.models import Answer
from truecaller_async.trustcaller import responses
from truecaller_async.trustcaller.models import ApiKey, CallDetail, PublicTestNumber, ReservedNumber

from .scripted_client import numbers_page, sample_answer

NOW = 1_800_000_000.0
CALL = CallDetail(
    id=98765,
    caller_id="8823412XXX",
    number="120000486562997",
    start_at=datetime(2026, 5, 15, 14, 30, tzinfo=UTC),
    end_at=datetime(2026, 5, 15, 14, 32, 15, tzinfo=UTC),
    duration=135,
    pdd=850,
    call_unique_id="abc123-xyz789",
    call_acceptable=True,
    short_call=False,
    hang_cause="NORMAL_CLEARING",
)
WEB_PAGE = Answer(200, {"content-type": "text/html"}, b"<!doctype html><title>Log in</title>")
READS: tuple[Any, ...] = (
    responses.decode_public_test_numbers,
    responses.decode_keys,
    responses.decode_call,
    responses.decode_check,
)


def test_number_sample_is_one_complete_page() -> None:
    page = responses.decode_numbers(sample_answer("numbers_response"), page=1, now=NOW)
    made = datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
    assert page.items == (ReservedNumber(12345, "120000486562997", reserved=True, created_at=made),)
    assert (page.page, page.total_pages) == (1, 1)


def test_sample_of_calls_and_of_one_call_are_the_same_record() -> None:
    assert responses.decode_calls(sample_answer("calls_response"), page=1, now=NOW).items == (CALL,)
    assert responses.decode_call(sample_answer("call_response"), now=NOW) == CALL


def test_samples_of_test_numbers_check_and_keys_are_read() -> None:
    tried = responses.decode_public_test_numbers(sample_answer("test_numbers_response"), now=NOW)
    assert tried.items == (PublicTestNumber("8613912345678", "8613"),)
    assert responses.decode_check(sample_answer("calls_check_response"), now=NOW) is True
    made, used = datetime(2026, 5, 16, 9, tzinfo=UTC), datetime(2026, 5, 16, 9, 5, tzinfo=UTC)
    assert responses.decode_keys(sample_answer("list_keys_response"), now=NOW).items == (
        ApiKey(7, "Production server", used, made),
    )
    responses.decode_revoked(sample_answer("revoke_key_response"), now=NOW)


def test_sample_of_a_new_key_has_its_token_and_does_not_show_it() -> None:
    key = responses.decode_new_key(sample_answer("create_key_response", 201), now=NOW)
    assert (key.id, key.name, key.created_at) == (7, "Production server", datetime(2026, 5, 16, 9, tzinfo=UTC))
    assert key.token.reveal() == "7|aBcD...long-token-shown-once"
    assert "aBcD" not in repr(key)


def test_numbers_show_their_last_four_digits_only() -> None:
    page = responses.decode_numbers(sample_answer("numbers_response"), page=1, now=NOW)
    assert "120000486562997" not in repr((page, CALL))
    assert "2997" in repr(page)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (numbers_page(range(3), total=9, next=None), 1),
        (numbers_page(range(3), total=9, next="https://elsewhere.example/?page=2"), 3),
        (numbers_page(range(3), total=3, next="https://elsewhere.example/?page=2"), 1),
        (numbers_page(range(3), total=7), 3),
        (numbers_page(range(3), next="..."), None),
        (numbers_page(range(3)), None),
    ],
)
def test_last_page_has_no_next_link_or_reaches_the_total(given: Answer, expected: int | None) -> None:
    assert responses.decode_numbers(given, page=1, now=NOW).total_pages == expected


def test_missing_null_or_differently_typed_fields_are_tolerated() -> None:
    given = answer(200, {"data": {"id": "5", "duration": "12", "end_at": None, "start_at": "yesterday", "new": [1]}})
    assert responses.decode_call(given, now=NOW) == CallDetail(5, duration=12)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (401, {"message": "Unauthenticated."}, AuthenticationFailed, "Unauthenticated."),
        (403, {"message": "This action is unauthorized."}, Forbidden, "This action is unauthorized."),
        (404, {"error": "not_found", "message": "Call record not found."}, NotFound, "Call record not found."),
        (500, {"message": "Server Error"}, ServerError, "Server Error"),
        (429, {"message": "Too Many Attempts."}, RateLimited, "Too Many Attempts."),
        (302, b"", UnexpectedRedirect, None),
        (500, b"<html>", ServerError, None),
        (404, b"[]", NotFound, None),
        (422, {"message": "no", "errors": "strange"}, BadRequest, "no"),
    ],
)
def test_error_status_quotes_the_server_message(
    status: int, body: object, kind: type[APIStatusError], message: str | None
) -> None:
    given = Answer(status, {}, body) if isinstance(body, bytes) else answer(status, body)
    with pytest.raises(kind) as caught:
        responses.decode_call(given, now=NOW)
    assert caught.value.status == status
    assert caught.value.message == message


def test_refused_argument_is_named_with_all_its_messages() -> None:
    with pytest.raises(BadRequest) as caught:
        responses.decode_check(sample_answer("error_422", 422), now=NOW)
    assert (caught.value.field, caught.value.message) == ("number", "The number field is required.")
    many = answer(422, {"message": "Wrong (and 1 more error)", "errors": {"from": ["No date."], "to": ["Too late."]}})
    with pytest.raises(BadRequest) as caught:
        responses.decode_calls(many, page=1, now=NOW)
    assert (caught.value.field, caught.value.message) == ("from", "No date. Too late.")


def test_error_code_of_a_404_is_kept() -> None:
    with pytest.raises(NotFound) as caught:
        responses.decode_call(sample_answer("call_error_404", 404), now=NOW)
    assert (caught.value.slug, caught.value.message) == ("not_found", "Call record not found.")


def test_429_reports_the_wait() -> None:
    with pytest.raises(RateLimited) as caught:
        responses.decode_check(answer(429, {"message": "m"}, retry_after="17"), now=NOW)
    assert caught.value.retry_after == 17


@pytest.mark.parametrize("read", READS, ids=lambda read: read.__name__)
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"null", b"{}", b'{"data": 1}', b'{"data": {}}', b"\xff", b"{" * 5000, WEB_PAGE.body]
)
def test_body_of_another_form_is_a_decode_error(read: Any, body: bytes) -> None:
    with pytest.raises(DecodeError):
        read(Answer(200, {}, body), now=NOW)


@pytest.mark.parametrize("value", [None, 1, "true", [], {}])
def test_check_without_a_boolean_is_an_error(value: object) -> None:
    with pytest.raises(DecodeError, match="call_received"):
        responses.decode_check(answer(200, {"call_received": value}), now=NOW)


@pytest.mark.parametrize("token", [None, "", 7, "two words", "line\nbreak", "7|" + "a" * 5000])
def test_new_key_without_a_usable_token_gives_advice_and_shows_nothing(token: object) -> None:
    with pytest.raises(DecodeError, match=r"revoke it and create another \(at \$\.token\)") as caught:
        responses.decode_new_key(answer(201, {"id": 7, "token": token, "name": "n"}), now=NOW)
    assert caught.value.body == ""


def test_new_key_without_an_id_is_a_decode_error_that_hides_the_token() -> None:
    with pytest.raises(DecodeError) as caught:
        responses.decode_new_key(answer(201, {"token": "7|aBcDeFgHiJkLmNoPq"}), now=NOW)
    assert "aBcD" not in str(caught.value) + caught.value.body


@pytest.mark.parametrize("read", [responses.decode_new_key, responses.decode_revoked])
def test_web_page_in_answer_to_a_write_is_ambiguous(read: Any) -> None:
    with pytest.raises(ResponseLost, match="captive portal"):
        read(WEB_PAGE, now=NOW)


@pytest.mark.parametrize("status", [400, 401, 403, 422, 500])
def test_token_repeated_by_the_server_is_never_quoted(status: int) -> None:
    token = "7|aBcDeFgHiJkLmNoPqRsTuVwX"
    for body in (answer(status, {"message": f"bad token {token}", "error": token}).body, f"bad {token}".encode()):
        with pytest.raises(TruecallerError) as caught:
            responses.decode_new_key(Answer(status, {}, body), now=NOW)
        assert "aBcDeFgH" not in str(caught.value) + repr(vars(caught.value))
