"""Number lists: checks of the record rules, all problems together, merged answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import ValidationError
from truecaller_async.models import CallRecord, NumberJob
from truecaller_async.models.numbers import BUCKETS
from truecaller_async.validation.number_lists import clean_numbers, merge_jobs, split_numbers
from truecaller_async.validation.record_rules import preflight
from truecaller_async.validation.timestamps import TIME_MIN_MS

DIGITS = st.from_regex(r"[1-9][0-9]{10,14}", fullmatch=True)


def refused(numbers: object) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        clean_numbers(numbers)
    return caught.value


@pytest.mark.parametrize(
    "given_number",
    [
        "911234567891",
        "+911234567891",
        "00911234567891",
        "+91 12345-67891",
        "(91) 1234567891",
        "\u202a+911234567891",
        911234567891,
    ],
)
def test_number_is_normalised_to_digits(given_number: Any) -> None:
    assert clean_numbers([given_number]) == ("911234567891",)


@given(numbers=st.lists(DIGITS, min_size=1, max_size=30))
def test_repeated_numbers_are_removed_and_order_is_kept(numbers: list[str]) -> None:
    cleaned = clean_numbers(f"+{number}" for number in [*numbers, *reversed(numbers)])
    assert cleaned == tuple(dict.fromkeys(numbers))
    assert clean_numbers(cleaned) == cleaned


@pytest.mark.parametrize(
    "bad", ["", None, "9876543210", "09876543210", "9.19877E+11", "abc", "1" * 16, 1.5, b"9112", ["9"], True]
)
def test_bad_number_is_refused_with_the_preflight_message(bad: Any) -> None:
    _, expected = preflight(CallRecord(bad, "911234567890", TIME_MIN_MS, TIME_MIN_MS + 1), TIME_MIN_MS)
    (problem,) = refused(["911234567891", bad]).problems
    assert problem == attrs.evolve(expected[0], field="numbers[1]")


def test_bad_numbers_are_all_reported_by_index_and_masked() -> None:
    error = refused(["911234567891", "0987654321", "911234567892", "12345"])
    assert [problem.field for problem in error.problems] == ["numbers[1]", "numbers[3]"]
    assert "0987654321" not in str(error)
    assert "911234567891" not in str(error)


def test_only_the_first_twenty_bad_numbers_are_listed() -> None:
    problems = refused(["x"] * 1000).problems
    assert len(problems) == 21
    assert [problem.field for problem in problems[:20]] == [f"numbers[{index}]" for index in range(20)]
    assert str(problems[20]) == "numbers has 980 more that are not valid"
    assert len(refused(["x"] * 20).problems) == 20


@pytest.mark.parametrize("nothing", [[], (), iter(()), set()])
def test_no_number_is_refused(nothing: Iterable[str]) -> None:
    assert [problem.rule for problem in refused(nothing).problems] == ["numbers.size"]


@pytest.mark.parametrize("single", ["911234567891", b"911234567891", 911234567891, None, {"911234567891": 1}, object()])
def test_single_value_instead_of_a_list_is_refused_and_not_shown(single: object) -> None:
    error = refused(single)
    assert [problem.rule for problem in error.problems] == ["numbers.type"]
    assert "a list" in str(error)
    assert "911234567891" not in str(error)


@given(count=st.integers(1, 35_000))
def test_parts_have_at_most_ten_thousand_numbers_and_are_complete(count: int) -> None:
    numbers = [str(number) for number in range(count)]
    parts = list(split_numbers(numbers))
    assert [number for part in parts for number in part] == numbers
    assert {len(part) for part in parts[:-1]} <= {10_000}
    assert 1 <= len(parts[-1]) <= 10_000


NUMBERS = st.sampled_from([(), ("911",), ("912", "913")])
JOBS = st.builds(
    NumberJob,
    status=st.sampled_from([None, "pending", "failed", "done", "Pending", "FAILED"]),
    phone_type=st.sampled_from([None, "", "verified"]),
    **dict.fromkeys(BUCKETS, NUMBERS),
)


@given(jobs=st.lists(JOBS, min_size=1, max_size=5))
def test_merged_answers_keep_every_number_in_its_bucket_and_in_order(jobs: list[NumberJob]) -> None:
    merged = merge_jobs(jobs)
    for name in BUCKETS:
        assert getattr(merged, name) == sum((getattr(job, name) for job in jobs), ())


def test_every_bucket_of_a_job_is_merged() -> None:
    lists = {field.name for field in attrs.fields(NumberJob) if field.default == ()}
    assert set(BUCKETS) == lists
    assert len(BUCKETS) == 10


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        (("pending", "failed", "done"), "failed"),
        (("done", "pending"), "pending"),
        (("pending", "FAILED"), "FAILED"),
        (("done", "queued"), "done"),
        ((None, "queued"), "queued"),
        ((None, None), None),
    ],
)
def test_merged_status_is_the_worst_status(statuses: tuple[str | None, ...], worst: str | None) -> None:
    assert merge_jobs([NumberJob(status=status) for status in statuses]).status == worst


def test_account_and_remaining_come_from_the_first_answer_with_them() -> None:
    first = NumberJob(status="pending", phone_type="")
    second = NumberJob(status="pending", phone_type="verified", client_account_id="a", created_by_email="e")
    assert merge_jobs([first, second]) == second
    assert merge_jobs([first]) is first
