"""The Python of the README runs as it is printed, block after block in one session, as at an asyncio prompt."""

from __future__ import annotations

import ast
import asyncio
import codeop
import os
import re
import sys
from pathlib import Path

import pytest

from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

README = Path(__file__).parents[2] / "README.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

PROMPT = """
import ast, asyncio, inspect, sys, types

async def run(block):
    made = types.FunctionType(compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), session)()
    if inspect.isawaitable(made):
        await made

session = {"__name__": "__main__"}
with asyncio.Runner() as runner:
    for block in sys.stdin.read().split("\\0"):
        runner.run(run(block))
"""


def blocks() -> list[str]:
    return BLOCK.findall(README.read_text("utf-8"))


def test_every_block_is_python() -> None:
    assert len(blocks()) >= 5
    for block in blocks():
        compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


@pytest.mark.parametrize("block", blocks())
def test_a_block_can_be_pasted_at_the_prompt_line_by_line(block: str) -> None:
    """A prompt takes what is complete. A line that ends an indented block without an empty one is an error there."""
    compiler = codeop.CommandCompiler()
    compiler.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    waiting: list[str] = []
    for line in [*block.splitlines(), ""]:
        waiting.append(line)
        if compiler("\n".join(waiting)) is not None:
            waiting.clear()
    assert waiting == []


async def test_the_blocks_run_one_after_the_other(tmp_path: Path) -> None:
    settings = SandboxSettings(limits=SPEEDS["fast"], resolve_after=0.2, list_after=0.2)
    (tmp_path / "calls.csv").write_text("caller,receiver,starts_at,ends_at\n", "utf-8")
    async with await Sandbox.start(settings) as sandbox:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROMPT,
            cwd=tmp_path,
            env={**os.environ, **sandbox.environment()},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, faults = await process.communicate("\0".join(blocks()).encode())
        requests = sandbox.stats().requests
    assert (process.returncode, faults.decode()) == (0, "")
    said = out.decode()
    assert "success" in said
    assert "Harbour Savings Bank" in said
    assert "pending 1" in said
    assert "\nfeature_set_id " in said
    assert "\npage " in said
    assert "\n200 opened" in said
    assert "12345 True True" in said
    assert {"push", "submit", "status", "labels", "feature_sets", "numbers"} <= requests.keys()
