"""Rows that say the same thing twice."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.planning.records import record
from truecaller_async.planning.dedupe import Dedupe


@pytest.mark.parametrize("mode", ["window", "exact"])
def test_f46_an_equal_row_is_a_repeat_and_any_difference_makes_another_row(mode: Literal["window", "exact"]) -> None:
    dedupe = Dedupe(mode)
    assert not dedupe.is_repeat(record(1))
    assert dedupe.is_repeat(record(1))
    assert not dedupe.is_repeat(record(1, key="another"))
    assert not dedupe.is_repeat(record(1, reason="Calling you again"))
    assert dedupe.is_repeat(record(1))


def test_f46_the_window_forgets_the_oldest_row() -> None:
    dedupe = Dedupe("window", window=2)
    assert [dedupe.is_repeat(record(number)) for number in (1, 2, 3, 2, 1)] == [False, False, False, True, False]


def test_f46_exact_forgets_nothing() -> None:
    dedupe = Dedupe("exact", window=2)
    assert [dedupe.is_repeat(record(number)) for number in (1, 2, 3, 1)] == [False, False, False, True]


def test_f46_off_sees_no_repeat() -> None:
    dedupe = Dedupe("off")
    assert [dedupe.is_repeat(record(1)) for _ in range(2)] == [False, False]
