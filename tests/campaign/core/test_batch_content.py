"""Test the records of a batch: without some of its rows, and by column."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.campaign.core.records import HOUR, START, content, record
from truecaller_async.campaign.core.batch_content import NO_EXPIRY_MS, BatchContent

RECORDS = [record(number, ends_at=START + (number + 1) * HOUR) for number in range(10)]


@given(st.sets(st.integers(1, 10)))
def test_content_without_rows_has_each_other_record_once(closed: set[int]) -> None:
    whole = content(*RECORDS)
    part = whole.without(closed)
    assert list(part.rows) == [row for row in range(1, 11) if row not in closed]
    assert part.wire_records == part.originals == [RECORDS[row - 1] for row in part.rows]
    assert part.expires_ms == min((RECORDS[row - 1].ends_at for row in part.rows), default=0)
    assert (part is whole) is (not closed)
    assert list(whole.rows) == list(range(1, 11))


def test_columns_and_keys_follow_the_records() -> None:
    given_records = [record(1, key="a"), record(2, key="b")]
    sent = [record(1, ends_at=START), record(2, ends_at=START + 5)]
    changed = BatchContent.of((3, 7), given_records, sent)
    assert (changed.keys, changed.columns.ends_at, changed.expires_ms) == (["a", "b"], [START, START + 5], START)
    assert changed.columns is changed.columns
    assert content(*given_records).keys == ["a", "b"]
    assert len(changed.at([1])) == 1
    assert changed.at([1]).rows == range(7, 8)


def test_window_that_is_no_integer_never_ends() -> None:
    assert content(record(ends_at=5), record(ends_at=3)).expires_ms == 3
    assert content(record(ends_at="soon")).expires_ms == NO_EXPIRY_MS
