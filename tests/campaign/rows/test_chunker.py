"""Test the grouping of records into batches, and watermarks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.campaign.core.records import HOUR, START, record
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.rows.chunker import Chunker, with_watermark
from truecaller_async.models import RecordColumns
from truecaller_async.options import BATCH_MAX


@given(st.integers(0, 60), st.integers(1, 20))
def test_every_row_is_in_one_batch_in_source_order(count: int, size: int) -> None:
    chunker = Chunker(size)
    batches: list[BatchContent | None] = [chunker.add(row, record(row), record(row)) for row in range(1, count + 1)]
    formed = [batch for batch in [*batches, chunker.flush()] if batch is not None]
    assert [row for batch in formed for row in batch.rows] == list(range(1, count + 1))
    assert all(isinstance(batch.rows, range) for batch in formed)
    assert all(len(batch) == size for batch in formed[:-1])
    assert len(chunker) == 0


def test_batch_is_full_at_the_documented_size() -> None:
    chunker = Chunker()
    batches = [chunker.add(row, record(row), record(row)) for row in range(1, BATCH_MAX + 1)]
    assert [batch is None for batch in batches] == [True] * (BATCH_MAX - 1) + [False]


def test_empty_chunker_flushes_nothing() -> None:
    chunker = Chunker()
    assert chunker.flush() is None
    assert chunker.free_slots == BATCH_MAX


def test_full_batch_of_unchanged_records_reuses_the_lists_of_the_reader() -> None:
    records = [record(number, ends_at=START + HOUR + number) for number in range(3)]
    columns = RecordColumns.of(records)
    whole = Chunker(3).add_all(5, records, columns)
    assert whole is not None
    assert (whole.rows, whole.originals is records, whole.columns is columns) == (range(5, 8), True, True)
    chunker = Chunker(3)
    assert chunker.add(4, record(9), record(9, ends_at=START)) is None
    singly = chunker.add_all(5, records[:2], RecordColumns.of(records[:2]))
    assert singly is not None
    assert (singly.rows, singly.expires_ms) == (range(4, 7), START)


def test_batch_closes_with_its_earliest_window() -> None:
    chunker = Chunker(2)
    chunker.add(1, record(1), record(1, ends_at=START + 2 * HOUR))
    batch = chunker.add(2, record(2), record(2, ends_at=START + HOUR))
    assert batch is not None
    assert batch.expires_ms == START + HOUR


@given(st.integers(START, START + 24 * HOUR), st.integers(0, BATCH_MAX - 1))
def test_watermark_is_the_index_and_shortens_the_window_by_under_a_second(ends_at: int, index: int) -> None:
    end = with_watermark(record(ends_at=ends_at), index).ends_at
    assert isinstance(end, int)
    assert end % 1000 == index
    assert 0 <= ends_at - end < 1000


def test_watermark_changes_a_copy_of_each_record() -> None:
    chunker = Chunker(3, watermark=True)
    batches = [chunker.add(row, record(row), record(row)) for row in (1, 2, 3)]
    assert batches[-1] is not None
    assert [int(one.ends_at) % 1000 for one in batches[-1].wire_records] == [0, 1, 2]  # type: ignore[arg-type]
    assert batches[-1].originals == [record(1), record(2), record(3)]
