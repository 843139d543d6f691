"""Programs in three languages make every call against the sandbox and print the results."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import pytest

from truecaller_async.sandbox import Sandbox

PROGRAMS = Path(__file__).parent / "programs"
TIMEOUT_SECONDS = 60

INTERPRETERS = {".mjs": shutil.which("node"), ".php": shutil.which("php"), ".py": sys.executable}
"""The interpreter of each suffix; None if it is not installed."""

EXPECTED_OUTPUT = """\
number 120000486562997
test number 8613912345678
caller 8823412XXX
call abc123-xyz789
live true
key Round trip
keys 2
revoked API key revoked.
"""


async def run(suffix: str, variables: dict[str, str]) -> tuple[int | None, str, str]:
    """Return the exit code, the output and the error output of the program with this suffix."""
    interpreter = INTERPRETERS[suffix]
    if interpreter is None:
        pytest.skip(f"there is no interpreter for {suffix} on this machine")
    process = await asyncio.create_subprocess_exec(
        interpreter,
        str(PROGRAMS / f"round_trip{suffix}"),
        env={**os.environ, **variables},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(TIMEOUT_SECONDS):
        out, errors = await process.communicate()
    return process.returncode, out.decode(), errors.decode()


@pytest.mark.parametrize("suffix", INTERPRETERS)
async def test_program_in_any_language_makes_every_call(suffix: str) -> None:
    async with await Sandbox.start() as sandbox:
        code, out, errors = await run(suffix, sandbox.environment())
        assert (code, errors, out) == (0, "", EXPECTED_OUTPUT)
        assert dict(sandbox.trustcaller.requests) == {200: 7, 201: 1}


async def test_program_with_a_wrong_token_gets_the_error() -> None:
    async with await Sandbox.start() as sandbox:
        code, _, errors = await run(".py", sandbox.environment() | {"TRUSTCALLER_TOKEN": "6|another"})
        assert code != 0
        assert "401" in errors
