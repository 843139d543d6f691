"""Each sample of the documentation is read as documented, and each one is used by a test."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pytest

from truecaller_async.errors import (
    AuthenticationFailed,
    BadRequest,
    DecodeError,
    Forbidden,
    PushRejected,
    TruecallerError,
)
from truecaller_async.models import Answer, Batch, BatchStatus, PushAnswer, RecordColumns, RecordStatus, Secret
from truecaller_async.models.feature_sets import FeatureSet
from truecaller_async.models.labels import Label
from truecaller_async.models.numbers import Number, NumberJob
from truecaller_async.models.pages import Page
from truecaller_async.options import Credentials
from truecaller_async.protocol.number_requests import delist_request, publish_request
from truecaller_async.protocol.requests import mint_request, push_request, submit_request
from truecaller_async.protocol.responses import (
    read_export,
    read_feature_sets,
    read_labels,
    read_mint,
    read_number_job,
    read_numbers,
    read_push,
    read_status,
    read_submit,
)

from .answers import ACCOUNT, NOW, SAMPLES, compact, record, sample

Decipher = Callable[..., object]

MAIL = "someone@example.com"
KYC = {"label_name": "Centro Bank KYC Department", "reason": "Calling you for KYC Verification"}
ENDED = "Request body is invalid: ends_at cannot be older than current time"
UPLOADED = "Records Uploaded Successfully. BatchID: 6dabe53b-14a5-44bf-9bab-3dda8b0fee54"
REFUSED_V1 = "ends_at cannot be older than current time. BatchID: d30ca8f7-ae64-4c30-8700-d63f6b2f1dd6"


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc,arg-type]  # parts are year to microsecond


def status_of(version: str, batch_id: str) -> Decipher:
    def read(answer: Answer, *, now: float) -> BatchStatus:
        return read_status(version, answer, batch_id, now=now)

    return read


PROCESSED = PushAnswer("success", "Record processed successfully")

FEATURE_SET = partial(
    FeatureSet,
    description="",
    status="draft",
    label_id="7c7ec202-96cc-4c5f-8b24-23cbc07a2a8a",
    video_caller_id=None,
    business_profile_id=None,
    call_me_back=False,
    survey=False,
    client_account_id=ACCOUNT,
)

NUMBER = partial(
    Number,
    phone_type="verified",
    status="listed",
    client_account_id=ACCOUNT,
    created_by_email=MAIL,
    department="TestingSanity",
    operation="Collections",
    process="SanityProcess",
    subprocess="",
    feature_set_name="New Feature set",
    call_me_back="enabled",
    created_at=utc(2025, 7, 28, 9, 25, 19, 557139),
    label_name="testLabel from fs page",
)

LOGOS = "https://business-priority-media-noneu.truecaller.com/staging/logos/06930f35-4b9c-4144-b748-9ace309c70d2"


def labels(*found: Label) -> Page[Label]:
    return Page(found)


MODELS: dict[str, tuple[Decipher, object]] = {
    "realtime_v1_response_success.json": (
        read_push,
        PushAnswer("success", UPLOADED, "6dabe53b-14a5-44bf-9bab-3dda8b0fee54"),
    ),
    "realtime_v2_response_success.json": (read_push, PROCESSED),
    "realtime_v2_openapi_response.json": (read_push, PROCESSED),
    "undocumented/realtime_v3_response_success_inferred.json": (read_push, PROCESSED),
    "batch_v1_response_success.json": (read_submit, Batch("6dabe53b-14a5-44bf-9bab-3dda8b0fee54")),
    "batch_v2_response.json": (read_submit, Batch("b72f7a40-ec3a-462f-b528-da0e8dc87e79")),
    "batch_v2_openapi_response.json": (read_submit, Batch("d76s5-dfg9d-o32442-837467854")),
    "undocumented/batch_v3_response_inferred.json": (read_submit, Batch("5909638a-a8a7-4a86-8970-d576e9717887")),
    "batch_v1_status_response.json": (
        status_of("v1", "c951e498-abf3-4e50-ba94-a8065ca743f4"),
        BatchStatus(
            "c951e498-abf3-4e50-ba94-a8065ca743f4",
            ACCOUNT,
            (
                RecordStatus(
                    id="3ce1e19f-182d-4f04-ae28-422ca9f0bcd4",
                    caller="************",
                    receiver="************",
                    label_id="c6d86658-008d-4c08-98fb-2bf2649d59a5",
                    label_name="Flower",
                    reason="Flower Delivery",
                    starts_at=1752760800000,
                    ends_at=1752868800000,
                    status="success",
                    created_at=utc(2025, 7, 17, 8, 52, 55, 383000),
                ),
            ),
        ),
    ),
    "batch_v2_status_response.json": (
        status_of("v2", "0ca10281-11a0-4f86-bb27-7452da543cb6"),
        BatchStatus(
            "0ca10281-11a0-4f86-bb27-7452da543cb6",
            ACCOUNT,
            (
                RecordStatus(
                    id="c458227a-a730-4ced-81b4-19c21ea8d97c",
                    caller="************",
                    receiver="************",
                    label_id="c6d86658-008d-4c08-98fb-2bf2649d59a5",
                    starts_at=1753246858000,
                    ends_at=1753362058000,
                    status="success",
                    created_at=utc(2025, 7, 23, 9, 7, 32, 210000),
                    **KYC,
                ),
            ),
        ),
    ),
    "undocumented/batch_v3_status_response_inferred.json": (
        status_of("v3", "5909638a-a8a7-4a86-8970-d576e9717887"),
        BatchStatus(
            "5909638a-a8a7-4a86-8970-d576e9717887",
            ACCOUNT,
            (
                RecordStatus(
                    id="c458227a-a730-4ced-81b4-19c21ea8d97c",
                    caller="+911234567890",
                    receiver="+919876543210",
                    label_id="c6d86658-008d-4c08-98fb-2bf2649d59a5",
                    starts_at=1753246858000,
                    ends_at=1753261258000,
                    status="success",
                    created_at=utc(2025, 7, 23, 9, 7, 32, 210000),
                    **KYC,
                ),
            ),
        ),
    ),
    "labels_response.json": (
        read_labels,
        labels(
            Label(
                id="255297eb-7f13-44f9-967a-f287ff0f5025",
                name="FlowerEra",
                label_type="dynamic",
                logo_url=f"{LOGOS}-1751871235271177747.png",
                category=10,
                sub_category=142,
                created_by_email=MAIL,
                created_at=utc(2025, 7, 7, 6, 53, 55, 402122),
            ),
            Label(
                id="d3c2ff94-beb4-412f-a7d5-daebf9596cfa",
                name="test-label-priority",
                label_type="dynamic",
                logo_url=f"{LOGOS}-1739786448319894688.png",
                category=1,
                sub_category=16,
                created_by_email=MAIL,
                created_at=utc(2025, 2, 17, 10, 0, 48, 506685),
            ),
        ),
    ),
    "labels_openapi_response.json": (
        read_labels,
        labels(
            Label(
                id="text",
                name="text",
                label_type="text",
                logo_url="text",
                client_account_id="text",
                created_by_email="text",
                created_at=utc(2024, 9, 15, 0, 50, 51, 538000),
                updated_at=utc(2024, 9, 15, 0, 50, 51, 538000),
                deleted_at=utc(2024, 9, 15, 0, 50, 51, 538000),
            ),
        ),
    ),
    "number_listing_response.json": (
        read_number_job,
        NumberJob(
            status="pending",
            phone_type="verified",
            client_account_id=ACCOUNT,
            created_by_email=MAIL,
            new_numbers=("911234567891",),
        ),
    ),
    "number_delisting_response_pending.json": (
        read_number_job,
        NumberJob(status="pending", phone_type="", client_account_id=ACCOUNT, existing_numbers=("911234567891",)),
    ),
    "number_delisting_response_failed.json": (
        read_number_job,
        NumberJob(status="failed", phone_type="", client_account_id=ACCOUNT, new_numbers=("911234567891",)),
    ),
    "number_details_response_failed_as_printed.json": (
        read_number_job,
        NumberJob(status="failed", phone_type="", client_account_id=ACCOUNT, new_numbers=("911234567891",)),
    ),
    "number_details_response.json": (
        read_numbers,
        Page(
            (
                NUMBER(phone_number="918848628575230", updated_at=utc(2025, 7, 28, 9, 25, 23, 644159)),
                NUMBER(phone_number="918735783247237", updated_at=utc(2025, 7, 28, 9, 25, 23, 671083)),
            ),
            page=None,
            total_pages=8,
        ),
    ),
    "feature_sets_response.json": (
        read_feature_sets,
        Page(
            (
                FEATURE_SET(
                    id="069d2e3a-41e6-41f9-a768-157d7e3bd6b9",
                    name="prio1",
                    process_id="318d5ae4-d2ad-4dc6-898a-861347ce279d",
                    call_reason_id="689f6ce5-c03d-4d96-8af8-c8fb9b52510d",
                    department_id="8e16b0d3-0953-40d0-9079-2a412363063e",
                    department_name="QA Test new flow edit",
                    operation_id="14349208-1e61-4f88-81c5-2f55dfc755db",
                    calling_operation_id="690aa251-122e-4cbc-87a8-8d270fffb218",
                    calling_operation_name="Delivery",
                    process_name="newProcess",
                    sub_process_name="subPro",
                    created_at=utc(2025, 7, 16, 10, 15, 4, 800203),
                    updated_at=utc(2025, 7, 16, 10, 15, 4, 800203),
                ),
                FEATURE_SET(
                    id="684de058-3d09-4b05-ba65-3612b5cf616b",
                    name="New Feature Set-7",
                    process_id="510ab615-1dda-4cac-97f3-7975e10a4cd5",
                    call_reason_id="f435f291-6508-4362-84bb-00100f008544",
                    department_id="85c87025-35e2-4e68-9257-0517609cfd3d",
                    department_name="Listingdelisting",
                    operation_id="358328f9-d99e-49ec-927e-28029efb0dde",
                    calling_operation_id="0cb2cb40-8c23-44ce-b546-6d9b6b66af88",
                    calling_operation_name="Sales",
                    process_name="Listingdelisting",
                    sub_process_name="",
                    created_at=utc(2025, 7, 16, 10, 12, 24, 561896),
                    updated_at=utc(2025, 7, 16, 10, 12, 24, 561896),
                ),
            ),
            page=1,
            total_pages=2,
        ),
    ),
    "token_response.json": (
        read_mint,
        Secret("a4p0pZ2x3aEk9TYGxPZldm0qvWQknTXTINPZxNpIZ32yWmiOFtGqv2mEU7nJlQO6"),
    ),
}

DENIED: dict[str, object] = {"slug": "forbidden-error", "message": "not authorized. please contact your admin."}
EXPIRED: dict[str, object] = {"slug": "authorization-error", "message": "please login again"}
NO_EXPORT: dict[str, object] = {"slug": None, "message": "No CMB found for client Id"}


ERRORS: dict[str, tuple[Decipher, int, type[TruecallerError], dict[str, object]]] = {
    "token_error_400.json": (
        read_mint,
        400,
        BadRequest,
        {"slug": "invalid-input", "message": "api_key is required"},
    ),
    "realtime_v1_response_failure.json": (read_push, 200, PushRejected, {"field": None, "message": REFUSED_V1}),
    "realtime_v2_response_error.json": (read_push, 400, PushRejected, {"field": "ends_at", "message": ENDED}),
    "realtime_v2_early_error_flat.json": (
        read_push,
        200,
        PushRejected,
        {
            "field": "ends_at",
            "message": "Request body is invalid: ends_at cannot be more than 24 hours after starts_at",
        },
    ),
    "undocumented/realtime_v3_response_error_inferred.json": (
        read_push,
        200,
        PushRejected,
        {"field": "ends_at", "message": ENDED},
    ),
    "batch_v1_response_failure.json": (read_submit, 200, BadRequest, {"message": REFUSED_V1, "status": 200}),
    "batch_v1_status_error_500.json": (
        status_of("v1", "any"),
        500,
        AuthenticationFailed,
        {"slug": "internal-server-error", "message": "500/50011 - Failed to parse token", "retryable": False},
    ),
    "batch_v2_error_authorization.json": (read_submit, 401, AuthenticationFailed, EXPIRED),
    "error_authorization_login_again.json": (read_push, 401, AuthenticationFailed, EXPIRED),
    "error_authorization_missing_header.json": (
        read_submit,
        401,
        AuthenticationFailed,
        {"message": "Missing authorization header"},
    ),
    "error_forbidden.json": (read_submit, 403, Forbidden, DENIED),
    "labels_error_forbidden.json": (read_labels, 403, Forbidden, DENIED),
    "number_details_error_forbidden.json": (read_numbers, 403, Forbidden, DENIED),
    "number_listing_error_forbidden.json": (read_number_job, 403, Forbidden, DENIED),
    "call_me_back_v1_error.json": (read_export, 400, BadRequest, NO_EXPORT),
    "user_feedback_v1_error.json": (read_export, 400, BadRequest, NO_EXPORT),
}

KEY_PAIR = Credentials(ACCOUNT, "aaaee1b1-7a2f-4c0b-8271-4e2b41c1bf01", Secret("caf1694e-b8a4-4082-82fc-105a0a63eafe"))

BODIES: dict[str, bytes | None] = {
    "token_request.json": mint_request(KEY_PAIR).body,
    "realtime_v1_request.json": push_request(
        "v1",
        ACCOUNT,
        record(
            "91**********",
            "91**********",
            starts_at=1751879424883,
            ends_at=1751886000000,
            label_id="255297eb-7f13-44f9-967a-f287ff0f5025",
            label_name="Delivery",
            reason="Flower Delivery",
        ),
    ).body,
    "realtime_v2_request.json": push_request(
        "v2",
        ACCOUNT,
        record(label_id="c6d86658-008d-4c08-98fb-2bf2649d59a5", label_name="Flower rasm", reason="Flower Delivery"),
    ).body,
    # The earliest copy of version 2 still had the names of version 1.
    "realtime_v2_early_request.json": push_request(
        "v1",
        ACCOUNT,
        record(
            "911234567890",
            "919876543210",
            starts_at=1748860800000,
            ends_at=1748889600000,
            label_id="123e4567-e89b-12d3-a456-426614174000",
            label_name="Display Caller Name",
            reason="Sample call reason",
        ),
    ).body,
    "batch_v1_request.json": submit_request(
        "v1",
        ACCOUNT,
        RecordColumns.of(
            [
                record(
                    "**********",
                    "**********",
                    starts_at=1,
                    ends_at=2,
                    label_id="255297eb-7f13-44f9-967a-f287ff0f5025",
                    label_name="Flower",
                    reason="Flower Delivery",
                )
            ]
        ),
    ).body,
    "undocumented/batch_v3_request_inferred.json": submit_request(
        "v3",
        ACCOUNT,
        RecordColumns.of(
            [
                record(
                    "911234567890",
                    "919876543210",
                    starts_at=1753246858000,
                    ends_at=1753261258000,
                    label_id="c6d86658-008d-4c08-98fb-2bf2649d59a5",
                    **KYC,
                )
            ]
        ),
    ).body,
    "undocumented/realtime_v3_request_inferred.json": push_request(
        "v3",
        ACCOUNT,
        record(
            "911234567890",
            "919876543210",
            starts_at=1753246858000,
            ends_at=1753261258000,
            label_id="c6d86658-008d-4c08-98fb-2bf2649d59a5",
            **KYC,
        ),
    ).body,
    "number_listing_request.json": publish_request(ACCOUNT, ACCOUNT, ["911234567891"]).body,
    "number_delisting_request.json": delist_request(ACCOUNT, ACCOUNT, ["911234567891"]).body,
}

READ_ON_THEIR_OWN = {"realtime_v2_openapi_request.json", "batch_v2_request.json"}

NEIGHBOURS = {"trustcaller", "verification", "webhooks"}
"""Folders of other services, whose samples are used by the tests of their packages."""


@pytest.mark.parametrize("name", MODELS)
def test_sample_answer_is_read_as_documented(name: str) -> None:
    read, expected = MODELS[name]
    assert read(sample(name), now=NOW) == expected


@pytest.mark.parametrize("name", ERRORS)
def test_sample_error_becomes_the_error_it_documents(name: str) -> None:
    read, status, kind, attributes = ERRORS[name]
    with pytest.raises(kind) as caught:
        read(sample(name, status), now=NOW)
    assert type(caught.value) is kind
    assert {key: getattr(caught.value, key) for key in attributes} == attributes


@pytest.mark.parametrize("name", BODIES)
def test_request_body_is_the_sample_byte_for_byte(name: str) -> None:
    assert BODIES[name] == compact(name)


def test_v2_encodes_the_openapi_sample_in_the_documented_order() -> None:
    request = push_request(
        "v2",
        ACCOUNT,
        record(
            "911234567890",
            "919876543210",
            starts_at=1748860800000,
            ends_at=1748889600000,
            label_id="123e4567-e89b-12d3-a456-426614174000",
            label_name="Display Caller Name",
            reason="Sample call reason",
        ),
    )
    assert sorted((request.body or b"").strip(b"{}").split(b",")) == sorted(
        compact("realtime_v2_openapi_request.json").strip(b"{}").split(b",")
    )


def test_v2_encodes_the_batch_sample_with_digits() -> None:
    request = submit_request(
        "v2",
        ACCOUNT,
        RecordColumns.of(
            [
                record(
                    "91**********",
                    "91**********",
                    starts_at=1753246858000,
                    ends_at=1753362058000,
                    label_id="c6d86658-008d-4c08-98fb-2bf2649d59a5",
                    **KYC,
                )
            ]
        ),
    )
    assert request.body == compact("batch_v2_request.json").replace(b'"+91', b'"91')


def test_number_details_that_are_a_bulk_job_are_no_page_of_numbers() -> None:
    with pytest.raises(DecodeError) as caught:
        read_numbers(sample("number_details_response_failed_as_printed.json"), now=NOW)
    assert caught.value.path == "$.numbers"


def test_every_sample_is_used() -> None:
    files = {path.relative_to(SAMPLES).as_posix() for path in SAMPLES.rglob("*.json")}
    files = {name for name in files if name.partition("/")[0] not in NEIGHBOURS}
    assert files == MODELS.keys() | ERRORS.keys() | BODIES.keys() | READ_ON_THEIR_OWN


def test_no_sample_names_a_person() -> None:
    mails = {
        word for path in SAMPLES.rglob("*.json") for word in path.read_text().replace('"', " ").split() if "@" in word
    }
    assert mails == {MAIL}
