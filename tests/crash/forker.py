"""Fork processes that start fast, and kill them at a chosen moment.

Algorithm:
    Importing the library takes about a second, too long for a thousand processes. So a `ProcessForker` is a process
    that has imported everything. For each order it forks a child that does the work, kills the child after a given
    time or attaches a tracer before the work starts, and reports how the child ended. Orders and reports are lines of
    JSON. The output of a child goes to the log that its order names.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from ctypes import CDLL, c_ulong
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import attrs

REPOSITORY = Path(__file__).parents[2]
EXCEPTION_EXIT_CODE = 70
"""The exit code of a child whose work raised an exception."""
TIMEOUT_SECONDS = 60.0
"""A child that runs longer is killed and reported as hung."""
PR_SET_PTRACER = 0x59616D61
ANY_PROCESS = c_ulong(-1).value


@attrs.frozen
class ProcessEnd:
    """The end of a process."""

    code: int
    """Its exit code, or minus the number of the signal that ended it."""
    lived: float
    """Its lifetime, in seconds."""
    hung: bool = False
    """Whether it was killed because it did not end in `TIMEOUT_SECONDS`."""

    @property
    def killed(self) -> bool:
        """Return whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of this process without settings of the library, and with these variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRUECALLER_", "COV_"))}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1", **variables}


class ProcessForker:
    """A process that forks children. Use it in `with`.

    Args:
        module: The module that it runs; it calls `serve`.
    """

    def __init__(self, module: str) -> None:
        self._module = module

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment({}),
            cwd=REPOSITORY,
            text=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def run(
        self, order: Mapping[str, Any], log: Path, *, life: float | None = None, tracer: Sequence[str] = ()
    ) -> ProcessEnd:
        """Run one child and return how it ended.

        Args:
            order: The argument of the work.
            log: The file for its output.
            life: Kill it after this many seconds; None is never.
            tracer: A command that is attached to it first, with `-p` and its process id.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        whole = {"order": order, "log": str(log), "life": life, "tracer": list(tracer)}
        self._process.stdin.write(json.dumps(whole) + "\n")
        self._process.stdin.flush()
        return ProcessEnd(**json.loads(self._process.stdout.readline()))


def serve(work: Callable[[Mapping[str, Any]], int]) -> None:
    """Fork a child for each order from standard input; `work` returns the exit code of the child."""
    gc.collect()
    gc.freeze()
    while line := sys.stdin.readline():
        whole = json.loads(line)
        end = _fork_child(work, whole)
        sys.stdout.write(json.dumps(attrs.asdict(end)) + "\n")
        sys.stdout.flush()


def _fork_child(work: Callable[[Mapping[str, Any]], int], whole: Mapping[str, Any]) -> ProcessEnd:
    start_reader, start_writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(start_writer)
        _run_child(work, whole, start_reader)
    os.close(start_reader)
    tracer = _attach_tracer([*whole["tracer"], "-p", str(child)], child) if whole["tracer"] else None
    os.write(start_writer, b"!")  # the tracer is attached: start the work
    os.close(start_writer)
    end = _wait_for_end(child, whole["life"])
    if tracer is not None:
        tracer.wait()
    return end


def _run_child(work: Callable[[Mapping[str, Any]], int], whole: Mapping[str, Any], start_reader: int) -> None:
    # In the child. It never returns.
    code = EXCEPTION_EXIT_CODE
    try:
        log = os.open(whole["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if whole["tracer"]:
            CDLL(None).prctl(PR_SET_PTRACER, c_ulong(ANY_PROCESS), 0, 0, 0)
        os.read(start_reader, 1)
        code = work(whole["order"])
    except BaseException:  # noqa: BLE001 - a child of a fork must not go on in its parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _attach_tracer(command: Sequence[str], child: int) -> subprocess.Popen[bytes]:
    """Start the tracer, and return it when it is attached to the child."""
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603 - strace
    status = Path(f"/proc/{child}/status")
    while "TracerPid:\t0\n" in status.read_text():
        if tracer.poll() is not None:
            raise RuntimeError("strace could not attach")
        time.sleep(0.0005)
    return tracer


def _wait_for_end(child: int, life: float | None) -> ProcessEnd:
    start = time.monotonic()
    deadline = start + (TIMEOUT_SECONDS if life is None else life)
    killed = False
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        now = time.monotonic()
        if pid:
            return ProcessEnd(os.waitstatus_to_exitcode(status), now - start, killed and life is None)
        if now >= deadline and not killed:
            os.kill(child, signal.SIGKILL)
            killed = True
        time.sleep(0.0005)
