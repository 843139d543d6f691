"""Requests of number management: documented form, and checks of the arguments."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from truecaller_async.errors import ConfigError, ValidationError
from truecaller_async.models import Request
from truecaller_async.protocol.number_requests import (
    Paging,
    delist_request,
    feature_sets_request,
    numbers_request,
    publish_request,
)

from .answers import ACCOUNT

SET = "069d2e3a-41e6-41f9-a768-157d7e3bd6b9"
MANAGEMENT = f"/clients/{ACCOUNT}/number_management"

Job = Callable[[str, Any, Any], Request]


@pytest.mark.parametrize(("build", "verb"), [(publish_request, "publish"), (delist_request, "delist")])
def test_numbers_are_listed_and_delisted_as_documented(build: Job, verb: str) -> None:
    request = build(ACCOUNT, SET, ("911234567891", "911234567892"))
    assert (request.call, request.method) == ("numbers", "POST")
    assert request.path == f"{MANAGEMENT}/feature_sets/{SET}/numbers/{verb}"
    assert request.body == b'{"phone_numbers":["911234567891","911234567892"]}'
    assert request.headers == {"Accept": "application/json", "Content-Type": "application/json"}


@pytest.mark.parametrize("build", [publish_request, delist_request])
def test_request_has_1_to_10000_numbers_and_the_answer_cap_fits(build: Job) -> None:
    request = build(ACCOUNT, SET, ["911234567891"] * 10_000)
    assert len(json.loads(request.body or b"")["phone_numbers"]) == 10_000
    assert request.body_max_bytes > 2 * len(request.body or b"")
    for count in (0, 10_001):
        with pytest.raises(ValidationError, match="1 to 10000"):
            build(ACCOUNT, SET, ["911234567891"] * count)


@pytest.mark.parametrize("build", [publish_request, delist_request])
@pytest.mark.parametrize("given", ["", "fs-1", "../../admin", f"{SET}/..", f"{SET}\n", f"{{{SET}}}", None, 7])
def test_feature_set_id_that_is_no_uuid_never_enters_a_path(build: Job, given: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        build(ACCOUNT, given, ["911234567891"])
    (problem,) = caught.value.problems
    assert (problem.field, problem.rule) == ("feature_set_id", "feature_set_id.uuid")
    assert "console" in problem.hint


def test_id_may_be_a_uuid_object() -> None:
    assert f"/{SET}/" in publish_request(ACCOUNT, UUID(SET), ["911234567891"]).path


def test_number_details_are_requested_as_documented() -> None:
    request = numbers_request(ACCOUNT, Paging())
    assert (request.call, request.method, request.path) == ("numbers", "GET", f"{MANAGEMENT}/numbers?page=1")
    assert request.body is None
    for name in ("department_id", "operation_id", "process_id", "feature_set_id"):
        path = numbers_request(ACCOUNT, Paging(2, 50), **{name: SET}).path
        assert path == f"{MANAGEMENT}/numbers?{name}={SET}&limit=50&page=2"


def test_feature_sets_are_requested_as_documented() -> None:
    request = feature_sets_request(ACCOUNT, Paging())
    assert (request.call, request.method, request.path) == ("feature_sets", "GET", f"{MANAGEMENT}/feature_sets?page=1")
    for name in ("department_id", "operation_id", "process_id"):
        path = feature_sets_request(ACCOUNT, Paging(3, 10), **{name: SET}).path
        assert path == f"{MANAGEMENT}/feature_sets?{name}={SET}&limit=10&page=3"


def test_two_filters_at_once_are_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        numbers_request(ACCOUNT, Paging(), department_id=SET, feature_set_id=SET)
    (problem,) = caught.value.problems
    assert (problem.field, problem.rule) == ("department_id, feature_set_id", "filter.one")
    with pytest.raises(ValidationError, match="one filter"):
        feature_sets_request(ACCOUNT, Paging(), operation_id=SET, process_id=SET)


def test_all_problems_of_a_list_are_reported_together_without_numbers() -> None:
    with pytest.raises(ValidationError) as caught:
        numbers_request(ACCOUNT, Paging(0, True), department_id="911234567891", process_id="x")
    rules = [problem.rule for problem in caught.value.problems]
    assert rules == ["page.whole", "limit.whole", "department_id.uuid", "process_id.uuid", "filter.one"]
    assert "911234567891" not in str(caught.value)
    assert "********7891" in str(caught.value)


@pytest.mark.parametrize(
    "build",
    [
        lambda account: publish_request(account, SET, ["911234567891"]),
        lambda account: numbers_request(account, Paging()),
        lambda account: feature_sets_request(account, Paging()),
    ],
)
def test_account_id_that_is_no_uuid_is_refused(build: Callable[[str], Request]) -> None:
    with pytest.raises(ConfigError, match="client_account_id"):
        build("../../admin")
