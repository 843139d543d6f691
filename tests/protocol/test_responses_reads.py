"""Answers to reads: the status of a batch, and lists, in all documented and tolerated forms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import BadRequest, ConfigError, DecodeError, NotFound, ServerError
from truecaller_async.models import Outcome, RecordStatus
from truecaller_async.models.labels import Label
from truecaller_async.models.numbers import Number
from truecaller_async.models.pages import Page
from truecaller_async.protocol.responses import (
    read_feature_sets,
    read_labels,
    read_numbers,
    read_status,
)

from .answers import ACCOUNT, NOW, answer

BATCH = "0ca10281-11a0-4f86-bb27-7452da543cb6"

V2_ROW: dict[str, Any] = {
    "id": "r-1",
    "caller_number": "911234567898",
    "receiver_number": "919234567898",
    "label_id": "l-1",
    "dynamic_label_name": "Centro Bank",
    "dynamic_call_reason": "Calling about KYC",
    "starts_at": 1753246858000,
    "ends_at": 1753261258000,
    "status_info": {"status": "error", "message": "Not a Truecaller user", "field": "receiver_number"},
    "created_at": "2025-07-23T09:07:32.21Z",
}
V1_ROW: dict[str, Any] = {
    "id": "r-1",
    "client_account_id": ACCOUNT,
    "batch_id": BATCH,
    "caller": "911234567898",
    "receiver": "919234567898",
    "label_id": "l-1",
    "label_name": "Centro Bank",
    "call_reason": "Calling about KYC",
    "starts_at": 1753246858000,
    "ends_at": 1753261258000,
    "status": "error",
    "message": "Not a Truecaller user",
    "field": "receiver_number",
    "created_at": "2025-07-23T09:07:32.21Z",
}
READ = RecordStatus(
    "r-1",
    "911234567898",
    "919234567898",
    "l-1",
    "Centro Bank",
    "Calling about KYC",
    1753246858000,
    1753261258000,
    "error",
    "Not a Truecaller user",
    "receiver_number",
    datetime(2025, 7, 23, 9, 7, 32, 210000, tzinfo=UTC),
)


def enveloped(*rows: object, **more: object) -> dict[str, object]:
    return {"client_account_id": ACCOUNT, "batch_id": BATCH, "data": list(rows)} | more


def rows_of(body: object, version: str = "v2") -> tuple[RecordStatus, ...]:
    return read_status(version, answer(body), BATCH, now=NOW).records


def renamed(row: dict[str, Any], **names: str) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in row.items()}


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
@pytest.mark.parametrize(
    "body",
    [
        enveloped(V2_ROW),
        enveloped(V1_ROW),
        [V1_ROW],
        [V2_ROW],
        enveloped(renamed(V2_ROW, status_info="statusInfo")),
        enveloped(renamed(V2_ROW, caller_number="caller", receiver_number="receiver")),
        enveloped(renamed(V2_ROW, dynamic_label_name="label_name")),
        enveloped(renamed(V2_ROW, dynamic_call_reason="call_reason")),
        enveloped(V2_ROW, next_page=None, pagination={"a": [1]}),
        enveloped(V2_ROW | {"retries": 3}),
        enveloped(V2_ROW | {"starts_at": "1753246858000", "ends_at": 1753261258000.0}),
    ],
)
def test_every_form_gives_the_same_row_in_every_version(version: str, body: object) -> None:
    status = read_status(version, answer(body), BATCH, now=NOW)
    assert (status.batch_id, status.records) == (BATCH, (READ,))
    assert status.client_account_id in (ACCOUNT, None)


@pytest.mark.fault("F35")
@pytest.mark.parametrize(
    ("status", "kept", "outcome"),
    [
        ("success", "success", Outcome.DELIVERED),
        ("failed", "failed", Outcome.FAILED),
        ("queued2", "queued2", None),
        ("Success", "Success", None),
        ("", "", None),
        (None, None, None),
        (7, "7", None),
        (1.5, "1.5", None),
        (True, "true", None),
    ],
)
@pytest.mark.parametrize("form", ["v1", "v2"])
def test_status_is_kept_verbatim_and_only_documented_ones_are_final(
    status: object, kept: str | None, outcome: Outcome | None, form: str
) -> None:
    body: object = (
        [V1_ROW | {"status": status}] if form == "v1" else enveloped(V2_ROW | {"status_info": {"status": status}})
    )
    (row,) = rows_of(body)
    assert (row.status, row.outcome) == (kept, outcome)


@pytest.mark.fault("F35")
@pytest.mark.parametrize("status_info", [None, {}])
def test_row_without_a_status_is_not_final(status_info: object) -> None:
    (row,) = rows_of(enveloped(V2_ROW | {"status_info": status_info}))
    assert (row.status, row.message, row.outcome) == (None, None, None)


def test_unsent_fields_may_be_absent_or_null() -> None:
    bare = {"caller_number": "911234567898", "receiver_number": "919234567898", "status_info": {"status": "success"}}
    nulled = dict.fromkeys(V2_ROW) | bare
    expected = RecordStatus(caller="911234567898", receiver="919234567898", status="success")
    assert rows_of(enveloped(bare, nulled)) == (expected, expected)


@pytest.mark.parametrize("body", [[], None, enveloped(), {"data": None}, {"batch_id": BATCH, "data": []}])
def test_empty_rows_are_an_empty_status(body: object) -> None:
    assert rows_of(body) == ()


@pytest.mark.fault("F36")
def test_rows_of_another_batch_are_excluded() -> None:
    foreign_v1 = V1_ROW | {"batch_id": "another", "id": "foreign"}
    foreign_v2 = V2_ROW | {"batch_id": "another", "id": "foreign"}
    assert rows_of([foreign_v1, V1_ROW], "v1") == (READ,)
    assert rows_of(enveloped(V2_ROW, foreign_v2)) == (READ,)
    assert rows_of(enveloped(V2_ROW | {"batch_id": BATCH})) == (READ,)


@pytest.mark.fault("F36")
@pytest.mark.parametrize("count", [0, 1, 3])
def test_rows_of_another_batch_are_counted(count: int) -> None:
    foreign = [V1_ROW | {"batch_id": "another", "client_account_id": "somebody", "id": "foreign"}] * count
    status = read_status("v1", answer([*foreign, V1_ROW]), BATCH, now=NOW)
    assert (status.foreign, status.records, status.client_account_id) == (count, (READ,), ACCOUNT)
    assert read_status("v2", answer(enveloped(V2_ROW, *foreign)), BATCH, now=NOW).foreign == count


@pytest.mark.fault("F36")
def test_answer_about_another_batch_is_an_error() -> None:
    with pytest.raises(DecodeError) as caught:
        rows_of(enveloped(V2_ROW, batch_id="another"))
    assert caught.value.path == "$.batch_id"


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (enveloped(V2_ROW, V2_ROW, V2_ROW, V2_ROW | {"status_info": "success"}), "$.data[3].status_info"),
        (enveloped(V2_ROW, V2_ROW | {"status_info": []}), "$.data[1].status_info"),
        (enveloped(V2_ROW | {"id": {}}), "$.data[0].id"),
        (enveloped(V2_ROW | {"status_info": {"status": []}}), "$.data[0].status"),
        (enveloped(V2_ROW, 3), "$.data[1]"),
        ([V1_ROW, V1_ROW | {"ends_at": []}], "$[1].ends_at"),
        ([None], "$[0]"),
        ({"data": {}}, "$.data"),
        ({"batch_id": BATCH}, "$.data"),
        ("done", "$"),
        (7, "$"),
    ],
)
def test_undocumented_form_is_reported_with_its_json_path(body: object, path: str) -> None:
    with pytest.raises(DecodeError) as caught:
        rows_of(body)
    assert (caught.value.path, caught.value.status, caught.value.sent) == (path, 200, "yes")
    assert "911234567898" not in f"{caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2025-07-23T09:07:32Z", datetime(2025, 7, 23, 9, 7, 32, tzinfo=UTC)),
        ("2025-07-23T09:07:32.5Z", datetime(2025, 7, 23, 9, 7, 32, 500000, tzinfo=UTC)),
        ("2025-07-23T09:07:32.402122Z", datetime(2025, 7, 23, 9, 7, 32, 402122, tzinfo=UTC)),
        ("2025-07-23T09:07:32.402122499Z", datetime(2025, 7, 23, 9, 7, 32, 402122, tzinfo=UTC)),
        ("2025-07-23T14:37:32+05:30", datetime(2025, 7, 23, 9, 7, 32, tzinfo=UTC)),
        ("2025-07-23T09:07:32", datetime(2025, 7, 23, 9, 7, 32, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        (1753246858000, None),
    ],
)
@pytest.mark.parametrize("row", [V1_ROW, V2_ROW])
def test_timestamp_has_any_fraction_and_a_bad_one_hides_nothing(
    text: object, instant: datetime | None, row: dict[str, Any]
) -> None:
    (read,) = rows_of(enveloped(row | {"created_at": text}))
    assert read.created_at == instant
    assert read.created_at is None or read.created_at.tzinfo is not None
    assert read.id == "r-1"


TEXTS = st.none() | st.text(max_size=8)
ROWS = st.fixed_dictionaries(
    {"caller_number": st.text(max_size=8), "receiver_number": st.text(max_size=8)},
    optional={
        "id": TEXTS,
        "label_id": TEXTS,
        "dynamic_label_name": TEXTS,
        "dynamic_call_reason": TEXTS,
        "starts_at": st.none() | st.integers(0, 2**60),
        "ends_at": st.none() | st.integers(0, 2**60),
        "created_at": st.none() | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    },
)
INFO = st.fixed_dictionaries({"status": TEXTS}, optional={"message": TEXTS, "field": TEXTS})


@given(pairs=st.lists(st.tuples(ROWS, INFO), max_size=4))
def test_documented_rows_are_read_without_loss(pairs: list[tuple[dict[str, Any], Any]]) -> None:
    body = enveloped(*(row | {"status_info": info} for row, info in pairs))
    status = read_status("v2", answer(body), BATCH, now=NOW)
    expected = tuple(
        RecordStatus(
            id=row.get("id"),
            caller=row["caller_number"],
            receiver=row["receiver_number"],
            label_id=row.get("label_id"),
            label_name=row.get("dynamic_label_name"),
            reason=row.get("dynamic_call_reason"),
            starts_at=row.get("starts_at"),
            ends_at=row.get("ends_at"),
            status=info["status"],
            message=info.get("message"),
            field=info.get("field"),
            created_at=datetime.fromisoformat(row["created_at"]) if row.get("created_at") else None,
        )
        for row, info in pairs
    )
    assert status.records == expected
    assert status.foreign == 0


def test_rows_with_old_and_documented_names_are_equal() -> None:
    old = renamed(renamed(V2_ROW, dynamic_label_name="label_name"), dynamic_call_reason="call_reason")
    assert rows_of(enveloped(old)) == rows_of(enveloped(V2_ROW))


@pytest.mark.fault("F39")
def test_status_with_a_failure_in_a_200_is_an_error() -> None:
    with pytest.raises(BadRequest, match="no such batch"):
        rows_of({"status": "failure", "message": "no such batch"})
    with pytest.raises(ServerError) as caught:
        rows_of({"slug": "internal-server-error", "message": "try later"})
    assert caught.value.retryable


@pytest.mark.fault("F19", "F43")
def test_missing_batch_is_not_found_and_5xx_on_a_read_is_retryable() -> None:
    with pytest.raises(NotFound):
        read_status("v2", answer({"message": "batch not found"}, 404), BATCH, now=NOW)
    with pytest.raises(ServerError) as caught:
        read_status("v2", answer(b"", 502), BATCH, now=NOW)
    assert caught.value.retryable


def test_rows_in_an_error_status_are_no_rows() -> None:
    with pytest.raises(ServerError):
        read_status("v2", answer(enveloped(V2_ROW), 500), BATCH, now=NOW)


def test_unknown_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="v9"):
        read_status("v9", answer(enveloped()), BATCH, now=NOW)


@pytest.mark.parametrize("body", [[], None])
def test_no_labels_are_an_empty_list(body: object) -> None:
    assert read_labels(answer(body), now=NOW) == Page()


def test_label_needs_only_its_id_and_tolerates_odd_values() -> None:
    odd = {"id": 7, "category": "10", "sub_category": "text", "created_at": "soon", "deleted_at": None, "new": [1]}
    assert read_labels(answer([odd]), now=NOW) == Page((Label(id="7", category=10),))


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ([{"id": "a"}, {"name": "b"}], "$[1].id"),
        ([{"id": None}], "$[0].id"),
        ([{"id": "a"}, {"id": "b", "created_at": {}}], "$[1].created_at"),
        ([7], "$[0]"),
        ({"labels": []}, "$"),
    ],
)
def test_labels_in_another_form_are_reported_with_their_json_path(body: object, path: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_labels(answer(body), now=NOW)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("numbers", "path"),
    [
        ([{"phone_number": "9"}, {"phone_number": "9"}, {"status": "listed"}], "$.numbers[2].phone_number"),
        ([{"phone_number": "9", "created_at": ["2025-07-28"]}], "$.numbers[0].created_at"),
        ([{"phone_number": "9", "label_name": {}}], "$.numbers[0].label_name"),
        ({}, "$.numbers"),
    ],
)
def test_numbers_in_another_form_are_reported_with_their_json_path(numbers: object, path: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_numbers(answer({"numbers": numbers}), now=NOW)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"feature_sets": [{"id": "a"}, {}]}, "$.feature_sets[1].id"),
        ({"feature_sets": [], "pagination_info": {"total_page_count": []}}, "$.pagination_info.total_page_count"),
        ({"sets": []}, "$.feature_sets"),
    ],
)
def test_feature_sets_in_another_form_are_reported_with_their_json_path(body: object, path: str) -> None:
    with pytest.raises(DecodeError) as caught:
        read_feature_sets(answer(body), now=NOW)
    assert caught.value.path == path


@pytest.mark.parametrize("body", [[], {"numbers": []}, {"numbers": None}])
def test_empty_numbers_come_bare_or_enveloped(body: object) -> None:
    assert read_numbers(answer(body), now=NOW) == Page(())


def test_null_pagination_does_not_hide_the_other_spelling() -> None:
    found: dict[str, Any] = {
        "numbers": [],
        "pagination_info": None,
        "pagination_information": {"total_page_count": "3"},
    }
    assert read_numbers(answer(found), now=NOW).total_pages == 3


@pytest.mark.parametrize("name", ["pagination_info", "pagination_information"])
def test_both_spellings_of_the_pagination_are_read(name: str) -> None:
    body = {"numbers": [{"phone_number": "911234567891"}], name: {"total_page_count": 3, "current_page": "2"}}
    assert read_numbers(answer(body), now=NOW) == Page((Number("911234567891"),), page=2, total_pages=3)


def test_number_shows_its_last_four_digits_only() -> None:
    assert "911234567891" not in repr(Number("911234567891"))
    assert "********7891" in repr(Number("911234567891"))


@pytest.mark.parametrize(
    ("value", "read"), [(True, True), ("enabled", True), ("disabled", False), ("draft", None), (1, None), (None, None)]
)
def test_boolean_may_be_text(value: object, read: bool | None) -> None:
    body = {"feature_sets": [{"id": "fs-1", "call_me_back": value}]}
    page = read_feature_sets(answer(body), now=NOW)
    assert [item.call_me_back for item in page.items] == [read]


def test_web_page_instead_of_a_list_is_a_decode_error() -> None:
    with pytest.raises(DecodeError, match="web page"):
        read_feature_sets(answer(b"<html>", content_type="text/html"), now=NOW)
