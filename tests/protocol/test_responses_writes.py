"""Answers to writes: mint, push and submit, in all documented shapes."""

from __future__ import annotations

import pytest

from truecaller_async.errors import (
    APIStatusError,
    AuthenticationFailed,
    BadRequest,
    DecodeError,
    Forbidden,
    NotFound,
    PushRejected,
    RateLimited,
    ResponseLost,
    ServerError,
    TruecallerError,
    UnexpectedRedirect,
)
from truecaller_async.models import Answer, Batch, PushAnswer
from truecaller_async.models.numbers import BUCKETS
from truecaller_async.protocol.responses import read_mint, read_number_job, read_push, read_submit

from .answers import NOW, answer

UUID = "d30ca8f7-ae64-4c30-8700-d63f6b2f1dd6"
PORTAL = b"<!doctype html><title>Welcome to the hotel</title>"


class TestMint:
    @pytest.mark.parametrize("token", ["t", "a4p0-pZ2x.3aEk~", "x" * 4096, "!~"])
    def test_printable_token_is_kept_unchanged(self, token: str) -> None:
        assert read_mint(answer({"token": token}), now=NOW).reveal() == token

    @pytest.mark.parametrize(
        "token",
        [
            "",
            "s3cr3t\r\nX-Evil: 1",
            "s3cr3t token",
            "s3cr3t\x00",
            "s3cr3té",
            "s3cr3t\n",
            "s3cr3t" + "x" * 4096,
            None,
            7,
            ["s3cr3t"],
        ],
    )
    def test_token_unusable_in_a_header_is_refused_and_not_shown(self, token: object) -> None:
        with pytest.raises(DecodeError) as caught:
            read_mint(answer({"token": token}), now=NOW)
        assert caught.value.path == "$.token"
        assert "s3cr3t" not in f"{caught.value!r} {vars(caught.value)}"

    @pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"token": "s3cr3t', PORTAL])
    def test_answer_without_a_token_is_a_decode_error_that_quotes_nothing(self, body: bytes) -> None:
        with pytest.raises(DecodeError) as caught:
            read_mint(answer(body, content_type="text/html"), now=NOW)
        assert caught.value.body == ""

    def test_error_quotes_no_credential_that_the_server_echoes(self) -> None:
        key = "caf1694e-b8a4-4082-82fc-105a0a63eafe"
        with pytest.raises(BadRequest) as caught:
            read_mint(answer({"slug": "invalid-input", "message": f"api_key {key} is unknown"}, 400), now=NOW)
        assert key not in f"{caught.value!r} {vars(caught.value)}"
        assert caught.value.message == "api_key *** is unknown"

    @pytest.mark.parametrize("status", [200, 400, 401, 500])
    def test_refused_key_is_recognised_by_its_slug(self, status: int) -> None:
        with pytest.raises(AuthenticationFailed) as caught:
            read_mint(answer({"slug": "authorization-error", "message": "please login again"}, status), now=NOW)
        assert (caught.value.slug, caught.value.message) == ("authorization-error", "please login again")

    def test_spent_budget_reports_the_wait(self) -> None:
        with pytest.raises(RateLimited) as caught:
            read_mint(answer(b"", 429, retry_after="900"), now=NOW)
        assert caught.value.retry_after == 900.0

    def test_server_error_is_retryable(self) -> None:
        with pytest.raises(ServerError) as caught:
            read_mint(answer(b"", 503), now=NOW)
        assert caught.value.retryable


class TestPush:
    @pytest.mark.parametrize("body", [b"", b"  \r\n"])
    @pytest.mark.parametrize("status", [200, 202, 204])
    def test_empty_success_is_accepted(self, body: bytes, status: int) -> None:
        assert read_push(answer(body, status, content_type="text/html"), now=NOW) == PushAnswer()

    def test_unknown_status_that_is_no_failure_is_kept_verbatim(self) -> None:
        assert read_push(answer({"status_info": {"status": "Queued2"}}), now=NOW) == PushAnswer("Queued2")

    @pytest.mark.parametrize(
        ("body", "field", "message"),
        [
            ({"status_info": {"status": "error", "field": "ends_at", "message": "m"}}, "ends_at", "m"),
            ({"statusInfo": {"status": "error", "message": "m"}}, None, "m"),
            ({"field": "ends_at", "message": "m", "status": "error"}, "ends_at", "m"),
            ({"status": "failure", "message": f"m. BatchID: {UUID}"}, None, f"m. BatchID: {UUID}"),
            ({"status": "FAILED", "message": "m"}, None, "m"),
            ({"field": "label_id", "message": "m"}, "label_id", "m"),
            ({"slug": "invalid-input", "message": "m"}, None, "m"),
        ],
    )
    @pytest.mark.parametrize("status", [200, 202, 400, 422])
    def test_every_documented_rejection_refuses_the_record_in_any_status(
        self, body: object, field: str | None, message: str, status: int
    ) -> None:
        with pytest.raises(PushRejected) as caught:
            read_push(answer(body, status), now=NOW)
        assert (caught.value.field, caught.value.message, caught.value.status) == (field, message, status)

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (301, UnexpectedRedirect),
            (401, AuthenticationFailed),
            (403, Forbidden),
            (404, NotFound),
            (429, RateLimited),
            (500, ServerError),
        ],
    )
    def test_status_not_about_the_record_is_never_a_refusal(self, status: int, kind: type[APIStatusError]) -> None:
        with pytest.raises(kind):
            read_push(answer({"status": "error", "message": "not now"}, status), now=NOW)

    def test_server_error_that_names_a_field_is_a_refusal(self) -> None:
        body = {"status_info": {"status": "error", "field": "ends_at", "message": "m"}}
        with pytest.raises(PushRejected):
            read_push(answer(body, 500), now=NOW)

    def test_expired_token_in_a_200_is_an_authentication_failure(self) -> None:
        with pytest.raises(AuthenticationFailed):
            read_push(answer({"slug": "authorization-error", "message": "please login again"}), now=NOW)

    def test_bad_request_in_an_undocumented_form_is_no_refusal(self) -> None:
        with pytest.raises(BadRequest):
            read_push(answer(b"<h1>400 Bad Request</h1>", 400, content_type="text/html"), now=NOW)

    @pytest.mark.parametrize("body", [b"OK", b"{}", b"null", b'{"status_info": {}}', b'{"status_info": {"status'])
    def test_success_without_a_clear_result_was_sent_and_is_unreadable(self, body: bytes) -> None:
        with pytest.raises(DecodeError) as caught:
            read_push(answer(body, content_type="text/plain"), now=NOW)
        assert caught.value.sent == "yes"

    def test_web_page_makes_the_record_ambiguous(self) -> None:
        with pytest.raises(ResponseLost):
            read_push(answer(PORTAL), now=NOW)


class TestSubmit:
    @pytest.mark.parametrize(
        ("body", "batch_id"),
        [
            ({"batch_id": "x"}, "x"),
            ({"batch_id": 4711}, "4711"),
            ({"batch_id": "not a uuid/.."}, "not a uuid/.."),
            ({"batch_id": "b", "status": "pending"}, "b"),
            ({"status": "success", "message": f"Records Uploaded Successfully. BatchID: {UUID}"}, UUID),
            ({"status": "success", "message": f"done, batch id {UUID}."}, UUID),
            ({"status": "success", "message": f"batch_id={UUID.upper()}"}, UUID.upper()),
        ],
    )
    def test_batch_id_is_found_where_each_version_puts_it(self, body: object, batch_id: str) -> None:
        assert read_submit(answer(body), now=NOW) == Batch(batch_id)

    def test_json_labelled_as_a_web_page_is_parsed(self) -> None:
        assert read_submit(answer({"batch_id": "b"}, content_type="text/html"), now=NOW) == Batch("b")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{}",
            b"OK",
            b'{"batch_id": ""}',
            b'{"batch_id": null}',
            b'{"batch_id": true}',
            b'{"batch_id": ["b"]}',
            b'{"batch_id": "a\\r\\nb"}',
            b'{"batch_id": "\\u00e9"}',
            b'{"batch_id": "' + b"x" * 201 + b'"}',
            b'{"batch_id": "b7',
            b'{"status": "success", "message": "Batch ID missing"}',
        ],
    )
    def test_success_without_a_usable_id_was_accepted_and_is_untracked(self, body: bytes) -> None:
        with pytest.raises(DecodeError) as caught:
            read_submit(answer(body, content_type="application/json"), now=NOW)
        assert (caught.value.path, caught.value.sent, caught.value.retryable) == ("$.batch_id", "yes", False)

    @pytest.mark.parametrize(
        ("body", "content_type"),
        [
            (PORTAL, "text/html; charset=utf-8"),
            (PORTAL, "application/json"),
            (b"  \n<html></html>", ""),
            (b"Please log in", "text/html"),
        ],
    )
    def test_web_page_is_not_from_truecaller_and_is_ambiguous(self, body: bytes, content_type: str) -> None:
        with pytest.raises(ResponseLost) as caught:
            read_submit(answer(body, content_type=content_type), now=NOW)
        assert (caught.value.sent, caught.value.retryable) == ("maybe", False)

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"status": "failure", "message": "m"}, None),
            ({"status": "failure", "message": "m", "batch_id": "b"}, None),
            ({"status_info": {"status": "error", "field": "ends_at", "message": "m"}}, "ends_at"),
            ({"slug": "invalid-input", "message": "m"}, None),
        ],
    )
    @pytest.mark.parametrize("status", [200, 400])
    def test_rejection_is_a_bad_request_whatever_its_status(self, body: object, field: str | None, status: int) -> None:
        with pytest.raises(BadRequest) as caught:
            read_submit(answer(body, status), now=NOW)
        assert (caught.value.message, caught.value.field, caught.value.status) == ("m", field, status)

    @pytest.mark.parametrize("status", [500, 502, 503, 504, 520])
    def test_5xx_on_a_submit_is_not_retryable(self, status: int) -> None:
        with pytest.raises(ServerError) as caught:
            read_submit(answer({"status": "failure", "message": "m"}, status), now=NOW)
        assert caught.value.retryable is False


class TestNumberJob:
    @pytest.mark.parametrize("status", [200, 400, 404, 409, 422])
    def test_failed_job_is_recognised_by_its_form_in_any_status(self, status: int) -> None:
        job = read_number_job(answer({"status": "failed", "new_numbers": ["911234567891"]}, status), now=NOW)
        assert (job.status, job.new_numbers) == ("failed", ("911234567891",))

    def test_null_buckets_are_empty_and_integer_numbers_are_text(self) -> None:
        job = read_number_job(answer({"new_numbers": [911234567891], "invalid_numbers": None}), now=NOW)
        assert (job.new_numbers, job.invalid_numbers) == (("911234567891",), ())

    @pytest.mark.parametrize("bucket", BUCKETS)
    def test_one_bucket_is_enough_to_recognise_a_job(self, bucket: str) -> None:
        job = read_number_job(answer({"status": "pending", bucket: ["911234567891"]}), now=NOW)
        assert getattr(job, bucket) == ("911234567891",)

    def test_null_among_the_numbers_does_not_hide_the_others(self) -> None:
        job = read_number_job(answer({"new_numbers": ["911234567891", None, "911234567892"]}), now=NOW)
        assert job.new_numbers == ("911234567891", "911234567892")

    @pytest.mark.parametrize(
        ("given", "kind"),
        [
            (answer({"status": "pending"}), DecodeError),
            (answer({"status": "failed"}), BadRequest),
            (answer(PORTAL), ResponseLost),
            (answer({"new_numbers": []}, 500), ServerError),
            (answer({"new_numbers": {}}), DecodeError),
            (answer({"new_numbers": [["9"]]}), DecodeError),
        ],
    )
    def test_answer_that_is_no_job_is_an_error(self, given: Answer, kind: type[TruecallerError]) -> None:
        with pytest.raises(kind):
            read_number_job(given, now=NOW)

    def test_job_shows_no_number(self) -> None:
        job = read_number_job(answer({"new_numbers": ["911234567891"]}), now=NOW)
        assert "911234567891" not in repr(job)
