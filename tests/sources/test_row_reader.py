"""Every kind of source gives numbered rows in lists, and ends, fails and closes in the same way."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from truecaller_async.errors import ConfigError, SourceError
from truecaller_async.models import CallRecord, Row
from truecaller_async.models.journal_entries import SourcePosition
from truecaller_async.sources import RowReader, ThreadSource, read_csv, read_jsonl

NOW = 1_752_760_800_000
RECORDS = [CallRecord("911234567898", str(919_234_567_000 + number), NOW, NOW + 3_600_000) for number in range(5)]
CSV = "caller,receiver,starts_at,ends_at\n" + "".join(
    f"{record.caller},{record.receiver},{record.starts_at},{record.ends_at}\n" for record in RECORDS
)


async def read_all(reader: RowReader, limit: int = 2) -> list[list[Row]]:
    lists = []
    while rows := await reader.read(limit):
        lists.append(rows)
    assert await reader.read(limit) == []
    await reader.aclose()
    await reader.aclose()
    return lists


def record_generator() -> Iterator[CallRecord]:
    yield from RECORDS


async def async_record_generator() -> AsyncIterator[CallRecord]:
    for record in RECORDS:
        yield record


def mappings() -> Iterator[dict[str, object]]:
    for record in RECORDS:
        yield {
            "caller_number": record.caller,
            "Receiver": record.receiver,
            "starts_at": record.starts_at,
            "ends_at": str(record.ends_at),
            "unknown": object(),
        }


@pytest.mark.parametrize(
    "source", [RECORDS, tuple(RECORDS), record_generator(), mappings(), read_csv(io.StringIO(CSV))]
)
async def test_files_and_plain_iterables_are_read_in_lists_of_at_most_the_limit(source: object) -> None:
    lists = await read_all(RowReader(source))
    assert [len(rows) for rows in lists] == [2, 2, 1]
    assert [row.number for rows in lists for row in rows] == [1, 2, 3, 4, 5]
    assert [row.record for rows in lists for row in rows] == RECORDS


async def test_async_iterable_gives_its_rows_one_at_a_time() -> None:
    lists = await read_all(RowReader(async_record_generator()))
    assert [len(rows) for rows in lists] == [1] * 5
    assert [row.record for rows in lists for row in rows] == RECORDS
    assert [row.number for rows in lists for row in rows] == [1, 2, 3, 4, 5]


def test_file_or_plain_iterable_is_read_without_awaiting() -> None:
    reading = RowReader(RECORDS).read(10)
    with pytest.raises(StopIteration) as ended:
        reading.send(None)
    assert len(ended.value.value) == 5


async def test_rows_are_numbered_by_position_and_keep_their_line() -> None:
    given_rows = [Row(7, 8, RECORDS[0]), Row(2, 9, RECORDS[1])]
    (rows,) = await read_all(RowReader(given_rows))
    assert [(row.number, row.line) for row in rows] == [(1, 8), (2, 9)]
    assert rows[1] is given_rows[1]


async def test_file_can_go_on_in_another_iterable() -> None:
    def both() -> Iterator[Row]:
        yield from read_csv(io.StringIO(CSV)).rows()
        yield from read_csv(io.StringIO(CSV)).rows()

    lists = await read_all(RowReader(both()), 100)
    assert [row.number for row in lists[0]] == list(range(1, 11))


async def test_item_of_another_type_is_a_bad_row() -> None:
    items = [("911234567898", "919234567898"), RECORDS[0], {"caller": 1, "caller_number": 2}]
    (rows,) = await read_all(RowReader(items), 9)
    assert [row.record for row in rows] == [None, RECORDS[0], None]
    assert [problem.rule for row in rows for problem in row.problems] == ["row.type", "row.columns"]
    assert "919234567898" not in str(rows[0].problems[0])


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("campaign.csv", "read_csv"),
        (b"x", "read_csv"),
        ({"caller": "1"}, "a list of them"),
        (RECORDS[0], "a list of them"),
        (17, "of type int"),
        (None, "of type NoneType"),
    ],
)
def test_invalid_source_is_a_configuration_error_with_the_valid_kinds(source: object, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RowReader(source)


async def test_file_read_from_a_position_keeps_the_row_numbers_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "campaign.csv"
    path.write_text(CSV + '"never closed\n')
    _, second, *rest = await RowReader(read_csv(path)).read(100)
    assert second.end is not None
    reader = RowReader(read_csv(path), SourcePosition(2, *second.end))
    assert [row.number for row in rest] == [3, 4, 5]
    assert await reader.read(2) == rest[:2]
    assert await reader.read(100) == rest[2:]
    with pytest.raises(SourceError, match="never closed") as caught:
        await reader.read(100)
    assert caught.value.row == 5
    await reader.aclose()


async def test_error_after_a_position_names_the_last_row_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise SourceFailure

    path = tmp_path / "campaign.jsonl"
    path.write_text('{"key": "a"}\n' * 3)
    monkeypatch.setattr("truecaller_async.sources.jsonl_source._parse_record", breaks)
    reader = RowReader(read_jsonl(path), SourcePosition(2, 2, 26))
    with pytest.raises(SourceError, match="raised SourceFailure after row 2") as caught:
        await reader.read(100)
    assert caught.value.row == 2


@pytest.mark.parametrize(
    "source", [RECORDS, record_generator(), ThreadSource(RECORDS), read_csv(io.StringIO(CSV)), read_jsonl(io.BytesIO())]
)
def test_source_without_a_path_cannot_be_read_from_a_position(source: object) -> None:
    with pytest.raises(ConfigError):
        RowReader(source, SourcePosition(1, 2, 3))


class SourceFailure(Exception):
    """An exception of the caller's own code."""


def fails_after(rows: int) -> Iterator[CallRecord]:
    yield from RECORDS[:rows]
    raise SourceFailure


async def async_fails_after(rows: int) -> AsyncIterator[CallRecord]:
    for record in RECORDS[:rows]:
        yield record
    raise SourceFailure


@pytest.mark.parametrize("make", [fails_after, async_fails_after])
@pytest.mark.parametrize("rows", [0, 2, 3])
async def test_source_exception_is_raised_after_the_rows_before_it(make: Any, rows: int) -> None:
    reader = RowReader(make(rows))
    read: list[Row] = []

    async def read_on() -> None:
        while True:
            read.extend(await reader.read(2))

    with pytest.raises(SourceError) as caught:
        await read_on()
    assert [row.record for row in read] == RECORDS[:rows]
    assert caught.value.row == rows
    assert isinstance(caught.value.__cause__, SourceFailure)
    with pytest.raises(SourceError):
        await reader.read(2)
    await reader.aclose()


async def test_failing_file_raises_its_own_error_after_its_good_rows() -> None:
    reader = RowReader(read_csv(io.StringIO(CSV + '"never closed\n')))
    assert len(await reader.read(100)) == 5
    with pytest.raises(SourceError, match="never closed") as caught:
        await reader.read(100)
    assert caught.value.row == 5


async def test_refused_file_is_a_source_error_of_the_first_read() -> None:
    with pytest.raises(SourceError) as caught:
        await RowReader(read_jsonl("none.jsonl")).read(1)
    assert caught.value.row == 0


@pytest.mark.parametrize("is_async", [True, False])
async def test_early_close_closes_the_user_generator(is_async: bool) -> None:
    ended = []

    def now() -> Iterator[CallRecord]:
        try:
            yield from RECORDS
        finally:
            ended.append("now")

    async def then() -> AsyncIterator[CallRecord]:
        try:
            for record in RECORDS:
                yield record
        finally:
            await asyncio.sleep(0)
            ended.append("then")

    reader = RowReader(then() if is_async else now())
    assert len(await reader.read(1)) == 1
    assert ended == []
    await reader.aclose()
    assert len(ended) == 1
    await reader.aclose()
    assert await reader.read(1) == []


async def test_early_close_closes_the_opened_file(tmp_path: Any) -> None:
    path = tmp_path / "campaign.csv"
    path.write_text(CSV)

    reader = RowReader(read_csv(path))
    assert len(await reader.read(1)) == 1
    await reader.aclose()


async def test_error_while_closing_is_a_source_error() -> None:
    def stubborn() -> Iterator[CallRecord]:
        try:
            yield from RECORDS
        finally:
            raise SourceFailure

    reader = RowReader(stubborn())
    await reader.read(2)
    with pytest.raises(SourceError) as caught:
        await reader.aclose()
    assert caught.value.row == 2


async def test_cancellation_is_not_a_source_error() -> None:
    async def never() -> AsyncIterator[CallRecord]:
        await asyncio.Event().wait()
        yield RECORDS[0]

    reading = asyncio.create_task(RowReader(never()).read(1))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
