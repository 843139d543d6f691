"""Paths, methods and labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.sandbox import SandboxLabel, SandboxSettings

from .driver import Driver, json_of


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/clients/{account}/dynamic_call_records",
        "/v4/clients/{account}/dynamic_call_records",
        "/v2/clients/{account}/token",
        "/v2/clients/{account}/labels",
        "/v2/clients/{account}/number_management/numbers",
        "/clients/{account}/number_management/feature_sets/some/numbers",
        "/clients/{account}/openapi/feedback_stack//export_report",
        "/clients/{account}/dynamic_call_recordss",
        "/clients//labels",
        "/clients/{account}/labels/",
    ],
)
def test_path_that_is_not_documented_is_not_found(driver: Driver, path: str) -> None:
    reply = driver.send_authorised("GET", path.format(account=driver.settings.client_account_id))
    assert (reply.status, json_of(reply)["slug"]) == (404, "not-found")


@pytest.mark.parametrize(
    ("method", "name", "allowed"),
    [
        ("GET", "token", "POST"),
        ("GET", "dynamic_call_record", "POST"),
        ("DELETE", "dynamic_call_records", "POST, GET"),
        ("POST", "labels", "GET"),
        ("GET", "number_management/feature_sets/some/numbers/publish", "POST"),
        ("PUT", "number_management/numbers", "GET"),
        ("POST", "openapi/callback-logs/summary", "GET"),
    ],
)
def test_wrong_method_is_answered_with_the_allowed_ones(driver: Driver, method: str, name: str, allowed: str) -> None:
    reply = driver.send_authorised(method, driver.path("v1", name))
    assert (reply.status, reply.headers["allow"]) == (405, allowed)


def test_labels_are_a_bare_array_with_the_documented_fields(driver: Driver) -> None:
    first, *others = json_of(driver.send_authorised("GET", driver.path("v1", "labels")))
    assert first.keys() == {
        "id", "name", "logo_url", "category", "sub_category", "created_by_email", "created_at", "label_type",
    }  # fmt: skip
    assert [first["id"], *(other["id"] for other in others)] == [label.id for label in driver.settings.labels]
    assert first["label_type"] == "dynamic"


def test_labels_come_in_pages() -> None:
    labels = tuple(SandboxLabel(f"id-{number}", f"Label {number}") for number in range(5))
    driver = Driver(SandboxSettings(labels=labels))
    pages = [
        [
            label["id"]
            for label in json_of(driver.send_authorised("GET", driver.path("v1", f"labels?page={page}&limit=2")))
        ]
        for page in (1, 2, 3, 4)
    ]
    assert pages == [["id-0", "id-1"], ["id-2", "id-3"], ["id-4"], []]
    assert len(json_of(driver.send_authorised("GET", driver.path("v1", "labels")))) == 5


@pytest.mark.parametrize("query", ["page=0", "limit=-1", "page=two", "limit=1.5", "page=٣"])
def test_page_is_a_positive_integer(driver: Driver, query: str) -> None:
    reply = driver.send_authorised("GET", driver.path("v1", f"labels?{query}"))
    assert (reply.status, json_of(reply)["slug"]) == (400, "invalid-input")
    assert json_of(reply)["message"] == f"{query.partition('=')[0]} must be a whole number from 1"


def test_response_repr_hides_its_body(driver: Driver) -> None:
    reply = driver.mint()
    assert json_of(reply)["token"] not in repr(reply)


@given(
    method=st.sampled_from(["GET", "POST", "PUT"]),
    path=st.sampled_from(["v1", "v2", "v3"]),
    name=st.sampled_from(
        [
            *("token", "labels", "dynamic_call_record", "dynamic_call_records", "openapi/callback-logs/summary"),
            *("number_management/feature_sets", "number_management/numbers"),
            "number_management/feature_sets/b9ab7822-e4ef-4256-a3bd-985289efb32b/numbers/publish",
        ]
    ),
    query=st.text(max_size=20),
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.floats(allow_nan=False) | st.text() | st.just("api_key"),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.sampled_from(["call_records", "phone_numbers"]) | st.text(), inner)
            ),
        ),
    ),
)
def test_no_request_breaks_the_server(method: str, path: str, name: str, query: str, body: object) -> None:
    driver = Driver()
    reply = driver.send_authorised(method, driver.path(path, f"{name}?{query}"), body)
    assert reply.status in (200, 400, 404, 405)
    json_of(reply)
