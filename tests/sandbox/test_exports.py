"""Deprecated exports: parameters, links and files."""

from __future__ import annotations

import csv
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from truecaller_async.sandbox import SandboxResponse, SandboxSettings
from truecaller_async.sandbox.endpoints import exports

from .driver import NOW, Driver, documented_sample, json_of

FEEDBACK = "openapi/feedback_stack/survey-1/export_report"
CALLBACK = "openapi/callback-logs/summary"
EXPORT_PATHS = (f"{FEEDBACK}?from_date=1641015429", f"{CALLBACK}?from=1641015429&to=1641551777")


def export(driver: Driver, path: str, **headers: str) -> SandboxResponse:
    return driver.send_authorised("GET", driver.path("v1", path), **headers)


def file_of(driver: Driver, reply: SandboxResponse) -> SandboxResponse:
    """Return the file of the link in this answer."""
    return driver.state.export_file(urlsplit(json_of(reply)["url"]).path.rpartition("/")[2], driver.now)


@pytest.mark.parametrize("path", EXPORT_PATHS)
def test_export_is_a_link_to_the_host_that_was_asked(driver: Driver, path: str) -> None:
    reply = export(driver, path, host="127.0.0.1:8080")
    assert reply.status == 200
    assert json_of(reply).keys() == {"url"}
    parts = urlsplit(json_of(reply)["url"])
    assert (parts.scheme, parts.netloc) == ("http", "127.0.0.1:8080")
    assert parts.path.startswith("/_sandbox/exports/")


@pytest.mark.parametrize("path", EXPORT_PATHS)
def test_file_has_a_header_and_lines_of_as_many_columns(driver: Driver, path: str) -> None:
    reply = file_of(driver, export(driver, path))
    assert (reply.status, reply.headers["content-type"]) == (200, "text/csv")
    header, *lines = csv.reader(reply.body.decode().splitlines())
    assert "phone_number" in header
    assert len(lines) > 1
    assert {len(line) for line in lines} == {len(header)}


def test_same_seed_gives_the_same_file() -> None:
    def first(seed: int) -> bytes:
        driver = Driver(SandboxSettings(seed=seed))
        return file_of(driver, export(driver, EXPORT_PATHS[0])).body

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_link_lives_ten_minutes(driver: Driver) -> None:
    reply = export(driver, EXPORT_PATHS[0])
    driver.now = NOW + 599.875
    assert file_of(driver, reply).status == 200
    driver.now = NOW + 600
    assert (file_of(driver, reply).status, json_of(file_of(driver, reply))["slug"]) == (404, "not-found")


def test_links_that_are_too_old_are_forgotten(driver: Driver) -> None:
    for _ in range(5):
        export(driver, EXPORT_PATHS[0])
        driver.now += 600
    assert len(driver.state._export_api._links) == 1


def test_of_too_many_links_the_oldest_is_forgotten(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "LINKS_MAX", 2)
    replies = [export(driver, path) for path in (EXPORT_PATHS[0], EXPORT_PATHS[1], EXPORT_PATHS[0])]
    assert [file_of(driver, reply).status for reply in replies] == [404, 200, 200]


def test_link_that_was_never_given_is_not_found(driver: Driver) -> None:
    assert driver.state.export_file("unknown.csv", NOW).status == 404


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (FEEDBACK, "from_date"),
        (f"{FEEDBACK}?from_date=", "from_date"),
        (f"{CALLBACK}?to=1641551777", "from"),
        (f"{CALLBACK}?from=1641015429", "to"),
    ],
)
def test_missing_parameter_is_asked_for_by_name(driver: Driver, path: str, name: str) -> None:
    reply = export(driver, path)
    assert (reply.status, json_of(reply)) == (400, {"message": f"{name} is required"})


@pytest.mark.parametrize("value", ["yesterday", "1.5", "-1", "2022-01-01", "٣"])
def test_export_time_is_an_integer(driver: Driver, value: str) -> None:
    reply = export(driver, f"{FEEDBACK}?from_date={value}")
    assert (reply.status, json_of(reply)) == (400, {"message": "from_date must be a whole number"})


@pytest.mark.parametrize("shape", ["object", "string", "text"])
def test_shape_of_the_answer_is_a_setting(shape: Any) -> None:
    driver = Driver(SandboxSettings(export_shape=shape))
    reply = export(driver, EXPORT_PATHS[0], host="127.0.0.1:8080")
    kind = reply.headers["content-type"]
    assert kind.startswith("text/plain") if shape == "text" else kind == "application/json"
    body: Any = reply.body.decode() if shape == "text" else msgspec.json.decode(reply.body)
    url = body["url"] if shape == "object" else body
    assert url.startswith("http://127.0.0.1:8080/_sandbox/exports/")


@pytest.mark.parametrize("host", ["evil/../..", 'a"b', "", "a b"])
def test_invalid_host_is_not_repeated(driver: Driver, host: str) -> None:
    url = json_of(export(driver, EXPORT_PATHS[0], host=host))["url"]
    assert urlsplit(url).netloc == "sandbox.example"


@pytest.mark.parametrize(
    ("path", "sample_name"), [(EXPORT_PATHS[0], "user_feedback_v1_error"), (EXPORT_PATHS[1], "call_me_back_v1_error")]
)
def test_exports_can_have_the_vendors_known_defect(path: str, sample_name: str) -> None:
    driver = Driver(SandboxSettings(response_variants={"broken-exports"}))
    reply = export(driver, path)
    assert (reply.status, json_of(reply)) == (400, documented_sample(sample_name))
