"""Tokens: creation, lifetime, and answers to requests without a valid one."""

from __future__ import annotations

import pytest

from truecaller_async.sandbox import SandboxSettings

from .driver import NOW, Driver, json_of


def test_token_has_64_characters_and_a_stamp_with_two_fractional_digits(driver: Driver) -> None:
    driver.now = NOW + 0.7291
    reply = driver.mint()
    assert reply.status == 200
    assert len(json_of(reply)["token"]) == 64
    assert json_of(reply)["created_at"] == "2027-01-15T08:00:00.72Z"


def test_same_requests_give_the_same_tokens() -> None:
    assert Driver().log_in() == Driver().log_in()
    assert Driver(SandboxSettings(seed=1)).log_in() != Driver(SandboxSettings(seed=2)).log_in()


@pytest.mark.parametrize("missing", ["api_key", "key_id"])
def test_missing_field_is_asked_for_by_name(driver: Driver, missing: str) -> None:
    reply = driver.mint(**{missing: None})
    assert reply.status == 400
    assert json_of(reply) == {"slug": "invalid-input", "message": f"{missing} is required"}


def test_empty_body_object_gets_the_documented_error(driver: Driver) -> None:
    reply = driver.send("POST", driver.path("v1", "token"), {})
    assert json_of(reply) == {"slug": "invalid-input", "message": "api_key is required"}


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b'{"api_key": 5}', b"\xff", b'{"a":' + b"[" * 100_000])
def test_body_that_is_no_object_of_texts_is_invalid_input(driver: Driver, body: bytes) -> None:
    reply = driver.send("POST", driver.path("v1", "token"), body)
    assert (reply.status, json_of(reply)["slug"]) == (400, "invalid-input")


@pytest.mark.parametrize("wrong", ["api_key", "key_id"])
def test_wrong_credentials_are_refused_and_not_repeated(driver: Driver, wrong: str) -> None:
    reply = driver.mint(**{wrong: "guessed-value"})
    assert (reply.status, json_of(reply)["slug"]) == (401, "authorization-error")
    assert b"guessed-value" not in reply.body


def test_path_must_name_the_account_of_the_key(driver: Driver) -> None:
    body = {"key_id": driver.settings.key_id, "api_key": driver.settings.api_key.reveal()}
    reply = driver.send("POST", driver.path("v1", "token", account="0" * 8), body)
    assert (reply.status, json_of(reply)["slug"]) == (403, "forbidden-error")


def test_eleventh_token_in_thirty_minutes_is_refused_until_a_slot_is_free(driver: Driver) -> None:
    assert [driver.mint().status for _ in range(10)] == [200] * 10
    driver.now = NOW + 100.5
    refused = driver.mint()
    assert refused.status == 429
    assert refused.headers["retry-after"] == "1700"
    driver.now = NOW + 1799.75
    assert driver.mint().headers["retry-after"] == "1"
    driver.now = NOW + 1800
    assert driver.mint().status == 200


def test_refused_credentials_do_not_use_up_the_mint_budget(driver: Driver) -> None:
    for _ in range(20):
        driver.mint(api_key="guessed-value")
    assert driver.mint().status == 200
    assert driver.state.stats().mints == 1


def test_new_token_ends_no_other(driver: Driver) -> None:
    first = driver.log_in()
    second = driver.log_in()
    labels = driver.path("v1", "labels")
    assert [driver.send("GET", labels, authorization=f"Bearer {token}").status for token in (first, second)] == [
        200
    ] * 2
    assert driver.state.stats().tokens_live == 2


def test_token_works_until_its_life_is_over(driver: Driver) -> None:
    driver.log_in()
    driver.now = NOW + 3599.999
    assert driver.submit().status == 200
    driver.now = NOW + 3600
    reply = driver.submit()
    assert reply.status == 401
    assert json_of(reply) == {"slug": "authorization-error", "message": "please login again"}
    assert driver.state.stats().tokens_live == 0


@pytest.mark.parametrize("header", ["Bearer unknown", "Basic abc", "Bearer", "Bearer "])
def test_unknown_token_is_answered_with_log_in_again(driver: Driver, header: str) -> None:
    driver.log_in()
    reply = driver.send("GET", driver.path("v1", "labels"), authorization=header)
    assert (reply.status, json_of(reply)["message"]) == (401, "please login again")


def test_request_without_the_header_gets_the_missing_header_error(driver: Driver) -> None:
    reply = driver.send("GET", driver.path("v1", "labels"))
    assert reply.status == 401
    assert json_of(reply) == {"slug": "authorization-error", "message": "Missing authorization header"}


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_another_account_in_the_path_is_forbidden_and_nothing_is_applied(driver: Driver, version: str) -> None:
    other = SandboxSettings(seed=99).client_account_id
    reply = driver.send_authorised(
        "POST", driver.path(version, "dynamic_call_records", account=other), {"call_records": []}
    )
    assert reply.status == 403
    assert json_of(reply) == {"slug": "forbidden-error", "message": "not authorized. please contact your admin."}


def test_bearer_scheme_may_be_in_any_case(driver: Driver) -> None:
    token = driver.log_in()
    assert driver.send("GET", driver.path("v1", "labels"), authorization=f"bearer {token}").status == 200
