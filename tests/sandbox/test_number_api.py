"""Publishing and delisting of numbers, and number details."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.sandbox import SandboxSettings
from truecaller_async.sandbox.endpoints.number_store import NumberStore

from .driver import NOW, Driver, documented_sample, json_of

NUMBER = "911140001234"
OTHER = "911140001235"
BUCKETS = (
    "new_numbers",
    "existing_numbers",
    "processing_numbers",
    "other_feature_set_numbers",
    "others_numbers",
    "other_phonetype_numbers",
    "invalid_numbers",
)


def filled_buckets(driver: Driver, action: str, numbers: Sequence[str], index: int = 0) -> dict[str, list[str]]:
    """Return the buckets that are not empty."""
    body = json_of(driver.change_numbers(action, numbers, index))
    return {name: body[name] for name in body if name.endswith("_numbers") and body[name]}


def number_statuses(driver: Driver, query: str = "") -> dict[str, str]:
    """Return the numbers in the details with their statuses."""
    body = json_of(driver.send_number_management("GET", f"numbers{query}"))
    return {one["phone_number"]: one["status"] for one in body["numbers"]}


def test_listing_is_answered_in_the_printed_form(driver: Driver) -> None:
    sample = documented_sample("number_listing_response")
    reply = driver.change_numbers("publish", ["911234567891"])
    own = {"client_account_id": driver.settings.client_account_id, "created_by_email": "console@sandbox.example"}
    assert reply.status == 200
    assert json_of(reply) == {**sample, **own}
    assert list(json_of(reply)) == list(sample)


def test_delisting_is_answered_in_the_printed_form(driver: Driver) -> None:
    driver.change_numbers("publish", ["911234567891"])
    driver.now += 2
    sample = documented_sample("number_delisting_response_pending")
    own = {"client_account_id": driver.settings.client_account_id}
    assert json_of(driver.change_numbers("delist", ["911234567891"])) == {**sample, **own}


def test_delisting_an_unlisted_number_fails_as_documented(driver: Driver) -> None:
    sample = documented_sample("number_delisting_response_failed")
    reply = driver.change_numbers("delist", ["911234567891"])
    assert reply.status == 200
    assert json_of(reply) == {**sample, "client_account_id": driver.settings.client_account_id}


def test_number_is_pending_until_its_time_and_listed_from_then_on(driver: Driver) -> None:
    driver.change_numbers("publish", [NUMBER])
    driver.now = NOW + 1.875
    assert number_statuses(driver) == {NUMBER: "pending"}
    driver.now = NOW + 2
    assert number_statuses(driver) == {NUMBER: "listed"}


def test_number_being_delisted_is_pending_and_then_gone(driver: Driver) -> None:
    driver.change_numbers("publish", [NUMBER])
    driver.now = NOW + 10
    driver.change_numbers("delist", [NUMBER])
    assert number_statuses(driver) == {NUMBER: "pending"}
    driver.now = NOW + 12
    assert number_statuses(driver) == {}
    assert filled_buckets(driver, "publish", [NUMBER]) == {"new_numbers": [NUMBER]}


def test_transition_may_be_hidden() -> None:
    driver = Driver(SandboxSettings(pending_numbers="hidden", list_after=5.0))
    driver.change_numbers("publish", [NUMBER])
    assert number_statuses(driver) == {}
    driver.now = NOW + 5
    assert number_statuses(driver) == {NUMBER: "listed"}
    driver.change_numbers("delist", [NUMBER])
    driver.now = NOW + 9.875
    assert number_statuses(driver) == {NUMBER: "listed"}
    driver.now = NOW + 10
    assert number_statuses(driver) == {}


@pytest.mark.parametrize(("pending_numbers", "expected"), [("shown", {NUMBER: "pending"}), ("hidden", {})])
def test_delisting_overrides_a_running_listing(pending_numbers: str, expected: dict[str, str]) -> None:
    driver = Driver(SandboxSettings(pending_numbers=pending_numbers))  # type: ignore[arg-type]
    driver.change_numbers("publish", [NUMBER])
    driver.now = NOW + 1
    assert filled_buckets(driver, "delist", [NUMBER]) == {"existing_numbers": [NUMBER]}
    driver.now = NOW + 2.5
    assert number_statuses(driver) == expected
    driver.now = NOW + 3
    assert number_statuses(driver) == {}


def test_number_that_is_listed_at_once_needs_no_time() -> None:
    driver = Driver(SandboxSettings(list_after=0.0))
    driver.change_numbers("publish", [NUMBER])
    assert number_statuses(driver) == {NUMBER: "listed"}


def test_publishing_is_ignored_while_the_delisting_runs(driver: Driver) -> None:
    driver.change_numbers("publish", [NUMBER])
    driver.now = NOW + 5
    driver.change_numbers("delist", [NUMBER])
    driver.now = NOW + 6
    assert filled_buckets(driver, "publish", [NUMBER]) == {}
    assert filled_buckets(driver, "delist", [NUMBER]) == {"processing_numbers": [NUMBER]}
    driver.now = NOW + 7
    assert number_statuses(driver) == {}


def test_second_delisting_of_the_same_number_is_pending_too(driver: Driver) -> None:
    driver.change_numbers("publish", [NUMBER])
    assert [json_of(driver.change_numbers("delist", [NUMBER]))["status"] for _ in range(2)] == ["pending", "pending"]


def test_each_number_is_in_the_matching_bucket(driver: Driver) -> None:
    driver.change_numbers("publish", [NUMBER])
    driver.change_numbers("publish", [OTHER], index=1)
    numbers = [NUMBER, OTHER, "911140001236", "911140001265", "911140001278", "+911140001237", "12"]
    assert filled_buckets(driver, "publish", numbers) == {
        "existing_numbers": [NUMBER],
        "other_feature_set_numbers": [OTHER],
        "new_numbers": ["911140001236"],
        "others_numbers": ["911140001265"],
        "other_phonetype_numbers": ["911140001278"],
        "invalid_numbers": ["+911140001237", "12"],
    }
    assert number_statuses(driver).keys() == {NUMBER, OTHER, "911140001236"}


def test_delisting_leaves_the_numbers_of_other_sets_alone(driver: Driver) -> None:
    driver.change_numbers("publish", [NUMBER], index=1)
    driver.now += 2
    assert filled_buckets(driver, "delist", [NUMBER, "911140001265"], index=0) == {
        "other_feature_set_numbers": [NUMBER],
        "others_numbers": ["911140001265"],
    }
    driver.now += 10
    assert number_statuses(driver) == {NUMBER: "listed"}


def test_repeated_number_counts_once(driver: Driver) -> None:
    assert filled_buckets(driver, "publish", [NUMBER, NUMBER]) == {"new_numbers": [NUMBER]}


@pytest.mark.parametrize("action", ["publish", "delist"])
@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{}", b"\xff"),
        *(b'{"phone_numbers": "911140001234"}', b'{"phone_numbers": [911140001234]}', b'{"phone_numbers": null}'),
    ],
)
def test_body_without_a_list_of_texts_is_invalid_input(driver: Driver, action: str, body: bytes) -> None:
    reply = driver.send_number_management(
        "POST", f"feature_sets/{driver.settings.feature_sets[0].id}/numbers/{action}", body
    )
    assert (reply.status, json_of(reply)["slug"]) == (400, "invalid-input")


@pytest.mark.parametrize(("count", "status"), [(0, 400), (1, 200), (10_000, 200), (10_001, 400)])
def test_list_has_1_to_10000_numbers(driver: Driver, count: int, status: int) -> None:
    numbers = [f"91114{number:07d}" for number in range(count)]
    assert driver.change_numbers("publish", numbers).status == status


@pytest.mark.parametrize("action", ["publish", "delist"])
def test_unknown_feature_set_is_not_found(driver: Driver, action: str) -> None:
    reply = driver.send_number_management("POST", f"feature_sets/unknown/numbers/{action}", {"phone_numbers": [NUMBER]})
    assert (reply.status, json_of(reply)["slug"]) == (404, "not-found")


def test_details_have_the_fields_of_the_printed_answer_in_their_order(driver: Driver) -> None:
    sample = documented_sample("number_details_response")
    driver.change_numbers("publish", [NUMBER])
    driver.now += 2.5
    body = json_of(driver.send_number_management("GET", "numbers"))
    assert list(body) == list(sample)
    assert body["pagination_information"] == {"total_page_count": 1}
    (one,) = body["numbers"]
    assert list(one) == list(sample["numbers"][0])
    assert {name: one[name] for name in ("phone_type", "status", "call_me_back", "label_name", "department")} == {
        "phone_type": "verified",
        "status": "listed",
        "call_me_back": "enabled",
        "label_name": "Harbour Savings Bank",
        "department": "Cards",
    }
    assert one["created_at"] == "2027-01-15T08:00:00.000000Z"
    assert one["updated_at"] == "2027-01-15T08:00:02.000000Z"


def test_number_of_a_set_without_a_label_has_no_name_to_show(driver: Driver) -> None:
    driver.change_numbers("publish", [NUMBER], index=2)
    (one,) = json_of(driver.send_number_management("GET", "numbers"))["numbers"]
    assert (one["label_name"], one["call_me_back"]) == ("", "disabled")


@pytest.mark.parametrize("name", ["feature_set_id", "department_id", "operation_id", "process_id"])
def test_filter_leaves_what_belongs_to_that_id(driver: Driver, name: str) -> None:
    sets = driver.settings.feature_sets
    own = "id" if name == "feature_set_id" else name
    for index in range(3):
        driver.change_numbers("publish", [f"91114000120{index}"], index)
    wanted = getattr(sets[0], own)
    expected = {f"91114000120{index}" for index, one in enumerate(sets) if getattr(one, own) == wanted}
    assert 0 < len(expected) < 3
    assert number_statuses(driver, f"?{name}={wanted}").keys() == expected


def test_two_filters_at_once_are_invalid_input(driver: Driver) -> None:
    reply = driver.send_number_management("GET", "numbers?feature_set_id=a&department_id=b")
    assert (reply.status, json_of(reply)["slug"]) == (400, "invalid-input")


def test_details_come_in_pages_in_the_order_of_publishing() -> None:
    driver = Driver(SandboxSettings(page_limit=2))
    numbers = [f"91114000120{digit}" for digit in range(5)]
    driver.change_numbers("publish", numbers)
    pages = [list(number_statuses(driver, f"?page={page}")) for page in (1, 2, 3, 4)]
    assert pages == [numbers[:2], numbers[2:4], numbers[4:], []]
    assert json_of(driver.send_number_management("GET", "numbers?limit=4"))["pagination_information"] == {
        "total_page_count": 2
    }


def test_number_that_comes_back_is_the_last_one(driver: Driver) -> None:
    driver.change_numbers("publish", [NUMBER, OTHER])
    driver.change_numbers("delist", [NUMBER])
    driver.now += 2
    driver.change_numbers("publish", [NUMBER])
    assert list(number_statuses(driver)) == [OTHER, NUMBER]


def test_numbers_of_a_listing_are_not_in_the_truth_of_the_records(driver: Driver) -> None:
    driver.change_numbers("publish", [NUMBER])
    stats = driver.state.stats()
    assert (stats.records_applied, stats.requests["numbers"]) == (0, {"200": 1})


Step = tuple[str, str, str, float]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["publish", "delist"]),
            st.sampled_from(["set-1", "set-2"]),
            st.sampled_from([NUMBER, OTHER, "911140001265", "12"]),
            st.sampled_from([0.0, 1.0, 2.0, 3.0]),
        )
    )
)
def test_number_is_in_one_bucket_at_most_and_in_one_set_at_most(steps: list[Step]) -> None:
    book, now = NumberStore(2.0, capacity=10), NOW
    for action, feature_set, number, pause in steps:
        now += pause
        before = {entry.number: entry.feature_set_id for entry in book.entries(now)}
        buckets = getattr(book, action)(feature_set, [number], now)
        after = {entry.number: entry.feature_set_id for entry in book.entries(now)}
        assert set(buckets) <= set(BUCKETS)
        assert sum(map(len, buckets.values())) <= 1
        assert len(list(book.entries(now))) == len(after)
        if "new_numbers" in buckets and action == "publish":
            assert after == {**before, number: feature_set}
        else:
            assert after == before


def test_listing_above_the_capacity_is_rejected_completely() -> None:
    driver = Driver(SandboxSettings(numbers_limit=2))
    driver.change_numbers("publish", [NUMBER])
    reply = driver.change_numbers("publish", [NUMBER, OTHER, "911140001236"])
    assert (reply.status, json_of(reply)["slug"]) == (400, "invalid-input")
    assert "at most 2 numbers" in json_of(reply)["message"]
    assert list(number_statuses(driver)) == [NUMBER]
    assert filled_buckets(driver, "publish", [NUMBER, OTHER]) == {"existing_numbers": [NUMBER], "new_numbers": [OTHER]}


def test_number_counts_until_it_is_removed() -> None:
    driver = Driver(SandboxSettings(numbers_limit=2))
    driver.change_numbers("publish", [NUMBER, OTHER])
    driver.change_numbers("delist", [NUMBER])
    driver.now += 1.5
    assert driver.change_numbers("publish", ["911140001236"]).status == 400
    driver.now += 0.5
    assert filled_buckets(driver, "publish", ["911140001236"]) == {"new_numbers": ["911140001236"]}
    assert list(number_statuses(driver)) == [OTHER, "911140001236"]


def test_number_store_shows_no_full_number() -> None:
    book = NumberStore(2.0, capacity=10)
    book.publish("set-1", [NUMBER], NOW)
    assert [repr(entry) for entry in book.entries(NOW)] == ["Entry(********1234)"]
