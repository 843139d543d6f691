"""Fault plans without a socket: matching requests, effects on the API, and fault responses."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
import pytest

from truecaller_async.errors import ConfigError
from truecaller_async.options import Limits
from truecaller_async.sandbox import DeliveryMode, Fault, FaultPlan, SandboxResponse, SandboxSettings
from truecaller_async.sandbox.answers import http_date
from truecaller_async.sandbox.faults.plan import CALLS
from truecaller_async.sandbox.faults.responses import FAULT_RESPONSES
from truecaller_async.sandbox.routing import ROUTES

from .driver import NOW, Driver, batch_id_of, json_of, record


def driver_with(*faults: dict[str, Any], seed: int = 0, **settings: Any) -> Driver:
    """Return a client of a sandbox with this plan."""
    plan = FaultPlan.parse(msgspec.json.encode({"seed": seed, "faults": faults}))
    return Driver(SandboxSettings(faults=plan, **settings))


NAMES = [name for name in FAULT_RESPONSES if name != "answer"]


def statuses(driver: Driver, count: int) -> list[int]:
    """Return the HTTP statuses of this number of reads of the labels."""
    return [driver.send_authorised("GET", driver.path("v1", "labels")).status for _ in range(count)]


def test_json_plan_and_class_plan_are_the_same() -> None:
    text = """{"seed": 7, "faults": [
        {"call": "batch.submit", "nth": 3, "do": ["apply", "reset"]},
        {"call": "batch.submit", "probability": 0.03, "do": ["reset"]},
        {"call": "batch.status", "probability": 0.02, "do": ["503"]},
        {"call": "*", "from": 10.0, "until": 20, "do": ["500"]}]}"""
    plan = FaultPlan(
        (
            Fault(call="batch.submit", nth=3, do=("apply", "reset")),
            Fault(call="batch.submit", probability=0.03, do=("reset",)),
            Fault(call="batch.status", probability=0.02, do=("503",)),
            Fault(call="*", since=10.0, until=20.0, do=("500",)),
        ),
        seed=7,
    )
    assert FaultPlan.parse(text) == FaultPlan.parse(text.encode()) == plan


def test_every_route_has_a_name_for_plans() -> None:
    assert {route.action for route in ROUTES} == set(CALLS)


@pytest.mark.parametrize(
    ("fault", "json_path", "rule"),
    [
        ({"call": "batches.submit", "do": ["reset"]}, "call", "batch.submit"),
        ({"call": "push", "do": []}, "do", "RESPONSE"),
        ({"call": "push", "do": ["answer"]}, "do", "only after"),
        ({"call": "push", "do": ["reset", "apply"]}, "do", "RESPONSE"),
        ({"call": "push", "do": ["apply", "apply"]}, "do", "RESPONSE"),
        ({"call": "push", "do": ["apply", "500", "reset"]}, "do", "RESPONSE"),
        ({"call": "push", "do": ["501"]}, "do[0]", "504"),
        ({"call": "push", "do": ["apply", "501"]}, "do[1]", "504"),
        ({"call": "push", "do": ["reset:1"]}, "do[0]", "'reset' without an argument"),
        ({"call": "push", "do": ["drip:"]}, "do[0]", "drip:SECONDS, with seconds above 0"),
        ({"call": "push", "do": ["drip:0"]}, "do[0]", "drip:SECONDS"),
        ({"call": "push", "do": ["drip:1e3"]}, "do[0]", "drip:SECONDS"),
        ({"call": "push", "do": ["429:7\r\nx: y"]}, "do[0]", "429:WAIT, with date+N"),
        *(
            (
                {"call": "push", "do": [f"429:{wait}"]},
                "do[0]",
                "429:WAIT, with date+N or date-N, where N is 1 to 8 digits",
            )
            for wait in ("date", "date+", "date5", "date+5s", "date +5", "date++5", "Date+5", "date+123456789")
        ),
        ({"call": "push", "do": ["drip:100000"]}, "do[0]", "below 100,000, with 6 decimals at most"),
        ({"call": "push", "do": ["delay:0.0000001", "503"]}, "do", "delay:SECONDS"),
        ({"call": "push", "do": ["apply", "delay:100000"]}, "do[1]", "below 100,000, with 6 decimals at most"),
        ({"call": "push", "do": ["302:a\nb"]}, "do[0]", "302:URL"),
        ({"call": "push", "do": ["delay:-1", "503"]}, "do", "delay:SECONDS"),
        ({"call": "push", "do": ["apply", "delay:soon"]}, "do[1]", "delay:SECONDS, with seconds above 0"),
        ({"call": "push", "do": ["delay:1"]}, "do", "RESPONSE"),
        ({"call": "push", "do": ["delay:1", "answer"]}, "do", "only after"),
        ({"call": "push", "do": ["delay:1", "apply"]}, "do", "before RESPONSE"),
        ({"call": "push", "do": ["503", "delay:1"]}, "do", "before RESPONSE"),
        ({"call": "push", "do": ["delay:1", "delay:1", "503"]}, "do", "before RESPONSE"),
        ({"call": "push", "do": "reset"}, "do", "array"),
        ({"call": "push", "do": [500]}, "do", "str"),
        ({"call": "push", "do": ["reset"], "nth": 0}, "nth", "1 or more"),
        ({"call": "push", "do": ["reset"], "nth": 1.5}, "nth", "int"),
        ({"call": "push", "do": ["reset"], "probability": 1.01}, "probability", "from 0 to 1"),
        ({"call": "push", "do": ["reset"], "probability": -0.1}, "probability", "from 0 to 1"),
        ({"call": "push", "do": ["reset"], "from": -1}, "from", "0 seconds or more"),
        ({"call": "push", "do": ["reset"], "until": 0}, "until", "more than 0"),
        ({"call": "push", "do": ["reset"], "from": 5, "until": 5}, "until", "later"),
    ],
)
def test_wrong_plan_is_refused_with_position_and_rule(fault: dict[str, Any], json_path: str, rule: str) -> None:
    good = {"call": "token", "do": ["apply"]}
    with pytest.raises(ConfigError) as refused:
        driver_with(good, good, fault)
    assert f"faults[2].{json_path}" in str(refused.value)
    assert rule in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected_text"),
    [
        (b"{", "truncated"),
        (b"\xff", "malformed"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field `faults`"),
        (b'{"faults": [], "sed": 1}', "unknown field `sed`"),
        (b'{"faults": [{"call": "push", "do": ["reset"], "odds": 1}]}', r"`odds` - at `\$\.faults\[0\]"),
        (b'{"faults": [{"call": "push"}]}', r"field `do` - at `\$\.faults\[0\]"),
        (b"[" * 100_000, "fault plan"),
    ],
)
def test_what_is_no_plan_at_all_is_refused(text: bytes, expected_text: str) -> None:
    with pytest.raises(ConfigError, match=expected_text):
        FaultPlan.parse(text)


@pytest.mark.parametrize(
    ("text", "json_path"),
    [
        ('{"seed": 1, "faults": [], "seed": 1}', "seed"),
        ('{"faults": [{"call": "push", "do": ["reset"], "do": ["apply"]}], "seed": 1}', "faults[0].do"),
        (
            '{"faults": [{"call": "push", "do": ["reset"]}, {"call": "push", "c\\u0061ll": "token", "do": ["500"]}]}',
            "faults[1].call",
        ),
    ],
)
def test_repeated_field_is_refused_with_its_position(text: str, json_path: str) -> None:
    for plan in (text, text.encode()):
        with pytest.raises(ConfigError) as refused:
            FaultPlan.parse(plan)
        assert f": {json_path} occurs more than once" in str(refused.value)


def test_byte_order_mark_is_dropped() -> None:
    text = '\ufeff{"faults": [{"call": "push", "do": ["reset"]}]}'
    assert FaultPlan.parse(text) == FaultPlan.parse(text.encode()) == FaultPlan((Fault(call="push", do=("reset",)),))


@pytest.mark.parametrize(
    "fault",
    [
        {"call": "x" * 10_000, "do": ["reset"]},
        {"call": "push", "do": ["y" * 10_000]},
        {"call": "push", "do": ["reset"] * 10_000},
        {"call": "push", "do": ["reset"], "z" * 10_000: 1},
    ],
)
def test_long_wrong_value_is_not_quoted_completely(fault: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as refused:
        driver_with(fault)
    message = str(refused.value)
    assert "faults[0]" in message
    assert "..." in message
    assert not re.search(r"(.)\1{60}", message)
    assert len(message) < 700


def test_wrong_value_is_quoted_up_to_sixty_characters() -> None:
    with pytest.raises(ConfigError, match=f"call is '{'x' * 59}\\.\\.\\.: it must be"):
        driver_with({"call": "x" * 61, "do": ["reset"]})


def test_requests_hidden_from_the_api_are_counted_separately() -> None:
    driver = driver_with(
        {"call": "labels", "nth": 1, "do": ["429:date+5"]}, {"call": "labels", "do": ["apply", "reset"]}
    )
    driver.log_in()
    for _ in range(3):
        driver.send_authorised("GET", driver.path("v1", "labels"))
    stats = driver.state.stats()
    assert (stats.reached_api, stats.faulted, stats.blocked_by_faults) == (3, 3, 1)
    assert "reached" not in msgspec.json.decode(msgspec.json.encode(stats))


def test_plan_of_classes_is_checked_as_well() -> None:
    with pytest.raises(ConfigError, match=r"faults\[0\]\.probability is nan"):
        FaultPlan((Fault(call="push", do=("reset",), probability=float("nan")),))


@pytest.mark.parametrize("name", NAMES)
def test_unapplied_request_leaves_only_its_count(name: str) -> None:
    driver = driver_with({"call": "batch.submit", "do": [name]})
    assert driver.submit() == response_to(name, None)
    stats = driver.state.stats()
    assert (stats.batches, stats.records_applied, stats.peaks["batch"], stats.peaks["token"]) == (0, 0, 0, 0)
    assert stats.requests.keys() == {"mint"}
    assert stats.faults == {"batch.submit": {name: 1}}
    assert driver.state.truth() == []


@pytest.mark.parametrize("name", NAMES)
def test_applied_request_is_logged_and_charged_whatever_is_answered(name: str) -> None:
    driver = driver_with({"call": "batch.submit", "do": ["apply", name]})
    reply = driver.submit(record(), record(receiver_number="919234500013"))
    stats = driver.state.stats()
    assert reply == response_to(name, Driver().submit(record(), record(receiver_number="919234500013")))
    assert (stats.batches, stats.peaks["batch"], stats.peaks["token"]) == (1, 1, 1)
    assert stats.requests["submit"] == {"200": 1}
    assert stats.faults == {"batch.submit": {f"apply+{name}": 1}}
    assert [entry.outcome for entry in driver.state.truth()] == ["success", "failed"]


def response_to(name: str, api_answer: SandboxResponse | None) -> SandboxResponse:
    """Return the dated fault response to an answer of the API."""
    return FAULT_RESPONSES[name].make(api_answer, None, NOW).with_date(NOW)


def described(reply: SandboxResponse) -> str:
    return str(reply.status) if reply.mode is DeliveryMode.WHOLE else reply.mode


@pytest.mark.parametrize("do", [["apply"], ["apply", "answer"]])
def test_applied_and_answered_request_is_as_without_a_plan(do: list[str]) -> None:
    driver = driver_with({"call": "batch.submit", "do": do})
    assert driver.statuses(batch_id_of(driver.submit())) == ["pending"]


def test_request_refused_by_the_api_is_not_applied_by_a_plan() -> None:
    driver = driver_with({"call": "batch.submit", "do": ["apply", "reset"]})
    assert driver.submit(record(ends_at=1)).mode is DeliveryMode.RESET
    assert driver.state.truth() == []
    assert driver.state.stats().requests["submit"] == {"400": 1}


def test_limit_counts_applied_requests_and_not_requests_cut_before() -> None:
    limits = Limits.documented().replace(batch=(2, 60.0))
    before = driver_with({"call": "batch.submit", "nth": 1, "do": ["reset"]}, limits=limits)
    after = driver_with({"call": "batch.submit", "nth": 1, "do": ["apply", "reset"]}, limits=limits)
    assert [described(before.submit()) for _ in range(4)] == ["reset", "200", "200", "429"]
    assert [described(after.submit()) for _ in range(4)] == ["reset", "200", "429", "429"]
    assert before.state.stats().batches == after.state.stats().batches == 2


@pytest.mark.parametrize("name", ["500", "502", "503", "504", "520", "429"])
def test_gateway_has_its_own_message(name: str) -> None:
    reply = driver_with({"call": "labels", "do": [name]}).send_authorised("GET", "/clients/any/labels")
    assert reply.status == int(name)
    if name in ("500", "429"):
        assert reply.headers["content-type"] == "application/json"
        assert json_of(reply)["message"]
    else:
        assert reply.headers["content-type"] == "text/html"
        assert reply.body.startswith(b"<html>")
    assert "retry-after" not in reply.headers


def test_nth_counts_the_requests_of_its_call() -> None:
    driver = driver_with({"call": "labels", "nth": 2, "do": ["503"]})
    driver.push()
    assert statuses(driver, 4) == [200, 503, 200, 200]


def test_nth_of_the_wildcard_counts_all_requests() -> None:
    driver = driver_with({"call": "*", "nth": 3, "do": ["503"]})
    driver.push()
    assert statuses(driver, 2) == [503, 200]


def test_wildcard_applies_to_unknown_paths_as_well() -> None:
    driver = driver_with({"call": "*", "do": ["502"]})
    assert driver.send("GET", "/nowhere").status == 502
    assert driver.state.stats().faults == {"other": {"502": 1}}


def test_window_is_counted_from_the_start() -> None:
    driver = driver_with({"call": "labels", "from": 10.0, "until": 20.0, "do": ["500"]})
    driver.log_in()
    seen = []
    for age in (0.0, 9.75, 10.0, 19.75, 20.0):
        driver.now = NOW + age
        seen += statuses(driver, 1)
    assert seen == [200, 200, 500, 500, 200]


def test_all_conditions_of_a_fault_must_be_true() -> None:
    driver = driver_with({"call": "labels", "nth": 2, "until": 5.0, "do": ["500"]})
    driver.log_in()
    driver.now = NOW + 4.0
    assert statuses(driver, 1) == [200]
    driver.now = NOW + 5.0
    assert statuses(driver, 2) == [200, 200]


def test_first_matching_fault_is_applied() -> None:
    driver = driver_with(
        {"call": "token", "do": ["apply"]},
        {"call": "labels", "nth": 2, "do": ["502"]},
        {"call": "*", "do": ["503"]},
        {"call": "labels", "do": ["504"]},
    )
    assert statuses(driver, 3) == [503, 502, 503]
    assert driver.state.stats().faults == {"labels": {"502": 1, "503": 2}, "token": {"apply": 1}}


def drawn(seed: int, *before: dict[str, Any], probability: float = 0.25, count: int = 400) -> list[int]:
    driver = driver_with(
        *before, {"call": "labels", "probability": probability, "do": ["503"]}, seed=seed, limits=UNLIMITED
    )
    return statuses(driver, count)


UNLIMITED = Limits.documented().replace(token=(1_000_000, 1.0))


def test_random_faults_are_reproducible_and_have_the_right_frequency() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    assert 70 <= drawn(1).count(503) <= 130


def test_probability_one_is_certain_and_zero_is_impossible() -> None:
    assert set(drawn(1, probability=1.0)) == {503}
    assert set(drawn(1, probability=0.0)) == {200}


def test_probability_does_not_depend_on_other_calls_or_time() -> None:
    quiet = driver_with({"call": "labels", "probability": 0.5, "do": ["503"]})
    busy = driver_with({"call": "labels", "probability": 0.5, "do": ["503"]})
    expected = statuses(quiet, 40)
    seen = []
    for _ in range(40):
        busy.push()
        busy.now += 7.0
        seen += statuses(busy, 1)
    assert seen == expected


def test_plan_restarts_with_a_new_state() -> None:
    settings = driver_with({"call": "labels", "nth": 1, "do": ["503"]}).settings
    assert statuses(Driver(settings), 2) == statuses(Driver(settings), 2) == [503, 200]


def test_without_a_plan_nothing_is_counted_as_a_fault() -> None:
    driver = Driver()
    driver.push()
    assert driver.state.stats().faults == {}


def test_every_fault_kind_is_implemented_by_a_response() -> None:
    api = SandboxResponse(200, {}, b'{"batch_id": "b-1"}')
    assert {response.make(api, None, NOW).mode for response in FAULT_RESPONSES.values()} == set(DeliveryMode)


@pytest.mark.parametrize(
    ("step", "status", "wait"),
    [
        ("429", 429, None),
        ("429:120", 429, "120"),
        ("429:", 429, ""),
        ("429:soon", 429, "soon"),
        ("429:-5", 429, "-5"),
        ("429:99999999999", 429, "99999999999"),
        ("429:\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}", 429, "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT TWO}"),
        ("429:date+5", 429, http_date(NOW + 5)),
        ("503", 503, None),
        ("503:30", 503, "30"),
        ("503:date-7", 503, http_date(NOW - 7)),
        ("429:date+99999999", 429, http_date(NOW + 99_999_999)),
        ("429:tomorrow's date", 429, "tomorrow's date"),
    ],
)
def test_throttle_has_the_given_wait(step: str, status: int, wait: str | None) -> None:
    reply = driver_with({"call": "labels", "do": [step]}).send_authorised("GET", "/clients/any/labels")
    assert (reply.status, reply.headers.get("retry-after")) == (status, wait)


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.999])
def test_retry_date_is_relative_to_the_date_of_the_same_answer(fraction: float) -> None:
    driver = driver_with({"call": "labels", "do": ["429:date+5"]})
    driver.now += fraction
    headers = driver.send_authorised("GET", "/clients/any/labels").headers
    wait = parsedate_to_datetime(headers["retry-after"]) - parsedate_to_datetime(headers["date"])
    assert wait.total_seconds() == 5


def test_every_answer_has_the_date_of_the_sandbox() -> None:
    driver = driver_with({"call": "labels", "nth": 2, "do": ["503"]})
    driver.log_in()
    for later in (0.0, 100.0, 3600.0):
        driver.now = NOW + later
        assert driver.send_authorised("GET", driver.path("v1", "labels")).headers["date"] == http_date(NOW + later)
    driver.now = NOW
    assert driver.send("GET", "/nowhere").headers["date"] == http_date(NOW + 3600)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", [None, "", "https://other.example/v2?x=1:2"])
def test_redirect_leads_to_the_given_target(status: int, location: str | None) -> None:
    step = str(status) if location is None else f"{status}:{location}"
    reply = driver_with({"call": "labels", "do": [step]}).send_authorised("GET", "/clients/any/labels")
    assert reply.status == status
    assert reply.headers["location"] == ("https://elsewhere.example/" if location is None else location)


@pytest.mark.parametrize(
    ("name", "status", "slug"),
    [
        ("400", 400, "invalid-input"),
        ("401", 401, "authorization-error"),
        ("403", 403, "forbidden-error"),
        ("404", 404, "not-found"),
        ("parse-token", 500, "internal-server-error"),
        ("500", 500, "internal-server-error"),
    ],
)
def test_api_may_refuse_with_its_own_message(name: str, status: int, slug: str) -> None:
    reply = driver_with({"call": "labels", "do": [name]}).send_authorised("GET", "/clients/any/labels")
    assert (reply.status, json_of(reply)["slug"]) == (status, slug)
    assert reply.headers["content-type"] == "application/json"


def test_unparsable_token_is_refused_with_the_documented_message() -> None:
    reply = driver_with({"call": "labels", "do": ["parse-token"]}).send_authorised("GET", "/clients/any/labels")
    assert json_of(reply)["message"] == "500/50011 - Failed to parse token"


@pytest.mark.parametrize(("do", "manner"), [(["delay:2", "reset"], "reset"), (["apply", "delay:2"], "whole")])
def test_delay_applies_to_the_following_action(do: list[str], manner: str) -> None:
    driver = driver_with({"call": "batch.submit", "do": do})
    reply = driver.submit()
    assert (reply.delay, reply.mode) == (2.0, manner)
    assert driver.state.stats().faults == {"batch.submit": {"+".join(do): 1}}


@pytest.mark.parametrize("name", ["drip", "drip-headers"])
def test_drip_has_the_given_rate(name: str) -> None:
    paces = [
        driver_with({"call": "labels", "do": [step]}).send_authorised("GET", "/clients/any/labels").seconds_per_byte
        for step in (name, f"{name}:7")
    ]
    assert paces == [0.1, 7.0]


@pytest.mark.parametrize("name", ["cut", "text", "half", "drip"])
def test_damaged_answer_is_the_answer_of_the_api(name: str) -> None:
    driver = driver_with({"call": "batch.submit", "do": ["apply", name]})
    assert driver.submit().body.startswith(b'{"batch_id":"')
