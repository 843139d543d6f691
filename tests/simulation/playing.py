"""A fate, played: process after process on one virtual clock, until every campaign has had its chance to end.

A life is one process: a client, its campaigns and single calls at once, and whatever befalls them. Where it dies, its
tasks are torn down, and only the journals, the shelves of tokens and the server go on. The last life has no ending of
its own: it finishes what the others left.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import tempfile
import warnings
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import attrs

from tests.engine.world import HOUR_MS, LABEL
from tests.simulation.borders import Annals, Doom, HesitantJournal, HesitantLimiter, HesitantStore, Hesitation, Shelves
from tests.simulation.evidence import Course, Effort, Evidence, Life, Single, applied_content, content_of
from tests.simulation.fate import Act, Fate
from tests.simulation.network import Ether, SimulatedTransport
from tests.simulation.rows import Source, rows_of
from tests.simulation.timeline import Timeline
from tests.virtual import BASE, Endless, Stuck, SwiftLoop
from truecaller_async import (
    CallRecord,
    CampaignStream,
    Timeouts,
    TruecallerClient,
    TruecallerDeprecationWarning,
    TruecallerError,
)
from truecaller_async.clock import Clock
from truecaller_async.engine import CampaignRequest
from truecaller_async.options import Credentials
from truecaller_async.resilience.circuit_breaker import ServiceGuard
from truecaller_async.resources import ClientSettings
from truecaller_async.sandbox import SandboxSettings, SandboxState
from truecaller_async.telemetry import LoggingObserver
from truecaller_async.tokens.pool import PoolSettings

TRUTH_MAX = 10**8
REST = 5.0
"""Seconds between two lives."""

TURNS_MAX = 3_000_000
"""Turns of the loop in one life; the longest honest one needs a sixth of them."""

logger = logging.getLogger("truecaller_async")


class JumpingClock(Clock):
    """The wall clock of a machine on which somebody sets the time."""

    def __init__(self, jumps: tuple[tuple[float, float], ...]) -> None:
        self._jumps = jumps

    def wall(self) -> float:
        now = asyncio.get_running_loop().time()
        return BASE + now + sum(by for at, by in self._jumps if at <= now)


class Listener(LoggingObserver):
    """Tells the timeline, and the log; and raises now and then, as other people's code does."""

    def __init__(self, timeline: Timeline, dice: Random, blind: float) -> None:
        self._timeline = timeline
        self._dice = dice
        self._blind = blind

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        super().request(call, token_id, status, seconds, error)
        self._may_raise()

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        self._timeline.tell("stage", name, *(f"{key}={value}" for key, value in fields.items()))
        super().event(name, fields)
        self._may_raise()

    def _may_raise(self) -> None:
        if self._blind and self._dice.random() < self._blind:
            raise RuntimeError("the observer has a defect")


class Ear(logging.Handler):
    """Keeps the lines of the log, with all their fields."""

    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: value for name, value in vars(record).items() if name.startswith("tc_")}
        self._said.append(f"{record.getMessage()} {fields}")


@attrs.define(eq=False)
class World:
    """What outlives the processes of one fate."""

    fate: Fate
    evidence: Evidence
    ether: Ether
    shelves: Shelves
    dice: Random
    annals: list[Annals]
    sources: list[Source]

    @property
    def timeline(self) -> Timeline:
        return self.evidence.timeline


def play(fate: Fate, hear: Callable[[str], None] | None = None) -> Evidence:
    """Everything that befalls; `hear` is told each line of the timeline as it happens."""
    evidence = Evidence(fate, Timeline(hear=hear))
    ear, level, propagates = Ear(evidence.said), logger.level, logger.propagate
    logger.addHandler(ear)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", TruecallerDeprecationWarning)
            _play(_world(fate, evidence, Path(folder)))
    finally:
        logger.removeHandler(ear)
        logger.setLevel(level)
        logger.propagate = propagates
    return evidence


def _world(fate: Fate, evidence: Evidence, folder: Path) -> World:
    server = fate.server
    settings = SandboxSettings(
        limits=server.limits,
        token_life=server.token_life,
        resolve_after=server.resolve_after,
        resolve_spread=server.resolve_spread,
        batch_validation=server.validation,
        response_variants=frozenset(server.response_variants),
        late_for=server.late_for,
        faults=server.faults,
        truth_limit=TRUTH_MAX,
    )
    dice = Random(f"world {fate.seed}")
    ether = Ether(SandboxState(settings, BASE + server.ahead), fate.network, server.ahead, dice, evidence.timeline)
    world = World(fate, evidence, ether, Shelves(), dice, [], [])
    for number, campaign in enumerate(fate.campaigns):
        rows = rows_of(campaign.mixture, number, dice)
        path = folder / f"{number}.journal" if campaign.journal == "sqlite" else None
        annals = Annals(campaign.journal != "none", path)
        world.annals.append(annals)
        world.sources.append(Source.of(campaign, rows))
        evidence.courses.append(Course(campaign, rows, annals.entries, flaws=annals.flaws))
    evidence.secrets.add(settings.api_key.reveal())
    return world


def _play(world: World) -> None:
    evidence, now = world.evidence, 0.0
    try:
        for number in range(world.fate.lives):
            now = _live(world, number, now) + REST
            _operate(world, number, now)
    except (Stuck, Endless) as hung:
        evidence.broken.append(f"the run hangs: {type(hung).__name__}")
    finally:
        for annals in world.annals:
            annals.abandon()
    state = world.ether.state
    evidence.ended_at = now
    evidence.truth, evidence.stats = state.truth(0, TRUTH_MAX), state.stats()
    evidence.arrivals = world.ether.arrivals
    evidence.secrets |= (set(state._token_api._tokens) | world.ether.tokens) - {""}


def _operate(world: World, number: int, now: float) -> None:
    """Let the operator decide, after life `number`, each batch that may have been applied."""
    for campaign, (course, annals) in enumerate(zip(world.evidence.courses, world.annals, strict=True)):
        decisions = course.campaign.decisions
        operator = decisions[number] if number < len(decisions) else None
        batches = annals.undecided
        if operator is None or not batches:
            continue
        applied = set(map(applied_content, world.ether.state.truth(0, TRUTH_MAX)))
        for batch in batches:
            was_applied = any(content_of(course.rows[row - 1]) in applied for row in batch.open_rows)
            said = was_applied if operator == "informed" else world.dice.random() < 0.5
            world.timeline.tell_at(
                now, "operator", campaign, f"batch {batch.seq}", "applied" if said else "not applied"
            )
            annals.decide(batch, applied=said, at=BASE + now)


def _live(world: World, number: int, start: float) -> float:
    """One process; the time at its end."""
    loop = SwiftLoop(start, TURNS_MAX)
    loop.set_exception_handler(lambda _, about: world.evidence.broken.append(_complaint(about)))
    process = Process(world, number, loop)
    try:
        loop.run_until_complete(process.live())
        end = loop.time()
        if not process.died:
            world.evidence.left += [f"a task: {task.get_coro()}" for task in asyncio.all_tasks(loop)]
            world.evidence.left += [f"a timer: {timer}" for timer in loop.timers()]
    finally:
        _tear_down(loop, process)
    return end


def _complaint(about: dict[str, Any]) -> str:
    error = about.get("exception")
    return f"{about['message']}: {type(error).__name__}: {error}" if error is not None else str(about["message"])


def _tear_down(loop: SwiftLoop, process: Process) -> None:
    """Nothing of a process is left but what survives it."""
    if process.transport is not None:
        process.transport.dead = True
    process.doom.struck.set()
    process.world.timeline.deaf = True
    if process.died:
        loop.set_exception_handler(lambda *_: None)  # who is killed takes no exception, and drops what he held
    for _ in range(100):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        with suppress(Stuck, Endless):
            loop.run_until_complete(asyncio.wait(tasks, timeout=0.001))
    with suppress(Stuck, Endless):
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    process.world.timeline.deaf = False
    gc.collect(0)


@attrs.define(eq=False)
class Process:
    """One life."""

    world: World
    number: int
    loop: SwiftLoop
    doom: Doom = attrs.field(init=False)
    dice: Random = attrs.field(init=False)
    hesitate: Hesitation = attrs.field(init=False)
    transport: SimulatedTransport | None = None
    died: bool = False

    def __attrs_post_init__(self) -> None:
        fate = self.world.fate
        self.doom = Doom(fate.endings[self.number] if self.number < len(fate.endings) else None)
        self.world.ether.process = self.number
        self.dice = Random(f"process {fate.seed} {self.number}")
        self.hesitate = Hesitation(self.dice, fate.hesitation, self.doom.struck)

    async def live(self) -> None:
        """Until all is done, or death."""
        self.world.timeline.tell("process", self.number)
        blocks = self._block()
        client = self._client()
        working = asyncio.create_task(self._work(client))
        dying = asyncio.create_task(self.doom.struck.wait())
        await asyncio.wait((working, dying), return_when=asyncio.FIRST_COMPLETED)
        self.died = self.doom.struck.is_set()
        if self.died and self.transport is not None:
            self.transport.die()
            for annals in self.world.annals:
                await annals.let_go()
            for course in self.world.evidence.courses:
                for life in course.lives:
                    life.told = len(course.entries) if life.end == "died" and life.process == self.number else life.told
        else:
            dying.cancel()
            for block in blocks:
                block.cancel()
            await working
            await asyncio.sleep(0)

    def _client(self) -> TruecallerClient:
        fate, world = self.world.fate, self.world
        known = world.ether.state.settings
        cost = Effort(ServiceGuard())
        self.transport = SimulatedTransport(world.ether, cost)
        client = object.__new__(TruecallerClient)
        client._build(
            ClientSettings(
                Credentials(known.client_account_id, known.key_id, known.api_key), fate.version, fate.retry, Timeouts()
            ),
            self.transport,
            HesitantStore(world.shelves, self.hesitate),
            PoolSettings(fate.limits, fate.max_tokens),
            Listener(world.timeline, self.dice, fate.blind),
            JumpingClock(fate.jumps),
            Random(self.dice.getrandbits(64)),
        )
        pool = client._shared.pool
        limiter = HesitantLimiter(pool._limiter, self.hesitate)
        pool._limiter = limiter
        world.evidence.grants.append(limiter.grants)
        cost.guard = client._shared.executor.guard
        world.evidence.efforts.append(cost)
        return client

    def _block(self) -> list[asyncio.TimerHandle]:
        """Foreign code holds the loop at these moments."""
        blocks = self.world.fate.blocks
        return [self.loop.call_at(at, self.loop.block, seconds) for at, seconds in blocks if at > self.loop.time()]

    async def _work(self, client: TruecallerClient) -> None:
        jobs: list[Coroutine[Any, Any, None]] = []
        for number, course in enumerate(self.world.evidence.courses):
            annals = self.world.annals[number]
            if self.number and (annals.memory.standing.complete or not annals.resumable):
                continue
            acts = course.campaign.acts
            act = acts[self.number] if self.number < len(acts) else None
            policy = course.campaign.options_in(self.number).on_ambiguous
            life = Life(self.number, act, len(annals.entries), policy)
            course.lives.append(life)
            jobs.append(self._campaign(client, number, course, life))
        if not self.number:
            jobs.append(self._calls(client))
        tasks = [asyncio.create_task(job) for job in jobs]
        async with client:
            for task in tasks:
                await task

    async def _campaign(self, client: TruecallerClient, number: int, course: Course, life: Life) -> None:
        if not self.number:
            await asyncio.sleep(course.campaign.begins)
        stream = self._stream(client, number, course)
        leaving = asyncio.Event()
        reading = asyncio.create_task(self._read(stream, course, life, leaving))
        acting = asyncio.create_task(self._act(stream, life.act, reading, leaving))
        await asyncio.wait((reading,))
        acting.cancel()
        await asyncio.wait((acting,))
        life.told = len(course.entries)
        if reading.cancelled():
            life.end = "cancelled"
        else:
            life.fault = reading.exception()
            life.end = "left" if leaving.is_set() and life.fault is None else "ended"
        with suppress(TruecallerError):
            life.summary = stream.summary
        self.world.timeline.tell("campaign over", number, life.end, type(life.fault).__name__)
        if life.fault is not None:
            self.world.evidence.said.append(f"{life.fault} {life.fault!r} {life.fault.__cause__!r}")

    def _stream(self, client: TruecallerClient, number: int, course: Course) -> CampaignStream:
        annals, source = self.world.annals[number], self.world.sources[number]
        journal = HesitantJournal(annals, self.doom, self.hesitate, self.world.timeline, str(number))
        options = course.campaign.options_in(self.number)
        asked = CampaignRequest(client._core, source.open(), options, lambda: journal, resumed=annals.begun)
        return CampaignStream(asked)

    async def _read(self, stream: CampaignStream, course: Course, life: Life, leaving: asyncio.Event) -> None:
        async with stream:
            assert stream._run is not None
            stream._run.chunker._size = course.campaign.size
            async for result in stream:
                if self.died:
                    return
                life.results.append(result)
                if course.campaign.reading:
                    await asyncio.sleep(course.campaign.reading)
                if leaving.is_set():
                    break

    async def _act(
        self, stream: CampaignStream, act: Act | None, reading: asyncio.Task[None], leaving: asyncio.Event
    ) -> None:
        if act is None:
            return
        await asyncio.sleep(act.at)
        self.world.timeline.tell("the caller", act.what)
        with suppress(TruecallerError):
            match act.what:
                case "drain":
                    await stream.drain()
                case "abort":
                    await stream.abort()
                case "cancel":
                    reading.cancel()
                case "leave":
                    leaving.set()

    async def _calls(self, client: TruecallerClient) -> None:
        """Single calls beside the campaigns; now and then the caller loses patience, or interest."""
        fate, dice = self.world.fate, self.dice
        tasks, whims = [], []
        for number in range(fate.calls):
            await asyncio.sleep(dice.uniform(0.0, 2 * fate.every))
            task = asyncio.create_task(self._call(client, number, dice.choice((None, 1.0, 30.0))))
            tasks.append(task)
            if dice.random() < 0.1:
                whims.append(self.loop.call_later(dice.uniform(0.0, 1.0), task.cancel))
        if tasks:
            await asyncio.wait(tasks)
        for whim in whims:
            whim.cancel()

    async def _call(self, client: TruecallerClient, number: int, deadline: float | None) -> None:
        """A record alone, a batch of one, or a read."""
        single = Single(_single(number), "maybe")
        if number % 3 < 2:
            self.world.evidence.singles.append(single)
        try:
            match number % 3:
                case 0:
                    await client.calls.push(single.record, deadline=deadline)
                case 1:
                    await client.batches.submit([single.record])
                case _:
                    await client.labels.list()
        except TruecallerError as error:
            if self.died:
                return
            single.error, single.end = error, error.sent
            self.world.evidence.said.append(f"{error} {error!r}")
        else:
            single.end = "ok"
        self.world.timeline.tell("call", number, single.end, type(single.error).__name__)


def _single(number: int) -> CallRecord:
    return CallRecord(
        caller="911234599999",
        receiver=f"9197{number:06d}00",
        starts_at=int(BASE * 1000),
        ends_at=int(BASE * 1000) + 8 * HOUR_MS,
        label_id=LABEL,
        reason=f"Single call {number:03d}",
    )
