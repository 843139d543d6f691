"""Fault plans, without a socket: which requests are struck, what is applied and charged, what is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from truecaller_async.errors import ConfigError
from truecaller_async.options import Limits
from truecaller_async.sandbox import Fault, FaultPlan, Reply, SandboxSettings
from truecaller_async.sandbox.faults import CALLS, ENDINGS
from truecaller_async.sandbox.routing import ROUTES

from .driving import NOW, Driver, batch_id_of, record, said


def under(*faults: dict[str, Any], seed: int = 0, **settings: Any) -> Driver:
    """A client of a sandbox with this plan."""
    plan = FaultPlan.parse(msgspec.json.encode({"seed": seed, "faults": faults}))
    return Driver(SandboxSettings(faults=plan, **settings))


def statuses(driver: Driver, count: int) -> list[int]:
    """What so many reads of the labels are answered."""
    return [driver.ask("GET", driver.path("v1", "labels")).status for _ in range(count)]


def test_the_plan_in_json_and_the_one_in_classes_are_the_same() -> None:
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
    ("fault", "place", "rule"),
    [
        ({"call": "batches.submit", "do": ["reset"]}, "call", "batch.submit"),
        ({"call": "push", "do": []}, "do", "ENDING"),
        ({"call": "push", "do": ["answer"]}, "do", "only after"),
        ({"call": "push", "do": ["reset", "apply"]}, "do", "ENDING"),
        ({"call": "push", "do": ["apply", "apply"]}, "do", "ENDING"),
        ({"call": "push", "do": ["apply", "500", "reset"]}, "do", "ENDING"),
        ({"call": "push", "do": ["501"]}, "do", "504"),
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
def test_a_wrong_plan_hears_the_place_and_the_rule(fault: dict[str, Any], place: str, rule: str) -> None:
    good = {"call": "token", "do": ["apply"]}
    with pytest.raises(ConfigError) as refused:
        under(good, good, fault)
    assert f"faults[2].{place}" in str(refused.value)
    assert rule in str(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
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
def test_what_is_no_plan_at_all_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        FaultPlan.parse(text)


def test_a_plan_of_classes_is_checked_as_well() -> None:
    with pytest.raises(ConfigError, match=r"faults\[0\]\.probability is nan"):
        FaultPlan((Fault(call="push", do=("reset",), probability=float("nan")),))


@pytest.mark.parametrize("name", [name for name, reply in ENDINGS.items() if reply is not None])
def test_what_is_not_applied_leaves_nothing_but_its_count(name: str) -> None:
    driver = under({"call": "batch.submit", "do": [name]})
    reply = driver.submit()
    stats = driver.state.stats()
    assert said_by(reply) == name
    assert (stats.batches, stats.records_applied, stats.peaks["batch"], stats.peaks["token"]) == (0, 0, 0, 0)
    assert stats.requests.keys() == {"mint"}
    assert stats.faults == {"batch.submit": {name: 1}}
    assert driver.state.truth() == []


@pytest.mark.parametrize("name", [name for name, reply in ENDINGS.items() if reply is not None])
def test_what_is_applied_is_in_the_truth_log_and_charged_whatever_is_said(name: str) -> None:
    driver = under({"call": "batch.submit", "do": ["apply", name]})
    reply = driver.submit(record(), record(receiver_number="919234500013"))
    stats = driver.state.stats()
    assert said_by(reply) == name
    assert (stats.batches, stats.peaks["batch"], stats.peaks["token"]) == (1, 1, 1)
    assert stats.requests["submit"] == {"200": 1}
    assert stats.faults == {"batch.submit": {f"apply+{name}": 1}}
    assert [entry.outcome for entry in driver.state.truth()] == ["success", "failed"]


def said_by(reply: Reply) -> str:
    return reply.cut or str(reply.status)


@pytest.mark.parametrize("do", [["apply"], ["apply", "answer"]])
def test_a_request_that_is_applied_and_answered_is_as_without_a_plan(do: list[str]) -> None:
    driver = under({"call": "batch.submit", "do": do})
    assert driver.words(batch_id_of(driver.submit())) == ["pending"]


def test_what_the_api_refuses_is_not_applied_by_a_plan() -> None:
    driver = under({"call": "batch.submit", "do": ["apply", "reset"]})
    assert driver.submit(record(ends_at=1)).cut == "reset"
    assert driver.state.truth() == []
    assert driver.state.stats().requests["submit"] == {"400": 1}


def test_a_limit_counts_what_was_applied_and_not_what_was_cut_before() -> None:
    limits = Limits.documented().replace(batch=(2, 60.0))
    before = under({"call": "batch.submit", "nth": 1, "do": ["reset"]}, limits=limits)
    after = under({"call": "batch.submit", "nth": 1, "do": ["apply", "reset"]}, limits=limits)
    assert [said_by(before.submit()) for _ in range(4)] == ["reset", "200", "200", "429"]
    assert [said_by(after.submit()) for _ in range(4)] == ["reset", "200", "429", "429"]
    assert before.state.stats().batches == after.state.stats().batches == 2


@pytest.mark.parametrize("name", ["500", "502", "503", "504", "429"])
def test_a_gateway_has_its_own_words(name: str) -> None:
    reply = under({"call": "labels", "do": [name]}).ask("GET", "/clients/any/labels")
    assert reply.status == int(name)
    if name in ("500", "429"):
        assert reply.headers["content-type"] == "application/json"
        assert said(reply)["message"]
    else:
        assert reply.headers["content-type"] == "text/html"
        assert reply.body.startswith(b"<html>")
    assert "retry-after" not in reply.headers


def test_nth_counts_the_requests_of_its_call() -> None:
    driver = under({"call": "labels", "nth": 2, "do": ["503"]})
    driver.push()
    assert statuses(driver, 4) == [200, 503, 200, 200]


def test_nth_of_the_asterisk_counts_all_requests() -> None:
    driver = under({"call": "*", "nth": 3, "do": ["503"]})
    driver.push()
    assert statuses(driver, 2) == [503, 200]


def test_the_asterisk_strikes_paths_that_do_not_exist_as_well() -> None:
    driver = under({"call": "*", "do": ["502"]})
    assert driver.send("GET", "/nowhere").status == 502
    assert driver.state.stats().faults == {"other": {"502": 1}}


def test_a_window_is_counted_from_the_beginning() -> None:
    driver = under({"call": "labels", "from": 10.0, "until": 20.0, "do": ["500"]})
    driver.log_in()
    seen = []
    for age in (0.0, 9.75, 10.0, 19.75, 20.0):
        driver.now = NOW + age
        seen += statuses(driver, 1)
    assert seen == [200, 200, 500, 500, 200]


def test_all_that_a_fault_asks_for_must_be_true() -> None:
    driver = under({"call": "labels", "nth": 2, "until": 5.0, "do": ["500"]})
    driver.log_in()
    driver.now = NOW + 4.0
    assert statuses(driver, 1) == [200]
    driver.now = NOW + 5.0
    assert statuses(driver, 2) == [200, 200]


def test_the_first_fault_that_strikes_is_the_one_that_is_done() -> None:
    driver = under(
        {"call": "token", "do": ["apply"]},
        {"call": "labels", "nth": 2, "do": ["502"]},
        {"call": "*", "do": ["503"]},
        {"call": "labels", "do": ["504"]},
    )
    assert statuses(driver, 3) == [503, 502, 503]
    assert driver.state.stats().faults == {"labels": {"502": 1, "503": 2}, "token": {"apply": 1}}


def luck(seed: int, *before: dict[str, Any], probability: float = 0.25, count: int = 400) -> list[int]:
    driver = under(*before, {"call": "labels", "probability": probability, "do": ["503"]}, seed=seed, limits=UNLIMITED)
    return statuses(driver, count)


UNLIMITED = Limits.documented().replace(token=(1_000_000, 1.0))


def test_the_dice_fall_the_same_for_the_same_seed_and_about_as_often_as_they_should() -> None:
    assert luck(1) == luck(1)
    assert luck(1) != luck(2)
    assert 70 <= luck(1).count(503) <= 130


def test_certain_and_impossible() -> None:
    assert set(luck(1, probability=1.0)) == {503}
    assert set(luck(1, probability=0.0)) == {200}


def test_the_luck_of_a_request_does_not_hang_on_other_calls_or_on_time() -> None:
    quiet = under({"call": "labels", "probability": 0.5, "do": ["503"]})
    busy = under({"call": "labels", "probability": 0.5, "do": ["503"]})
    expected = statuses(quiet, 40)
    seen = []
    for _ in range(40):
        busy.push()
        busy.now += 7.0
        seen += statuses(busy, 1)
    assert seen == expected


def test_a_plan_begins_anew_with_a_new_state() -> None:
    settings = under({"call": "labels", "nth": 1, "do": ["503"]}).settings
    assert statuses(Driver(settings), 2) == statuses(Driver(settings), 2) == [503, 200]


def test_without_a_plan_nothing_is_counted_as_a_fault() -> None:
    driver = Driver()
    driver.push()
    assert driver.state.stats().faults == {}


def test_the_ways_to_cut_a_connection_are_those_of_a_reply() -> None:
    cuts: Sequence[str] = get_args(get_args(get_type_hints(Reply)["cut"])[0])
    assert {reply.cut for reply in ENDINGS.values() if reply is not None} - {None} == set(cuts)
