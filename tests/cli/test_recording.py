"""The file of results while a campaign runs: what goes in, what waits, and what a fault costs."""

from __future__ import annotations

import asyncio
import threading
from io import StringIO

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
        recorder = ResultsWriter(open_sink(stream), "out.csv")
        for number in (1, 2, 3):
            recorder.record(result(number, final=number != 2))
        recorder.flush()
        recorder.close(is_whole=is_whole)
        assert rows_in(stream) == expected


async def test_results_are_buffered_until_the_file_is_ready() -> None:
    stream, go = StringIO(), threading.Event()

    def opening() -> ResultSink:
        assert go.wait(10)
        return open_sink(stream)

    recorder = ResultsWriter(opening, "out.csv")
    recorder.prepare()
    for number in range(1, 2001):
        recorder.record(result(number))
    assert stream.getvalue() == ""
    go.set()
    await recorder.prepared()
    recorder.record(result(2001))
    recorder.close()
    assert rows_in(stream) == list(range(1, 2002))


async def test_full_result_buffer_blocks_the_producer() -> None:
    go = threading.Event()

    def opening() -> ResultSink:
        assert go.wait(10)
        return open_sink(StringIO())

    recorder = ResultsWriter(opening, "out.csv")
    recorder.prepare()
    one = result(1)
    for _ in range(results_writer.HELD_MAX - 1):
        recorder.record(one)
    assert not recorder.is_full
    recorder.record(one)
    assert recorder.is_full
    waiting = asyncio.ensure_future(recorder.prepared())
    await asyncio.sleep(0)
    assert not waiting.done()
    go.set()
    await waiting
    recorder.flush()
    assert not recorder.is_full


async def test_unusable_results_file_is_a_fault_and_buffered_results_are_dropped() -> None:
    for failure in (ConfigError("not ours"), OSError(28, "No space left on device")):

        def opening(failure: Exception = failure) -> ResultSink:
            raise failure

        recorder = ResultsWriter(opening, "out.csv")
        recorder.record(result(1))
        recorder.record(result(2, final=False))
        recorder.prepare()
        await recorder.prepared()
        assert recorder.fault is not None
        recorder.record(result(3))
        recorder.close()


async def test_without_a_results_file_nothing_is_buffered() -> None:
    recorder = ResultsWriter(None, None)
    recorder.prepare()
    await recorder.prepared()
    for number in range(results_writer.HELD_MAX + 1):
        recorder.record(result(number, final=number % 2 > 0))
    assert not recorder.is_full
    recorder.close()
    assert recorder.fault is None
