"""Rate limits of the sandbox, as a client observes them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from truecaller_async.options import Limits, RateLimit
from truecaller_async.sandbox import SPEEDS, SandboxResponse, SandboxSettings

from .driver import NOW, Driver, json_of


def test_sixty_first_batch_in_a_minute_is_refused_with_the_wait(driver: Driver) -> None:
    for number in range(60):
        driver.now = NOW + number / 4
        assert driver.submit().status == 200
    driver.now = NOW + 20.25
    refused = driver.submit()
    assert refused.status == 429
    assert json_of(refused)["slug"] == "rate-limit-error"
    assert refused.headers["retry-after"] == "40"
    driver.now = NOW + 59.75
    assert driver.submit().status == 429
    driver.now = NOW + 60
    assert driver.submit().status == 200
    assert driver.submit().status == 429


def test_polls_and_pushes_do_not_use_up_the_batches(driver: Driver) -> None:
    driver.log_in()
    for number in range(90):
        driver.now = NOW + number / 8
        driver.push()
        driver.status("unknown")
    assert driver.submit().status == 200


def test_hundred_and_first_request_in_a_second_is_refused(driver: Driver) -> None:
    driver.log_in()
    calls: list[Callable[[], SandboxResponse]] = [driver.push, driver.submit, lambda: driver.status("unknown")]
    replies = [calls[number % 3]().status for number in range(100)]
    assert set(replies) == {200, 404}
    assert driver.push().status == 429
    assert driver.push().headers["retry-after"] == "1"


def test_each_token_has_limits_of_its_own(driver: Driver) -> None:
    for _ in range(2):
        driver.log_in()
        assert [driver.submit().status for _ in range(61)] == [200] * 60 + [429]


def test_refused_batch_is_not_applied_and_not_charged(driver: Driver) -> None:
    for _ in range(70):
        driver.submit()
    stats = driver.state.stats()
    assert (stats.batches, stats.refused, stats.admitted) == (60, 10, 61)
    assert stats.violations == {"batch": 10}
    assert stats.peaks == {"token": 60, "batch": 60, "mint": 1}


def test_batch_refused_for_its_content_has_been_charged(driver: Driver) -> None:
    for _ in range(60):
        driver.send_authorised("POST", driver.path("v2", "dynamic_call_records"), b"{}")
    assert driver.submit().status == 429


def test_without_enforcement_nothing_is_refused_and_violations_are_counted() -> None:
    driver = Driver(SandboxSettings(enforce=False))
    assert {driver.submit().status for _ in range(70)} == {200}
    assert [driver.mint().status for _ in range(11)] == [200] * 11
    stats = driver.state.stats()
    assert stats.violations == {"batch": 10, "mint": 2}
    assert (stats.refused, stats.peaks["batch"], stats.batches) == (0, 70, 70)


def test_limits_may_apply_to_the_account() -> None:
    driver = Driver(SandboxSettings(limits=Limits((RateLimit("batch", 3, 60.0, "account", ("submit",)),))))
    statuses = []
    for _ in range(4):
        driver.log_in()
        statuses.append(driver.submit().status)
    assert statuses == [200, 200, 200, 429]


def test_speed_off_refuses_nothing() -> None:
    driver = Driver(SandboxSettings(limits=SPEEDS["off"]))
    assert {driver.submit().status for _ in range(300)} == {200}
    assert driver.state.stats().violations == {}


def test_clock_stepping_back_frees_no_capacity(driver: Driver) -> None:
    for _ in range(60):
        driver.submit()
    driver.now = NOW - 3600
    assert driver.submit().headers["retry-after"] == "60"
    driver.now = NOW + 60
    assert driver.submit().status == 200


def test_peak_of_an_expired_token_stays_in_the_stats(driver: Driver) -> None:
    for _ in range(5):
        driver.push()
    driver.now = NOW + 7200
    driver.log_in()
    assert driver.state.stats().peaks["token"] == 5


@pytest.mark.parametrize(
    ("call", "path"),
    [
        ("labels", "labels"),
        ("feature_sets", "number_management/feature_sets"),
        ("numbers", "number_management/numbers"),
        ("numbers", "number_management/feature_sets/unknown/numbers/publish"),
        ("exports", "openapi/callback-logs/summary?from=1&to=2"),
        ("exports", "openapi/feedback_stack/survey/export_report?from_date=1"),
    ],
)
def test_limit_can_name_each_of_the_other_calls(call: str, path: str) -> None:
    driver = Driver(SandboxSettings(limits=Limits((RateLimit("few", 1, 60.0, calls=(call,)),))))
    method = "POST" if path.endswith("publish") else "GET"
    replies = [driver.send_authorised(method, driver.path("v1", path), {}) for _ in range(2)]
    assert replies[0].status in (200, 404)
    assert replies[1].status == 429
    assert driver.state.stats().requests[call]["429"] == 1
