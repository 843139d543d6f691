"""A loop blocked by user code (F59), over real sockets: the answers arrive long before the loop runs.

The timeouts are small, so that the block is far longer than any timeout.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from tests.campaign.world import records
from tests.hostile_process.turns import make_batches_small
from truecaller_async import CampaignOptions, CampaignStream, Limits, PollPolicy, Timeouts, TruecallerClient
from truecaller_async.sandbox import Fault, FaultPlan, Sandbox, SandboxSettings

BATCH = 5
ROWS = 150
PAUSE = 1.5
READ = 0.4
PATIENCE = 30.0
"""Seconds after which a server that does not start or end is a failure."""

LIMITS = Limits.documented().replace(batch=(30, 1.0))
LATE = FaultPlan((Fault(call="batch.submit", do=("apply", "delay:0.15")),))
"""Delay every answer to a batch, so that some batches are always in flight."""

OPTIONS = CampaignOptions("hold", linger=0.05, poll=PollPolicy(first=0.1))


@pytest.fixture(name="apart")
def _apart() -> Iterator[Sandbox]:
    """Run a sandbox on its own loop in another thread, which is not blocked."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sandbox")
    thread.start()
    starting = Sandbox.start(SandboxSettings(limits=LIMITS, resolve_after=0.1, faults=LATE))
    sandbox = asyncio.run_coroutine_threadsafe(starting, loop).result(PATIENCE)
    yield sandbox
    asyncio.run_coroutine_threadsafe(sandbox.aclose(), loop).result(PATIENCE)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE)
    loop.close()


class Holder:
    """Blocks the loop once: when some batches are with the server and none of their answers is here."""

    def __init__(self, stream: CampaignStream, sandbox: Sandbox) -> None:
        self._stream = stream
        self._sandbox = sandbox
        self.in_flight = 0

    def look(self) -> None:
        """Block the loop now, or a little later."""
        taken, sent = self._sandbox.stats().records_applied, self._stream.progress.sent
        if taken - sent < 2 * BATCH or sent < 4 * BATCH:
            asyncio.get_running_loop().call_later(0.005, self.look)
        else:
            self.in_flight = self._stream.progress.in_flight
            time.sleep(PAUSE)


@pytest.mark.fault("F59")
@pytest.mark.parametrize("connect", [10.0, READ])
async def test_answers_received_during_a_blocked_loop_are_read(
    apart: Sandbox, monkeypatch: pytest.MonkeyPatch, connect: float
) -> None:
    make_batches_small(monkeypatch, BATCH)
    timeouts = Timeouts(connect=connect, read=READ)
    client = TruecallerClient.from_env(apart.environment(), timeouts=timeouts, max_tokens=1, limits=LIMITS)
    async with client, client.push_many(records(ROWS, starts=time.time()), options=OPTIONS) as stream:
        holder = Holder(stream, apart)
        holder.look()
        async for _ in stream:
            pass
    assert holder.in_flight >= 2 * BATCH
    assert (stream.summary.delivered, stream.summary.unknown) == (ROWS, 0)
    stats = apart.stats()
    assert (stats.refused, stats.violations) == (0, {})
    assert set(stats.duplicates.values()) <= {0}
