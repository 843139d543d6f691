"""Test that row ranges behave as a set of rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.campaign.core.row_ranges import RowRanges, as_rows, is_ascending, ranges_of

ROWS = st.sets(st.integers(1, 40)).map(sorted)


def rows_of(ranges: RowRanges) -> set[int]:
    return {row for start, stop in ranges for row in range(start, stop)}


@given(st.lists(ROWS, max_size=12))
def test_ranges_are_a_set_with_the_fewest_ranges(groups: list[list[int]]) -> None:
    ranges, expected = RowRanges(), set[int]()
    for rows in groups:
        assert ranges.is_disjoint(rows) is expected.isdisjoint(rows)
        assert ranges.is_disjoint(as_rows(rows)) is expected.isdisjoint(rows)
        if expected.isdisjoint(rows):
            ranges.add(as_rows(rows))
            expected |= set(rows)
        assert rows_of(ranges) == expected
        assert len(ranges) == sum(row - 1 not in expected for row in expected)
        assert ranges == RowRanges(ranges)
    ranges.clear()
    assert (list(ranges), len(ranges)) == ([], 0)


@given(ROWS)
def test_ascending_rows_keep_their_numbers_in_each_form(rows: list[int]) -> None:
    assert list(as_rows(rows)) == rows
    assert isinstance(as_rows(rows), range) is (bool(rows) and rows[-1] - rows[0] + 1 == len(rows))
    assert [row for start, stop in ranges_of(rows) for row in range(start, stop)] == rows
    assert list(ranges_of(as_rows(rows))) == list(ranges_of(rows))


@given(st.lists(st.integers(1, 5), max_size=4))
def test_rows_are_ascending_without_repeats(rows: list[int]) -> None:
    assert is_ascending(rows) is (rows == sorted(set(rows)))


@given(st.integers(1, 9), st.integers(0, 20), st.sampled_from([-2, -1, 1, 2, 3]))
def test_range_with_another_step_is_read_as_its_numbers(start: int, stop: int, step: int) -> None:
    rows = range(start, stop, step)
    assert is_ascending(rows) is (list(rows) == sorted(rows))
    if is_ascending(rows):
        assert list(as_rows(rows)) == list(rows)
        assert [row for first, after in ranges_of(rows) for row in range(first, after)] == list(rows)
