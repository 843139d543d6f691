"""CSV files: the catalogue of bad input, and properties that hold for any bytes."""

from __future__ import annotations

import csv
import gzip
import io
import os
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import ConfigError, SourceError
from truecaller_async.models import CallRecord, Row
from truecaller_async.sources import ColumnDefaults, open_source, read_csv
from truecaller_async.sources.column_mapping import FIELDS
from truecaller_async.sources.text_files import LINE_MAX_CHARS
from truecaller_async.validation.record_rules import preflight

NOW = 1_752_760_800_000
HEADER = "caller,receiver,starts_at,ends_at,reason,key\n"


def data(number: int = 0, **cells: str) -> str:
    """Return one good line; `cells` are written unchanged, with quotes."""
    values = {
        "caller": "911234567898",
        "receiver": str(919_234_567_000 + number),
        "starts_at": str(NOW),
        "ends_at": str(NOW + 3_600_000),
        "reason": "Calling for delivery",
        "key": f"k{number}",
    }
    return ",".join({**values, **cells}.values()) + "\n"


def rows_of(text: str | bytes, fill: ColumnDefaults | None = None, **columns: str) -> list[Row]:
    file: IO[bytes] = io.BytesIO(text.encode() if isinstance(text, str) else text)
    return list(read_csv(file, defaults=fill, **columns).rows())


def refusal(text: str | bytes, fill: ColumnDefaults | None = None, **columns: str) -> SourceError:
    with pytest.raises(SourceError) as caught:
        rows_of(text, fill, **columns)
    return caught.value


def read_until_error(file: IO[bytes]) -> tuple[list[Row], SourceError]:
    read: list[Row] = []
    with pytest.raises(SourceError) as caught:
        read.extend(read_csv(file).rows())
    return read, caught.value


def record(row: Row) -> CallRecord:
    assert row.record is not None, row.problems
    return row.record


def rule(row: Row) -> str:
    assert row.record is None
    (problem,) = row.problems
    return problem.rule


def test_row_has_its_number_its_line_and_its_record() -> None:
    rows = rows_of(HEADER + data(1) + data(2))
    assert [(row.number, row.line) for row in rows] == [(1, 2), (2, 3)]
    assert record(rows[1]) == CallRecord(
        caller="911234567898",
        receiver="919234567002",
        starts_at=NOW,
        ends_at=NOW + 3_600_000,
        reason="Calling for delivery",
        key="k2",
    )


def test_row_of_a_plain_file_is_canonical_already() -> None:
    given_record = record(rows_of(HEADER + data())[0])
    assert preflight(given_record, NOW) == (given_record, ())
    assert preflight(given_record, NOW)[0] is given_record


def test_timestamps_are_parsed_if_readable_and_otherwise_kept_as_text() -> None:
    rows = rows_of(
        HEADER
        + data(starts_at="2025-07-17T14:00:00Z")
        + data(starts_at="2025-07-17T14:00:00")
        + data(starts_at="1752760800")
        + data(starts_at="soon")
    )
    assert [record(row).starts_at for row in rows] == [
        datetime(2025, 7, 17, 14, tzinfo=UTC),
        "2025-07-17T14:00:00",
        1_752_760_800,
        "soon",
    ]


def test_bad_values_stay_in_the_record_for_the_preflight() -> None:
    row = rows_of(HEADER + data(receiver="9.19877E+11", reason=""))[0]
    assert row.problems == ()
    assert record(row).receiver == "9.19877E+11"
    assert record(row).reason is None


@pytest.mark.parametrize("name", ["campaign.csv", "campaign.csv.gz", "CAMPAIGN.CSV"])
async def test_rereading_a_path_starts_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = (HEADER + data(1) + data(2)).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    source = open_source(path)
    first = [row async for row in source]
    assert [row.number for row in first] == [1, 2]
    assert [row async for row in source] == first == list(source.rows())


@pytest.mark.parametrize("make", [io.StringIO, lambda text: io.BytesIO(text.encode())])
def test_file_of_the_caller_is_read_and_left_open(make: Callable[[str], IO[str]]) -> None:
    file = make(HEADER + data())
    assert len(list(read_csv(file).rows())) == 1
    assert not file.closed


def test_dash_is_csv_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((HEADER + data(1)).encode())))
    assert [record(row).key for row in open_source("-").rows()] == ["k1"]


# Columns


def test_fill_gives_values_for_missing_columns() -> None:
    fill = ColumnDefaults(
        label_id="c6d8", label_name="Centro Bank", reason="Calling you back", starts_at=NOW, window=4 * 3600
    )
    (row,) = rows_of("caller,receiver\n911234567898,919234567898\n", fill)
    assert record(row) == CallRecord(
        "911234567898", "919234567898", NOW, NOW + 4 * 3_600_000, "c6d8", "Centro Bank", "Calling you back"
    )


def test_fill_never_fills_an_empty_cell_nor_overrides_a_column() -> None:
    fill = ColumnDefaults(reason="Calling you back", starts_at=1, window=60.0)
    rows = rows_of(HEADER + data(reason="") + data(ends_at=""), fill)
    assert record(rows[0]).reason is None
    assert record(rows[0]).ends_at == NOW + 3_600_000
    assert record(rows[1]).ends_at == ""
    assert record(rows[1]).starts_at == NOW


@pytest.mark.parametrize(
    ("starts", "ends"),
    [
        ("2025-07-17T14:00:00+05:30", datetime.fromisoformat("2025-07-17T15:00:00+05:30")),
        ("soon", "soon"),
        ("9999-12-31T23:59:59Z", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_window_is_counted_from_any_start(starts: str, ends: object) -> None:
    (row,) = rows_of(f"caller,receiver,starts_at\n1,2,{starts}\n", ColumnDefaults(window=3600))
    assert record(row).ends_at == ends


@pytest.mark.parametrize("window", [0, -1, float("nan"), float("inf"), "4h"])
def test_window_without_length_is_a_configuration_error(window: Any) -> None:
    with pytest.raises(ConfigError, match="seconds above 0"):
        ColumnDefaults(window=window)


def test_columns_can_be_chosen_by_name() -> None:
    text = "Phone,caller,starts_at,ends_at,receiver\n919234567898,911234567898,1,2,not this one\n"
    assert record(rows_of(text, receiver=" phone")[0]).receiver == "919234567898"


def test_chosen_column_that_is_not_there_is_named() -> None:
    error = refusal(HEADER + data(), receiver="Phone")
    assert error.row == 0
    assert "'Phone' (chosen for receiver)" in str(error)


def test_column_chosen_for_no_field_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="no field 'phone'"):
        read_csv("campaign.csv", phone="Phone")


# Catalogue of bad input


@pytest.mark.fault("B17")
def test_byte_order_mark_is_no_part_of_the_header() -> None:
    assert len(rows_of(b"\xef\xbb\xbf" + (HEADER + data()).encode())) == 1
    assert len(list(read_csv(io.StringIO("\ufeff" + HEADER + data())).rows())) == 1
    assert rows_of(b"\xef\xbb\xbf") == []


@pytest.mark.fault("B18")
@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_another_delimiter_is_named_in_the_error(delimiter: str) -> None:
    error = refusal((HEADER + data()).replace(",", delimiter))
    assert error.row == 0
    assert f"The first line has 1 column and contains {delimiter!r}" in str(error)


@pytest.mark.fault("B19")
def test_names_of_the_api_in_any_case_with_spaces_are_understood() -> None:
    text = (
        " Caller_Number ,RECEIVER_NUMBER,Dynamic_Label_Name,dynamic_call_reason,starts_at,ends_at,notes,notes\n"
        "911234567898,919234567898,Centro Bank,Calling you back,1,2,x,y\n"
    )
    given_record = record(rows_of(text)[0])
    assert (given_record.caller, given_record.label_name, given_record.reason) == (
        "911234567898",
        "Centro Bank",
        "Calling you back",
    )
    assert record(rows_of(text.replace("dynamic_call_reason", "call_reason"))[0]).reason == "Calling you back"


@pytest.mark.fault("B19")
@pytest.mark.parametrize("second", ["caller", "Caller_Number"])
def test_two_columns_for_one_field_are_refused(second: str) -> None:
    error = refusal(f"caller,receiver,starts_at,ends_at,{second}\n")
    assert "two columns for caller: 'caller' and" in str(error)
    assert error.row == 0


@pytest.mark.fault("B19")
def test_missing_header_is_recognised_and_its_numbers_are_masked() -> None:
    error = refusal(data() + data())
    assert "It looks like data" in str(error)
    assert "911234567898" not in str(error)
    assert "7898" in str(error)


@pytest.mark.fault("B19")
def test_missing_column_is_named_with_what_was_found() -> None:
    error = refusal("caller,phone,starts_at\n")
    assert error.row == 0
    for part in ("receiver, ends_at", "3 columns: 'caller', 'phone', 'starts_at'", "receiver='Phone'"):
        assert part in str(error)


@pytest.mark.fault("B20")
def test_rows_of_another_width_are_bad_rows_with_both_counts() -> None:
    rows = rows_of(HEADER + "911234567898,919234567898\n" + data()[:-1] + ",more\n" + data(3))
    assert [row.number for row in rows] == [1, 2, 3]
    assert rule(rows[0]) == rule(rows[1]) == "row.columns"
    assert "2 cells, and the header has 6" in rows[0].problems[0].message
    assert record(rows[2]).key == "k3"


@pytest.mark.fault("B21")
def test_quote_that_is_never_closed_ends_reading_after_the_last_good_row() -> None:
    text = HEADER + data(1) + data(2, reason='"two\nlines"') + data(3, reason='"not closed') + data(4) + data(5)
    read, error = read_until_error(io.BytesIO(text.encode()))
    assert [row.number for row in read] == [1, 2]
    assert error.row == 2
    assert "the quote opened on line 5 is never closed" in str(error)


@pytest.mark.fault("B21")
def test_quote_opened_on_a_later_line_of_its_row_is_reported_by_that_line() -> None:
    text = HEADER + data(1, reason='"two\nlines"', key='"not closed') + data(2)
    assert "the quote opened on line 3 " in str(refusal(text))


@pytest.mark.fault("B21")
def test_unclosed_quote_costs_only_its_line_if_a_later_quote_reveals_it() -> None:
    text = HEADER + data(1, reason='"not closed') + data(2) + data(3) + data(4, reason='"closed"') + data(5)
    rows = rows_of(text)
    assert [(row.number, row.line) for row in rows] == [(1, 2), (2, 3), (3, 4), (4, 5), (5, 6)]
    assert rule(rows[0]) == "row.quote"
    assert [record(row).key for row in rows[1:]] == ["k2", "k3", "k4", "k5"]


@pytest.mark.fault("B21")
def test_unclosed_quote_in_a_long_file_ends_reading_in_bounded_memory() -> None:
    text = HEADER + data(1) + data(2, reason='"not closed') + data(3) * 100_000
    file = io.BytesIO(text.encode())
    tracemalloc.start()
    try:
        read, error = read_until_error(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(read) == error.row == 1
    assert "opened on line 3" in str(error)
    assert peak < 2_000_000


@pytest.mark.fault("B22")
def test_quoted_commas_line_breaks_and_quotes_are_parsed() -> None:
    rows = rows_of(HEADER + data(1, reason='"Hello, ""you"" there\nand there"') + data(2))
    given_record = record(rows[0])
    assert given_record.reason == 'Hello, "you" there\nand there'
    assert [problem.rule for problem in preflight(given_record, NOW)[1]] == ["reason.unprintable"]
    assert [(row.number, row.line) for row in rows] == [(1, 2), (2, 4)]


@pytest.mark.fault("B23")
def test_byte_that_is_not_utf8_costs_its_row_with_line_and_column() -> None:
    bad = data(2, key="Jos\xe9").encode("latin-1")
    rows = rows_of((HEADER + data(1)).encode() + bad + data(3).encode())
    assert [row.number for row in rows] == [1, 2, 3]
    assert rule(rows[1]) == "row.encoding"
    assert f"line 3, column {bad.index(0xE9) + 1}: the byte 0xE9" in rows[1].problems[0].message
    assert record(rows[2]).key == "k3"


@pytest.mark.fault("B23")
def test_bad_byte_in_the_header_ends_reading() -> None:
    assert "0xE9" in str(refusal(HEADER.replace("key", "clé").encode("latin-1") + data().encode()))


@pytest.mark.fault("B23")
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_recognised(encoding: str) -> None:
    error = refusal((HEADER + data()).encode(encoding))
    assert "UTF-16" in str(error)
    assert error.row == 0


@pytest.mark.fault("B23")
def test_text_file_of_the_caller_that_cannot_be_decoded_ends_reading(tmp_path: Path) -> None:
    path = tmp_path / "campaign.csv"
    path.write_bytes((HEADER + data(1)).encode() + b"\xe9" * 20_000)
    with path.open(encoding="utf-8") as file, pytest.raises(SourceError) as caught:
        list(read_csv(file).rows())
    assert "utf-8" in str(caught.value)


@pytest.mark.fault("B24")
def test_nul_and_other_line_ends_are_handled() -> None:
    rows = rows_of(HEADER + data(1, reason="Calling\0for delivery"))
    assert [problem.rule for problem in preflight(record(rows[0]), NOW)[1]] == ["reason.unprintable"]
    for end in ("\r", "\r\n"):
        assert [row.line for row in rows_of((HEADER + data(1) + data(2)).replace("\n", end))] == [2, 3]


@pytest.mark.fault("B24")
def test_excel_separator_line_is_recognised() -> None:
    assert "remove it" in str(refusal("sep=;\n" + HEADER.replace(",", ";")))


@pytest.mark.fault("B25")
@pytest.mark.parametrize("text", ["", HEADER, HEADER.strip(), "\n\n" + HEADER + "\n , \n,,,,,\n\n"])
def test_file_without_data_has_no_rows(text: str) -> None:
    assert rows_of(text) == []


@pytest.mark.fault("B26")
def test_long_file_is_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "campaign.csv"
    path.write_text(HEADER + data() * 50_000)
    tracemalloc.start()
    try:
        last = 0
        for row in read_csv(path).rows():
            last = row.number
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert last == 50_000
    assert peak < 1_000_000


@pytest.mark.fault("B27")
def test_unreadable_path_is_reported(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.csv", "no such file"), (tmp_path, "is a folder")):
        with pytest.raises(SourceError, match=words) as caught:
            list(read_csv(path).rows())
        assert caught.value.row == 0
    with pytest.raises(SourceError, match="cannot be opened"):
        list(read_csv("a\0b.csv").rows())


@pytest.mark.fault("B27")
def test_file_without_permission_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(SourceError, match="this user may not read it"):
        list(read_csv(tmp_path / "campaign.csv").rows())


@pytest.mark.fault("B27")
def test_growing_file_is_read_to_its_new_end(tmp_path: Path) -> None:
    path = tmp_path / "campaign.csv"
    path.write_text(HEADER + data(1))
    rows = read_csv(path).rows()
    assert next(rows).number == 1
    with path.open("a") as file:
        file.write(data(2))
    assert [record(row).key for row in rows] == ["k2"]


@pytest.mark.fault("B27")
def test_symlink_and_a_pipe_are_read(tmp_path: Path) -> None:
    path, link = tmp_path / "campaign.csv", tmp_path / "link.csv"
    path.write_text(HEADER + data(1))
    link.symlink_to(path)
    assert len(list(read_csv(link).rows())) == 1
    out, into = os.pipe()
    with os.fdopen(into, "w") as writer:
        writer.write(HEADER + data(1))
    with os.fdopen(out, "rb") as reader:
        assert len(list(read_csv(reader).rows())) == 1


@pytest.mark.fault("B28")
@pytest.mark.parametrize("bad", [1, 500, 501, 1000])
@pytest.mark.parametrize("line", ['"a"b,c\n', "1,2\n", "\xe9" + data(), "x" * LINE_MAX_CHARS + "\n"])
def test_one_bad_row_anywhere_is_the_only_bad_row(bad: int, line: str) -> None:
    text = [data(number) for number in range(1, 1001)]
    text[bad - 1] = line
    rows = rows_of((HEADER + "".join(text)).encode("latin-1"))
    assert [row.number for row in rows] == list(range(1, 1001))
    assert [row.number for row in rows if row.record is None] == [bad]


@pytest.mark.fault("B31")
def test_line_over_the_cap_is_a_bad_row_and_the_next_one_is_read() -> None:
    rows = rows_of(HEADER + "x" * (3 * LINE_MAX_CHARS) + "\n" + data(2))
    assert rule(rows[0]) == "row.length"
    assert "line 2" in rows[0].problems[0].message
    assert record(rows[1]).key == "k2"
    assert rows[1].line == 3
    room = LINE_MAX_CHARS - len(data(1, reason=""))
    assert record(rows_of(HEADER + data(1, reason="x" * (room - 1)))[0]).key == "k1"
    assert rule(rows_of(HEADER + data(1, reason="x" * room))[0]) == "row.length"


@pytest.mark.fault("B31")
def test_broken_gzip_stream_ends_reading_after_the_last_good_row(tmp_path: Path) -> None:
    path = tmp_path / "campaign.csv.gz"
    whole = gzip.compress((HEADER + "".join(data(number) for number in range(5000))).encode())
    path.write_bytes(whole[: len(whole) // 2])
    read: list[Row] = []
    with pytest.raises(SourceError) as caught:
        read.extend(read_csv(path).rows())
    assert 0 < caught.value.row == len(read) < 5000
    path.write_bytes(whole[:-200] + b"\0" * 200)
    with pytest.raises(SourceError):
        list(read_csv(path).rows())


@pytest.mark.fault("B31")
def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    path = tmp_path / "campaign.csv.gz"
    path.write_bytes(gzip.compress((HEADER + data(1)).encode()) + gzip.compress(data(2).encode()))
    assert len(list(read_csv(path).rows())) == 2


@pytest.mark.fault("B31")
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", gzip.compress(HEADER.encode(), mtime=0), "ends in .gz"),
        ("a.csv.gz", HEADER.encode(), "gzip"),
        ("a.csv", b"PK\x03\x04rest", "zip archive or an Excel workbook"),
        ("a.csv", b"PAR1rest", "Parquet"),
        ("a.xlsx", b"", "export it as CSV"),
        ("a.zip", b"", "unpack it"),
        ("a.parquet", b"", "export it as CSV or JSONL"),
    ],
)
def test_wrong_suffix_or_content_is_reported(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=words) as caught:
        list(read_csv(tmp_path / name).rows())
    assert caught.value.row == 0


@pytest.mark.parametrize("name", ["a.xlsx", "a.zip", "a.parquet", "a.parquet.gz", "a.tsv", "a", "a.gz"])
def test_suffix_that_names_no_format_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(SourceError, match=r"\.csv and \.jsonl"):
        open_source(name)


@pytest.mark.fault("B31", "S38")
def test_decompression_bomb_is_one_bad_row_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "campaign.csv.gz"
    path.write_bytes(gzip.compress(HEADER.encode() + b"0" * 30_000_000))
    tracemalloc.start()
    try:
        rows = list(read_csv(path).rows())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [rule(row) for row in rows] == ["row.length"]
    assert peak < 2_000_000


@pytest.mark.fault("B34")
def test_reason_that_looks_like_a_formula_is_kept_as_data() -> None:
    assert record(rows_of(HEADER + data(reason='"=HYPERLINK(""x"")"'))[0]).reason == '=HYPERLINK("x")'


# Properties

cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(FIELDS, cells)), max_size=6))
def test_written_rows_are_read_back(written: list[dict[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(written)
    read = rows_of(text.getvalue())
    kept = [row for row in written if any(value.strip() for value in row.values())]
    assert [record(row).caller for row in read] == [row["caller"] for row in kept]
    assert [record(row).key or "" for row in read] == [row["key"] for row in kept]


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(st.sampled_from(['"', ",", "\n", "\r", "a", "\xe9", "\0", data()]), max_size=40).map(
            lambda parts: (HEADER + "".join(parts)).encode("latin-1")
        ),
    )
)
def test_arbitrary_bytes_give_numbered_rows_and_at_most_one_source_error(content: bytes) -> None:
    numbers: list[int] = []
    ended: int | None = None
    try:
        for row in read_csv(io.BytesIO(content)).rows():
            numbers.append(row.number)
            assert (row.record is None) == bool(row.problems)
            if row.record is not None:
                preflight(row.record, NOW)
    except SourceError as error:
        ended = error.row
    assert ended in (None, len(numbers))
    assert numbers == list(range(1, len(numbers) + 1))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_as_gzip_give_rows_or_a_source_error(content: bytes) -> None:
    whole = gzip.compress((HEADER + data(1) + data(2)).encode())
    for broken in (content, whole[:40] + content, whole + content):
        file = gzip.GzipFile(fileobj=io.BytesIO(broken))
        try:
            rows = list(read_csv(file).rows())
        except SourceError:
            continue
        assert all(row.number for row in rows)
