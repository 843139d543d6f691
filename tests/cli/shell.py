"""Run the command line as a separate process, against a sandbox on a real socket."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from click.testing import CliRunner

from truecaller_async.cli.app import app

REPOSITORY = Path(__file__).parents[2]
CALLER = "911140001234"
REASON = "Calling about your delivery"


@attrs.frozen
class Finished:
    """Exit code and output of a command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def summary(self) -> dict[str, Any]:
        """Return the last JSON event on stdout, the summary."""
        last: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        assert last["event"] == "summary"
        return last


def environment(folder: Path, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a command: its state in `folder`, and no other TRUECALLER_ variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRUECALLER_", "COV_"))}
    fixed = {"XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1"}
    return {**kept, **fixed, **(variables or {})}


async def started(*arguments: str, env: Mapping[str, str], folder: Path) -> Process:
    """Start a command."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "truecaller_async.cli",
        *arguments,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=env,
        cwd=folder,
    )


async def finished(process: Process, stdin: bytes = b"") -> Finished:
    """Write to standard input, wait for the end, and return the rest of the output."""
    stdout, stderr = await process.communicate(stdin)
    assert process.returncode is not None
    return Finished(process.returncode, stdout.decode(), stderr.decode())


async def line_with(stream: asyncio.StreamReader | None, text: str) -> str:
    """Read lines until one contains the text, and return it."""
    assert stream is not None
    while line := (await stream.readline()).decode():
        if text in line:
            return line
    raise AssertionError(f"the command ended without {text!r}")


class Shell:
    """Runs commands in one folder with one account: `run` in a process, `call` in a thread."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = environment(folder, variables)

    async def start(self, *arguments: str, **variables: str) -> Process:
        return await started(*arguments, env={**self.env, **variables}, folder=self.folder)

    async def run(self, *arguments: str, **variables: str) -> Finished:
        return await finished(await self.start(*arguments, **variables))

    async def call(self, *arguments: str, stdin: str | bytes | None = None, **variables: str | None) -> Finished:
        """Run a command in a thread, which is faster than a process; None unsets a variable."""
        unset = dict.fromkeys(name for name in os.environ if name.startswith("TRUECALLER_"))
        runner = CliRunner(env={**unset, **self.env, "NO_COLOR": "1", **variables})
        result = await asyncio.to_thread(runner.invoke, app, arguments, stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return Finished(result.exit_code, result.stdout, result.stderr)

    def file(self, name: str, content: str | bytes) -> str:
        """Write a file in the folder, and return its path."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)


def receiver(number: int, ending: int = 0) -> str:
    """Return a receiver; its ending selects the outcome in the sandbox, 0 is delivered."""
    return f"9198{number:06d}{ending:02d}"


def write_rows(path: Path, header: str, rows: Iterable[Iterable[object]]) -> Path:
    """Write a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header.split(","))
        writer.writerows(rows)
    return path


def read_results(path: Path) -> dict[int, dict[str, str]]:
    """Return the lines of a results file by row; fail if a row occurs twice."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    results = {int(line["row"]): line for line in lines}
    assert len(results) == len(lines)
    return results


OUTCOMES = ("delivered", "failed", "invalid", "expired", "duplicate", "unknown", "unsent")


def adds_up(summary: Mapping[str, Any]) -> bool:
    """Return whether `read` is the sum of the outcomes."""
    return bool(summary["read"] == sum(summary[outcome] for outcome in OUTCOMES))
