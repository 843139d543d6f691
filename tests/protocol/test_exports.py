"""The deprecated exports: requests, and the link in answers whose shape is not documented."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from truecaller_async.errors import (
    BadRequest,
    DecodeError,
    Forbidden,
    RateLimited,
    TruecallerError,
    UnexpectedRedirect,
    ValidationError,
)
from truecaller_async.protocol.export_requests import call_me_back_request, user_feedback_request
from truecaller_async.protocol.responses import read_download, read_export

from .answers import ACCOUNT, NOW, answer, sample

FROM = datetime(2022, 1, 1, 5, 37, 9, tzinfo=UTC)
TO = datetime(2022, 1, 7, 10, 36, 17, 999_999, tzinfo=UTC)
LINK = "https://files.truecaller.com/log.csv?X-Signature=s3cr3t"


def test_user_feedback_is_requested_in_seconds_as_documented() -> None:
    request = user_feedback_request(ACCOUNT, "survey_2025-1", FROM)
    assert (request.call, request.method, request.body) == ("exports", "GET", None)
    assert request.path == f"/clients/{ACCOUNT}/openapi/feedback_stack/survey_2025-1/export_report?from_date=1641015429"


def test_instant_is_the_same_in_every_zone() -> None:
    elsewhere = FROM.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert user_feedback_request(ACCOUNT, "s", elsewhere) == user_feedback_request(ACCOUNT, "s", FROM)


def test_call_me_back_is_requested_in_the_chosen_unit() -> None:
    path = f"/clients/{ACCOUNT}/openapi/callback-logs/summary"
    assert call_me_back_request(ACCOUNT, FROM, TO, "seconds").path == f"{path}?from=1641015429&to=1641551777"
    assert call_me_back_request(ACCOUNT, FROM, TO, "milliseconds").path == f"{path}?from=1641015429000&to=1641551777999"


@pytest.mark.parametrize("survey_id", ["", "a" * 101, "a/b", "..", "a b", "a%2f", "é", "a\n", None, 7])
def test_unsafe_survey_id_is_refused(survey_id: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        user_feedback_request(ACCOUNT, survey_id, FROM)
    assert [problem.rule for problem in caught.value.problems] == ["survey_id.form"]


@pytest.mark.parametrize(
    ("instant", "rule"),
    [(FROM.replace(tzinfo=None), "zone"), (1641015429, "type"), ("2022-01-01", "type"), (FROM.date(), "type")],
)
def test_time_without_a_zone_or_of_another_type_is_refused(instant: Any, rule: str) -> None:
    with pytest.raises(ValidationError) as caught:
        user_feedback_request(ACCOUNT, "s", instant)
    assert [problem.rule for problem in caught.value.problems] == [f"from_date.{rule}"]
    with pytest.raises(ValidationError) as caught:
        call_me_back_request(ACCOUNT, instant, instant, "seconds")
    assert [problem.rule for problem in caught.value.problems] == [f"start.{rule}", f"end.{rule}"]


def test_end_before_start_and_unknown_unit_are_refused() -> None:
    with pytest.raises(ValidationError, match="not after start"):
        call_me_back_request(ACCOUNT, FROM, FROM, "seconds")
    unit: Any = "minutes"
    with pytest.raises(ValidationError, match="seconds, milliseconds"):
        call_me_back_request(ACCOUNT, FROM, TO, unit)


@pytest.mark.parametrize(
    "body",
    [
        LINK.encode(),
        f"  {LINK}\r\n".encode(),
        json.dumps(LINK).encode(),
        json.dumps({"url": LINK}).encode(),
        json.dumps({"status": "success", "message": "ready", "anything": LINK, "expires": 600}).encode(),
        json.dumps({"message": LINK}).encode(),
    ],
)
def test_link_is_found_in_any_plain_form_and_not_shown(body: bytes) -> None:
    link = read_export(answer(body), now=NOW)
    assert link.reveal() == LINK
    assert "s3cr3t" not in repr(link)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"7",
        b"[]",
        b"{}",
        json.dumps([LINK]).encode(),
        json.dumps({"data": {"url": LINK}}).encode(),
        b"ftp://files.truecaller.com/log.csv",
        b"see https://files.truecaller.com/log.csv",
        f"{LINK}\n{LINK}".encode(),
        b"<html><a href='https://files.truecaller.com/log.csv'></html>",
        b"\xff\xfe",
    ],
)
def test_answer_without_one_plain_link_is_a_decode_error(body: bytes) -> None:
    with pytest.raises(DecodeError, match="no links, and one is expected") as caught:
        read_export(answer(body), now=NOW)
    assert "s3cr3t" not in f"{caught.value} {caught.value.body}"


def test_two_links_are_refused_and_not_shown() -> None:
    with pytest.raises(DecodeError, match="2 links") as caught:
        read_export(answer({"a": LINK, "b": LINK + "2"}), now=NOW)
    assert "s3cr3t" not in f"{caught.value} {caught.value.body}"


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("name", ["user_feedback_v1_error.json", "call_me_back_v1_error.json"])
def test_documented_error_is_recognised_in_any_status(name: str, status: int) -> None:
    with pytest.raises(BadRequest, match="No CMB found for client Id") as caught:
        read_export(sample(name, status), now=NOW)
    assert caught.value.status == status


def test_link_in_an_error_is_not_followed_and_not_shown() -> None:
    with pytest.raises(Forbidden) as caught:
        read_export(answer({"url": LINK}, 403), now=NOW)
    assert "s3cr3t" not in f"{caught.value} {caught.value.body}"
    with pytest.raises(BadRequest, match="fetch it from") as taken:
        read_export(answer({"message": f"fetch it from {LINK}"}), now=NOW)
    assert "s3cr3t" not in f"{taken.value} {vars(taken.value)}"


def test_redirected_file_gives_no_advice_about_the_base_url() -> None:
    moved = answer(b"", 302, location="https://login.example/?X-Signature=s3cr3t")
    with pytest.raises(UnexpectedRedirect, match=r"login\.example.*request the export again") as caught:
        read_download(moved, now=NOW)
    assert "base_url" not in str(caught.value)
    assert "s3cr3t" not in f"{caught.value} {vars(caught.value)}"


def test_only_a_200_is_a_complete_file() -> None:
    read_download(answer(b""), now=NOW)
    with pytest.raises(DecodeError, match="whole file"):
        read_download(answer(b"", 206), now=NOW)


@pytest.mark.parametrize(("status", "kind"), [(403, Forbidden), (429, RateLimited), (400, BadRequest)])
def test_refused_file_is_the_error_of_its_status_and_quotes_nothing(status: int, kind: type[TruecallerError]) -> None:
    with pytest.raises(kind, match="request the export again") as caught:
        read_download(answer(b"<Error>X-Signature=s3cr3t</Error>", status, retry_after="7"), now=NOW)
    assert "s3cr3t" not in f"{caught.value!r} {vars(caught.value)}"
