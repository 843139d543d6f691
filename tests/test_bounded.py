"""The count that each test ends with (I9) finds every kind of leak, blames the test that made it, and nobody else.

A small file of leaking tests runs in a pytest of its own, because what leaks there must not leak here.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PLUGINS = ("-p", "tests.bounded", "-p", "pytest_asyncio.plugin", "-p", "pytest_timeout", "-p", "no:cacheprovider")
needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="this system does not list descriptors")

LEAKY = """
import asyncio, gc, os, socket, sqlite3, subprocess, sys, tempfile, threading, time
from concurrent.futures import ThreadPoolExecutor
import looptime, pytest

KEPT = []

async def forever():
    await asyncio.Event().wait()

def test_thread():
    end = threading.Event()
    KEPT.append(end)
    threading.Thread(target=end.wait, name="forgotten", daemon=True).start()

def test_socket():
    KEPT.append(socket.socket())

def test_pipe():
    KEPT.append(os.pipe())

def test_file(tmp_path):
    KEPT.append(open(tmp_path / "forgotten.txt", "w"))

def test_database(tmp_path):
    db = sqlite3.connect(tmp_path / "forgotten.db")
    db.execute("CREATE TABLE it (x)")
    KEPT.append(db)

def test_child():
    KEPT.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(30)"]))

def test_unwaited_child():
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    KEPT.append(child)

async def test_task():
    KEPT.append(asyncio.create_task(forever()))
    await asyncio.sleep(0)

@pytest.fixture
async def careless():
    yield asyncio.create_task(forever())

async def test_task_of_a_fixture(careless):
    pass

def test_task_of_a_run():
    async def main():
        KEPT.append(asyncio.create_task(forever()))
    asyncio.run(main())

def test_task_of_a_virtual_loop():
    loop = looptime.new_event_loop()
    task = loop.create_task(forever())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    KEPT.append(task)

def test_task_of_an_open_loop(shared):
    KEPT.append(shared.create_task(forever()))

@pytest.fixture(scope="module")
def shared():
    loop = asyncio.new_event_loop()
    yield loop
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()

def test_open_loop():
    KEPT.append(asyncio.new_event_loop())

def test_never_awaited():
    forever()

def test_never_awaited_in_a_cycle():
    cycle = [forever()]
    cycle.append(cycle)

def test_unclosed_in_a_cycle():
    cycle = [socket.socket()]
    cycle.append(cycle)

def test_unraisable_in_a_cycle():
    class Bad:
        def __del__(self):
            raise ZeroDivisionError
    bad = Bad()
    bad.me = bad

async def test_exception_that_nobody_took():
    async def fail():
        raise ZeroDivisionError
    cycle = [asyncio.create_task(fail())]
    cycle.append(cycle)
    await asyncio.sleep(0)
    await asyncio.sleep(0)

def test_dropped_database(tmp_path):
    sqlite3.connect(tmp_path / "dropped.db").execute("CREATE TABLE it (x)")

def test_dropped_database_in_a_cycle(tmp_path):
    cycle = [sqlite3.connect(tmp_path / "dropped.db")]
    cycle.append(cycle)

def test_dropped_executor():
    ThreadPoolExecutor(1, "dropped").submit(int).result()

def test_generator_that_was_never_closed():
    async def numbers():
        yield 1
        yield 2
    async def main():
        KEPT.append(begun := numbers())
        await anext(begun)
    asyncio.run(main())
"""

SOUND = """
import asyncio, contextlib, sqlite3, threading, socket, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
import pytest

@pytest.fixture(scope="module")
def server():
    with socket.socket() as listening:
        yield listening

@pytest.fixture
async def worker():
    task = asyncio.create_task(asyncio.Event().wait())
    yield task
    task.cancel()
    await asyncio.wait([task])

async def test_sound(server, worker):
    await asyncio.to_thread(int)

def test_sound_thread_that_is_just_ending(server):
    threading.Timer(0.05, int).start()

def test_sound_database_and_executor(server):
    with contextlib.closing(sqlite3.connect(":memory:")), ThreadPoolExecutor(1) as executor:
        executor.submit(int).result()

async def test_sound_generator(server):
    async def numbers():
        yield 1
        yield 2
    async with contextlib.aclosing(numbers()) as begun:
        await anext(begun)
    to_the_end = numbers()
    assert [number async for number in to_the_end] == [1, 2]

def test_sound_child(server):
    subprocess.run(["true"], check=True)
"""

MODULE = """
import socket
import pytest

KEPT = []

@pytest.fixture(scope="module")
def careless():
    KEPT.append(socket.socket())

def test_first(careless):
    pass

def test_last(careless):
    pass
"""

EXPECTED = {
    "test_thread": "a thread: forgotten",
    "test_socket": "1 open: socket:",
    "test_pipe": "2 open: pipe:",
    "test_file": "forgotten.txt",
    "test_database": "forgotten.db",
    "test_child": "a child process: ",
    "test_unwaited_child": "ended and not waited for",
    "test_task": "a task: forever at test_leaky.py:9, when its loop was closed",
    "test_task_of_a_fixture": "a task: forever",
    "test_task_of_a_run": "a task: forever",
    "test_task_of_a_virtual_loop": "a task: forever",
    "test_task_of_an_open_loop": "a task: forever",
    "test_open_loop": "eventpoll",
    "test_never_awaited": "was never awaited",
    "test_never_awaited_in_a_cycle": "was never awaited",
    "test_unclosed_in_a_cycle": "unclosed <socket",
    "test_unraisable_in_a_cycle": "ZeroDivisionError",
    "test_exception_that_nobody_took": "Task exception was never retrieved: ZeroDivisionError()",
    "test_dropped_database": "a database that was dropped and not closed: ",
    "test_dropped_database_in_a_cycle": "a database that was dropped and not closed: ",
    "test_dropped_executor": "an executor that was dropped and not shut down: dropped",
    "test_generator_that_was_never_closed": "an async generator: test_generator_that_was_never_closed.<locals>.numbers",
}


def errors_of(folder: Path, files: Mapping[str, str], *options: str) -> dict[str, str]:
    """What a pytest of its own says of these files: the errors and failures by the name of the test."""
    for name, text in files.items():
        (folder / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(folder)]
    command += ["-o", "addopts=", *PLUGINS, *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "200", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(  # noqa: S603 - a fixed command
        [*command, *files], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    parts = re.split(r"^_+ (?:ERROR at teardown of )?(test_\w+) _+$", ended.stdout, flags=re.MULTILINE)
    assert " passed" in ended.stdout, ended.stdout + ended.stderr
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@needs_proc
def test_every_kind_of_leak_fails_its_test_and_is_named(tmp_path: Path) -> None:
    errors = errors_of(tmp_path, {"test_leaky.py": LEAKY})
    assert {name: text for name, text in EXPECTED.items() if text not in errors.get(name, "")} == {}
    assert errors.keys() == EXPECTED.keys()


@needs_proc
def test_resource_closed_in_time_and_pytest_workers_are_no_leak(tmp_path: Path) -> None:
    assert errors_of(tmp_path, {"test_sound.py": SOUND}, "-p", "xdist.plugin", "-n", "1") == {}


@needs_proc
def test_leak_of_a_module_fixture_is_found_at_its_end(tmp_path: Path) -> None:
    errors = errors_of(tmp_path, {"test_module.py": MODULE, "test_sound.py": SOUND})
    assert errors.keys() == {"test_last"}
    assert "the module left behind (I9):\n  1 open: socket:" in errors["test_last"]
