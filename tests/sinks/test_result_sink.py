"""Results files: every column, escaped formulas, complete lines, and the input is never overwritten."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from truecaller_async.errors import ConfigError
from truecaller_async.models import CallRecord, Outcome, RecordResult
from truecaller_async.sinks import open_sink
from truecaller_async.sinks.result_sink import COLUMNS, Format, atomic_sink, check_not_input, check_sink
from truecaller_async.sources import count_rows

RECORD = CallRecord("911234567898", "919234567898", 1, 2, key="k1")
DELIVERED = RecordResult(RECORD, 1, "k1", Outcome.DELIVERED, batch_id="b-1", record_id="r-1", attempts=1)
FAILED = RecordResult(
    RECORD, 2, None, Outcome.FAILED, reason="Not a user, sorry", field="receiver", attempts=2, possibly_duplicated=True
)

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters of a formula; the last four are the full-width forms of the first four."""

CSV = (
    "row,key,outcome,reason,field,batch_id,record_id,attempts,possibly_duplicated\n"
    "1,k1,delivered,,,b-1,r-1,1,false\n"
    '2,,failed,"Not a user, sorry",receiver,,,2,true\n'
)


def text_of(path: Path) -> str:
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()


@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz"])
def test_csv_has_the_documented_columns(tmp_path: Path, name: str) -> None:
    with open_sink(tmp_path / name) as sink:
        sink.write([DELIVERED])
        sink.write([FAILED])
        sink.write([])
    assert text_of(tmp_path / name) == CSV


@pytest.mark.parametrize("name", ["out.jsonl", "out.ndjson", "out.jsonl.gz"])
def test_jsonl_has_the_documented_columns(tmp_path: Path, name: str) -> None:
    with open_sink(tmp_path / name) as sink:
        sink.write([DELIVERED, FAILED])
    first, second = map(json.loads, text_of(tmp_path / name).splitlines())
    assert tuple(first) == tuple(second) == COLUMNS
    assert (first["row"], first["outcome"], first["reason"]) == (1, "delivered", None)
    assert (second["attempts"], second["possibly_duplicated"]) == (2, True)


@pytest.mark.fault("S34")
def test_no_phone_number_is_written(tmp_path: Path) -> None:
    for name in ("out.csv", "out.jsonl"):
        with open_sink(tmp_path / name) as sink:
            sink.write([DELIVERED, FAILED])
        assert "4567898" not in text_of(tmp_path / name)


def test_what_was_written_can_be_read_at_once(tmp_path: Path) -> None:
    with open_sink(tmp_path / "out.csv") as sink:
        assert text_of(tmp_path / "out.csv") == CSV.splitlines(keepends=True)[0]
        sink.write([DELIVERED])
        assert text_of(tmp_path / "out.csv").endswith("false\n")


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_stream_is_written_to_and_left_open(form: Format) -> None:
    stream = io.StringIO()
    with open_sink(stream, file_format=form) as sink:
        sink.write([DELIVERED])
    assert not stream.closed
    assert stream.getvalue().startswith("row," if form == "csv" else '{"row":1')


def test_dash_is_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with open_sink("-") as sink:
        sink.write([DELIVERED, FAILED])
    assert capsys.readouterr().out == CSV


@pytest.mark.fault("S33")
@pytest.mark.parametrize("start", FORMULA_STARTS)
def test_cell_that_begins_like_a_formula_is_guarded(start: str) -> None:
    key = start + "HYPERLINK(1)"
    stream = io.StringIO()
    result = RecordResult(None, 3, key, Outcome.FAILED, reason=key)
    open_sink(stream).write([result])
    row = next(csv.DictReader(io.StringIO(stream.getvalue(), newline="")))
    assert row["key"] == row["reason"] == "'" + key


@pytest.mark.fault("S33")
def test_jsonl_is_not_guarded() -> None:
    stream = io.StringIO()
    open_sink(stream, file_format="jsonl").write([RecordResult(None, 3, "=1+1", Outcome.FAILED)])
    assert json.loads(stream.getvalue())["key"] == "=1+1"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_unpaired_surrogate_in_a_key_is_written_escaped(form: Format) -> None:
    stream = io.StringIO()
    open_sink(stream, file_format=form).write([RecordResult(None, 3, "k\ud800", Outcome.INVALID)])
    assert "k\\ud800" in stream.getvalue()


def test_earlier_file_is_replaced_or_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    for _ in range(2):
        with open_sink(path) as sink:
            sink.write([DELIVERED])
    with open_sink(path, append=True) as sink:
        sink.write([FAILED])
    assert text_of(path) == CSV
    new = tmp_path / "new.csv"
    with open_sink(new, append=True) as sink:
        sink.write([DELIVERED, FAILED])
    assert text_of(new) == CSV


def test_torn_last_line_is_not_joined_with_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text(CSV.splitlines(keepends=True)[0] + "1,k1,deliv")
    with open_sink(path, append=True) as sink:
        sink.write([FAILED])
    assert text_of(path).splitlines()[1:] == ["1,k1,deliv", CSV.splitlines()[2]]


def test_input_is_never_written_over(tmp_path: Path) -> None:
    path, link = tmp_path / "campaign.csv", tmp_path / "out.csv"
    path.write_text("caller\n")
    link.symlink_to(path)
    for target in (path, link):
        for append in (True, False):
            with pytest.raises(ConfigError, match="is the input"):
                open_sink(target, source=path, append=append)
    assert path.read_text() == "caller\n"
    open_sink(tmp_path / "other.csv", source=path).close()


@pytest.mark.parametrize("name", ["out.xlsx", "out", "out.gz", "none/out.csv", "folder.csv"])
def test_unwritable_path_is_a_configuration_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigError, match="cannot be written"):
        open_sink(tmp_path / name)


@pytest.mark.parametrize("name", ["out.xlsx", "out", "none/out.csv", "folder.csv", "in.csv"])
def test_path_check_is_harmless_and_refuses_like_opening(tmp_path: Path, name: str) -> None:
    source = tmp_path / "in.csv"
    source.write_text("caller\n")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(ConfigError):
        check_sink(str(tmp_path / name), source=source)
    earlier = tmp_path / "out.csv"
    earlier.write_text("earlier\n")
    for good in (str(earlier), str(tmp_path / "new.csv"), "-"):
        check_sink(good, source=source)
    assert (earlier.read_text(), source.read_text()) == ("earlier\n", "caller\n")


def test_pipe_is_not_opened_by_the_path_check(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    check_sink(str(tmp_path / "pipe.csv"))


def test_rows_that_would_be_lost_are_named(tmp_path: Path) -> None:
    path = tmp_path / "j.csv"
    path.touch()
    with pytest.raises(ConfigError, match=r"j\.csv is the journal"):
        check_not_input(path, path, what="journal")
    check_not_input(path, None)
    check_not_input(tmp_path / "none.csv", path)


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl.gz"])
def test_file_is_replaced_completely_or_unchanged(tmp_path: Path, name: str) -> None:
    def fail(path: Path) -> None:
        with atomic_sink(path) as sink:
            sink.write([DELIVERED])
            raise ZeroDivisionError

    path = tmp_path / name
    with pytest.raises(ZeroDivisionError):
        fail(path)
    assert list(tmp_path.iterdir()) == []
    with atomic_sink(path) as sink:
        sink.write([DELIVERED, FAILED])
    assert len(text_of(path).splitlines()) == (3 if name == "out.csv" else 2)
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError):
        fail(path)
    assert path.read_bytes() == before
    with pytest.raises(ConfigError, match="suffix is not supported"):
        fail(tmp_path / "out.xlsx")


@pytest.mark.fault("S33")
@given(st.text(max_size=20), st.text(max_size=20))
def test_what_was_written_is_read_back_as_csv_and_as_jsonl(key: str, reason: str) -> None:
    result = RecordResult(None, 1, key, Outcome.FAILED, reason=reason)
    table, lines = io.StringIO(newline=""), io.StringIO(newline="")
    open_sink(table).write([result])
    open_sink(lines, file_format="jsonl").write([result])
    row = next(csv.DictReader(io.StringIO(table.getvalue(), newline="")))
    for column, value in (("key", key), ("reason", reason)):
        assert row[column] == ("'" + value if value.startswith(FORMULA_STARTS) else value)
        assert json.loads(lines.getvalue())[column] == value


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.csv", "", 0),
        ("a.csv", "caller\n", 0),
        ("a.csv", "caller\n1\n2\n", 2),
        ("a.csv", "caller\n1\n2", 2),
        ("a.jsonl", "{}\n{}", 2),
        ("a.csv.gz", "", None),
    ],
)
def test_rows_are_counted_by_line_ends(tmp_path: Path, name: str, content: str, rows: int | None) -> None:
    (tmp_path / name).write_text(content)
    assert count_rows(tmp_path / name) == rows


def test_uncountable_file_has_no_count(tmp_path: Path) -> None:
    assert count_rows("-") is None
    assert count_rows(tmp_path) is None
    assert count_rows(tmp_path / "none.csv") is None


unusual_texts = st.one_of(
    st.none(),
    st.sampled_from(
        ["", "a", "=1", "-", "a,b", 'say "so"', "two\nlines", "a\rb", "\uff1d1", "\ud800", "é", "ok", "\t", "'"]
    ),
    st.text(max_size=4),
)


def csv_writer_text(results: list[RecordResult]) -> str:
    rows = [[getattr(result, column) for column in COLUMNS] for result in results]
    cells = [[without_formula(cell) for cell in row] for row in rows]
    text = ""
    for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL):
        stream = io.StringIO()
        csv.writer(stream, lineterminator="\n", quoting=quoting).writerows(cells)
        text = stream.getvalue()
        if "\r" not in text:
            break
    return text.encode("utf-8", "backslashreplace").decode()


def without_formula(cell: object) -> object:
    if isinstance(cell, str):
        return "'" + cell if cell.startswith(FORMULA_STARTS) else str(cell)
    return str(cell).lower() if isinstance(cell, bool) else cell


@settings(max_examples=300)
@given(
    st.lists(
        st.builds(
            RecordResult,
            record=st.none(),
            row=st.integers(1, 10**12),
            key=st.one_of(unusual_texts, st.sampled_from([1, 1.0, True, Outcome.FAILED, [1, "a,b"], ("x",)])),
            outcome=st.sampled_from(Outcome),
            reason=unusual_texts,
            field=unusual_texts,
            batch_id=st.one_of(st.just("b-1"), unusual_texts),
            record_id=unusual_texts,
            attempts=st.one_of(st.integers(0, 3), st.booleans()),
            possibly_duplicated=st.booleans(),
        ),
        max_size=12,
    )
)
def test_csv_equals_the_csv_module_output_of_guarded_cells(results: list[RecordResult]) -> None:
    stream = io.StringIO()
    sink = open_sink(stream)
    stream.truncate(stream.seek(0))
    sink.write(iter(results))
    assert stream.getvalue() == csv_writer_text(results)
