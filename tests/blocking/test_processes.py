"""A blocking client before and after a fork, and at interpreter exit: each test runs its own interpreter."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.blocking.conftest import SETTINGS, Served

BEGIN = f"""
import os, sys, threading, time
from truecaller_async import *
from truecaller_async.blocking import TruecallerClient
def record(number):
    now = int(time.time() * 1000)
    return CallRecord("911234567898", f"9198{{number:07d}}0", now, now + 3_600_000,
                      label_id={SETTINGS.labels[0].id!r}, reason="Calling you for KYC")
"""
IN_A_CHILD = """
def in_a_child(work):
    child = os.fork()
    if not child:
        work()
        sys.exit(0)  # not os._exit: the exit handlers of the child must run
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
"""
forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def output_of(served: Served, script: str, **environment: str) -> str:
    """Return what the script prints. It must exit with 0 and print no warning."""
    done = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", BEGIN + IN_A_CHILD + script],
        env={**os.environ, **served.environment, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def receivers(served: Served) -> set[str]:
    return {str(entry.receiver)[-3:] for entry in served.truth()}


@forking
def test_client_created_before_a_fork_works_in_both_processes(served: Served) -> None:
    script = """
client = TruecallerClient.from_env()
print(in_a_child(lambda: print(client.calls.push(record(1)).status, flush=True)))
print(client.calls.push(record(2)).status)
client.close()
"""
    assert output_of(served, script).split() == ["success", "0", "success"]
    assert receivers(served) == {"010", "020"}
    assert served.stats.mints == 2


@forking
@pytest.mark.parametrize("end", ["client.close()", "pass"])
def test_client_used_before_a_fork_gets_own_loop_thread_in_the_child(served: Served, end: str) -> None:
    script = f"""
client = TruecallerClient.from_env()
copy = client.with_options(retry=NO_RETRY)
first = client.tokens.make()
def child():
    print(client.tokens.make() not in (None, first), copy.calls.push(record(1)).status, flush=True)
    {end}
print(in_a_child(child), in_a_child(child))
for number in range(2, 9):
    print(client.calls.push(record(number)).status)
client.close()
"""
    assert output_of(served, script).split() == ["True", "success"] * 2 + ["0", "0"] + ["success"] * 7
    assert served.stats.mints == 3


@forking
def test_child_that_only_closes_or_drops_the_client_touches_nothing(served: Served) -> None:
    script = """
import gc
client = TruecallerClient.from_env()
client.calls.push(record(1))
def drop():
    global client
    del client
    gc.collect()
print(in_a_child(lambda: client.close()), in_a_child(drop), in_a_child(lambda: None))
print(client.calls.push(record(2)).status)
client.close()
"""
    assert output_of(served, script).split() == ["0", "0", "0", "success"]
    assert served.stats.mints == 1


@forking
def test_fork_in_the_middle_of_a_campaign_disturbs_neither(served: Served) -> None:
    script = """
options = CampaignOptions(linger=0.02, poll=PollPolicy(first=0.05))
with TruecallerClient.from_env() as client, client.push_many(map(record, range(1, 1201)), options=options) as results:
    rows = [next(results).row]
    print(in_a_child(lambda: print(client.calls.push(record(5000)).status, flush=True)))
    rows += [result.row for result in results]
print(len(set(rows)))
"""
    assert output_of(served, script).split() == ["success", "0", "1200"]


@forking
def test_worker_processes_use_the_client_of_their_parent(served: Served) -> None:
    script = """
import multiprocessing
client = TruecallerClient.from_env()
client.calls.push(record(1))
def work(number):
    return client.calls.push(record(number)).status
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(*pool.map(work, range(2, 12)))
client.close()
"""
    assert output_of(served, script).split() == ["success"] * 10
    assert len(served.truth()) == 11


@pytest.mark.parametrize("kept", ["client", "None"])
def test_interpreter_exit_without_close_releases_the_tokens(served: Served, tmp_path: Path, kept: str) -> None:
    state = tmp_path / "state.db"
    script = f"""
client = TruecallerClient.from_env()
print(client.calls.push(record(1)).status)
client = {kept}
"""
    assert output_of(served, script, TRUECALLER_STATE=f"sqlite:///{state}").split() == ["success"]
    with sqlite3.connect(state) as file:
        assert file.execute("SELECT count(*), count(owner), count(idle_since) FROM token").fetchone() == (1, 0, 1)
    file.close()


def test_interpreter_ends_in_the_middle_of_a_campaign(served: Served) -> None:
    script = """
client = TruecallerClient.from_env()
options = CampaignOptions(linger=0.02, poll=PollPolicy(first=0.05))
results = client.push_many(map(record, range(1, 100_000)), options=options).__enter__()
print(next(results).outcome)
"""
    assert output_of(served, script).split() == ["delivered"]


def test_interpreter_ends_although_a_source_is_stuck(served: Served) -> None:
    script = """
def stuck():
    yield record(1)
    threading.Event().wait()
client = TruecallerClient.from_env()
options = CampaignOptions(linger=0.02, poll=PollPolicy(first=0.05))
print(next(client.push_many(stuck(), options=options).__enter__()).outcome)
"""
    assert output_of(served, script).split() == ["delivered"]


def test_thread_that_outlives_the_main_one_goes_on(served: Served, tmp_path: Path) -> None:
    script = """
client = TruecallerClient.from_env()
def work():
    threading.main_thread().join()
    print(client.calls.push(record(1)).status)
threading.Thread(target=work).start()
"""
    assert output_of(served, script, TRUECALLER_STATE=f"sqlite:///{tmp_path}/state.db").split() == ["success"]


def test_error_that_ends_the_program_is_the_only_output(served: Served) -> None:
    script = """
import contextlib
with contextlib.suppress(PushRejected), TruecallerClient.from_env() as client:
    client.calls.push(record(1))
    raise PushRejected(None, "by the script")
print("ended")
"""
    assert output_of(served, script).split() == ["ended"]
