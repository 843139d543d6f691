"""Run a sandbox on its own event loop in another thread: a blocking test would block a shared loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping

import attrs
import pytest

from truecaller_async import CampaignOptions, PollPolicy
from truecaller_async.blocking import TruecallerClient
from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings, Stats, TruthEntry

SERVER_TIMEOUT_SECONDS = 30.0
"""The test fails if the server takes longer to start or to stop."""

OPTIONS = CampaignOptions(linger=0.02, poll=PollPolicy(first=0.05))
SETTINGS = SandboxSettings(limits=SPEEDS["off"], resolve_after=0.05)


@attrs.frozen
class Served:
    """A running sandbox. Its statistics are readable at any time."""

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
    sandbox = asyncio.run_coroutine_threadsafe(Sandbox.start(SETTINGS), loop).result(SERVER_TIMEOUT_SECONDS)
    yield Served(sandbox)
    asyncio.run_coroutine_threadsafe(sandbox.aclose(), loop).result(SERVER_TIMEOUT_SECONDS)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(SERVER_TIMEOUT_SECONDS)
    loop.close()


@pytest.fixture(name="client")
def _client(served: Served) -> Iterator[TruecallerClient]:
    with TruecallerClient.from_env(served.environment) as client:
        yield client
