"""JSONL files: the catalogue of bad input, and properties that hold for any bytes."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.errors import SourceError
from truecaller_async.models import CallRecord, Row
from truecaller_async.sources import ColumnDefaults, open_source, read_jsonl
from truecaller_async.sources.column_mapping import FIELDS
from truecaller_async.sources.text_files import LINE_MAX_CHARS
from truecaller_async.validation.record_rules import preflight

NOW = 1_752_760_800_000
GOOD = {"caller": "911234567898", "receiver": "919234567898", "starts_at": NOW, "ends_at": NOW + 3_600_000, "key": "k"}


def line(**values: object) -> str:
    return json.dumps({**GOOD, **values}) + "\n"


def rows_of(content: str | bytes, fill: ColumnDefaults | None = None, **columns: str) -> list[Row]:
    binary = content.encode() if isinstance(content, str) else content
    return list(read_jsonl(io.BytesIO(binary), defaults=fill, **columns).rows())


def record(row: Row) -> CallRecord:
    assert row.record is not None, row.problems
    return row.record


def rule(row: Row) -> str:
    assert row.record is None
    (problem,) = row.problems
    return problem.rule


def test_names_of_the_api_are_understood_and_other_keys_ignored() -> None:
    text = json.dumps(
        {
            "Caller_Number": "911234567898",
            "receiver_number": "919234567898",
            "dynamic_label_name": "Centro Bank",
            "dynamic_call_reason": "Calling you back",
            "starts_at": "2025-07-17T14:00:00Z",
            "ends_at": str(NOW),
            "more": {"caller": 1, "a": {"caller": 2}},
        }
    )
    assert record(rows_of(text)[0]) == CallRecord(
        "911234567898",
        "919234567898",
        datetime(2025, 7, 17, 14, tzinfo=UTC),
        NOW,
        label_name="Centro Bank",
        reason="Calling you back",
    )


def test_missing_key_may_be_filled_and_null_is_not_filled() -> None:
    short = '{"caller": "911234567898", "receiver": "919234567898"}\n'
    given_record = record(rows_of(short)[0])
    assert [problem.rule for problem in preflight(given_record, NOW)[1]] == ["time.missing", "time.missing"]
    filled = record(rows_of(short, ColumnDefaults(starts_at=NOW, window=60.0, reason="Calling you back"))[0])
    assert (filled.starts_at, filled.ends_at, filled.reason) == (NOW, NOW + 60_000, "Calling you back")
    assert record(rows_of(line(reason=None), ColumnDefaults(reason="Calling you back"))[0]).reason is None


def test_keys_can_be_chosen_by_name() -> None:
    assert record(rows_of(line(phone="912345678901"), receiver="Phone")[0]).receiver == "912345678901"


def test_values_of_any_json_type_stay_for_the_preflight() -> None:
    row = rows_of(line(caller=911_234_567_898, receiver=9.19e11, reason=["x"], key=17))[0]
    formed, problems = preflight(record(row), NOW)
    assert [problem.rule for problem in problems] == ["phone.type", "reason.type"]
    assert (formed.caller, formed.key) == ("911234567898", "17")


@pytest.mark.fault("B29")
@pytest.mark.parametrize(
    "broken",
    [
        '{"caller": ',
        '{"caller": NaN}',
        '{"caller": "1"},',
        '{"caller": "1"} {"caller": "2"}',
        '["911234567898"]',
        "null",
        '"text"',
        "17",
        "[" * 60_000,
        '{"a":' * 10_000,
        '{"caller": "\\ud800"}',
    ],
    ids=lambda text: text[:24],
)
def test_broken_line_is_a_bad_row_and_the_next_one_is_read(broken: str) -> None:
    rows = rows_of(line(key="a") + broken + "\n" + line(key="b"))
    assert [(row.number, row.line) for row in rows] == [(1, 1), (2, 2), (3, 3)]
    assert rule(rows[1]) == "row.json"
    assert record(rows[2]).key == "b"


@pytest.mark.fault("B29")
def test_blank_lines_are_no_rows() -> None:
    rows = rows_of("\n" + line(key="a") + "   \r\n\n" + line(key="b").strip())
    assert [(row.number, row.line) for row in rows] == [(1, 2), (2, 5)]


@pytest.mark.fault("B29")
@pytest.mark.parametrize("text", ["[\n" + line(), "[" + line(), "  [", "{\n" + '"caller": 1\n}'])
def test_one_json_document_is_recognised(text: str) -> None:
    with pytest.raises(SourceError, match="one object on each line") as caught:
        rows_of(text)
    assert caught.value.row == 0


@pytest.mark.fault("B29")
@pytest.mark.parametrize(
    "text",
    [
        '{"caller":"911234567898","receiver":"1","caller":"912222222222"}',
        '{"caller" : "911234567898","receiver":"1",\t"caller"\t:"912222222222"}',
        '{"a:b":1,"a:b":2}',
    ],
)
def test_repeated_key_is_refused(text: str) -> None:
    (row,) = rows_of(text)
    assert rule(row) == "row.columns"
    assert "more than once" in row.problems[0].message


@pytest.mark.fault("B29")
def test_colons_and_quotes_in_texts_and_inner_objects_are_no_repeated_keys() -> None:
    text = line(reason='Say "caller": "caller": twice', more={"a": 1, "b": {"a": 2}}, starts_at="2025-07-17T14:00:00Z")
    assert record(rows_of(text)[0]).key == "k"


def test_two_keys_for_one_field_are_refused() -> None:
    (row,) = rows_of(line(caller_number="912222222222"))
    assert rule(row) == "row.columns"
    assert "two columns for caller" in row.problems[0].message


@pytest.mark.fault("B29")
def test_byte_order_mark_is_dropped() -> None:
    assert record(rows_of(b"\xef\xbb\xbf" + line().encode())[0]).key == "k"


@pytest.mark.fault("B29")
def test_line_over_the_cap_is_a_bad_row() -> None:
    rows = rows_of(line(reason="x" * 10_000_000) + line(key="b"))
    assert rule(rows[0]) == "row.length"
    assert record(rows[1]).key == "b"
    assert len(line(reason="x" * LINE_MAX_CHARS)) > LINE_MAX_CHARS


@pytest.mark.fault("B23")
def test_byte_that_is_not_utf8_costs_its_row() -> None:
    bad = '{"key": "Jos\xe9"}\n'
    rows = rows_of(line().encode() + bad.encode("latin-1") + line(key="b").encode())
    assert rule(rows[1]) == "row.encoding"
    assert f"line 2, column {bad.index(chr(0xE9)) + 1}: the byte 0xE9" in rows[1].problems[0].message
    assert record(rows[2]).key == "b"


def test_unpaired_surrogate_in_a_text_file_costs_its_row() -> None:
    rows = list(read_jsonl(io.StringIO('{"key": "\ud800"}\n' + line(key="b"))).rows())
    assert rule(rows[0]) == "row.encoding"
    assert record(rows[1]).key == "b"


@pytest.mark.fault("B25")
def test_empty_file_has_no_rows() -> None:
    assert rows_of("") == rows_of("\n\n") == []


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz"])
def test_path_is_read_by_its_suffix(tmp_path: Path, name: str) -> None:
    content = line().encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert [row.number for row in open_source(tmp_path / name).rows()] == [1]


@pytest.mark.fault("B31")
def test_broken_gzip_stream_ends_reading_after_the_last_good_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    whole = gzip.compress("".join(line(key=str(number)) for number in range(5000)).encode())
    path.write_bytes(whole[: len(whole) // 2])
    read: list[Row] = []
    with pytest.raises(SourceError) as caught:
        read.extend(open_source(path).rows())
    assert 0 < caught.value.row == len(read) < 5000


json_values = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(max_size=20))


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), json_values), max_size=6))
def test_written_rows_are_read_back(written: list[dict[str, object]]) -> None:
    read = rows_of("".join(json.dumps(values) + "\n" for values in written))
    assert [row.number for row in read] == list(range(1, len(written) + 1))
    for row, values in zip(read, written, strict=True):
        for field in ("caller", "receiver"):
            assert getattr(record(row), field) == values.get(field)
        key = values.get("key")
        assert record(row).key == (str(key) if type(key) is int else None if key == "" else key)


@given(st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]":,\\ \n\r1ae', max_size=200).map(str.encode)))
def test_arbitrary_bytes_give_numbered_rows_or_a_source_error(content: bytes) -> None:
    numbers: list[int] = []
    ended: int | None = None
    try:
        for row in read_jsonl(io.BytesIO(content)).rows():
            numbers.append(row.number)
            assert (row.record is None) == bool(row.problems)
    except SourceError as error:
        ended = error.row
    assert ended in (None, len(numbers))
    assert numbers == list(range(1, len(numbers) + 1))
