"""The other forms that answers have somewhere in the documentation, each switched on by its name."""

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

from .driving import NOW, Driver, batch_id_of, printed, record, said

OVER: dict[str, Any] = {"ends_at": int(NOW * 1000) - 1}
ENDS_AT_IS_OVER: dict[str, Any] = {
    "status": "error",
    "field": "ends_at",
    "message": "Request body is invalid: ends_at cannot be older than current time",
}


def odd(*names: str, **settings: Any) -> Driver:
    return Driver(SandboxSettings(response_variants=names, **settings))


def rows_of(driver: Driver, count: int = 20) -> list[Any]:
    """The receivers of a batch of so many records, in the order of the status rows."""
    sent = [record(receiver_number=f"91923450{number:04d}") for number in range(count)]
    rows = said(driver.status(batch_id_of(driver.submit(*sent))))["data"]
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
        odd("camel-status-info", "flat-status-info")


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
    assert set(rows_of(odd("masked-numbers"))) == {"*" * 12}


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_camel_status_info(version: str) -> None:
    driver = odd("camel-status-info")
    assert said(driver.push(record(version), version)) == printed("realtime_v2_openapi_response")
    assert said(driver.push(record(version, **OVER), version)) == {"statusInfo": ENDS_AT_IS_OVER}


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_flat_status_info(version: str) -> None:
    driver = odd("flat-status-info")
    body = said(driver.push(record(version, **OVER), version))
    assert body == ENDS_AT_IS_OVER
    assert body.keys() == printed("realtime_v2_early_error_flat").keys()


def test_unusable_token_may_be_answered_with_500() -> None:
    driver = odd("parse-failure")
    for value in ("unknown", driver.log_in()):
        reply = driver.send("GET", driver.path("v1", "labels"), authorization=f"Bearer {value}")
        if value == "unknown":
            assert (reply.status, said(reply)) == (500, printed("batch_v1_status_error_500"))
    assert reply.status == 200
    driver.now += driver.settings.token_life
    assert driver.ask("GET", driver.path("v1", "labels")).status == 500
    assert driver.send("GET", driver.path("v1", "labels")).status == 401


def test_empty_answer_to_a_push_of_v1() -> None:
    driver = odd("empty-v1-push")
    reply = driver.push(record("v1"), "v1")
    assert (reply.status, reply.body) == (200, b"")
    assert driver.state.stats().records_applied == 1
    assert said(driver.push(record("v1", **OVER), "v1"))["status"] == "failure"
    assert said(driver.push(record("v1", receiver="919234500013"), "v1"))["status"] == "failure"
    assert said(driver.push())["status_info"]["status"] == "success"


def test_failure_in_a_200() -> None:
    driver = odd("failure-in-200")
    pushed = driver.push(record("v1", **OVER), "v1")
    submitted = driver.submit(record("v1", **OVER), version="v1")
    wrapped = driver.push(record(**OVER))
    assert [reply.status for reply in (pushed, submitted, wrapped)] == [200, 200, 200]
    assert [said(pushed)["status"], said(submitted)["status"]] == ["failure", "failure"]
    assert said(wrapped) == {"status_info": ENDS_AT_IS_OVER}
    assert driver.submit(record(**OVER)).status == 400
    assert driver.state.stats().records_applied == 0


def test_batch_ids_that_are_no_uuids() -> None:
    driver = odd("opaque-batch-ids")
    ids = [batch_id_of(driver.submit()) for _ in range(2)]
    assert len(set(ids)) == 2
    assert not any(UUID.fullmatch(batch_id) for batch_id in ids)
    assert said(driver.status(ids[0]))["batch_id"] == ids[0]
    assert UUID.fullmatch(batch_id_of(driver.submit(version="v1"), "v1"))


def test_rows_in_another_order() -> None:
    plain, shuffled = rows_of(Driver()), rows_of(odd("shuffled-rows"))
    assert shuffled != plain
    assert sorted(shuffled) == plain
    assert shuffled == rows_of(odd("shuffled-rows"))


def test_order_of_the_rows_is_stable_between_polls() -> None:
    driver = odd("shuffled-rows")
    batch_id = batch_id_of(driver.submit(*[record()] * 20))
    first, second = (said(driver.status(batch_id))["data"] for _ in range(2))
    assert [row["id"] for row in first] == [row["id"] for row in second]


def test_late_batch_is_unknown_for_a_while() -> None:
    driver = odd("late-batches", late_for=3.0)
    batch_id = batch_id_of(driver.submit())
    driver.now = NOW + 2.875
    assert driver.status(batch_id).status == 404
    driver.now = NOW + 3
    assert driver.status(batch_id).status == 200


def test_rows_with_the_names_of_v1() -> None:
    driver = odd("old-names-in-rows")
    texts = {"dynamic_label_name": "Harbour Savings", "dynamic_call_reason": "Your new card is ready"}
    (row,) = said(driver.status(batch_id_of(driver.submit(record(**texts)))))["data"]
    assert row["caller"] == "911234500001"
    assert row["receiver"] == "919234500001"
    assert (row["label_name"], row["call_reason"]) == tuple(texts.values())
    assert not any(name.startswith(("caller_", "receiver_", "dynamic_")) for name in row)


def test_details_that_match_nothing_as_a_bare_array() -> None:
    driver = odd("bare-empty-numbers")
    assert said(driver.manage("GET", "numbers")) == []
    driver.move("publish", ["911140001234"])
    assert len(said(driver.manage("GET", "numbers"))["numbers"]) == 1
    assert said(driver.manage("GET", "numbers?page=2"))["numbers"] == []


def test_failed_delisting_as_a_400() -> None:
    driver = odd("failed-delist-is-400")
    reply = driver.move("delist", ["911140001234"])
    assert (reply.status, said(reply)["status"]) == (400, "failed")
    driver.move("publish", ["911140001234"])
    assert driver.move("delist", ["911140001234"]).status == 200


ODD_ROWS = ("missing-rows", "late-rows", "repeated-rows", "contradicting-rows", "foreign-rows")
RECORDS = 60
"""Of so many records two or three are odd."""


def batch_of(driver: Driver, count: int = RECORDS, version: str = "v2") -> str:
    """A batch whose records are told apart by their receivers; every third one fails."""
    name = "receiver" if version == "v1" else "receiver_number"
    plus = "+" if version == "v3" else ""
    sent = [record(version, **{name: f"{plus}9192345{n:03d}{'13' if n % 3 == 0 else '00'}"}) for n in range(count)]
    return batch_id_of(driver.submit(*sent, version=version), version)


def rows(driver: Driver, batch_id: str, after: float = 3600.0, version: str = "v2") -> list[Any]:
    """The rows so many seconds after the batch was taken."""
    driver.now = NOW + after
    driver.log_in()
    body = said(driver.status(batch_id, version))
    return list(body if version == "v1" else body["data"])


PLAIN = Driver(SandboxSettings(resolve_after=2.0))
EXPECTED = rows(PLAIN, batch_of(PLAIN))


def test_some_rows_are_missing_for_ever() -> None:
    driver = odd("missing-rows")
    batch_id = batch_of(driver)
    for after in (0.0, 2.0, 7200.0):
        shown = rows(driver, batch_id, after)
        assert RECORDS - 3 <= len(shown) <= RECORDS - 2
    assert [row for row in EXPECTED if row in shown] == shown


def test_some_rows_come_later_than_the_others() -> None:
    driver = odd("late-rows", late_for=5.0, resolve_spread=3.0)
    batch_id = batch_of(driver)
    early = rows(driver, batch_id, 9.75)
    assert RECORDS - 3 <= len(early) <= RECORDS - 2
    assert rows(driver, batch_id, 10.0) == EXPECTED
    assert [row for row in EXPECTED if row in early] == early


def test_some_rows_are_repeated() -> None:
    driver = odd("repeated-rows")
    shown = rows(driver, batch_of(driver))
    times = Counter(row["id"] for row in shown)
    assert 2 <= list(times.values()).count(2) <= 3
    assert max(times.values()) == 2
    assert all(row in EXPECTED for row in shown)


def test_some_rows_have_both_success_and_failed() -> None:
    driver = odd("contradicting-rows")
    batch_id = batch_of(driver)
    assert len(rows(driver, batch_id, 1.0)) == RECORDS
    words: dict[str, set[str]] = {}
    for row in rows(driver, batch_id):
        words.setdefault(row["id"], set()).add(row["status_info"]["status"])
    assert len(words) == RECORDS
    assert 2 <= [{"success", "failed"} == said for said in words.values()].count(True) <= 3


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_some_rows_are_of_another_batch(version: str) -> None:
    driver = odd("foreign-rows")
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
    driver = odd("foreign-rows")
    shown = rows(driver, batch_of(driver))
    for before, row in pairwise(shown):
        if row["caller_number"].startswith("999"):
            assert {before["status_info"]["status"], row["status_info"]["status"]} == {"success", "failed"}
            assert before["ends_at"] - row["ends_at"] == before["starts_at"] - row["starts_at"] == 3_600_000


@pytest.mark.parametrize("count", [1, 2, 24, 25, 26])
@pytest.mark.parametrize("name", ODD_ROWS)
def test_every_batch_has_one_abnormal_row_and_at_most_every_25th(name: str, count: int) -> None:
    driver = odd(name, late_for=7200.0)
    shown = [(row["id"], row["status_info"]["status"]) for row in rows(driver, batch_of(driver, count))]
    plain = Driver()
    expected = [(row["id"], row["status_info"]["status"]) for row in rows(plain, batch_of(plain, count))]
    changes = sum(((Counter(shown) - Counter(expected)) + (Counter(expected) - Counter(shown))).values())
    assert 1 <= changes <= (count + 24) // 25


@pytest.mark.parametrize("names", [*combinations(ODD_ROWS, 2), ODD_ROWS])
def test_abnormal_rows_combine_with_masks_and_reordering(names: tuple[str, ...]) -> None:
    plain, mixed = odd(*names), odd(*names, "masked-numbers", "shuffled-rows")
    shown = rows(plain, batch_of(plain))
    other = rows(mixed, batch_of(mixed))
    assert {row["receiver_number"] for row in other} == {"*" * 12}
    assert Counter(row["id"] for row in shown) == Counter(row["id"] for row in other)


def test_abnormal_rows_are_stable_between_polls_and_clients() -> None:
    first, second = odd(*ODD_ROWS), odd(*ODD_ROWS)
    batch_id = batch_of(first)
    shown = rows(first, batch_id)
    assert rows(first, batch_id, 7200.0) == shown
    assert rows(second, batch_of(second)) == shown


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_abnormal_rows_match_the_openapi_schema(version: str) -> None:
    document = schemathesis.openapi.from_file(openapi_yaml()).raw_schema
    schema = {"$ref": f"#/components/schemas/Status{version.upper()}", "components": document["components"]}
    driver = odd(*ODD_ROWS)
    batch_id = batch_of(driver, version=version)
    rows(driver, batch_id, version=version)
    judge = jsonschema_rs.validator_for(schema, validate_formats=True)
    assert [error.message for error in judge.iter_errors(said(driver.status(batch_id, version)))] == []
