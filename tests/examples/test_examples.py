"""The examples run unchanged, against a sandbox on a real socket."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("push_one.py", "dial: success"),
        ("push_one.py", "Not a Truecaller user"),
        ("campaign.py", "delivered=1920"),
        ("blocking.py", "push: success"),
        ("blocking.py", "delivered=480"),
    ],
)
async def test_example_runs(name: str, output: str) -> None:
    settings = SandboxSettings(limits=SPEEDS["fast"], resolve_after=0.5)
    async with await Sandbox.start(settings) as sandbox:
        variables = {"TRUECALLER_SANDBOX_LABEL_ID": settings.labels[0].id, **sandbox.environment()}
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(EXAMPLES / name), env={**os.environ, **variables}, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert output in out.decode()


async def test_durable_campaign_example_runs_twice(tmp_path: Path) -> None:
    calls = tmp_path / "calls.csv"
    now = int(time.time() * 1000)
    rows = (f"911234567898,9198{number:08d},{now},{now + 3_600_000},Calling you for KYC\n" for number in range(600))
    calls.write_text("caller,receiver,starts_at,ends_at,reason\n" + "".join(rows), "utf-8")
    async with await Sandbox.start(SandboxSettings(limits=SPEEDS["fast"], resolve_after=0.2)) as sandbox:
        for run in (1, 2):
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(EXAMPLES / "durable_campaign.py"),
                str(calls),
                env={**os.environ, **sandbox.environment()},
                stdout=asyncio.subprocess.PIPE,
            )
            out, _ = await process.communicate()
            assert process.returncode == 0
            assert f"run {run}: 576 of 600 delivered, 0 unknown" in out.decode()
        assert sandbox.stats().records_applied == 600
