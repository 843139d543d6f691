"""A cancellation at any moment (F58) takes effect, loses nothing and sends nothing twice.

A task can only be cancelled between two turns of the loop. So each case is played once to its end while its turns are
counted, and then again, cancelled before turn 1, turn 2, and so on. A campaign has some 180 turns; it is cancelled
before each of them, and for the other policies before every second to fifth. All runs use virtual time; the log of the
server says what was applied.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from random import Random
from typing import Any

import attrs
import pytest

from tests.campaign.crashing import Survivor
from tests.campaign.world import World, applications, record, records
from tests.hostile_process.turns import Turns, make_batches_small
from truecaller_async import (
    CampaignOptions,
    CampaignStream,
    ClientClosed,
    Outcome,
    PollPolicy,
    RecordResult,
    TruecallerClient,
)
from truecaller_async.campaign.startup.start import CampaignRequest
from truecaller_async.models import Request
from truecaller_async.models.journal_entries import RowsSettled
from truecaller_async.sandbox import Sandbox
from truecaller_async.tokens import MemoryTokenStore

ROWS = 14
BATCH = 5
AWHILE = 900.0
"""Virtual seconds after which all background work has ended."""


@attrs.define
class Played:
    """One run of a case: the turns of its task, and whether the cancellation came in time."""

    turns: int
    cancelled: bool


Case = Callable[[World], Coroutine[Any, Any, Any]]
Check = Callable[[World], Awaitable[None]]


def play(make: Callable[[], World], case: Case, check: Check, cancel_at: tuple[int, ...] = ()) -> Played:
    """Run `case` in a task of its own, cancelled or not, then `check` while the client is open; nothing may be left."""
    acts: dict[int, Callable[[], object]] = {}
    loop = Turns(acts)
    acts.update(dict.fromkeys(cancel_at, loop.cancel))

    async def main() -> Played:
        world = make()
        loop.subject = asyncio.create_task(case(world))
        await asyncio.wait([loop.subject])
        cancelled = loop.subject.cancelled()
        if not cancelled:
            loop.subject.result()
        await check(world)
        await world.client.aclose()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return Played(loop.count, cancelled)

    try:
        played = loop.run_until_complete(main())
        assert loop.timers() == []
    finally:
        loop.close()
    return played


def at_every_turn(make: Callable[[], World], case: Case, check: Check, *more: int, step: int = 1) -> int:
    """Play the case to its end, then cancel it before every turn; repeat with each step of `more`."""
    turns = play(make, case, check).turns
    for turn in range(1, turns + 1, step):
        cancel_at = (turn, *(turn + later for later in more))
        assert play(make, case, check, cancel_at).cancelled, f"the cancellation before turn {turn} was swallowed"
    return turns


@pytest.fixture
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    make_batches_small(monkeypatch, BATCH)


def second_is_lost(request: Request, count: int, dice: Random) -> str | None:
    """Lose the answer of the second batch, which the server accepted."""
    return "lost_after" if request.call == "submit" and count == 2 else None


class Campaign:
    """One campaign over two runs: cancelled in the first, resumed in the second."""

    def __init__(self, options: CampaignOptions) -> None:
        self.survivor = Survivor()
        self.options = options
        self.told: list[RecordResult] = []
        self.stream: CampaignStream | None = None

    async def live(self, world: World) -> None:
        """Read all results, in the first run and in the next."""
        resumed = self.survivor.state.started is not None
        asked = CampaignRequest(
            world.client._campaign_deps, list(records(ROWS)), self.options, lambda: self.survivor, resumed=resumed
        )
        self.stream = CampaignStream(asked)
        async with self.stream as stream:
            async for result in stream:
                self.told.append(result)

    async def check(self, world: World) -> None:
        """Check that the first run ended correctly and the second completes every row (I1 to I4)."""
        await asyncio.sleep(AWHILE)
        assert not self.survivor._is_open
        if self.stream is not None and self.stream._run is not None:
            assert self.stream.summary.adds_up
            assert self.stream.progress.finished
        await self.live(world)
        assert self.survivor.state.complete or self.options.on_ambiguous == "hold"
        self._check_words(applications(world.state))

    def _check_words(self, applied: Counter[str | None]) -> None:
        open_rows = {row for batch in self.survivor.state.open for row in batch.open_rows}
        assert self.survivor.words.keys() | open_rows == set(range(1, ROWS + 1))
        for number, row in enumerate(records(ROWS), 1):
            self._check_word(self.survivor.words.get(number), applied[row.receiver])
        said = [result.row for result in self.told if result.final]
        assert len(said) == len(set(said))

    def _check_word(self, word: RowsSettled | None, applied: int) -> None:
        hold = self.options.on_ambiguous == "hold"
        assert applied <= (1 if hold or word is None or not word.possibly_duplicated else 2)
        if word is None or word.outcome is Outcome.UNKNOWN:
            assert hold
        else:
            assert (word.outcome, applied >= 1) == (Outcome.DELIVERED, True)


@pytest.mark.fault("F58")
@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize(
    ("policy", "more", "step"),
    [("resend", (), 1), ("hold", (), 2), ("resend", (2,), 3), ("hold", (2,), 5)],
    ids=["resend", "hold", "resend, cancelled twice", "hold, cancelled twice"],
)
def test_campaign_cancelled_at_any_await_loses_nothing_and_resumes(
    policy: Any, more: tuple[int, ...], step: int
) -> None:
    options = CampaignOptions(policy, linger=0.05, poll=PollPolicy(first=0.5))
    campaigns: list[Campaign] = []

    def make() -> World:
        campaigns.append(Campaign(options))
        return World(fault=second_is_lost)

    turns = at_every_turn(
        make, lambda world: campaigns[-1].live(world), lambda world: campaigns[-1].check(world), *more, step=step
    )
    assert turns > 40


async def push(world: World) -> None:
    await world.client.calls.push(record(1))


async def pushes_again(world: World) -> None:
    """Check that the next push works, with the token that was made or is being made."""
    await world.client.calls.push(record(2))
    applied = applications(world.state)
    assert applied[record(1).receiver] <= 1
    assert applied[record(2).receiver] == 1
    assert world.transport.counts["mint"] == 1


@pytest.mark.fault("F58")
def test_push_cancelled_at_any_await_is_sent_at_most_once() -> None:
    assert at_every_turn(World, push, pushes_again) >= 6


async def pushes_again_with_what_was_made(world: World) -> None:
    """Check as `pushes_again`, but allow a second token after a long rejection."""
    await world.client.calls.push(record(2))
    assert applications(world.state)[record(2).receiver] == 1
    assert world.transport.counts["mint"] == len((await world.client.tokens.status()).tokens) <= 2


def first_push_is_refused(request: Request, count: int, dice: Random) -> str | None:
    return "429:2" if request.call == "push" and count == 1 else None


@pytest.mark.fault("F58")
def test_push_cancelled_during_a_cooldown_does_not_block_others() -> None:
    assert at_every_turn(partial(World, fault=first_push_is_refused), push, pushes_again_with_what_was_made) >= 8


async def submit_and_wait(world: World) -> None:
    batch = await world.client.batches.submit([record(1)])
    await world.client.batches.wait(batch.batch_id, timeout=60)


@pytest.mark.fault("F58")
def test_batch_wait_can_be_cancelled_at_any_await() -> None:
    assert at_every_turn(World, submit_and_wait, pushes_again) >= 10


async def make_tokens(world: World) -> None:
    await asyncio.gather(*(world.client.tokens.make() for _ in range(3)))


async def has_tokens(world: World) -> None:
    """Check that a token request that was sent continues, and that its token is in the pool."""
    await asyncio.sleep(AWHILE)
    status = await world.client.tokens.status()
    assert world.transport.counts["mint"] == len(status.tokens) == world.state.stats().mints


@pytest.mark.fault("F58")
def test_mint_cancelled_at_any_await_loses_no_token() -> None:
    assert at_every_turn(World, make_tokens, has_tokens) >= 6


class Closing(MemoryTokenStore):
    """Counts how often it is closed, and takes time to close."""

    closed = 0

    async def release_all(self, idle_since: float | None) -> None:
        await asyncio.sleep(0.1)
        await super().release_all(idle_since)

    async def aclose(self) -> None:
        await asyncio.sleep(0.1)
        self.closed += 1
        await super().aclose()


@pytest.mark.fault("F58")
def test_close_can_be_cancelled_at_any_await_and_repeated() -> None:
    stores: list[Closing] = []
    makings: list[asyncio.Task[None]] = []

    def make() -> World:
        world = World(latency=(0.5, 0.5))
        stores.append(Closing())
        makings.clear()
        world.client._shared.pool._state.store = stores[-1]
        return world

    async def close_while_a_token_is_made(world: World) -> None:
        makings.append(asyncio.create_task(push(world)))
        await asyncio.sleep(0.6)
        await world.client.aclose()

    async def is_closed(world: World) -> None:
        await world.client.aclose()
        ends = await asyncio.gather(*makings, return_exceptions=True)
        assert all(isinstance(end, ClientClosed) for end in ends)
        assert stores[-1].closed >= 1

    assert at_every_turn(make, close_while_a_token_is_made, is_closed) >= 5


@pytest.mark.fault("F58")
async def test_cancelled_push_over_a_socket_leaves_no_reusable_connection() -> None:
    """A real loop has no fixed number of turns: cancel before each turn until one comes too late."""
    rows = list(records(3, starts=time.time()))
    async with await Sandbox.start() as sandbox, TruecallerClient.from_env(sandbox.environment()) as client:
        await client.calls.push(rows[0])
        cancelled = 0
        for turns in range(60):
            pushing = asyncio.create_task(client.calls.push(rows[1]))
            for _ in range(turns):
                await asyncio.sleep(0)
            if not pushing.cancel():
                break
            with pytest.raises(asyncio.CancelledError):
                await pushing
            await client.calls.push(rows[2])
            cancelled += 1
        applied = applications(sandbox.state)
    assert applied[rows[2].receiver] == cancelled > 3
    assert applied[rows[1].receiver] <= cancelled + 1
