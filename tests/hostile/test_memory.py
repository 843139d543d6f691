"""An answer that is too large is never kept: measured by the resident set of a process.

The client is a separate process; the sandbox, which only announces so much data, is here.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from truecaller_async.sandbox import SPEEDS, Fault, FaultPlan, Sandbox, SandboxSettings

MIB_IN_KB = 1024
STATUS = Path("/proc/self/status")

CHILD = """
import asyncio, json, os
from datetime import datetime, timedelta, UTC
from truecaller_async import CallRecord, NO_RETRY, TruecallerClient, TruecallerError

def kb(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

def sockets():
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.path.islink(link) and os.readlink(link).startswith("socket:") for link in links)

async def main():
    start = datetime.now(UTC)
    record = CallRecord("911234500001", "919234500001", start, start + timedelta(hours=1))
    async with TruecallerClient.from_env(retry=NO_RETRY) as client:
        calls = {
            "labels": client.labels.list,
            "status": lambda: client.batches.status("b-1"),
            "submit": lambda: client.batches.submit([record]),
        }
        try:
            await client.numbers.list()
        except TruecallerError:
            pass
        told = {}
        for name, call in calls.items():
            before, open_before = kb("VmRSS"), sockets()
            try:
                await call()
                told[name] = "an answer", 0, 0
            except TruecallerError as error:
                told[name] = type(error).__name__, kb("VmHWM") - before, sockets() - open_before
        print(json.dumps(told))

asyncio.run(main())
"""


@pytest.mark.fault("F29")
@pytest.mark.skipif(not STATUS.exists(), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("ending", ["huge", "endless", "bomb"])
async def test_oversized_answer_costs_less_than_16_mib_and_its_connection(ending: str) -> None:
    struck = tuple(Fault(call=call, do=("apply", ending)) for call in ("labels", "batch.status", "batch.submit"))
    settings = SandboxSettings(faults=FaultPlan(struck), limits=SPEEDS["off"])
    async with await Sandbox.start(settings) as sandbox:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CHILD, stdout=asyncio.subprocess.PIPE, env={**os.environ, **sandbox.environment()}
        )
        told, _ = await child.communicate()
        assert {call: sum(done.values()) for call, done in sandbox.stats().faults.items()} == {
            "labels": 1,
            "batch.status": 1,
            "batch.submit": 1,
        }
    for kind, peak, left_open in json.loads(told).values():
        assert kind == "DecodeError"
        assert peak < 16 * MIB_IN_KB
        assert left_open < 1
