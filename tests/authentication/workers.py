"""Processes that share one state file: children that are real clients of a server on a socket.

An order has the `environment` of the server, the `state` file and a `folder`. The child pushes record after record,
until it is killed or has pushed as many as the order says (`pushes`). An order for a `herd` forks so many workers at
once; each leaves a file with its result, and keeps its token until all of them have left one.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import truecaller_async.tokens.sqlite_store  # noqa: F401
from tests.crash.forker import serve
from truecaller_async import CallRecord, Limits, TokenBudgetExhausted, TruecallerClient

LIMITS = Limits.documented().replace(token=(1000, 0.1))
"""A window so short that a token of a killed process is free at once; ten mints in half an hour, as documented."""

PUSHED, NO_TOKEN = "pushed", "no token"
WAIT_MAX_SECONDS = 20.0


def work(order: Mapping[str, Any]) -> int:
    """Run one child."""
    if not order.get("herd"):
        asyncio.run(_push(order, str(os.getpid()), wait_for=0))
        return 0
    workers = [_fork(order, str(number)) for number in range(order["herd"])]
    return max(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers)


def _fork(order: Mapping[str, Any], name: str) -> int:
    worker = os.fork()
    if worker:
        return worker
    code = 1
    try:
        asyncio.run(_push(order, name, wait_for=order["herd"]))
        code = 0
    finally:
        os._exit(code)


async def _push(order: Mapping[str, Any], name: str, *, wait_for: int) -> None:
    environment = {**order["environment"], "TRUECALLER_API_KEY": order["key"]}
    client = TruecallerClient.from_env(environment, state=f"sqlite:///{order['state']}", limits=LIMITS)
    folder = Path(order["folder"])
    async with client:
        try:
            for number in range(order["pushes"]):
                await client.calls.push(_record(number))
            (folder / name).write_text(PUSHED)
        except TokenBudgetExhausted:
            (folder / name).write_text(NO_TOKEN)
        await asyncio.to_thread(_wait_for, wait_for, folder)


def _wait_for(count: int, folder: Path) -> None:
    """Wait until so many workers have left their file."""
    end = time.monotonic() + WAIT_MAX_SECONDS
    while len(list(folder.iterdir())) < count and time.monotonic() < end:
        time.sleep(0.01)


def _record(number: int) -> CallRecord:
    now = int(time.time() * 1000)
    return CallRecord(
        caller="911234567898",
        receiver=f"91980{number:06d}0",
        starts_at=now,
        ends_at=now + 3_600_000,
        reason="Calling you for KYC",
    )


if __name__ == "__main__":
    serve(work)
