from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import sys
from pathlib import Path

import pytest

from truecaller_async.cli.commands.demo import generated
from truecaller_async.sandbox.batches.applied_posts import BY_LAST_DIGITS
from truecaller_async.sandbox.settings import SandboxSettings
from truecaller_async.validation.record_rules import preflight

from .shell import Shell, adds_up, environment

NOW = 1_800_000_000.0


def test_generated_records_are_distinct_valid_and_deliverable() -> None:
    records = list(generated(2000, SandboxSettings().labels[0].id, NOW))
    assert len({record.receiver for record in records}) == 2000
    assert not {record.receiver[-2:] for record in records} & BY_LAST_DIGITS.keys()
    assert all(preflight(record, int(NOW * 1000))[1] == () for record in records)


async def test_demo_delivers_everything_without_configuration(tmp_path: Path) -> None:
    demo = await Shell(tmp_path, {}).run("demo", "--records", "1200", "--json")
    assert demo.code == 0
    summary = demo.summary
    assert (summary["read"], summary["delivered"], summary["batches"]) == (1200, 1200, 3)
    assert adds_up(summary)
    assert summary["refused_by_sandbox"] == 0
    assert not (tmp_path / "state").exists()


async def test_demo_ends_with_the_outcome_summary(tmp_path: Path) -> None:
    demo = await Shell(tmp_path, {}).run("demo", "--records", "600")
    assert demo.code == 0
    figures = dict(line.split()[:2] for line in demo.stdout.splitlines() if len(line.split()) > 1)
    assert (figures["delivered"], figures["read"], figures["batches"]) == ("600", "600", "2")
    assert "0 requests over a limit, counted by the sandbox" in demo.stdout
    assert demo.stdout.splitlines()[-1] == "All 600 records delivered."
    assert max(map(len, demo.stdout.splitlines())) <= 80


def read_to_the_end(terminal: int) -> str:
    """Return everything that is written to a terminal until it is closed."""
    drawn = b""
    while True:
        try:
            drawn += (piece := os.read(terminal, 65536))
        except OSError:
            break
        if not piece:
            break
    return drawn.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
async def test_on_a_terminal_progress_is_drawn_there_and_summary_goes_to_stdout(tmp_path: Path) -> None:
    terminal, child = pty.openpty()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "truecaller_async.cli", "demo", "--records", "1000"),
            stdout=asyncio.subprocess.PIPE,
            stderr=child,
            env=environment(tmp_path, {"NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}),
            cwd=tmp_path,
        )
        os.close(child)
        drawing = asyncio.create_task(asyncio.to_thread(read_to_the_end, terminal))
        stdout, _ = await process.communicate()
        drawn = await drawing
    finally:
        os.close(terminal)
    assert process.returncode == 0
    assert "resolved" in drawn
    assert "1,000 of 1,000" in drawn
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", drawn), "NO_COLOR was set"
    assert "resolved" not in stdout.decode()
    assert "All 1,000 records delivered." in stdout.decode()


async def test_progress_without_a_terminal_is_plain_lines(tmp_path: Path) -> None:
    demo = await Shell(tmp_path, {}).run("demo", "--records", "600")
    assert "\x1b" not in demo.stdout + demo.stderr
    assert re.search(r"^sent 600 of 600; resolved ", demo.stderr, re.MULTILINE)


async def test_json_progress_is_separate_from_log_lines(tmp_path: Path) -> None:
    demo = await Shell(tmp_path, {}).run("demo", "--records", "600", "--json")
    events = [json.loads(line) for line in demo.stdout.splitlines()]
    assert {event["event"] for event in events[:-1]} == {"progress"}
    assert events[0]["total"] == 600
    assert "to a sandbox on" in demo.stderr
