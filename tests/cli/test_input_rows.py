"""Input rows with their lines, and the messages about invalid rows."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from io import StringIO
from pathlib import Path

import pytest

from truecaller_async.cli.campaign.input_rows import InputRows, InvalidRowPrinter
from truecaller_async.errors import ConfigError
from truecaller_async.models import Outcome, RecordResult, Row
from truecaller_async.models.journal_entries import SourcePosition
from truecaller_async.sources import ColumnDefaults, CsvSource, RowReader, open_source, read_csv


def result(row: int, outcome: Outcome, reason: str | None = None) -> RecordResult:
    return RecordResult(None, row, None, outcome, reason)


def test_bad_row_is_reported_without_a_known_line() -> None:
    notes: list[str] = []
    printer = InvalidRowPrinter("standard input", lambda _: None, notes.append)
    printer.record(result(7, Outcome.INVALID, "row has 3 cells"))
    printer.record(result(8, Outcome.FAILED, "OS not supported"))
    printer.finish()
    assert notes == ["standard input row 7: row has 3 cells"]


def lines_of(path: Path) -> Iterator[tuple[int, int | None]]:
    rows = InputRows(open_source(path))
    return iter([(row.number, rows.line_of(row.number)) for row in rows.rows()])


def test_rows_after_blank_and_multiline_rows_know_their_lines(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('caller,receiver,starts_at,ends_at,reason\na,b,1,2,"x\ny"\n\na,b,1,2,z\na,b,1,2,z\n')
    assert list(lines_of(path)) == [(1, 2), (2, 5), (3, 6)]


def test_first_row_can_be_peeked_and_is_still_returned(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"caller": "a"}\n{"caller": "b"}\n')
    rows = InputRows(open_source(path))
    assert rows.first is not None
    assert [row.number for row in rows.rows()] == [1, 2]


def three_rows(path: Path) -> list[SourcePosition]:
    """Write a file of three rows, the second on two lines, and return the ends of its rows."""
    path.write_text('caller,receiver,starts_at,ends_at,reason\na,b,1,2,z\na,b,1,2,"x\ny"\na,b,1,2,z\n')
    return [SourcePosition(row.number, *row.end) for row in open_source(path).rows() if row.end is not None]


def test_rows_after_a_position_start_with_the_next_row(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    first, second, last = three_rows(path)
    rows = InputRows(open_source(path), second)
    assert rows.first is not None
    assert rows.first.number == 3
    assert [row.number for row in rows.rows(second)] == [3]
    assert rows.line_of(3) == 5
    assert InputRows(open_source(path), last).first is None
    assert list(InputRows(open_source(path), last).rows(last)) == []
    assert [row.number for row in InputRows(open_source(path), first).rows(first)] == [2, 3]


def test_earlier_rows_are_reread_without_disturbing_the_main_reading(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    first, second, _ = three_rows(path)
    rows = InputRows(open_source(path), second)
    assert [row.number for row in rows.rows()] == [1, 2, 3]
    main = rows.rows(second)
    old = rows.rows(first)
    assert next(old).number == 2
    assert [row.number for row in main] == [3]
    assert [row.number for row in old] == [3]
    assert [row.number for row in rows.rows(second)] == [3]
    assert [rows.line_of(number) for number in (1, 2, 3)] == [2, 3, 5]


def test_first_row_of_a_one_pass_source_is_read_once() -> None:
    rows = InputRows(read_csv(StringIO("caller,receiver,starts_at,ends_at\na,b,1,2\nc,d,1,2\n")))
    assert rows.first is not None
    assert [row.number for row in rows.rows()] == [1, 2]
    assert list(rows.rows()) == []
    assert rows.descriptor() is None
    with pytest.raises(ConfigError):
        rows.rows(SourcePosition(1, 2, 3))


def test_lines_are_known_only_for_rows_read_before_the_main_reading(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    _, second, _ = three_rows(path)
    rows = InputRows(open_source(path), second)
    assert len(list(rows.rows(second))) == 1
    assert len(list(rows.rows())) == 3
    assert [rows.line_of(number) for number in (1, 2, 3)] == [None, None, 5]


def test_source_descriptor_is_taken_before_the_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    three_rows(path)
    source = open_source(path, ColumnDefaults(reason="Calling you back"))
    note = source.descriptor()
    rows = InputRows(source)
    with path.open("a") as file:
        file.write("more\n")
    assert rows.descriptor() == note != source.descriptor()
    assert rows.name == source.name
    assert rows.kind == "csv"


async def test_row_reader_accepts_input_rows_as_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    _, second, _ = three_rows(path)
    reader = RowReader(InputRows(open_source(path), second), second)
    assert [row.number for row in await reader.read(10)] == [3]
    await reader.aclose()


class RecordingSource(CsvSource):
    """Source that records whether its reading was closed."""

    closed = False

    def _rows(self, after: SourcePosition | None) -> Generator[Row, None, None]:
        try:
            yield from super()._rows(after)
        finally:
            self.closed = True


def test_closing_the_main_reading_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    three_rows(path)
    source = RecordingSource(path, None, {})
    main = InputRows(source).rows()
    next(main)
    assert not source.closed
    main.close()
    assert source.closed
