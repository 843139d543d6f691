"""Test the recognition of rows with equal content."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.campaign.core.records import record
from truecaller_async.campaign.rows.dedupe import Dedupe
from truecaller_async.models import RecordColumns


@pytest.mark.fault("F46")
@pytest.mark.parametrize("mode", ["window", "exact"])
def test_equal_row_is_a_repeat_and_any_difference_is_not(mode: Literal["window", "exact"]) -> None:
    dedupe = Dedupe(mode)
    assert not dedupe.is_repeat(record(1))
    assert dedupe.is_repeat(record(1))
    assert not dedupe.is_repeat(record(1, key="another"))
    assert not dedupe.is_repeat(record(1, reason="Calling you again"))
    assert dedupe.is_repeat(record(1))


@pytest.mark.fault("F46")
def test_window_drops_the_oldest_row() -> None:
    dedupe = Dedupe("window", window=2)
    assert [dedupe.is_repeat(record(number)) for number in (1, 2, 3, 2, 1)] == [False, False, False, True, False]


@pytest.mark.fault("F46")
def test_exact_mode_forgets_nothing() -> None:
    dedupe = Dedupe("exact", window=2)
    assert [dedupe.is_repeat(record(number)) for number in (1, 2, 3, 1)] == [False, False, False, True]


@pytest.mark.fault("F46")
def test_off_mode_finds_no_repeat() -> None:
    dedupe = Dedupe("off")
    assert [dedupe.is_repeat(record(1)) for _ in range(2)] == [False, False]


BATCHES = st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=4), max_size=12)


@pytest.mark.fault("F46")
@given(batches=BATCHES, window=st.sampled_from([1, 6, 10**6]))
def test_dedupe_drops_exactly_the_rows_in_the_window(batches: list[list[int]], window: int) -> None:
    dedupe = Dedupe("window", window=window)
    sent: list[int] = []
    for numbers in batches:
        rows = [record(number) for number in numbers]
        if dedupe.add_if_all_new(RecordColumns.of(rows)):
            assert len(set(numbers)) == len(numbers)
            assert set(numbers).isdisjoint(sent[-window:])
            sent += numbers
            continue
        for number, row in zip(numbers, rows, strict=True):
            if dedupe.is_repeat(row):
                assert number in sent
            else:
                assert number not in sent[-window:]
                sent.append(number)


@pytest.mark.fault("F46")
@pytest.mark.parametrize("mode", ["exact", "off"])
@given(batches=BATCHES)
def test_without_a_window_all_rows_or_none_are_compared(
    mode: Literal["exact", "off"], batches: list[list[int]]
) -> None:
    together, singly = Dedupe(mode), Dedupe(mode)
    for numbers in batches:
        rows = [record(number) for number in numbers]
        repeats = [singly.is_repeat(row) for row in rows]
        if together.add_if_all_new(RecordColumns.of(rows)):
            assert not any(repeats)
        else:
            assert any(repeats)
            assert [together.is_repeat(row) for row in rows] == repeats
