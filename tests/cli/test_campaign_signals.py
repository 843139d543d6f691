"""Ctrl-C during a run: the summary is complete, no request in flight is lost, and the exit code is right.

Here the journal is in memory, so the results file has every row. `test_campaign_resume` has the other journals.
"""

from __future__ import annotations

from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

from truecaller_async.options import Limits
from truecaller_async.sandbox import Sandbox, SandboxSettings

from .shell import CALLER, REASON, Finished, Shell, adds_up, finished, line_with, read_results, receiver, write_rows

ROWS = 20_000
SLOW = Limits.documented().replace(batch=(4, 2.0))


@pytest.fixture(params=[0.1])
async def slow(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    """Yield a sandbox with a limit of two batches per second; a test sends forty."""
    settings = SandboxSettings(limits=SLOW, resolve_after=request.param)
    async with await Sandbox.start(settings) as sandbox:
        yield sandbox


async def sending(sandbox: Sandbox, folder: Path, *options: str) -> Process:
    """Start a campaign, and wait until it sends."""
    path = write_rows(
        folder / "long.csv", "caller,receiver,reason", ((CALLER, receiver(n), REASON) for n in range(ROWS))
    )
    shell = Shell(folder, sandbox.environment())
    process = await shell.start(
        "campaign", "run", str(path), "--tokens", "1", "--journal", "memory:", "--json", *options
    )
    await line_with(process.stdout, '"event": "progress"')
    assert sandbox.stats().batches > 0
    return process


def delivered(folder: Path) -> set[int]:
    return {row for row, line in read_results(folder / "out.csv").items() if line["outcome"] == "delivered"}


def applied(sandbox: Sandbox) -> set[str | None]:
    return {entry.receiver for entry in sandbox.state.truth(0, ROWS)}


def check_results(ended: Finished, sandbox: Sandbox, folder: Path) -> None:
    summary = ended.summary
    assert adds_up(summary)
    results = read_results(folder / "out.csv")
    assert len(results) == summary["read"]
    sent = {receiver(row - 1) for row, line in results.items() if line["outcome"] != "unsent"}
    assert sent == applied(sandbox)
    assert summary["unsent"] == summary["read"] - len(sent) > 0


@pytest.mark.fault("F57")
@pytest.mark.parametrize(("stop", "code"), [(SIGINT, 130), (SIGTERM, 143)])
async def test_first_signal_finishes_requests_in_flight(
    slow: Sandbox, tmp_path: Path, stop: Signals, code: int
) -> None:
    process = await sending(slow, tmp_path, "--results", "out.csv")
    process.send_signal(stop)
    ended = await finished(process)
    assert ended.code == code
    check_results(ended, slow, tmp_path)
    assert ended.summary["unknown"] == 0
    assert {receiver(row - 1) for row in delivered(tmp_path)} == applied(slow)
    assert f"Stopped by {stop.name}." in ended.stderr
    assert "marked `unsent` in out.csv" in ended.stderr
    assert ended.summary["journal"] is None
    assert ended.stderr.splitlines()[-1].startswith("The campaign cannot be resumed")


@pytest.mark.fault("F57")
@pytest.mark.parametrize("slow", [3600.0], indirect=True)
async def test_second_signal_stops_waiting_for_final_outcomes(slow: Sandbox, tmp_path: Path) -> None:
    process = await sending(slow, tmp_path, "--results", "out.csv")
    process.send_signal(SIGINT)
    await line_with(process.stderr, "Stopping: nothing new is sent")
    process.send_signal(SIGINT)
    ended = await finished(process)
    assert ended.code == 130
    assert "Stopping now" in ended.stderr
    check_results(ended, slow, tmp_path)
    assert ended.summary["unknown"] == len(applied(slow))
    assert "marked `unknown` in out.csv" in ended.stderr


async def test_missing_results_file_warns_that_rows_are_not_listed(slow: Sandbox, tmp_path: Path) -> None:
    process = await sending(slow, tmp_path)
    process.send_signal(SIGINT)
    ended = await finished(process)
    assert ended.code == 130
    assert "--results FILE was not given" in ended.stderr
