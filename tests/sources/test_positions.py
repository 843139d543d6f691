"""Reading from the end of a row gives the rest of the file, for any content."""

from __future__ import annotations

import gzip
import io
import os
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truecaller_async.errors import ConfigError, SourceError
from truecaller_async.models import Row
from truecaller_async.models.journal_entries import SourcePosition
from truecaller_async.sources import FileSource, csv_source, jsonl_source, open_source, read_csv, read_jsonl, text_files

NOW = 1_752_760_800_000
HEADER = "caller,receiver,starts_at,ends_at,key\n"
PHYSICAL_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")

SHORT_LINE_MAX = 120
"""Replaces `LINE_MAX_CHARS`, so that small files have cut lines."""


def data(number: int = 0, **cells: str) -> str:
    values = {
        "caller": "911234567898",
        "receiver": str(919_234_567_000 + number),
        "starts_at": str(NOW),
        "ends_at": str(NOW + 3_600_000),
        "key": f"k{number}",
    }
    return ",".join({**values, **cells}.values()) + "\n"


def position_of(row: Row) -> SourcePosition:
    assert row.end is not None
    return SourcePosition(row.number, *row.end)


def read(source: FileSource, after: SourcePosition | None = None) -> tuple[list[Row], tuple[int, str] | None]:
    """Return the rows after a position, and the error that ended the reading."""
    rows: list[Row] = []
    try:
        rows.extend(source.rows(after))
    except SourceError as error:
        return rows, (error.row, str(error))
    return rows, None


def ends(path: Path, content: bytes) -> list[tuple[int, int] | None]:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return [row.end for row in read(open_source(path))[0]]


# Where a row ends


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
@pytest.mark.parametrize(
    "lines",
    [
        [data(1), data(2)],
        [data(1).replace("\n", "\r\n"), data(2).replace("\n", "\r\n")],
        [data(1).replace("\n", "\r"), data(2).replace("\n", "\r")],
        [data(1), data(2).strip()],
        [data(key="Zoë"), data(key="केंद्र"), data(key="😀")],
        [data(key='"two\nlines"'), data(key='"and\r\nmore, and\r\n\r\nmore"')],
        [data(key="Jos\udce9"), data(key="\udc80\udcff")],
        ["1,2,3\n", '"a"b,c\n', data()],
        [data(key="x" * 200_000), data(key="é" * 200_000), data(key="\udce9" * 70_000), data()],
        [data(key="\ufeff"), "\ufeff" + data()],
    ],
    ids=["lf", "crlf", "cr", "no end", "not ascii", "several lines", "not utf-8", "bad", "cut", "marks"],
)
def test_end_of_a_csv_row_is_counted_in_physical_lines_and_bytes(tmp_path: Path, name: str, lines: list[str]) -> None:
    pieces = [line.encode("utf-8", "surrogateescape") for line in [HEADER, *lines]]
    counted, content, expected = 0, b"", []
    for piece in pieces:
        counted += len(PHYSICAL_LINE.findall(piece))
        content += piece
        expected.append((counted, len(content)))
    assert ends(tmp_path / name, content) == expected[1:]


def test_bom_and_blank_lines_belong_to_the_row_after_them(tmp_path: Path) -> None:
    mark, header, row = b"\xef\xbb\xbf", HEADER.encode(), data().encode()
    first = len(mark + b"\n" + header + b" , \r\n" + row)
    content = mark + b"\n" + header + b" , \r\n" + row + b"\n\n" + row + b"\n"
    assert ends(tmp_path / "a.csv", content) == [(4, first), (7, first + 2 + len(row))]
    line = b'{"key": "a"}\r\n'
    assert ends(tmp_path / "a.jsonl", mark + b" \n" + line + b"\n" + line + b"\n") == [
        (2, 3 + 2 + len(line)),
        (4, 3 + 2 + len(line) + 1 + len(line)),
    ]


def test_rows_reparsed_after_a_misplaced_quote_keep_their_own_ends(tmp_path: Path) -> None:
    lines = [HEADER, data(1, key='"é not closed'), data(2, key="é"), data(3), data(4, key='"closed"'), data(5)]
    reached = [len("".join(lines[: count + 1]).encode()) for count in range(1, 6)]
    assert ends(tmp_path / "a.csv", "".join(lines).encode()) == list(zip(range(2, 7), reached, strict=True))


def test_jsonl_row_end_counts_invalid_utf8_and_the_rest_of_a_cut_line(tmp_path: Path) -> None:
    lines = [b'{"key": "a"}\n', b'{"key": "Jos\xe9"}\n', b'{"key": "' + "é".encode() * 100_000 + b'"}\r\n', b"[1]"]
    reached = [len(b"".join(lines[: count + 1])) for count in range(4)]
    assert ends(tmp_path / "a.jsonl", b"".join(lines)) == list(zip(range(1, 5), reached, strict=True))


def test_rows_of_a_file_object_have_no_resumable_position() -> None:
    text = HEADER + data(1) + data(2, key="\ud800")
    assert [row.end for row in read_csv(io.StringIO(text)).rows()] == [None, None]
    assert [row.end for row in read_jsonl(io.BytesIO(b'{"key": 1}\nbad')).rows()] == [None, None]


# Reading from a position


@pytest.mark.parametrize("make", [read_csv, read_jsonl])
def test_file_object_cannot_be_read_from_a_position(make: Callable[[io.StringIO], FileSource]) -> None:
    with pytest.raises(ConfigError, match="can be read only once"):
        make(io.StringIO("")).rows(SourcePosition(1, 2, 3))


def test_position_without_a_byte_offset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the position after row 7 has no offset"):
        open_source(tmp_path / "a.csv").rows(SourcePosition(7, 0, 0))


def test_position_before_the_first_row_is_the_start(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbf" + (HEADER + data(1)).encode())
    assert list(open_source(path).rows(SourcePosition(0, 0, 0))) == list(open_source(path).rows())


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.jsonl.gz"])
def test_file_that_shrank_is_a_source_error(tmp_path: Path, name: str) -> None:
    line = '{"key": "a"}\n' if "jsonl" in name else data(1)
    content = ("" if "jsonl" in name else HEADER) + line
    (last,) = ends(tmp_path / name, content.encode())
    assert last is not None
    source = open_source(tmp_path / name)
    assert read(source, SourcePosition(1, *last)) == ([], None)
    with pytest.raises(SourceError, match="is shorter than it was when row 1 was read") as caught:
        list(source.rows(SourcePosition(1, last[0], last[1] + 1)))
    assert caught.value.row == 1


def test_gzip_stream_broken_before_the_position_is_a_source_error(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    rows = [data(number) for number in range(20_000)]
    whole = gzip.compress((HEADER + "".join(rows)).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cannot be read after row 20000") as caught:
        list(open_source(path).rows(SourcePosition(20_000, 20_001, len(HEADER + "".join(rows)))))
    assert caught.value.row == 20_000


def test_pipe_is_not_seekable_and_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    os.mkfifo(path)
    both_ends = os.open(path, os.O_RDWR)
    try:
        os.write(both_ends, b'{"key": "a"}\n' * 2)
        with pytest.raises(SourceError, match="cannot be read after row 1"):
            list(open_source(path).rows(SourcePosition(1, 1, 13)))
    finally:
        os.close(both_ends)


def test_header_is_read_from_the_start_even_if_reading_starts_later(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("KEY,Phone,caller_number,starts_at,ends_at\n" + "a,919234567000,911234567898,1,2\n" * 1000)
    source = read_csv(path, receiver="phone")
    *_, before, last = source.rows()
    (again,) = source.rows(position_of(before))
    assert again == last
    assert (again.number, again.line) == (1000, 1001)


def test_position_deep_in_a_gzip_file_is_reached_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress((HEADER + data(1) * 100_000).encode()))
    count = len(HEADER) + 99_999 * len(data(1))
    tracemalloc.start()
    try:
        (row,) = open_source(path).rows(SourcePosition(99_999, 100_000, count))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (row.number, row.line, row.end) == (100_000, 100_001, (100_001, count + len(data(1))))
    assert peak < 1_000_000


# Properties

cut_lines = [b"x" * (SHORT_LINE_MAX - 1), b"x" * SHORT_LINE_MAX, "é".encode() * SHORT_LINE_MAX]
common = [b"\n", b"\r", b"\r\n", b" ", b"a", b"\0", b"\xe9", b"\xef\xbb\xbf", "é".encode(), *cut_lines]
csv_lines = [data(), data(key='"two\nlines"'), data(key='"not closed'), data(key="é\r"), "1,2\r\n"]
csv_parts = st.sampled_from(
    [*common, b'"', b'""', b",", b'"y"' * SHORT_LINE_MAX, *(line.encode() for line in csv_lines)]
)
jsonl_parts = st.sampled_from([*common, b"{", b"[", b'{"key": "a"}\n', '{"key": "é"}\r\n'.encode()])
contents = st.one_of(
    st.tuples(
        st.just("a.csv"),
        st.sampled_from([b"", b"\xef\xbb\xbf"]),
        st.lists(csv_parts, max_size=30).map(lambda parts: HEADER.encode() + b"".join(parts)),
    ),
    st.tuples(
        st.just("a.jsonl"), st.sampled_from([b"", b"\xef\xbb\xbf"]), st.lists(jsonl_parts, max_size=30).map(b"".join)
    ),
)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@settings(max_examples=200)
@given(made=contents)
def test_reading_from_after_any_row_gives_exactly_the_later_rows(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, made: tuple[str, bytes, bytes]
) -> None:
    name, mark, rest = made
    content = mark + rest
    path = tmp_path_factory.getbasetemp() / f"law-{name}{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.MonkeyPatch.context() as patch:
        for module in (text_files, csv_source, jsonl_source):
            patch.setattr(module, "LINE_MAX_CHARS", SHORT_LINE_MAX)
        source = open_source(path)
        rows, broken = read(source)
        for count, row in enumerate(rows, 1):
            assert read(source, position_of(row)) == (rows[count:], broken)


@settings(max_examples=200)
@given(made=contents)
def test_every_row_ends_after_its_own_physical_line(
    tmp_path_factory: pytest.TempPathFactory, made: tuple[str, bytes, bytes]
) -> None:
    name, mark, content = made
    path = tmp_path_factory.getbasetemp() / f"lines-{name}"
    path.write_bytes(mark + content)
    reached, offset = {0: 0}, 0
    for number, line in enumerate(PHYSICAL_LINE.findall(content), 1):
        offset += len(line)
        reached[number] = offset + len(mark)
    before = 0
    for row in read(open_source(path))[0]:
        assert row.end is not None
        assert row.line is not None
        lines, offset = row.end
        assert before < row.line <= lines
        assert offset == reached[lines]
        before = lines
