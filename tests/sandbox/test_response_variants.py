"""Response variants: each other form of an answer, selected by its name."""

from __future__ import annotations

import ast
import inspect
from collections import Counter
from itertools import combinations, pairwise
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from truecaller_async.errors import ConfigError
from truecaller_async.options import UUID
from truecaller_async.sandbox import ResponseVariant, SandboxSettings
from truecaller_async.sandbox.app import openapi_yaml

from .driver import NOW, Driver, batch_id_of, documented_sample, json_of, record

OVER: dict[str, Any] = {"ends_at": int(NOW * 1000) - 1}
ENDS_AT_IS_OVER: dict[str, Any] = {
    "status": "error",
    "field": "ends_at",
    "message": "Request body is invalid: ends_at cannot be older than current time",
}


def driver_with(*names: str, **settings: Any) -> Driver:
    return Driver(SandboxSettings(response_variants=names, **settings))


def rows_of(driver: Driver, count: int = 20) -> list[Any]:
    """Return the receivers of a batch with this number of records, in the order of the status rows."""
    sent = [record(receiver_number=f"91923450{number:04d}") for number in range(count)]
    rows = json_of(driver.status(batch_id_of(driver.submit(*sent))))["data"]
    return [row["receiver_number"] for row in rows]


def test_no_variant_is_active_by_default() -> None:
    assert SandboxSettings().response_variants == frozenset()
    assert SandboxSettings(response_variants=["late-batches"]).response_variants == {ResponseVariant.LATE_BATCHES}


@pytest.mark.parametrize("names", [["unheard-of"], "masked-numbers"])
def test_unknown_variant_is_refused_with_the_known_ones(names: Any) -> None:
    with pytest.raises(ConfigError, match=r"SandboxSettings\.response_variants .* masked-numbers, camel-status-info"):
        SandboxSettings(response_variants=names)


def test_answer_has_one_envelope_at_most() -> None:
    with pytest.raises(ConfigError, match="one envelope at most"):
        driver_with("camel-status-info", "flat-status-info")


def test_every_variant_is_described() -> None:
    (definition,) = ast.parse(inspect.getsource(ResponseVariant)).body
    assert isinstance(definition, ast.ClassDef)
    described = {
        ast.unparse(member.targets[0])
        for member, below in pairwise(definition.body)
        if isinstance(member, ast.Assign) and isinstance(below, ast.Expr)
    }
    assert described == set(ResponseVariant.__members__)


def test_masked_numbers() -> None:
    assert set(rows_of(driver_with("masked-numbers"))) == {"*" * 12}


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_camel_status_info(version: str) -> None:
    driver = driver_with("camel-status-info")
    assert json_of(driver.push(record(version), version)) == documented_sample("realtime_v2_openapi_response")
    assert json_of(driver.push(record(version, **OVER), version)) == {"statusInfo": ENDS_AT_IS_OVER}


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_flat_status_info(version: str) -> None:
    driver = driver_with("flat-status-info")
    body = json_of(driver.push(record(version, **OVER), version))
    assert body == ENDS_AT_IS_OVER
    assert body.keys() == documented_sample("realtime_v2_early_error_flat").keys()


def test_unusable_token_may_be_answered_with_500() -> None:
    driver = driver_with("parse-failure")
    for value in ("unknown", driver.log_in()):
        reply = driver.send("GET", driver.path("v1", "labels"), authorization=f"Bearer {value}")
        if value == "unknown":
            assert (reply.status, json_of(reply)) == (500, documented_sample("batch_v1_status_error_500"))
    assert reply.status == 200
    driver.now += driver.settings.token_life
    assert driver.send_authorised("GET", driver.path("v1", "labels")).status == 500
    assert driver.send("GET", driver.path("v1", "labels")).status == 401


def test_empty_answer_to_a_push_of_v1() -> None:
    driver = driver_with("empty-v1-push")
    reply = driver.push(record("v1"), "v1")
    assert (reply.status, reply.body) == (200, b"")
    assert driver.state.stats().records_applied == 1
    assert json_of(driver.push(record("v1", **OVER), "v1"))["status"] == "failure"
    assert json_of(driver.push(record("v1", receiver="919234500013"), "v1"))["status"] == "failure"
    assert json_of(driver.push())["status_info"]["status"] == "success"


def test_failure_in_a_200() -> None:
    driver = driver_with("failure-in-200")
    pushed = driver.push(record("v1", **OVER), "v1")
    submitted = driver.submit(record("v1", **OVER), version="v1")
    wrapped = driver.push(record(**OVER))
    assert [reply.status for reply in (pushed, submitted, wrapped)] == [200, 200, 200]
    assert [json_of(pushed)["status"], json_of(submitted)["status"]] == ["failure", "failure"]
    assert json_of(wrapped) == {"status_info": ENDS_AT_IS_OVER}
    assert driver.submit(record(**OVER)).status == 400
    assert driver.state.stats().records_applied == 0


def test_batch_ids_that_are_no_uuids() -> None:
    driver = driver_with("opaque-batch-ids")
    ids = [batch_id_of(driver.submit()) for _ in range(2)]
    assert len(set(ids)) == 2
    assert not any(UUID.fullmatch(batch_id) for batch_id in ids)
    assert json_of(driver.status(ids[0]))["batch_id"] == ids[0]
    assert UUID.fullmatch(batch_id_of(driver.submit(version="v1"), "v1"))


def test_rows_in_another_order() -> None:
    plain, shuffled = rows_of(Driver()), rows_of(driver_with("shuffled-rows"))
    assert shuffled != plain
    assert sorted(shuffled) == plain
    assert shuffled == rows_of(driver_with("shuffled-rows"))


def test_order_of_the_rows_is_stable_between_polls() -> None:
    driver = driver_with("shuffled-rows")
    batch_id = batch_id_of(driver.submit(*[record()] * 20))
    first, second = (json_of(driver.status(batch_id))["data"] for _ in range(2))
    assert [row["id"] for row in first] == [row["id"] for row in second]


def test_late_batch_is_unknown_for_a_while() -> None:
    driver = driver_with("late-batches", late_for=3.0)
    batch_id = batch_id_of(driver.submit())
    driver.now = NOW + 2.875
    assert driver.status(batch_id).status == 404
    driver.now = NOW + 3
    assert driver.status(batch_id).status == 200


def test_rows_with_the_names_of_v1() -> None:
    driver = driver_with("old-names-in-rows")
    texts = {"dynamic_label_name": "Harbour Savings", "dynamic_call_reason": "Your new card is ready"}
    (row,) = json_of(driver.status(batch_id_of(driver.submit(record(**texts)))))["data"]
    assert row["caller"] == "911234500001"
    assert row["receiver"] == "919234500001"
    assert (row["label_name"], row["call_reason"]) == tuple(texts.values())
    assert not any(name.startswith(("caller_", "receiver_", "dynamic_")) for name in row)


def test_details_that_match_nothing_as_a_bare_array() -> None:
    driver = driver_with("bare-empty-numbers")
    assert json_of(driver.send_number_management("GET", "numbers")) == []
    driver.change_numbers("publish", ["911140001234"])
    assert len(json_of(driver.send_number_management("GET", "numbers"))["numbers"]) == 1
    assert json_of(driver.send_number_management("GET", "numbers?page=2"))["numbers"] == []


def test_failed_delisting_as_a_400() -> None:
    driver = driver_with("failed-delist-is-400")
    reply = driver.change_numbers("delist", ["911140001234"])
    assert (reply.status, json_of(reply)["status"]) == (400, "failed")
    driver.change_numbers("publish", ["911140001234"])
    assert driver.change_numbers("delist", ["911140001234"]).status == 200


ODD_ROWS = ("missing-rows", "late-rows", "repeated-rows", "contradicting-rows", "foreign-rows")
RECORDS = 60
"""Of so many records two or three are odd."""


def batch_of(driver: Driver, count: int = RECORDS, version: str = "v2") -> str:
    """Submit a batch of records with different receivers; every third one fails."""
    name = "receiver" if version == "v1" else "receiver_number"
    plus = "+" if version == "v3" else ""
    sent = [record(version, **{name: f"{plus}9192345{n:03d}{'13' if n % 3 == 0 else '00'}"}) for n in range(count)]
    return batch_id_of(driver.submit(*sent, version=version), version)


def rows(driver: Driver, batch_id: str, after: float = 3600.0, version: str = "v2") -> list[Any]:
    """Return the status rows this number of seconds after the batch was accepted."""
    driver.now = NOW + after
    driver.log_in()
    body = json_of(driver.status(batch_id, version))
    return list(body if version == "v1" else body["data"])


PLAIN = Driver(SandboxSettings(resolve_after=2.0))
EXPECTED = rows(PLAIN, batch_of(PLAIN))


def test_some_rows_are_missing_for_ever() -> None:
    driver = driver_with("missing-rows")
    batch_id = batch_of(driver)
    for after in (0.0, 2.0, 7200.0):
        shown = rows(driver, batch_id, after)
        assert RECORDS - 3 <= len(shown) <= RECORDS - 2
    assert [row for row in EXPECTED if row in shown] == shown


def test_some_rows_come_later_than_the_others() -> None:
    driver = driver_with("late-rows", late_for=5.0, resolve_spread=3.0)
    batch_id = batch_of(driver)
    early = rows(driver, batch_id, 9.75)
    assert RECORDS - 3 <= len(early) <= RECORDS - 2
    assert rows(driver, batch_id, 10.0) == EXPECTED
    assert [row for row in EXPECTED if row in early] == early


def test_some_rows_are_repeated() -> None:
    driver = driver_with("repeated-rows")
    shown = rows(driver, batch_of(driver))
    times = Counter(row["id"] for row in shown)
    assert 2 <= list(times.values()).count(2) <= 3
    assert max(times.values()) == 2
    assert all(row in EXPECTED for row in shown)


def test_some_rows_have_both_success_and_failed() -> None:
    driver = driver_with("contradicting-rows")
    batch_id = batch_of(driver)
    assert len(rows(driver, batch_id, 1.0)) == RECORDS
    statuses: dict[str, set[str]] = {}
    for row in rows(driver, batch_id):
        statuses.setdefault(row["id"], set()).add(row["status_info"]["status"])
    assert len(statuses) == RECORDS
    assert 2 <= [{"success", "failed"} == found for found in statuses.values()].count(True) <= 3


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_some_rows_are_of_another_batch(version: str) -> None:
    driver = driver_with("foreign-rows")
    batch_id = batch_of(driver, version=version)
    caller, receiver = ("caller", "receiver") if version == "v1" else ("caller_number", "receiver_number")
    foreign = [row for row in rows(driver, batch_id, version=version) if row[caller].startswith(("999", "+999"))]
    assert 2 <= len(foreign) <= 3
    assert all(row[receiver].startswith(("999", "+999")) for row in foreign)
    assert len({row["id"] for row in foreign}) == len(foreign)
    if version == "v1":
        assert all(row["batch_id"] != batch_id for row in foreign)
        assert all(row["client_account_id"] != driver.settings.client_account_id for row in foreign)
        own = [row for row in rows(driver, batch_id, version=version) if row not in foreign]
        assert {row["batch_id"] for row in own} == {batch_id}


def test_foreign_row_contradicts_the_row_before_it() -> None:
    driver = driver_with("foreign-rows")
    shown = rows(driver, batch_of(driver))
    for before, row in pairwise(shown):
        if row["caller_number"].startswith("999"):
            assert {before["status_info"]["status"], row["status_info"]["status"]} == {"success", "failed"}
            assert before["ends_at"] - row["ends_at"] == before["starts_at"] - row["starts_at"] == 3_600_000


@pytest.mark.parametrize("count", [1, 2, 24, 25, 26])
@pytest.mark.parametrize("name", ODD_ROWS)
def test_every_batch_has_one_abnormal_row_and_at_most_every_25th(name: str, count: int) -> None:
    driver = driver_with(name, late_for=7200.0)
    shown = [(row["id"], row["status_info"]["status"]) for row in rows(driver, batch_of(driver, count))]
    plain = Driver()
    expected = [(row["id"], row["status_info"]["status"]) for row in rows(plain, batch_of(plain, count))]
    changes = sum(((Counter(shown) - Counter(expected)) + (Counter(expected) - Counter(shown))).values())
    assert 1 <= changes <= (count + 24) // 25


@pytest.mark.parametrize("names", [*combinations(ODD_ROWS, 2), ODD_ROWS])
def test_abnormal_rows_combine_with_masks_and_reordering(names: tuple[str, ...]) -> None:
    plain, mixed = driver_with(*names), driver_with(*names, "masked-numbers", "shuffled-rows")
    shown = rows(plain, batch_of(plain))
    other = rows(mixed, batch_of(mixed))
    assert {row["receiver_number"] for row in other} == {"*" * 12}
    assert Counter(row["id"] for row in shown) == Counter(row["id"] for row in other)


def test_abnormal_rows_are_stable_between_polls_and_clients() -> None:
    first, second = driver_with(*ODD_ROWS), driver_with(*ODD_ROWS)
    batch_id = batch_of(first)
    shown = rows(first, batch_id)
    assert rows(first, batch_id, 7200.0) == shown
    assert rows(second, batch_of(second)) == shown


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_abnormal_rows_match_the_openapi_schema(version: str) -> None:
    document = schemathesis.openapi.from_file(openapi_yaml()).raw_schema
    schema = {"$ref": f"#/components/schemas/Status{version.upper()}", "components": document["components"]}
    driver = driver_with(*ODD_ROWS)
    batch_id = batch_of(driver, version=version)
    rows(driver, batch_id, version=version)
    judge = jsonschema_rs.validator_for(schema, validate_formats=True)
    assert [error.message for error in judge.iter_errors(json_of(driver.status(batch_id, version)))] == []
