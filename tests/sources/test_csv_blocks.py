"""Reading a CSV file in blocks gives the same rows as reading it row by row, for any content."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truecaller_async.errors import SourceError
from truecaller_async.models import CallRecord, Problem, Row
from truecaller_async.models.journal_entries import SourcePosition
from truecaller_async.sources import (
    ColumnDefaults,
    CsvSource,
    RowReader,
    csv_blocks,
    csv_source,
    read_csv,
    read_jsonl,
    text_files,
)
from truecaller_async.sources.column_mapping import NO_DEFAULTS, RowShape

NOW = 1_752_760_800_000
HEADER = "caller,receiver,label_id,starts_at,ends_at,key\n"
FILL = ColumnDefaults(label_name="Centro Bank", reason="Your parcel arrives today", window=600.0)
SHORT_LINE_MAX = 150
"""Replaces `LINE_MAX_CHARS` and sets the read-ahead size, so that small files have cut lines and blocks."""


@attrs.define
class ReadingLog:
    """The result of one reading: records, and problems and ends by row number, and the error."""

    records: list[CallRecord | None] = attrs.field(factory=list)
    problems: dict[int, tuple[Problem, ...]] = attrs.field(factory=dict)
    ends: dict[int, tuple[int, int] | None] = attrs.field(factory=dict)
    error: tuple[int, str] | None = None


def line(number: int = 0, **cells: str) -> str:
    values = {
        "caller": "911234567898",
        "receiver": str(919_234_567_000 + number),
        "label_id": "c6d86658-008d-4c08-98fb-2bf2649d59a5",
        "starts_at": str(NOW),
        "ends_at": "2025-07-17T19:30:00+05:30",
        "key": f"k{number}",
    }
    return ",".join({**values, **cells}.values()) + "\n"


def one_by_one(source: CsvSource, after: SourcePosition | None = None) -> ReadingLog:
    found = ReadingLog()
    try:
        for row in source.rows(after):
            log_row(found, row)
    except SourceError as error:
        found.error = error.row, str(error)
    return found


def log_row(found: ReadingLog, row: Row) -> None:
    found.records.append(row.record)
    found.ends[row.number] = row.end
    if row.record is None:
        found.problems[row.number] = row.problems


def read_in_blocks(
    source: CsvSource, limits: Iterator[int], after: SourcePosition | None = None, *, mixed: bool = False
) -> ReadingLog:
    return asyncio.run(_read_in_blocks(source, limits, after, mixed))


async def _read_in_blocks(
    source: CsvSource, limits: Iterator[int], after: SourcePosition | None, mixed: bool
) -> ReadingLog:
    found = ReadingLog()
    reader = RowReader(source, after)
    first = 1 if after is None else after.row + 1
    try:
        if mixed:
            await reader.prefetch()
        for turn, limit in enumerate(limits):
            if mixed and turn % 3 == 2:
                listed = await reader.read(limit)
                for row in listed:
                    log_row(found, row)
                if not listed:
                    break
                continue
            rows = await reader.read_rows(limit)
            assert len(rows) <= limit
            if not rows:
                break
            assert rows.first == first + len(found.records)
            found.records += rows.records
            found.problems |= {rows.first + index: problems for index, problems in rows.problems.items()}
            found.ends[rows.first + len(rows) - 1] = rows.end
    except SourceError as error:
        found.error = error.row, str(error)
    await reader.aclose()
    return found


def repeated(*limits: int) -> Iterator[int]:
    while True:
        yield from limits


def assert_same(found: ReadingLog, expected: ReadingLog) -> None:
    assert found.records == expected.records
    assert list(map(full_repr, found.records)) == list(map(full_repr, expected.records))
    assert found.problems == expected.problems
    assert found.error == expected.error
    assert found.ends.items() <= expected.ends.items()


def full_repr(record: CallRecord | None) -> Any:
    """Return also what `==` ignores: the time zone of a time, the type of a number."""
    return None if record is None else [repr(value) for value in attrs.astuple(record)]


def write_source(path: Path, content: bytes) -> CsvSource:
    path.write_bytes(content)
    return read_csv(path, defaults=FILL)


def block_reads(source: CsvSource, limit: int) -> list[bool]:
    """Return for each read after the first row whether it was a block."""
    found = []
    reading = source.blocks()
    assert reading is not None
    with closing(reading):
        list(reading.rows(1))
        while rows := reading.read_block(limit) or list(reading.rows(limit)):
            found.append(not isinstance(rows, list))
    return found


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize(
    "lines",
    [
        [line(number) for number in range(40)],
        [line(number).replace("\n", "\r\n") for number in range(40)],
        [line(number, key="Zoë") for number in range(40)],
        [line(number, key=f'"a, {number}"') for number in range(40)],
        [line(number, key=f'"a "" {number}"').replace("\n", "\r\n") for number in range(40)],
    ],
    ids=["lf", "crlf", "not ascii", "quoted", "doubled"],
)
def test_plain_rows_are_read_in_blocks(tmp_path: Path, mark: str, lines: list[str]) -> None:
    source = write_source(tmp_path / "a.csv", (mark + HEADER + "".join(lines)).encode())
    assert block_reads(source, 13) == [True, True, True]


@pytest.mark.parametrize(
    "unusual",
    [
        "\n",
        " , ,,,,\n",
        ",,,,,\n",
        "1,2\n",
        line(key="a,b"),
        line(key='"a\nb"'),
        line(key='"a" b'),
        line().replace("\n", "\r"),
        line(key="a\rb"),
        line(key="Jos\udce9"),
        line(key="x" * 70_000),
        "1,2,3,4,5\n1,2,3,4,5,6,7\n",
    ],
    ids=[
        "empty",
        "spaces",
        "commas",
        "short",
        "wide",
        "two lines",
        "behind a quote",
        "cr",
        "cr inside",
        "not utf-8",
        "long",
        "one short one wide",
    ],
)
def test_unusual_rows_are_parsed_singly_and_later_rows_in_blocks_again(tmp_path: Path, unusual: str) -> None:
    lines = [*map(line, range(100)), unusual, *map(line, range(100, 300))]
    source = write_source(tmp_path / "a.csv", (HEADER + "".join(lines)).encode("utf-8", "surrogateescape"))
    for limits in ((1,), (7,), (50, 500, 3), (1000,)):
        assert_same(read_in_blocks(source, repeated(*limits)), one_by_one(source))
    assert block_reads(source, 40).count(True) >= 3


def test_quote_that_is_never_closed_ends_the_rows_where_it_was_opened(tmp_path: Path) -> None:
    lines = [*map(line, range(100)), line(key='"a'), *map(line, range(100, 300))]
    source = write_source(tmp_path / "a.csv", (HEADER + "".join(lines)).encode())
    assert read_in_blocks(source, repeated(30)).error == one_by_one(source).error
    assert_same(read_in_blocks(source, repeated(30)), one_by_one(source))


@pytest.mark.parametrize("content", ["", "\n\n", HEADER, HEADER.strip(), HEADER + "\n \n", HEADER + line().strip()])
def test_any_kind_of_file_end_is_handled(tmp_path: Path, content: str) -> None:
    source = write_source(tmp_path / "a.csv", content.encode())
    assert_same(read_in_blocks(source, repeated(5)), one_by_one(source))


def test_header_that_cannot_be_used_is_the_same_error(tmp_path: Path) -> None:
    for content in (b"a,b\n1,2\n", b"\xff\xfe", b'"caller\n', b"caller,caller\n", b"PK\x03\x04"):
        source = write_source(tmp_path / "a.csv", content)
        assert_same(read_in_blocks(source, repeated(5)), one_by_one(source))
    (tmp_path / "a.csv").unlink()
    assert_same(read_in_blocks(source, repeated(5)), one_by_one(source))


def test_compressed_file_pipe_and_other_kinds_are_not_read_in_blocks(tmp_path: Path) -> None:
    packed, pipe = tmp_path / "a.csv.gz", tmp_path / "pipe.csv"
    packed.write_bytes(gzip.compress((HEADER + line()).encode()))
    os.mkfifo(pipe)
    assert read_csv(packed).blocks() is None
    assert read_csv(pipe).blocks() is None
    assert read_csv(tmp_path / "missing.csv").blocks() is None
    assert read_jsonl(tmp_path / "missing.jsonl").blocks() is None


async def test_custom_source_is_asked_for_its_own_rows(tmp_path: Path) -> None:
    class EverySecond(CsvSource):
        def rows(self, after: SourcePosition | None = None) -> Generator[Row, None, None]:
            yield from islice(super().rows(after), 0, None, 2)

    path = tmp_path / "a.csv"
    write_source(path, (HEADER + "".join(map(line, range(4)))).encode())
    reader = RowReader(EverySecond(path, FILL, {}))
    rows = await reader.read_rows(10)
    await reader.aclose()
    receivers = [record.receiver for record in rows.records if record is not None]
    assert receivers == ["919234567000", "919234567002"]


async def test_replacement_file_is_not_mixed_with_the_open_one(tmp_path: Path) -> None:
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    reader = RowReader(write_source(path, (HEADER + "".join(map(line, range(9)))).encode()))
    await reader.prefetch()
    other.write_text(HEADER + line(77) * 9)
    other.replace(path)
    receivers = []
    while rows := await reader.read_rows(2):
        receivers += [record.receiver for record in rows.records if record is not None]
    await reader.aclose()
    assert receivers == [str(919_234_567_000 + number) for number in range(9)]


async def test_file_truncated_during_reading_is_a_source_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    content = (HEADER + "".join(map(line, range(5_000)))).encode()
    reader = RowReader(write_source(path, content))
    assert len(await reader.read_rows(10)) == 10
    os.truncate(path, 200)
    with pytest.raises(SourceError, match="is shorter than it was when row 10 was read"):
        await reader.read_rows(500)
    await reader.aclose()


async def test_equal_texts_are_one_object(tmp_path: Path) -> None:
    source = write_source(tmp_path / "a.csv", (HEADER + "".join(map(line, range(20)))).encode())
    reader = RowReader(source)
    await reader.prefetch()
    await reader.read_rows(1)
    records = [record for record in (await reader.read_rows(10)).records if record is not None]
    await reader.aclose()
    assert len(records) == 10
    for field in ("caller", "starts_at", "ends_at", "label_id", "label_name", "reason"):
        assert len({id(getattr(record, field)) for record in records}) == 1


cells = [
    line(),
    line(1, starts_at="2025-07-17T19:30:00Z", key=" "),
    line(2, starts_at="2025-07-18T01:00:00+05:30", ends_at=""),
    line(3, key='"two\nlines"'),
    line(4, key='"closed, ""so"""'),
    line(5, key='"not closed'),
    line(6, key="é\r"),
    line(7).replace("\n", "\r\n"),
    line(8, receiver=" "),
    "1,2\r\n",
    "\n",
    ",,,,,\n",
]
unusual_bytes = [
    b"\n",
    b"\r",
    b"\r\n",
    b" ",
    b"a",
    b"\0",
    b"\xe9",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    "\u2028\x0b\x1c".encode(),
]
marks = [b'"', b'""', b",", b'"y"' * SHORT_LINE_MAX, b"x" * (SHORT_LINE_MAX - 1), b"x" * SHORT_LINE_MAX]
contents = st.tuples(
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\n\r\n"]),
    st.lists(st.sampled_from([*unusual_bytes, *marks, *(text.encode() for text in cells * 3)]), max_size=40),
    st.sampled_from([b"", b"\n", line().encode().strip()]),
).map(lambda made: made[0] + HEADER.encode() + b"".join(made[1]) + made[2])


@settings(max_examples=400)
@given(content=contents, limits=st.lists(st.integers(1, 12), min_size=1, max_size=4), mixed=st.booleans())
def test_block_reader_gives_the_same_rows_as_the_row_reader(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, limits: list[int], mixed: bool
) -> None:
    source = write_source(tmp_path_factory.getbasetemp() / "law-csv_blocks.csv", content)
    with pytest.MonkeyPatch.context() as patch:
        for module in (text_files, csv_source, csv_blocks):
            patch.setattr(module, "LINE_MAX_CHARS", SHORT_LINE_MAX)
        patch.setattr(csv_blocks, "READ_SIZE_BYTES", 2 * SHORT_LINE_MAX)
        expected = one_by_one(source)
        assert_same(read_in_blocks(source, repeated(*limits), mixed=mixed), expected)
        for number, end in list(expected.ends.items())[::5]:
            assert end is not None
            after = SourcePosition(number, *end)
            assert_same(read_in_blocks(source, repeated(*limits), after), one_by_one(source, after))


def test_block_record_equals_a_constructed_record() -> None:
    """Compare a record that the slot setters made with a constructed one.

    The slot setters set all fields, and bypass no converter, validator or post-init.
    """
    assert not hasattr(CallRecord, "__attrs_post_init__")
    for field in attrs.fields(CallRecord):
        assert (field.converter, field.validator) == (None, None)
    values = ["911234567898", "919234567898", "1", "2", "label", "name", "reason", "key"]
    names = [field.name for field in attrs.fields(CallRecord)]
    (made,) = RowShape(dict(zip(names, range(8), strict=True)), 8, NO_DEFAULTS).records([[value] for value in values])
    assert type(made) is CallRecord
    assert repr(made) == repr(attrs.evolve(made))
    assert made == CallRecord("911234567898", "919234567898", 1, 2, "label", "name", "reason", "key")
    assert hash(made) == hash(attrs.evolve(made))
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.key = "another"  # type: ignore[misc]
