"""Rejected records and the messages, in each version."""

from __future__ import annotations

import pytest

from truecaller_async.sandbox import SandboxSettings

from .driver import HOUR_MS, NOW, Driver, batch_id_of, json_of, record

NOW_MS = int(NOW * 1000)
DAY_MS = 24 * HOUR_MS
NAMES = {
    "v1": {"caller": "caller", "receiver": "receiver", "name": "label_name", "reason": "call_reason"},
    "v2": {"caller": "caller_number", "receiver": "receiver_number", "name": "dynamic_label_name",
           "reason": "dynamic_call_reason"},
}  # fmt: skip
NAMES["v3"] = NAMES["v2"]
VERSIONS = ("v1", "v2", "v3")


def refusal(driver: Driver, version: str, **changes: object) -> str | None:
    """Return the message for a batch with one such record; None if it is accepted."""
    reply = driver.submit(record(version, **changes), version=version)
    if reply.status == 200:
        return None
    assert reply.status == 400
    return str(json_of(reply)["message"]).removeprefix("Request body is invalid: ").partition(". BatchID: ")[0]


@pytest.mark.parametrize("version", VERSIONS)
def test_plain_record_is_accepted(driver: Driver, version: str) -> None:
    assert refusal(driver, version) is None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("field", ["caller", "receiver", "starts_at", "ends_at"])
def test_missing_field_is_named_as_the_version_names_it(driver: Driver, version: str, field: str) -> None:
    name = NAMES[version].get(field, field)
    assert refusal(driver, version, **{name: None}) == f"{name} is required"


@pytest.mark.parametrize(
    ("version", "number", "taken"),
    [
        ("v1", "911234567898", True),
        ("v1", "+911234567898", False),
        ("v2", "911234567898", True),
        ("v2", "+911234567898", True),
        ("v3", "911234567898", False),
        ("v3", "+911234567898", True),
        ("v2", "9112345", True),
        ("v2", "911234", False),
        ("v2", "911234567898765", True),
        ("v2", "9112345678987654", False),
        ("v2", "011234567898", False),
        ("v2", "91 1234567898", False),
        ("v2", "911234567898\n", False),
        ("v2", "٩١١٢٣٤٥٦٧٨٩٨", False),
        ("v2", "++911234567898", False),
        ("v2", "", False),
    ],
)
@pytest.mark.parametrize("field", ["caller", "receiver"])
def test_number_has_the_form_of_its_version(driver: Driver, version: str, number: str, taken: bool, field: str) -> None:
    name = NAMES[version][field]
    message = refusal(driver, version, **{name: number})
    assert (message is None) == taken
    assert message is None or message.startswith(f"{name} must be ")
    assert message is None or not number or number not in message


@pytest.mark.parametrize("version", VERSIONS)
def test_window_may_not_end_in_the_past(driver: Driver, version: str) -> None:
    assert refusal(driver, version, ends_at=NOW_MS - 1) == "ends_at cannot be older than current time"
    assert refusal(driver, version, ends_at=NOW_MS) is None


@pytest.mark.parametrize("version", VERSIONS)
def test_window_may_last_a_day_and_not_a_millisecond_more(driver: Driver, version: str) -> None:
    assert refusal(driver, version, ends_at=NOW_MS + DAY_MS) is None
    message = refusal(driver, version, ends_at=NOW_MS + DAY_MS + 1)
    assert message == "ends_at cannot be more than 24 hours after starts_at"


def test_start_of_a_window_has_no_extra_rule(driver: Driver) -> None:
    assert refusal(driver, "v2", starts_at=NOW_MS - HOUR_MS) is None
    assert refusal(driver, "v2", starts_at=NOW_MS + 5 * HOUR_MS, ends_at=NOW_MS + HOUR_MS) is None


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("length", "taken"), [(2, False), (3, True), (40, True), (41, False)])
def test_name_has_3_to_40_characters(driver: Driver, version: str, length: int, taken: bool) -> None:
    name = NAMES[version]["name"]
    message = refusal(driver, version, **{name: "é" * length})
    assert message == (None if taken else f"{name} must have 3 to 40 characters")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("length", "taken"), [(0, False), (9, False), (10, True), (100, True), (101, False)])
def test_reason_has_10_to_100_characters(driver: Driver, version: str, length: int, taken: bool) -> None:
    name = NAMES[version]["reason"]
    message = refusal(driver, version, **{name: "r" * length})
    assert message == (None if taken else f"{name} must have 10 to 100 characters")


@pytest.mark.parametrize("mark", "!@#$%^&*()_+/")
def test_special_character_in_a_reason_is_invalid_input(driver: Driver, mark: str) -> None:
    assert refusal(driver, "v2", dynamic_call_reason=f"Your order {mark} is ready") == "Invalid input"


@pytest.mark.parametrize("mark", ".,- ")
def test_reason_may_have_these_marks_inside_and_not_at_its_ends(driver: Driver, mark: str) -> None:
    assert refusal(driver, "v2", dynamic_call_reason=f"Your order{mark}is ready") is None
    assert refusal(driver, "v2", dynamic_call_reason=f"{mark}Your order is ready") == "Invalid input"
    assert refusal(driver, "v2", dynamic_call_reason=f"Your order is ready{mark}") == "Invalid input"


@pytest.mark.parametrize("version", VERSIONS)
def test_label_is_one_of_the_accounts(driver: Driver, version: str) -> None:
    assert refusal(driver, version, label_id=driver.settings.labels[0].id) is None
    foreign = SandboxSettings(seed=99).labels[0].id
    assert refusal(driver, version, label_id=foreign) == "label_id must be a dynamic label of the client account"


def test_label_may_be_required() -> None:
    strict = Driver(SandboxSettings(label_required=True))
    assert refusal(strict, "v2") == "label_id is required"
    assert refusal(strict, "v2", label_id=strict.settings.labels[1].id) is None


@pytest.mark.parametrize("value", ["1800000000000", 1.5, -1, 2**63, True])
def test_time_that_is_no_int64_is_malformed(driver: Driver, value: object) -> None:
    assert refusal(driver, "v2", starts_at=value) == "starts_at is malformed"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"call_records": 5}', b'{"call_records": [5]}', b"\xff\xfe"])
def test_body_that_cannot_be_read_is_a_400(driver: Driver, version: str, body: bytes) -> None:
    reply = driver.send_authorised("POST", driver.path(version, "dynamic_call_records"), body)
    assert reply.status == 400


@pytest.mark.parametrize("count", [0, 501])
def test_batch_has_1_to_500_records(driver: Driver, count: int) -> None:
    driver.submit(*[record()] * 500)
    assert driver.state.stats().records_applied == 500
    reply = driver.send_authorised(
        "POST", driver.path("v2", "dynamic_call_records"), {"call_records": [record()] * count}
    )
    assert reply.status == 400
    assert json_of(reply)["message"].endswith(f"call_records must have 1 to 500 records, not {count}")


def test_refused_v2_batch_has_the_documented_message(driver: Driver) -> None:
    reply = driver.submit(record(), record(ends_at=NOW_MS - 1), record())
    assert reply.status == 400
    message = "Request body is invalid: ends_at cannot be older than current time"
    assert json_of(reply) == {"slug": "invalid-input", "message": message}


def test_one_bad_record_refuses_the_batch_and_nothing_is_applied(driver: Driver) -> None:
    driver.submit(*[record()] * 499, record(receiver_number="abc"))
    assert driver.state.stats().records_applied == 0
    assert driver.state.truth() == []


def test_first_bad_record_determines_the_batch_error(driver: Driver) -> None:
    reply = driver.submit(record(), record(dynamic_label_name="ab"), record(receiver_number="abc"))
    assert json_of(reply)["message"] == "Request body is invalid: dynamic_label_name must have 3 to 40 characters"


def test_validated_per_record_only_the_bad_records_fail() -> None:
    driver = Driver(SandboxSettings(batch_validation="per_record"))
    batch_id = batch_id_of(driver.submit(record(), record(dynamic_call_reason="short"), record()))
    driver.now += 2
    infos = [row["status_info"] for row in json_of(driver.status(batch_id))["data"]]
    assert infos[1] == {
        "status": "failed",
        "field": "dynamic_call_reason",
        "message": "dynamic_call_reason must have 10 to 100 characters",
    }
    assert infos[0] == infos[2] == {"status": "success"}
    assert [entry.outcome for entry in driver.state.truth()] == ["success", "failed", "success"]


def test_v2_does_not_know_the_names_of_v1(driver: Driver) -> None:
    reply = driver.submit(record("v1"), version="v2")
    assert json_of(reply)["message"] == "Request body is invalid: caller_number is required"


def test_unknown_fields_are_ignored(driver: Driver) -> None:
    assert refusal(driver, "v2", campaign="autumn") is None
