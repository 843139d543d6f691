"""Processes that are born fast and die at a chosen moment.

To be killed a thousand times, a process must not spend a second on its imports each time. So a `Nursery` is a process
that has imported everything and done nothing: for each order it forks a child, and the child does the work. It kills
the child after so many seconds, or lets a tracer hang on to it before the work begins, and tells how it ended.

Orders and ends are lines of JSON. What a child writes goes to the log that its order names.
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
DEFECT = 70
"""The exit code of a child whose work raised."""
PATIENCE = 60.0
"""Seconds after which a child that should have ended is killed, and that is a violation of its own."""
PR_SET_PTRACER = 0x59616D61
ANYBODY = c_ulong(-1).value


@attrs.frozen
class End:
    """How a process ended. `code` is its exit code, or minus the number of the signal."""

    code: int
    lived: float
    hung: bool = False

    @property
    def killed(self) -> bool:
        """Whether SIGKILL ended it."""
        return self.code == -signal.SIGKILL


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Ours without the settings of a person who works here, and these."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRUECALLER_", "COV_"))}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONUTF8": "1", **variables}


class Nursery:
    """Forks the children of `module`, which calls `serve`. Use it in `with`."""

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

    def run(self, order: Mapping[str, Any], log: Path, *, life: float | None = None, tracer: Sequence[str] = ()) -> End:
        """One child, from its birth to its end; killed after `life` seconds. `tracer` is a command that takes a -p."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        whole = {"order": order, "log": str(log), "life": life, "tracer": list(tracer)}
        self._process.stdin.write(json.dumps(whole) + "\n")
        self._process.stdin.flush()
        return End(**json.loads(self._process.stdout.readline()))


def serve(work: Callable[[Mapping[str, Any]], int]) -> None:
    """The nursery's own process: a child for each line, until there are no more. `work` returns the exit code."""
    gc.collect()
    gc.freeze()
    while line := sys.stdin.readline():
        whole = json.loads(line)
        end = _raise_child(work, whole)
        sys.stdout.write(json.dumps(attrs.asdict(end)) + "\n")
        sys.stdout.flush()


def _raise_child(work: Callable[[Mapping[str, Any]], int], whole: Mapping[str, Any]) -> End:
    may_begin, begin = os.pipe()
    child = os.fork()
    if not child:
        os.close(begin)
        _live(work, whole, may_begin)
    os.close(may_begin)
    tracer = _attached([*whole["tracer"], "-p", str(child)], child) if whole["tracer"] else None
    os.write(begin, b"!")
    os.close(begin)
    end = _ended(child, whole["life"])
    if tracer is not None:
        tracer.wait()
    return end


def _live(work: Callable[[Mapping[str, Any]], int], whole: Mapping[str, Any], may_begin: int) -> None:
    """The child: it never returns."""
    code = DEFECT
    try:
        log = os.open(whole["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        if whole["tracer"]:
            CDLL(None).prctl(PR_SET_PTRACER, c_ulong(ANYBODY), 0, 0, 0)
        os.read(may_begin, 1)
        code = work(whole["order"])
    except BaseException:  # noqa: BLE001 - a child of a fork must not go on in its parent's code
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _attached(command: Sequence[str], child: int) -> subprocess.Popen[bytes]:
    """The tracer, once it has the child."""
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)  # noqa: S603 - strace
    status = Path(f"/proc/{child}/status")
    while "TracerPid:\t0\n" in status.read_text():
        if tracer.poll() is not None:
            raise RuntimeError("strace could not attach")
        time.sleep(0.0005)
    return tracer


def _ended(child: int, life: float | None) -> End:
    start = time.monotonic()
    deadline = start + (PATIENCE if life is None else life)
    killed = False
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        now = time.monotonic()
        if pid:
            return End(os.waitstatus_to_exitcode(status), now - start, killed and life is None)
        if now >= deadline and not killed:
            os.kill(child, signal.SIGKILL)
            killed = True
        time.sleep(0.0005)
