"""A sandbox on a loop of its own in another thread, because a blocking test would hold up any loop that it shares."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping

import attrs
import pytest

from truecaller_async import CampaignOptions, PollPolicy
from truecaller_async.blocking import TruecallerClient
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings, Stats, TruthEntry

PATIENCE = 30.0
"""Seconds after which a server that does not start, or does not end, is a failure."""

OPTIONS = CampaignOptions(linger=0.02, poll=PollPolicy(first=0.05))
SETTINGS = SandboxSettings(limits=SPEEDS["off"], resolve_after=0.05)


@attrs.frozen
class Served:
    """A running sandbox. What it counted may be asked for at any time."""

    sandbox: Sandbox

    @property
    def environment(self) -> Mapping[str, str]:
        return self.sandbox.environment()

    @property
    def stats(self) -> Stats:
        return self.sandbox.stats()

    def truth(self) -> list[TruthEntry]:
        return list(self.sandbox.state.truth(0, 100_000))


@pytest.fixture(name="served")
def _served() -> Iterator[Served]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="sandbox")
    thread.start()
    sandbox = asyncio.run_coroutine_threadsafe(Sandbox.start(SETTINGS), loop).result(PATIENCE)
    yield Served(sandbox)
    asyncio.run_coroutine_threadsafe(sandbox.aclose(), loop).result(PATIENCE)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(PATIENCE)
    loop.close()


@pytest.fixture(name="client")
def _client(served: Served) -> Iterator[TruecallerClient]:
    with TruecallerClient.from_env(served.environment) as client:
        yield client
