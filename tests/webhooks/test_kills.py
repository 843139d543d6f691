"""A killed receiver loses no confirmed event. The long run is `python -m benchmarks webhooks`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.webhooks import killed


async def test_answered_events_are_handled_and_repeats_are_counted(tmp_path: Path) -> None:
    run = await killed(2_000, kills=3, folder=tmp_path)
    assert (run.sent, run.distinct, run.unhandled) == (2_000, 1_400, 0)
    assert run.possibly_duplicated <= run.stats.possibly_duplicated
    assert (run.stats.handled, run.stats.waiting, run.stats.parked, run.stats.failed) == (1_400, 0, 0, 0)
    # A kill can lose an answer; then the sender repeats the event.
    assert run.stats.received - run.stats.duplicates == 1_400
    assert run.stats.duplicates >= 600
