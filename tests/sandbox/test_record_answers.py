"""Real-time records: the immediate verdict in the format of each version."""

from __future__ import annotations

import re

import pytest

from truecaller_async.options import UUID

from .driver import NOW, Driver, json_of, record


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_push_is_answered_as_documented(driver: Driver, version: str) -> None:
    reply = driver.push(record(version), version)
    assert reply.status == 200
    assert json_of(reply) == {"status_info": {"status": "success", "message": "Record processed successfully"}}


def test_push_of_v1_is_answered_with_a_batch_id_that_can_be_asked_for(driver: Driver) -> None:
    reply = driver.push(record("v1"), "v1")
    assert (reply.status, json_of(reply)["status"]) == (200, "success")
    found = re.fullmatch(rf"Records Uploaded Successfully\. BatchID: ({UUID.pattern})", json_of(reply)["message"])
    assert found is not None
    (row,) = json_of(driver.status(found[1], "v1"))
    assert row["status"] == "success"


@pytest.mark.parametrize("version", ["v2", "v3"])
def test_refused_push_names_the_field(driver: Driver, version: str) -> None:
    reply = driver.push(record(version, ends_at=int(NOW * 1000) - 1), version)
    assert reply.status == 400
    message = "Request body is invalid: ends_at cannot be older than current time"
    assert json_of(reply) == {"status_info": {"status": "error", "field": "ends_at", "message": message}}


def test_refused_push_of_v1_is_a_failure_with_a_batch_id(driver: Driver) -> None:
    reply = driver.push(record("v1", caller="+911234500001"), "v1")
    assert (reply.status, json_of(reply)["status"]) == (400, "failure")
    assert re.search(rf"^caller must be .*\. BatchID: {UUID.pattern}$", json_of(reply)["message"])


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_body_that_is_no_record_is_invalid_input(driver: Driver, version: str) -> None:
    reply = driver.send_authorised("POST", driver.path(version, "dynamic_call_record"), b"[1")
    assert reply.status == 400
    assert b"Invalid input" in reply.body


def test_unreachable_receiver_is_an_error_in_a_200(driver: Driver) -> None:
    reply = driver.push(record(receiver_number="919234500052"))
    assert reply.status == 200
    assert json_of(reply) == {"status_info": {"status": "error", "message": "Failed to push"}}


def test_unreachable_receiver_is_a_failure_in_v1(driver: Driver) -> None:
    reply = driver.push(record("v1", receiver="919234500013"), "v1")
    assert (reply.status, json_of(reply)["status"]) == (200, "failure")
    assert json_of(reply)["message"].startswith("Not a Truecaller user. BatchID: ")


def test_push_is_no_batch(driver: Driver) -> None:
    driver.push()
    stats = driver.state.stats()
    assert (stats.batches, stats.records_applied, stats.first_submit) == (0, 1, None)
