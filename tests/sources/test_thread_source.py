"""A plain iterable in its own thread gives the same items, is read on demand only, and never on the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async import CallRecord, Row, SourceError
from truecaller_async.sources import RowReader, ThreadSource, thread_source

RECORD = CallRecord("911234567898", "919234567890", 1, 2)


async def read_all(source: ThreadSource, limits: list[int]) -> list[list[object]]:
    """Return every list of items, read with these limits in turn, with the empty one at the end."""
    lists = []
    for number in range(10_000):
        items = await source.read(limits[number % len(limits)])
        if not items:
            break
        lists.append(items)
    await source.aclose()
    return lists


@given(st.integers(0, 200), st.lists(st.integers(1, 50), min_size=1, max_size=5))
def test_every_item_comes_once_in_order_and_lists_are_bounded(count: int, limits: list[int]) -> None:
    lists = asyncio.run(read_all(ThreadSource(iter(range(count))), limits))
    assert [item for items in lists for item in items] == list(range(count))
    assert all(len(items) <= limits[number % len(limits)] for number, items in enumerate(lists))


async def test_source_is_read_no_further_than_requested() -> None:
    given_out: list[int] = []

    def counted() -> Iterator[int]:
        for number in range(1000):
            given_out.append(number)
            yield number

    source = ThreadSource(counted())
    read: list[object] = []
    while len(read) < 100:
        read += await source.read(100 - len(read))
    await source.aclose()
    assert read == given_out == list(range(100))


async def test_source_is_read_and_closed_in_one_thread_other_than_the_loop() -> None:
    seen: list[int] = []

    class Cursor:
        def __iter__(self) -> Iterator[int]:
            seen.append(threading.get_ident())
            try:
                while True:
                    seen.append(threading.get_ident())
                    yield 1
            finally:
                seen.append(threading.get_ident())

    source = ThreadSource(Cursor())
    for _ in range(5):
        await source.read(3)
    await source.aclose()
    assert len(seen) >= 7
    assert len(set(seen)) == 1
    assert threading.get_ident() not in seen


async def test_items_before_a_failure_come_first_and_it_is_raised_once() -> None:
    def breaking() -> Iterator[int]:
        yield from range(3)
        raise LookupError("gone")

    source = ThreadSource(breaking())
    read: list[object] = []
    while len(read) < 3:
        read += await source.read(2)
    assert read == [0, 1, 2]
    with pytest.raises(LookupError, match="gone"):
        await source.read(2)
    assert await source.read(2) == []
    await source.aclose()


async def test_failure_to_start_is_raised_to_the_reader() -> None:
    class Broken:
        def __iter__(self) -> Iterator[int]:
            raise LookupError("no connection")

    with pytest.raises(LookupError, match="no connection"):
        await ThreadSource(Broken()).read(1)


async def test_slow_source_does_not_block_the_loop_and_cancel_loses_nothing() -> None:
    go_on = threading.Event()

    def slow() -> Iterator[int]:
        go_on.wait()
        yield from (1, 2)

    source = ThreadSource(slow())
    reading = asyncio.ensure_future(source.read(10))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    go_on.set()
    read: list[object] = []
    while items := await source.read(10):
        read += items
    assert read == [1, 2]
    await source.aclose()


async def test_stuck_source_is_left_to_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_source, "CLOSE_TIMEOUT_SECONDS", 0.01)
    go_on, closed = threading.Event(), threading.Event()

    def stuck() -> Iterator[int]:
        try:
            yield 1
            go_on.wait()
            yield 2
        finally:
            closed.set()

    source = ThreadSource(stuck())
    assert await source.read(5) == [1]
    await source.aclose()
    assert not closed.is_set()
    go_on.set()
    assert await asyncio.to_thread(closed.wait, 10.0)


async def test_what_closing_raises_is_raised_by_the_close() -> None:
    def untidy() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            raise LookupError("cannot be closed")

    source = ThreadSource(untidy())
    await source.read(1)
    with pytest.raises(LookupError, match="cannot be closed"):
        await source.aclose()


async def test_unread_source_starts_no_thread_and_may_be_closed() -> None:
    before = threading.active_count()
    await ThreadSource([1]).aclose()
    assert threading.active_count() == before


async def test_row_reader_reads_it_like_any_other_source() -> None:
    def rows() -> Iterator[object]:
        yield RECORD
        yield 5
        raise LookupError("gone")

    reader = RowReader(ThreadSource(rows()))
    read: list[Row] = []
    while len(read) < 2:
        read += await reader.read(500)
    with pytest.raises(SourceError, match="LookupError after row 2") as broken:
        await reader.read(500)
    assert [(row.number, row.record, len(row.problems)) for row in read] == [(1, RECORD, 0), (2, None, 1)]
    assert isinstance(broken.value.__cause__, LookupError)
    await reader.aclose()
    await reader.aclose()
