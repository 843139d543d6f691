"""The examples run as they stand, against a sandbox on a real socket."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("push_one.py", "dial: success"),
        ("push_one.py", "Not a Truecaller user"),
        ("campaign.py", "delivered=1920"),
        ("blocking.py", "push: success"),
        ("blocking.py", "delivered=480"),
    ],
)
async def test_an_example_runs(name: str, said: str) -> None:
    settings = SandboxSettings(limits=SPEEDS["fast"], resolve_after=0.5)
    async with await Sandbox.start(settings) as sandbox:
        known = {"TRUECALLER_SANDBOX_LABEL_ID": settings.labels[0].id, **sandbox.environment()}
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(EXAMPLES / name), env={**os.environ, **known}, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert said in out.decode()
