"""How a campaign is shown: its course, the drawing, the account."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from truecaller_async.cli.campaign.account import closing, print_account
from truecaller_async.cli.campaign.bad_rows import InvalidRowPrinter
from truecaller_async.cli.campaign.display_live import picture
from truecaller_async.cli.campaign.display_plain import line_of, progress_event, summary_event
from truecaller_async.cli.campaign.failure_reasons import KINDS_KEPT, FailureReasons
from truecaller_async.cli.campaign.input_rows import InputRows
from truecaller_async.cli.campaign.progress_view import BOUND, ProgressView
from truecaller_async.cli.campaign.results_writer import ResultsWriter
from truecaller_async.cli.formatting import counted, duration, masked, printable
from truecaller_async.errors import ConfigError
from truecaller_async.models import Outcome, Progress, RecordResult, Row, SourcePosition, Summary
from truecaller_async.sinks import open_sink
from truecaller_async.sources import ColumnDefaults, CsvSource, RowReader, open_source, read_csv

MIDDLE = Progress(
    read=4000,
    planned=1000,
    pending=500,
    resolved=2500,
    sent=2400,
    outcomes={"delivered": 1900, "invalid": 500, "duplicate": 100},
    tokens_live=3,
    tokens_cooling_down=1,
    tokens_max=10,
    rate=800.0,
    permitted_rate=1500.0,
    limited_by="limits",
)


def drawn(course: ProgressView) -> list[str]:
    text = StringIO()
    Console(file=text, width=80, highlight=False).print(picture(course))
    return text.getvalue().splitlines()


def result(row: int, outcome: Outcome, reason: str | None = None) -> RecordResult:
    return RecordResult(None, row, None, outcome, reason)


def test_rows_never_sent_are_not_counted_as_remaining() -> None:
    course = ProgressView(MIDDLE, 5000)
    assert course.sendable == 4400
    assert course.seconds_left == 2000 / 800


def test_wrong_row_count_is_corrected() -> None:
    assert ProgressView(MIDDLE, 10).rows == 4000
    assert ProgressView(attrs.evolve(MIDDLE, finished=True), 5000).rows == 4000
    assert ProgressView(MIDDLE, None).rows is None


def test_display_fits_into_80_columns_and_is_complete() -> None:
    waiting = attrs.evolve(MIDDLE, waiting_until=datetime(2030, 1, 1, tzinfo=UTC))
    lines = drawn(ProgressView(waiting, 5000, ((400, "receiver is missing"), (100, "x" * 300))))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    for part in (
        "2,400 of 4,400",
        "2,500 of 5,000",
        "50%",
        "800 of 1,500 records/s",
        "2.5 s left",
        "held by the limits",
    ):
        assert part in text
    for part in ("3 live, 1 on hold, 10 at most", "no token may be created before", "400  receiver is missing"):
        assert part in text


UNWELL = attrs.evolve(MIDDLE, limited_by="service")
PROBED = "the service does not answer; it is probed now and then"


def test_unresponsive_service_is_shown_as_the_reason_without_an_estimate() -> None:
    course = ProgressView(UNWELL, 5000)
    lines = drawn(course)
    assert max(map(len, lines)) <= 80
    assert [line.rstrip() for line in lines if line.startswith(("rate", "waiting"))] == [
        "rate      800 of 1,500 records/s",
        f"waiting   {PROBED}",
    ]
    assert " left" not in line_of(course)
    assert line_of(course).endswith(f"10 at most; {PROBED}")
    assert progress_event(course)["seconds_left"] is None


def test_two_reasons_for_waiting_are_both_shown() -> None:
    course = ProgressView(attrs.evolve(UNWELL, tokens_live=0, waiting_until=datetime(2030, 1, 1, tzinfo=UTC)), 5000)
    *_, token, service = drawn(course)
    assert token.startswith("waiting   no token may be created before")
    assert service.rstrip() == " " * 10 + PROBED


@pytest.mark.parametrize("bound", ["limits", "source", "reader", "max_unresolved"])
def test_reason_that_limits_the_rate_is_never_cut_off(bound: str) -> None:
    course = ProgressView(attrs.evolve(MIDDLE, limited_by=bound, rate=5000.0, permitted_rate=5000.0), 18_000_000)
    assert course.rate.endswith("left, " + BOUND[bound])
    assert course.rate in "\n".join(drawn(course))


def test_last_frame_has_both_bars() -> None:
    lines = drawn(ProgressView(attrs.evolve(MIDDLE, finished=True, read=4000, resolved=4000), 5000))
    assert len(lines) == 2
    assert "4,000 of 4,000  100%" in lines[1]


def test_unknown_total_is_drawn_without_a_percentage() -> None:
    text = "\n".join(drawn(ProgressView(MIDDLE, None)))
    assert "2,400" in text
    assert "%" not in text


@given(
    progress=st.builds(
        Progress,
        read=st.integers(0, 10**9),
        sent=st.integers(0, 10**9),
        resolved=st.integers(0, 10**9),
        rate=st.floats(0, 1e9),
        permitted_rate=st.floats(0, float("inf")),
        tokens_live=st.integers(0, 20),
        finished=st.booleans(),
    ),
    total=st.none() | st.integers(0, 10**9),
)
def test_any_progress_can_be_rendered(progress: Progress, total: int | None) -> None:
    course = ProgressView(progress, total)
    assert max(map(len, drawn(course))) <= 80
    assert line_of(course).isascii()
    event = json.loads(json.dumps(progress_event(course), allow_nan=False))
    assert event["event"] == "progress"


def test_summary_event_has_every_figure_in_summary_order() -> None:
    event = summary_event(Summary(read=2, delivered=2, requests={"submit": 1}, elapsed=1.23456))
    assert list(event) == ["event", *(field.name for field in attrs.fields(Summary))]
    assert (event["elapsed"], event["requests"]) == (1.235, {"submit": 1})


def test_summary_has_every_outcome_with_main_reason_in_80_columns() -> None:
    reasons, text = FailureReasons(), StringIO()
    for row in range(3):
        reasons.record(result(row, Outcome.FAILED, "OS not supported"))
    reasons.record(result(4, Outcome.FAILED, "Failed to push"))
    reasons.record(result(5, Outcome.INVALID, "y" * 500))
    summary = Summary(read=6, delivered=1, failed=4, invalid=1, rate_utilisation=0.97, possibly_duplicated=2)
    print_account(summary, reasons, text)
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    firsts = [line.split()[0] for line in lines if line.strip()]
    assert firsts[1:9] == [*Outcome, "read"]
    assert "OS not supported" in next(line for line in lines if line.startswith("failed"))
    assert "97% of the permitted rate" in text.getvalue()
    assert "possibly delivered twice" in text.getvalue()


@pytest.mark.parametrize(
    ("summary", "sentence"),
    [
        (Summary(), "There was nothing to do."),
        (Summary(read=1, delivered=1), "All 1 record delivered."),
        (Summary(read=3, delivered=2, duplicate=1), "All 3 records delivered, 1 of them as a duplicate."),
        (
            Summary(read=5000, delivered=4000, duplicate=1, failed=999),
            "4,000 of 5,000 records delivered; 999 not delivered.",
        ),
    ],
)
def test_closing_sentence(summary: Summary, sentence: str) -> None:
    assert closing(summary) == sentence


def test_rows_with_the_same_problem_are_one_reason_without_values() -> None:
    reasons = FailureReasons()
    for digit in range(5):
        said = f"receiver '*******{digit}' is not a phone number, optional leading '+'; reason 'a{digit}' is short"
        reasons.record(result(digit, Outcome.INVALID, said))
    assert reasons.top(5) == ((5, "receiver is not a phone number, optional leading '+'; reason is short"),)


def test_number_of_distinct_reasons_is_bounded_and_none_is_lost() -> None:
    reasons = FailureReasons()
    for number in range(KINDS_KEPT + 50):
        reasons.record(result(number, Outcome.FAILED, f"reason {number}"))
    assert sum(count for count, _ in reasons.top(1000)) == KINDS_KEPT + 50
    assert reasons.top(1) == ((50, "other reasons"),)


def test_delivered_rows_have_no_reason() -> None:
    reasons = FailureReasons()
    reasons.record(result(1, Outcome.DELIVERED))
    reasons.record(result(2, Outcome.DUPLICATE, "equal to an earlier row"))
    assert reasons.top(5) == ()
    assert reasons.main(Outcome.DUPLICATE) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (59, "59 s"),
        (75, "1 min 15 s"),
        (1800, "30 min"),
        (3725, "1 h 2 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_duration_is_formatted_in_at_most_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_are_formatted_in_english() -> None:
    assert [counted(1, "batch"), counted(2, "batch"), counted(1000, "record")] == [
        "1 batch",
        "2 batches",
        "1,000 records",
    ]


def test_control_characters_are_escaped() -> None:
    assert printable("a\x1b[31mb\u202e") == "a\\x1b[31mb\\u202e"
    assert masked("call 919812345678 now") == "call ********5678 now"


def test_bad_row_is_reported_without_a_known_line() -> None:
    told: list[str] = []
    bad_rows = InvalidRowPrinter("standard input", lambda _: None, told.append)
    bad_rows.record(result(7, Outcome.INVALID, "row has 3 cells"))
    bad_rows.record(result(8, Outcome.FAILED, "OS not supported"))
    bad_rows.finish()
    assert told == ["standard input row 7: row has 3 cells"]


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
    """Writes a file of three rows, the second of two lines; the ends of its rows."""
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


class Watched(CsvSource):
    """Knows whether its reading was closed."""

    closed = False

    def _rows(self, after: SourcePosition | None) -> Generator[Row, None, None]:
        try:
            yield from super()._rows(after)
        finally:
            self.closed = True


def test_closing_the_main_reading_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    three_rows(path)
    source = Watched(path, None, {})
    main = InputRows(source).rows()
    next(main)
    assert not source.closed
    main.close()
    assert source.closed


def test_full_result_batch_is_written_at_once_and_the_rest_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    recorder = ResultsWriter(open_sink(path), str(path))
    for row in range(1, 502):
        recorder.record(result(row, Outcome.DELIVERED))
    assert len(path.read_text().splitlines()) == 1 + 500
    recorder.close()
    assert len(path.read_text().splitlines()) == 1 + 501
