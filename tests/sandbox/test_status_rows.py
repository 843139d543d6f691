"""Status of a batch, from acceptance to the final statuses."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from truecaller_async.options import UUID
from truecaller_async.sandbox import SandboxSettings
from truecaller_async.sandbox.batches.status_rows import _Row, _RowV1

from .driver import HOUR_MS, NOW, Driver, batch_id_of, json_of, record

FIELDS_V1 = {
    "id", "client_account_id", "batch_id", "caller", "receiver", "label_id", "label_name", "call_reason",
    "starts_at", "ends_at", "status", "created_at",
}  # fmt: skip
FIELDS_V2 = {
    "id", "caller_number", "receiver_number", "label_id", "dynamic_label_name", "dynamic_call_reason",
    "starts_at", "ends_at", "status_info", "created_at",
}  # fmt: skip


def full_record(driver: Driver, version: str) -> dict[str, object]:
    """Return a record with all fields of its version."""
    name, reason = ("label_name", "call_reason") if version == "v1" else ("dynamic_label_name", "dynamic_call_reason")
    texts = {name: "Harbour Savings", reason: "Your new card is ready"}
    return record(version, label_id=driver.settings.labels[0].id, **texts)


def receiver(ending: str) -> dict[str, object]:
    return record(receiver_number=f"9192345000{ending}")


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_accepted_batch_answers_its_id_and_no_more(driver: Driver, version: str) -> None:
    reply = driver.submit(version=version)
    assert json_of(reply).keys() == {"batch_id"}
    assert UUID.fullmatch(json_of(reply)["batch_id"])
    assert reply.headers["content-type"] == "application/json"


def test_accepted_batch_of_v1_has_its_id_in_the_message(driver: Driver) -> None:
    body = json_of(driver.submit(version="v1"))
    assert body["status"] == "success"
    assert re.fullmatch(rf"Records Uploaded Successfully\. BatchID: {UUID.pattern}", body["message"])


def test_refused_batch_of_v1_has_an_id_too(driver: Driver) -> None:
    reply = driver.submit(record("v1", ends_at=int(NOW * 1000) - 1), version="v1")
    assert json_of(reply)["status"] == "failure"
    text = r"ends_at cannot be older than current time\. BatchID: "
    assert re.fullmatch(rf"{text}{UUID.pattern}", json_of(reply)["message"])


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_status_answer_has_the_documented_fields(driver: Driver, version: str) -> None:
    batch_id = batch_id_of(driver.submit(full_record(driver, version), version=version))
    driver.now = NOW + 2.5
    body = json_of(driver.status(batch_id, version))
    assert body.keys() == {"client_account_id", "batch_id", "data"}
    assert (body["client_account_id"], body["batch_id"]) == (driver.settings.client_account_id, batch_id)
    (row,) = body["data"]
    assert row.keys() == FIELDS_V2
    assert UUID.fullmatch(row["id"])
    assert row["id"] != batch_id
    assert row["status_info"] == {"status": "success"}
    assert row["created_at"] == ("2027-01-15T08:00:00.000Z" if version == "v1" else "2027-01-15T08:00:00.00Z")


def test_status_answer_of_v1_is_a_bare_array_of_flat_rows(driver: Driver) -> None:
    batch_id = batch_id_of(driver.submit(full_record(driver, "v1"), version="v1"), "v1")
    driver.now = NOW + 2
    (row,) = json_of(driver.status(batch_id, "v1"))
    assert row.keys() == FIELDS_V1
    assert (row["batch_id"], row["status"]) == (batch_id, "success")


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_row_repeats_what_was_sent(driver: Driver, version: str) -> None:
    sent = full_record(driver, version)
    batch_id = batch_id_of(driver.submit(sent, version=version), version)
    body = json_of(driver.status(batch_id, version))
    row = body[0] if version == "v1" else body["data"][0]
    assert {name: row[name] for name in sent} == sent


def test_field_that_was_not_sent_is_left_out(driver: Driver) -> None:
    body = json_of(driver.status(batch_id_of(driver.submit())))
    assert {"label_id", "dynamic_label_name", "dynamic_call_reason"}.isdisjoint(body["data"][0])


def test_numbers_are_echoed_in_the_form_of_the_version_that_asks(driver: Driver) -> None:
    sent = record(caller_number="+911234500001")
    batch_id = batch_id_of(driver.submit(sent))
    callers: list[Any] = [json_of(driver.status(batch_id, version)) for version in ("v1", "v2", "v3")]
    assert callers[0][0]["caller"] == "911234500001"
    assert callers[1]["data"][0]["caller_number"] == "911234500001"
    assert callers[2]["data"][0]["receiver_number"] == "+919234500001"


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_no_row_shows_its_numbers_to_a_log(driver: Driver, version: str) -> None:
    row = json_of(driver.status(batch_id_of(driver.submit(version=version), version), version))
    kind = _RowV1 if version == "v1" else _Row
    shown = repr(msgspec.convert(row[0] if version == "v1" else row["data"][0], kind))
    assert "34500001" not in shown


def test_numbers_may_be_masked() -> None:
    driver = Driver(SandboxSettings(mask_numbers=True))
    row = json_of(driver.status(batch_id_of(driver.submit())))["data"][0]
    assert (row["caller_number"], row["receiver_number"]) == ("*" * 12, "*" * 12)


def test_rows_come_in_the_order_of_the_request_each_with_its_own_id(driver: Driver) -> None:
    sent = [receiver(f"{index:02}") for index in range(60)]
    rows = json_of(driver.status(batch_id_of(driver.submit(*sent))))["data"]
    assert [row["receiver_number"] for row in rows] == [one["receiver_number"] for one in sent]
    assert len({row["id"] for row in rows}) == 60


def test_id_of_a_row_stays_the_same_from_poll_to_poll(driver: Driver) -> None:
    batch_id = batch_id_of(driver.submit(record(), record()))
    first = [row["id"] for row in json_of(driver.status(batch_id))["data"]]
    driver.now += 5
    assert [row["id"] for row in json_of(driver.status(batch_id))["data"]] == first


def test_batch_is_pending_until_its_time_and_final_from_then_on(driver: Driver) -> None:
    batch_id = batch_id_of(driver.submit(record(), receiver("13")))
    driver.now = NOW + 1.875
    assert driver.statuses(batch_id) == ["pending", "pending"]
    driver.now = NOW + 2
    assert driver.statuses(batch_id) == ["success", "failed"]
    driver.now = NOW + 3000
    assert driver.statuses(batch_id) == ["success", "failed"]


def test_pending_status_is_a_setting() -> None:
    driver = Driver(SandboxSettings(pending_status="QUEUED"))
    assert driver.statuses(batch_id_of(driver.submit())) == ["QUEUED"]


def test_with_a_spread_records_become_final_one_by_one() -> None:
    driver = Driver(SandboxSettings(resolve_after=10.0, resolve_spread=10.0))
    batch_id = batch_id_of(driver.submit(*[record()] * 100))
    finals = []
    for moment in (9.875, 10, 12.5, 15, 17.5, 20):
        driver.now = NOW + moment
        finals.append({row for row, state in enumerate(driver.statuses(batch_id)) if state == "success"})
    assert all(earlier < later for earlier, later in pairwise(finals))
    assert [len(final) for final in finals] == pytest.approx([0, 1, 25, 50, 75, 100], abs=3)
    assert finals[3] != set(range(len(finals[3])))
    assert len(finals[-1]) == 100


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("13", "Not a Truecaller user"),
        ("26", "OS not supported"),
        ("39", "App version not supported"),
        ("52", "Failed to push"),
    ],
)
def test_last_two_digits_of_the_receiver_choose_a_failure(driver: Driver, ending: str, message: str) -> None:
    batch_id = batch_id_of(driver.submit(receiver(ending)))
    driver.now += 2
    assert json_of(driver.status(batch_id))["data"][0]["status_info"] == {"status": "failed", "message": message}
    (flat,) = json_of(driver.status(batch_id, "v1"))
    assert (flat["status"], flat["message"]) == ("failed", message)


def test_all_other_endings_succeed(driver: Driver) -> None:
    endings = [f"{number:02}" for number in range(100)]
    batch_id = batch_id_of(driver.submit(*map(receiver, endings)))
    driver.now += 2
    failed = [ending for ending, state in zip(endings, driver.statuses(batch_id), strict=True) if state != "success"]
    assert failed == ["13", "26", "39", "52"]


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_unknown_batch_is_not_found(driver: Driver, version: str) -> None:
    reply = driver.status("d30ca8f7-0000-4000-8000-d63f6b2f1dd6", version)
    assert (reply.status, json_of(reply)["slug"]) == (404, "not-found")


@pytest.mark.parametrize("query", ["", "?batchId=", "?batch_id=abc"])
def test_status_call_must_name_its_batch(driver: Driver, query: str) -> None:
    reply = driver.send_authorised("GET", driver.path("v2", f"dynamic_call_records{query}"))
    assert reply.status == 400
    assert json_of(reply) == {"slug": "invalid-input", "message": "batchId is required"}


def test_window_closed_after_acceptance_changes_nothing_for_the_batch(driver: Driver) -> None:
    batch_id = batch_id_of(driver.submit(record(ends_at=int(NOW * 1000) + 500)))
    driver.now += HOUR_MS / 2000
    assert driver.statuses(batch_id) == ["success"]
