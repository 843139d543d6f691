"""Feature sets: documented fields, filters and pages."""

from __future__ import annotations

from typing import Any

import pytest

from truecaller_async.sandbox import SandboxSettings

from .driver import Driver, documented_sample, json_of, make_feature_set


def listed(driver: Driver, query: str = "") -> list[Any]:
    return [one["id"] for one in json_of(driver.send_number_management("GET", f"feature_sets{query}"))["feature_sets"]]


def test_feature_set_has_the_fields_of_the_printed_answer_in_their_order(driver: Driver) -> None:
    sample = documented_sample("feature_sets_response")
    body = json_of(driver.send_number_management("GET", "feature_sets"))
    assert list(body) == list(sample)
    assert [list(one) for one in body["feature_sets"]] == [list(sample["feature_sets"][0])] * 3
    for one in body["feature_sets"]:
        assert {type(one[name]) for name in ("call_me_back", "survey")} == {bool}
        assert one["client_account_id"] == driver.settings.client_account_id


def test_account_has_three_sets_in_two_departments_one_without_a_label(driver: Driver) -> None:
    sets = json_of(driver.send_number_management("GET", "feature_sets"))["feature_sets"]
    assert len(sets) == 3
    assert len({one["department_id"] for one in sets}) == 2
    assert [one["label_id"] for one in sets].count(None) == 1


def test_another_seed_has_other_feature_sets() -> None:
    first, second = (Driver(SandboxSettings(seed=seed)) for seed in (1, 2))
    assert set(listed(first)).isdisjoint(listed(second))
    assert listed(first) == listed(Driver(SandboxSettings(seed=1)))


@pytest.mark.parametrize("name", ["department_id", "operation_id", "process_id"])
def test_filter_keeps_the_matching_id(driver: Driver, name: str) -> None:
    wanted = getattr(driver.settings.feature_sets[0], name)
    expected = [one.id for one in driver.settings.feature_sets if getattr(one, name) == wanted]
    assert 0 < len(expected) < 3
    assert listed(driver, f"?{name}={wanted}") == expected


def test_filter_without_a_match_is_empty(driver: Driver) -> None:
    body = json_of(driver.send_number_management("GET", "feature_sets?department_id=unknown"))
    assert body["feature_sets"] == []
    assert body["pagination_info"]["total_page_count"] == 0


def test_two_filters_at_once_are_invalid_input(driver: Driver) -> None:
    reply = driver.send_number_management("GET", "feature_sets?department_id=a&process_id=b")
    assert (reply.status, json_of(reply)["slug"]) == (400, "invalid-input")
    assert json_of(reply)["message"] == "one filter at a time, not department_id and process_id"


def test_pagination_reports_the_current_page() -> None:
    driver = Driver(SandboxSettings(feature_sets=tuple(make_feature_set(f"set-{number}") for number in range(5))))
    assert json_of(driver.send_number_management("GET", "feature_sets"))["pagination_info"] == {
        "total_page_count": 1,
        "current_page": 1,
        "page_limit": 50,
    }
    last = json_of(driver.send_number_management("GET", "feature_sets?page=3&limit=2"))
    assert [one["id"] for one in last["feature_sets"]] == ["set-4"]
    assert last["pagination_info"] == {"total_page_count": 3, "current_page": 3, "page_limit": 2}
    assert listed(driver, "?page=4&limit=2") == []


def test_size_of_a_page_is_a_setting() -> None:
    driver = Driver(SandboxSettings(page_limit=2))
    assert len(listed(driver)) == 2
    assert len(listed(driver, "?page=2")) == 1


@pytest.mark.parametrize("query", ["page=0", "limit=none"])
def test_page_is_a_positive_integer(driver: Driver, query: str) -> None:
    assert driver.send_number_management("GET", f"feature_sets?{query}").status == 400
