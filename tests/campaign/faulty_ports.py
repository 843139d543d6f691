"""Ports that fail at one chosen step, around a small campaign on virtual time.

A step is each call of a port, each point in it after an `await`, and each commit. A first run without a fault counts
the steps; then each of them fails in a run of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs

from tests.campaign.durable_memory import DurableMemory
from tests.campaign.world import LABEL, SandboxTransport, World, record
from tests.throttling.gateway import REFUSED_TOKEN, throttled
from tests.virtual import SwiftLoop
from truecaller_async import (
    CallRecord,
    CampaignOptions,
    CampaignStream,
    PollPolicy,
    RecordResult,
    ResponseLost,
    Timeouts,
)
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.startup.start import CampaignRequest
from truecaller_async.models import Answer, Request, Secret, Token
from truecaller_async.models.journal_entries import JournalEntry, RowsRead
from truecaller_async.models.tokens import SentRequest
from truecaller_async.ports import Write
from truecaller_async.sandbox import SandboxState
from truecaller_async.tokens import MemoryTokenStore

ROWS = 30
REJECTED = 3
"""Rows that are a duplicate, bad, or rejected by the server."""
STRANGE = "11111111-2222-4333-8444-555555555555"
"""A label that the account does not have."""
RUN_SECONDS_MAX = 900.0
OPTIONS = CampaignOptions(linger=0.2, poll=PollPolicy(first=1.0, cap=4.0, deadline=200.0))


class Defect(RuntimeError):
    """An error that no port may raise."""


@attrs.define
class Steps:
    """Counts the steps of one port, and raises an error at one of them."""

    port: str
    """The port that fails: "journal", "store", "transport", "source" or "observer"."""
    error: Callable[[], BaseException] = Defect
    """Makes the error."""
    fails_at: int = 0
    """Number of the step that fails; 0: none."""
    count: int = 0
    """Steps up to now."""
    raised: BaseException | None = None
    """The error that was raised."""

    def call(self, port: str) -> None:
        """Count a call that does not wait. It cannot be cancelled."""
        if self.error is not asyncio.CancelledError:
            self.step(port)

    def step(self, port: str) -> None:
        """Count a step of a port; raise the error if it is the chosen one."""
        if port != self.port:
            return
        self.count += 1
        if self.count == self.fails_at:
            self.raised = self.error()
            raise self.raised

    async def wait(self, port: str, seconds: float = 0.001) -> None:
        """Make a step, wait, and make another one."""
        self.step(port)
        await asyncio.sleep(seconds)
        self.step(port)


class FaultyJournal:
    """The `Journal` port. A commit takes `commit_seconds`."""

    resumable = True

    def __init__(self, steps: Steps, disk: DurableMemory, commit_seconds: float = 0.005) -> None:
        self._steps = steps
        self.commit_seconds = commit_seconds
        self._disk = disk
        self._failed: BaseException | None = None
        self._waiting: deque[tuple[Sequence[JournalEntry], asyncio.Future[None]]] = deque()

    async def open(self, *, is_new: bool) -> CampaignState:
        self._steps.step("journal")
        return await self._disk.open(is_new=is_new)

    def append(self, entries: Sequence[JournalEntry], changed: Iterable[CampaignBatch]) -> asyncio.Future[None]:
        self._steps.call("journal")
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((list(entries), committed))
        asyncio.get_running_loop().call_later(self.commit_seconds, self._commit_next)
        return committed

    def _commit_next(self) -> None:
        entries, committed = self._waiting.popleft()  # timers of one moment fire in any order
        assert not committed.done(), "a caller has cancelled a write"
        try:
            if self._failed is None:
                self._steps.step("journal")
        except asyncio.CancelledError as error:
            self._failed = error
        except Exception as error:  # noqa: BLE001 - the failure of this commit, and of all later ones
            self._failed = error
        if self._failed is None:
            self._disk.store(entries)
            committed.set_result(None)
        elif isinstance(self._failed, asyncio.CancelledError):
            committed.cancel()
        else:
            committed.set_exception(self._failed)

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        await self._steps.wait("journal")
        return await self._disk.read_blocks(after, limit)

    async def aclose(self) -> None:
        if self._waiting:
            await asyncio.wait([self._waiting[-1][1]])
        self._disk.abandon()
        await self._steps.wait("journal")


class FaultyStore(MemoryTokenStore):
    """The `TokenStore` port. An operation takes 1 ms."""

    def __init__(self, steps: Steps) -> None:
        super().__init__()
        self._steps = steps

    async def adopt(self, now: float) -> Sequence[Token]:
        await self._steps.wait("store")
        return await super().adopt(now)

    async def add(self, token: Token) -> None:
        await self._steps.wait("store")
        await super().add(token)

    async def discard(self, token_id: str) -> None:
        await self._steps.wait("store")
        await super().discard(token_id)

    async def claim_mint(self, limit: int, per: float, now: float) -> float:
        await self._steps.wait("store")
        return await super().claim_mint(limit, per, now)

    async def refund_mint(self, claimed_at: float) -> None:
        await self._steps.wait("store")
        await super().refund_mint(claimed_at)

    def record_sent_request(self, request: SentRequest) -> asyncio.Task[None]:  # type: ignore[override]
        self._steps.call("store")
        return asyncio.get_running_loop().create_task(self._steps.wait("store"))

    def record_request_end(self, request: SentRequest, counts_at: float | None) -> None:
        self._steps.call("store")


@attrs.define
class FaultyTransport:
    """The `Transport` port, in front of that of the world."""

    inner: SandboxTransport
    steps: Steps
    submits: int = 0

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        self.steps.step("transport")
        self.submits += request.call == "submit"
        answer = await self._answer(self.submits if request.call == "submit" else 0, request, timeouts)
        self.steps.step("transport")
        return answer

    async def _answer(self, number: int, request: Request, timeouts: Timeouts) -> Answer:
        """Refuse the token of the first batch, lose the answer of the fourth, throttle the sixth."""
        if number in (1, 6):
            await asyncio.sleep(0.01)
            return REFUSED_TOKEN if number == 1 else throttled("1")
        answer = await self.inner.send(request, timeouts)
        if number == 4:
            raise ResponseLost("the connection broke")
        return answer

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], max_bytes: int
    ) -> Answer:
        raise AssertionError("no campaign downloads a file")

    async def aclose(self) -> None:
        """Do nothing."""


class FaultyObserver:
    """The `Observer` port."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        self._steps.step("observer")

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        self._steps.step("observer")


def rows() -> list[CallRecord]:
    """Return good rows, one that the server rejects, a duplicate, a bad row, and two of one pair."""
    made = [record(number, label_id=STRANGE if number == 10 else LABEL) for number in range(1, ROWS - 2)]
    return [*made, made[0], record(40, reason="short"), record(2, reason="The newer word")]


async def slow_rows(steps: Steps) -> AsyncIterator[CallRecord]:
    """Yield the rows; every seventh after a pause."""
    try:
        for number, row in enumerate(rows()):
            if number % 7 == 0:
                await steps.wait("source", 0.05)
            yield row
    finally:
        steps.step("source")


@attrs.define
class RunEnd:
    """The results of one run, and its fault."""

    results: list[RecordResult]
    fault: BaseException | None
    stream: CampaignStream


def world_with(steps: Steps, state: SandboxState | None = None) -> World:
    """Return a world whose ports make these steps."""
    world = World(state=state, latency=(0.01, 0.02), observer=FaultyObserver(steps))
    world.client._shared.executor._transport = FaultyTransport(world.transport, steps)
    world.client._shared.pool._state.store = FaultyStore(steps)
    return world


async def run_to_end(
    world: World, steps: Steps, disk: DurableMemory, source: object, options: CampaignOptions = OPTIONS
) -> RunEnd:
    """Run a campaign with these ports until its end, new or resumed."""
    resumed = disk.state.started is not None
    journal = FaultyJournal(steps, disk)
    stream = CampaignStream(
        CampaignRequest(
            world.client._campaign_deps, source, None if resumed else options, lambda: journal, resumed=resumed
        )
    )
    ending = RunEnd([], None, stream)
    async with world.client:
        try:
            async with stream:
                async for result in stream:
                    ending.results.append(result)
        except asyncio.CancelledError as error:
            ending.fault = error
        except Exception as error:  # noqa: BLE001 - whatever it was, the test looks at it
            ending.fault = error
    return ending


class WatchedLoop(SwiftLoop):
    """A virtual loop that keeps what asyncio reports, such as an exception that was never retrieved."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__(start)
        self.reports: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.reports.append(context))
