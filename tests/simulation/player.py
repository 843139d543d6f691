"""Play a scenario: process after process on one virtual clock, until every campaign could end.

A process has one client; its campaigns and single calls run at the same time. If it dies, its tasks are torn down, and
only the journals, the token store and the server continue. The last process has no early end: it finishes what the
others left.
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

from tests.campaign.world import HOUR_MS, LABEL
from tests.simulation.comparison import differences, facts_at_the_next_run, facts_of
from tests.simulation.delayed_ports import DelayedLimiter, DelayedTokenStore, RandomDelay, SharedTokenStore
from tests.simulation.evidence import (
    CampaignHistory,
    CampaignRun,
    Evidence,
    ProcessRequests,
    SingleCall,
    applied_content,
    content_of,
)
from tests.simulation.intents import IntentWatch
from tests.simulation.journals import CrashTrigger, DelayedJournal, SurvivingJournal, replay
from tests.simulation.network import SharedNetwork, SimulatedTransport
from tests.simulation.placement import left_over, misplaced
from tests.simulation.rows import RowSource, rows_of
from tests.simulation.scenario import CallerAction, Scenario
from tests.simulation.timeline import Timeline
from tests.virtual import BASE, Endless, Stuck, SwiftLoop
from truecaller_async import (
    CallRecord,
    CampaignStream,
    RecordResult,
    Timeouts,
    TruecallerClient,
    TruecallerDeprecationWarning,
    TruecallerError,
)
from truecaller_async.campaign.startup.start import CampaignRequest
from truecaller_async.clock import Clock
from truecaller_async.models.journal_entries import AttemptStarted, BatchReleased
from truecaller_async.options import Credentials
from truecaller_async.resilience.service_guard import ServiceGuard
from truecaller_async.resources import ClientSettings
from truecaller_async.sandbox import SandboxSettings, SandboxState
from truecaller_async.telemetry import LoggingObserver
from truecaller_async.tokens.pool import PoolSettings
from truecaller_async.wiring import Environment, build_resources

TRUTH_MAX = 10**8
PAUSE_SECONDS = 5.0
"""Seconds between two processes."""

TURNS_MAX = 3_000_000
"""Turns of the loop in one process; the longest correct one needs a sixth of them."""

OPEN_BATCHES_PER_CHECK = 50
"""Open batches for each transaction after which the places are not checked."""

logger = logging.getLogger("truecaller_async")


class JumpingClock(Clock):
    """Wall clock that is set to another time during the run."""

    def __init__(self, jumps: tuple[tuple[float, float], ...]) -> None:
        self._jumps = jumps

    def wall(self) -> float:
        now = asyncio.get_running_loop().time()
        return BASE + now + sum(by for at, by in self._jumps if at <= now)


class TimelineObserver(LoggingObserver):
    """Records events in the timeline and the log, and raises at random like faulty user code."""

    def __init__(self, timeline: Timeline, dice: Random, failure_rate: float) -> None:
        self._timeline = timeline
        self._dice = dice
        self._failure_rate = failure_rate

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        super().request(call, token_id, status, seconds, error)
        self._may_raise()

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        self._timeline.record("stage", name, *(f"{key}={value}" for key, value in fields.items()))
        super().event(name, fields)
        self._may_raise()

    def _may_raise(self) -> None:
        if self._failure_rate and self._dice.random() < self._failure_rate:
            raise RuntimeError("the observer has a defect")


class LogRecorder(logging.Handler):
    """Stores the lines of the log with all their fields."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__()
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        fields = {name: value for name, value in vars(record).items() if name.startswith("tc_")}
        self._messages.append(f"{record.getMessage()} {fields}")


@attrs.define(eq=False)
class SimulatedWorld:
    """Everything that survives the processes of one scenario."""

    scenario: Scenario
    evidence: Evidence
    network: SharedNetwork
    token_store: SharedTokenStore
    dice: Random
    journals: list[SurvivingJournal]
    sources: list[RowSource]

    @property
    def timeline(self) -> Timeline:
        return self.evidence.timeline


def play(scenario: Scenario, on_line: Callable[[str], None] | None = None) -> Evidence:
    """Play the scenario; `on_line` is called with each line of the timeline as it happens."""
    evidence = Evidence(scenario, Timeline(on_line=on_line))
    recorder, level, propagates = LogRecorder(evidence.messages), logger.level, logger.propagate
    logger.addHandler(recorder)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore", TruecallerDeprecationWarning)
            _play(_world(scenario, evidence, Path(folder)))
    finally:
        logger.removeHandler(recorder)
        logger.setLevel(level)
        logger.propagate = propagates
    return evidence


def _world(scenario: Scenario, evidence: Evidence, folder: Path) -> SimulatedWorld:
    server = scenario.server
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
    dice = Random(f"world {scenario.seed}")
    network = SharedNetwork(
        SandboxState(settings, BASE + server.clock_offset),
        scenario.network,
        server.clock_offset,
        dice,
        evidence.timeline,
    )
    world = SimulatedWorld(scenario, evidence, network, SharedTokenStore(), dice, [], [])
    intents = IntentWatch(scenario.version, world.journals, errors=evidence.unannounced)
    network.on_first_byte = intents.look
    for number, campaign in enumerate(scenario.campaigns):
        rows = rows_of(campaign.mixture, number, dice)
        path = folder / f"{number}.journal" if campaign.journal == "sqlite" else None
        journal = SurvivingJournal(campaign.journal != "none", path)
        world.journals.append(journal)
        intents.add_rows(rows)
        world.sources.append(RowSource.of(campaign, rows))
        evidence.campaigns.append(CampaignHistory(campaign, rows, journal.entries, journal_errors=journal.errors))
    evidence.secrets.add(settings.api_key.reveal())
    return world


def _play(world: SimulatedWorld) -> None:
    evidence, now = world.evidence, 0.0
    try:
        for number in range(world.scenario.processes):
            now = _run_process(world, number, now) + PAUSE_SECONDS
            _decide(world, number, now)
    except (Stuck, Endless) as hung:
        evidence.failures.append(f"the run hangs: {type(hung).__name__}")
    finally:
        for journal in world.journals:
            journal.close()
    state = world.network.state
    evidence.ended_at = now
    evidence.truth, evidence.stats = state.truth(0, TRUTH_MAX), state.stats()
    evidence.arrivals = world.network.arrivals
    evidence.secrets |= (set(state._token_api._tokens) | world.network.tokens) - {""}


def _decide(world: SimulatedWorld, number: int, now: float) -> None:
    """Let the operator decide, after process `number`, each batch that may have been applied."""
    for campaign, (history, journal) in enumerate(zip(world.evidence.campaigns, world.journals, strict=True)):
        decisions = history.campaign.decisions
        operator = decisions[number] if number < len(decisions) else None
        batches = journal.undecided
        if operator is None or not batches:
            continue
        applied = set(map(applied_content, world.network.state.truth(0, TRUTH_MAX)))
        for batch in batches:
            was_applied = any(content_of(history.rows[row - 1]) in applied for row in batch.open_rows)
            said = was_applied if operator == "informed" else world.dice.random() < 0.5
            world.timeline.record_at(
                now, "operator", campaign, f"batch {batch.seq}", "applied" if said else "not applied"
            )
            journal.decide(batch, applied=said, at=BASE + now)


def _run_process(world: SimulatedWorld, number: int, start: float) -> float:
    """Run one process; return the loop time at its end."""
    loop = SwiftLoop(start, TURNS_MAX)
    loop.set_exception_handler(lambda _, about: world.evidence.failures.append(_failure_text(about)))
    process = Process(world, number, loop)
    try:
        loop.run_until_complete(process.run())
        end = loop.time()
        if not process.died:
            world.evidence.leaks += [f"a task: {task.get_coro()}" for task in asyncio.all_tasks(loop)]
            world.evidence.leaks += [f"a timer: {timer}" for timer in loop.timers()]
            world.evidence.leaks += [f"a generator: {one.__qualname__}" for one in loop.generators()]
    finally:
        _tear_down(loop, process)
    return end


def _failure_text(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return f"{context['message']}: {type(error).__name__}: {error}" if error is not None else str(context["message"])


def _tear_down(loop: SwiftLoop, process: Process) -> None:
    """Remove everything of a process except what survives it."""
    if process.transport is not None:
        process.transport.dead = True
    process.trigger.crashed.set()
    process.world.timeline.is_muted = True
    if process.died:
        loop.set_exception_handler(lambda *_: None)  # a killed process handles no exception
    for _ in range(100):
        tasks = asyncio.all_tasks(loop)
        if not tasks:
            break
        for task in tasks:
            task.cancel()
        with suppress(Stuck, Endless):
            loop.run_until_complete(asyncio.wait(tasks, timeout=0.001))
    with suppress(Stuck, Endless):
        for generator in loop.generators():  # sources that a killed process has not closed
            loop.run_until_complete(generator.aclose())
        loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    process.world.timeline.is_muted = False
    gc.collect(0)


@attrs.define(eq=False)
class CampaignLife:
    """One campaign in one process, seen from inside."""

    run: CampaignRun
    number: int
    stream: CampaignStream
    journal: DelayedJournal
    _is_scheduled: bool = False
    _unchecked: int = 0

    def __attrs_post_init__(self) -> None:
        self.journal.on_append = self._appended

    def check_result(self, result: RecordResult, journal: SurvivingJournal) -> None:
        """Check that a result that the reader has is final exactly if its outcome is durable."""
        if not journal.resumable:
            if not result.final:
                self.run.not_final.append(f"row {result.row} is provisional, and no later run can change it")
        elif result.final and journal.settled.get(result.row) is not result.outcome:
            self.run.not_final.append(f"row {result.row} is {result.outcome} and final, and that is not durable")
        elif not result.final and result.row in journal.settled and not self.journal.failed:
            self.run.not_final.append(f"row {result.row} is provisional, and its outcome is durable")

    def check(self, world: SimulatedWorld, *, died: bool) -> None:
        """Check the state of the run at its end."""
        surviving, state = world.journals[self.number], self.journal.state
        self.run.failed_intents = sum(isinstance(one, AttemptStarted) for one in self.journal.stored_by_the_failed)
        if not died:
            self.run.misplaced += left_over(self.stream)
        if state is None or not state.applied:
            return
        before = surviving.entries[: self.journal.entries_before]
        errors = differences(facts_of(state), facts_of(replay([*before, *state.applied])))
        given = [entry for entry in state.applied if not isinstance(entry, BatchReleased)]
        stored = surviving.entries[self.journal.entries_before : self.journal.entries_before + len(given)]
        if any(one is not other for one, other in zip(stored, given, strict=False)):
            errors.append("what is stored is no prefix of what was applied")
        elif not died and not self.journal.failed:
            if len(stored) != len(given):
                errors.append(f"{len(stored)} entries are stored, and {len(given)} were applied")
            now = facts_at_the_next_run(state)
            errors += differences(now, facts_at_the_next_run(replay([*before, *stored])))
        self.run.state_errors += errors

    def _appended(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._check_places)

    def _check_places(self) -> None:
        self._is_scheduled = False
        run, self._unchecked = self.stream._run, self._unchecked + 1
        # The more batches are open, the more transactions are skipped: a check looks at all of them.
        if run is None or self.run.misplaced or self._unchecked < len(run.state.batches) / OPEN_BATCHES_PER_CHECK:
            return
        self._unchecked = 0
        self.run.misplaced += misplaced(self.stream)


@attrs.define(eq=False)
class Process:
    """One process of the client."""

    world: SimulatedWorld
    number: int
    loop: SwiftLoop
    trigger: CrashTrigger = attrs.field(init=False)
    dice: Random = attrs.field(init=False)
    delay: RandomDelay = attrs.field(init=False)
    transport: SimulatedTransport | None = None
    limiter: DelayedLimiter | None = None
    requests: ProcessRequests | None = None
    lives: list[CampaignLife] = attrs.field(factory=list)

    @property
    def died(self) -> bool:
        """Return whether the process died."""
        return self.trigger.crashed.is_set()

    def __attrs_post_init__(self) -> None:
        scenario = self.world.scenario
        self.trigger = CrashTrigger(
            scenario.process_ends[self.number] if self.number < len(scenario.process_ends) else None
        )
        self.world.network.process = self.number
        self.dice = Random(f"process {scenario.seed} {self.number}")
        self.delay = RandomDelay(self.dice, scenario.port_delay, self.trigger.crashed)

    async def run(self) -> None:
        """Work until everything is done, or until the process dies."""
        self.world.timeline.record("process", self.number)
        blocks = self._schedule_blocks()
        client = self._client()
        working = asyncio.create_task(self._work(client))
        dying = asyncio.create_task(self.trigger.crashed.wait())
        await asyncio.wait((working, dying), return_when=asyncio.FIRST_COMPLETED)
        if self.died:
            for journal in self.world.journals:
                journal.end_process()
            for history in self.world.evidence.campaigns:
                for run in history.runs:
                    run.entries_after = (
                        len(history.entries) if run.end == "died" and run.process == self.number else run.entries_after
                    )
        else:
            dying.cancel()
            for block in blocks:
                block.cancel()
            await working
            await asyncio.sleep(0)
            self._check_permits(client)
            if self.requests is not None:
                self.requests.granted.update(self.requests.guard.grant_counts)
        for life in self.lives:
            life.check(self.world, died=self.died)

    def _die(self) -> None:
        if self.transport is not None and self.requests is not None:
            self.transport.die()
            self.requests.granted.update(self.requests.guard.grant_counts)

    def _check_permits(self, client: TruecallerClient) -> None:
        leaks = self.world.evidence.leaks
        if self.limiter is not None:
            leaks += [f"a permit: {permit.call}" for permit in self.limiter.open]
        if left := client._shared.pool._records.open_permits:
            leaks.append(f"{left} permits of the pool")

    def _client(self) -> TruecallerClient:
        scenario, world = self.world.scenario, self.world
        known = world.network.state.settings
        cost = ProcessRequests(ServiceGuard())
        self.transport = SimulatedTransport(world.network, cost)
        self.requests = cost
        self.trigger.on_crash = self._die
        credentials = Credentials(known.client_account_id, known.key_id, known.api_key)
        settings = ClientSettings(credentials, scenario.version, scenario.retry, Timeouts())
        observer = TimelineObserver(world.timeline, self.dice, scenario.observer_failure_rate)
        shared = build_resources(
            settings,
            self.transport,
            DelayedTokenStore(world.token_store, self.delay),
            PoolSettings(scenario.limits, scenario.max_tokens),
            Environment(JumpingClock(scenario.clock_jumps), Random(self.dice.getrandbits(64)), observer),
        )
        client = TruecallerClient._from_parts(settings, shared)
        pool = client._shared.pool
        self.limiter = limiter = DelayedLimiter(pool._state.limiter, self.delay)
        limiter.subscribe(pool._state.notify)
        pool._state.limiter = limiter
        world.evidence.grants.append(limiter.grants)
        cost.guard = client._shared.executor.guard
        world.evidence.process_requests.append(cost)
        return client

    def _schedule_blocks(self) -> list[asyncio.TimerHandle]:
        """Schedule the moments at which foreign code blocks the loop."""
        blocks = self.world.scenario.loop_blocks
        return [self.loop.call_at(at, self.loop.block, seconds) for at, seconds in blocks if at > self.loop.time()]

    async def _work(self, client: TruecallerClient) -> None:
        jobs: list[Coroutine[Any, Any, None]] = []
        for number, history in enumerate(self.world.evidence.campaigns):
            journal = self.world.journals[number]
            if self.number and (journal.stored.complete or not journal.resumable):
                continue
            actions = history.campaign.actions
            action = actions[self.number] if self.number < len(actions) else None
            policy = history.campaign.options_in(self.number).on_ambiguous
            run = CampaignRun(self.number, action, len(journal.entries), policy)
            history.runs.append(run)
            jobs.append(self._campaign(client, number, history, run))
        if not self.number:
            jobs.append(self._calls(client))
        tasks = [asyncio.create_task(job) for job in jobs]
        async with client:
            for task in tasks:
                await task

    async def _campaign(
        self, client: TruecallerClient, number: int, history: CampaignHistory, run: CampaignRun
    ) -> None:
        if not self.number:
            await asyncio.sleep(history.campaign.starts_at)
        stream = self._stream(client, number, history, run)
        leaving = asyncio.Event()
        reading = asyncio.create_task(self._read(stream, history, run, leaving))
        acting = asyncio.create_task(self._perform(stream, run.action, reading, leaving))
        await asyncio.wait((reading,))
        acting.cancel()
        await asyncio.wait((acting,))
        run.entries_after = len(history.entries)
        if reading.cancelled():
            run.end = "cancelled"
        else:
            run.fault = reading.exception()
            run.end = "left" if leaving.is_set() and run.fault is None else "ended"
        with suppress(TruecallerError):
            run.summary = stream.summary
        self.world.timeline.record("campaign over", number, run.end, type(run.fault).__name__)
        if run.fault is not None:
            self.world.evidence.messages.append(f"{run.fault} {run.fault!r} {run.fault.__cause__!r}")

    def _stream(
        self, client: TruecallerClient, number: int, history: CampaignHistory, run: CampaignRun
    ) -> CampaignStream:
        surviving, source = self.world.journals[number], self.world.sources[number]
        journal = DelayedJournal(surviving, self.trigger, self.delay, self.world.timeline, str(number))
        options = history.campaign.options_in(self.number)
        request = CampaignRequest(
            client._campaign_deps, source.open(), options, lambda: journal, resumed=surviving.has_campaign
        )
        stream = CampaignStream(request)
        self.lives.append(CampaignLife(run, number, stream, journal))
        return stream

    async def _read(
        self, stream: CampaignStream, history: CampaignHistory, run: CampaignRun, leaving: asyncio.Event
    ) -> None:
        life = self.lives[[one.stream for one in self.lives].index(stream)]
        async with stream:
            assert stream._intake is not None
            stream._intake._chunker._size = history.campaign.size
            async for result in stream:
                if self.died:
                    return
                life.check_result(result, self.world.journals[life.number])
                run.results.append(result)
                if history.campaign.reader_delay:
                    await asyncio.sleep(history.campaign.reader_delay)
                if leaving.is_set():
                    break

    async def _perform(
        self, stream: CampaignStream, action: CallerAction | None, reading: asyncio.Task[None], leaving: asyncio.Event
    ) -> None:
        if action is None:
            return
        await asyncio.sleep(action.at)
        self.world.timeline.record("the caller", action.what)
        with suppress(TruecallerError):
            match action.what:
                case "drain":
                    await stream.drain()
                case "abort":
                    await stream.abort()
                case "cancel":
                    reading.cancel()
                case "leave":
                    leaving.set()

    async def _calls(self, client: TruecallerClient) -> None:
        """Make single calls beside the campaigns; some have a deadline, some are cancelled."""
        scenario, dice = self.world.scenario, self.dice
        tasks, cancellations = [], []
        for number in range(scenario.calls):
            await asyncio.sleep(dice.uniform(0.0, 2 * scenario.call_interval))
            task = asyncio.create_task(self._call(client, number, dice.choice((None, 1.0, 30.0))))
            tasks.append(task)
            if dice.random() < 0.1:
                cancellations.append(self.loop.call_later(dice.uniform(0.0, 1.0), task.cancel))
        if tasks:
            await asyncio.wait(tasks)
        for cancellation in cancellations:
            cancellation.cancel()

    async def _call(self, client: TruecallerClient, number: int, deadline: float | None) -> None:
        """Push a record, submit a batch of one, or read the labels."""
        single = SingleCall(_single(number), "maybe")
        if number % 3 < 2:
            self.world.evidence.single_calls.append(single)
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
            self.world.evidence.messages.append(f"{error} {error!r}")
        else:
            single.end = "ok"
        self.world.timeline.record("call", number, single.end, type(single.error).__name__)


def _single(number: int) -> CallRecord:
    return CallRecord(
        caller="911234599999",
        receiver=f"9197{number:06d}00",
        starts_at=int(BASE * 1000),
        ends_at=int(BASE * 1000) + 8 * HOUR_MS,
        label_id=LABEL,
        reason=f"Single call {number:03d}",
    )
