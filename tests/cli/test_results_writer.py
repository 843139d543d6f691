"""The results file while a campaign runs: what is written, what is buffered, and what an error costs."""

from __future__ import annotations

import asyncio
import threading
from io import StringIO
from pathlib import Path

from truecaller_async.cli.campaign import results_writer
from truecaller_async.cli.campaign.results_writer import ResultsWriter
from truecaller_async.errors import ConfigError
from truecaller_async.models import CallRecord, Outcome, RecordResult
from truecaller_async.sinks import ResultSink, open_sink


def result(row: int, *, final: bool = True) -> RecordResult:
    record = CallRecord("911140001234", "919800000001", 1, 2)
    return RecordResult(record, row, None, Outcome.DELIVERED if final else Outcome.UNKNOWN, final=final)


def rows_in(stream: StringIO) -> list[int]:
    return [int(line.split(",")[0]) for line in stream.getvalue().splitlines()[1:]]


def test_rows_without_final_outcome_are_written_only_after_a_complete_run() -> None:
    for is_whole, expected in ((True, [1, 3, 2]), (False, [1, 3])):
        stream = StringIO()
        writer = ResultsWriter(open_sink(stream), "out.csv")
        for number in (1, 2, 3):
            writer.record(result(number, final=number != 2))
        writer.flush()
        writer.close(is_complete=is_whole)
        assert rows_in(stream) == expected


async def test_results_are_buffered_until_the_file_is_ready() -> None:
    stream, go = StringIO(), threading.Event()

    def open_file() -> ResultSink:
        assert go.wait(10)
        return open_sink(stream)

    writer = ResultsWriter(open_file, "out.csv")
    writer.prepare()
    for number in range(1, 2001):
        writer.record(result(number))
    assert stream.getvalue() == ""
    go.set()
    await writer.prepared()
    writer.record(result(2001))
    writer.close()
    assert rows_in(stream) == list(range(1, 2002))


async def test_full_result_buffer_blocks_the_producer() -> None:
    go = threading.Event()

    def open_file() -> ResultSink:
        assert go.wait(10)
        return open_sink(StringIO())

    writer = ResultsWriter(open_file, "out.csv")
    writer.prepare()
    one = result(1)
    for _ in range(results_writer.BUFFER_MAX_ROWS - 1):
        writer.record(one)
    assert not writer.is_full
    writer.record(one)
    assert writer.is_full
    waiting = asyncio.ensure_future(writer.prepared())
    await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    await waiting
    writer.flush()
    assert not writer.is_full


async def test_unusable_results_file_is_a_fault_and_buffered_results_are_dropped() -> None:
    for failure in (ConfigError("not ours"), OSError(28, "No space left on device")):

        def open_file(failure: Exception = failure) -> ResultSink:
            raise failure

        writer = ResultsWriter(open_file, "out.csv")
        writer.record(result(1))
        writer.record(result(2, final=False))
        writer.prepare()
        await writer.prepared()
        assert writer.error is not None
        writer.record(result(3))
        writer.close()


async def test_without_a_results_file_nothing_is_buffered() -> None:
    writer = ResultsWriter(None, None)
    writer.prepare()
    await writer.prepared()
    for number in range(results_writer.BUFFER_MAX_ROWS + 1):
        writer.record(result(number, final=number % 2 > 0))
    assert not writer.is_full
    writer.close()
    assert writer.error is None


def test_full_result_batch_is_written_at_once_and_the_rest_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    writer = ResultsWriter(open_sink(path), str(path))
    for row in range(1, 502):
        writer.record(result(row))
    assert len(path.read_text().splitlines()) == 1 + 500
    writer.close()
    assert len(path.read_text().splitlines()) == 1 + 501
