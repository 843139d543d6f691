"""The state of one campaign, and the few acts that everybody in the engine needs.

Whoever learns the fate of a record calls `settle`: the journal hears of it first, then it is counted, then the
reader may have it. When the source is done and nothing is owed any more, the run is over.

A run stops in one of two ways. *Draining*: nothing more is read or sent, what is in flight finishes, and polling goes
on for a grace of 30 seconds. *Aborting*: polling ends too. Either way every record gets its result: `unsent` where it
was never sent, `unknown` where the final word is missing. A fault of the whole run (`fail`) drains, or aborts where
polling could not succeed either, and is raised to the reader after the last result.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine, Iterable
from datetime import datetime
from enum import Enum
from random import Random

import attrs

from truecaller_async.clock import Clock
from truecaller_async.engine.alarm import Alarm
from truecaller_async.engine.outlet import Outlet
from truecaller_async.errors import (
    AuthenticationFailed,
    Forbidden,
    JournalError,
    NotSent,
    TokenBudgetExhausted,
    TruecallerError,
    UnexpectedRedirect,
)
from truecaller_async.models import CallRecord, Entry, Outcome, RecordResult, Settled
from truecaller_async.options import CampaignOptions, RetryPolicy
from truecaller_async.planning.chunker import Chunker
from truecaller_async.planning.dedupe import Dedupe
from truecaller_async.planning.draft import Draft
from truecaller_async.planning.pairs import PairOrder
from truecaller_async.planning.polls import FirstPoll, PollPlan
from truecaller_async.planning.schedule import Schedule
from truecaller_async.planning.tally import Tally
from truecaller_async.ports import Journal, Observer
from truecaller_async.resources import Batches, Calls
from truecaller_async.tokens import TokenPool

DRAIN_GRACE = 30.0
"""Seconds for which a draining run goes on polling."""

RATE_WINDOW = 10.0
POLLS_WOULD_FAIL = (AuthenticationFailed, Forbidden, UnexpectedRedirect, NotSent, TokenBudgetExhausted)
STOPPED = "the run stopped before it was sent"
STOPPED_POLLING = "the run stopped before the server said its final word"


@attrs.frozen
class Core:
    """What the client lends to a run."""

    calls: Calls
    batches: Batches
    pool: TokenPool
    clock: Clock
    rng: Random
    observer: Observer
    retry: RetryPolicy
    requests: Counter[str]
    """Requests of the whole client by call, counted on as they are sent."""


class Phase(Enum):
    """How far the run is from its end."""

    RUNNING = 0
    DRAINING = 1
    ABORTING = 2
    DONE = 3


@attrs.define(eq=False)
class Accepted:
    """A batch that the server has: its draft, its id, its polls, and which of its records are still open."""

    draft: Draft
    batch_id: str
    plan: PollPlan
    open: set[int]


@attrs.define(eq=False)
class Isolation:
    """A refused batch whose bad record is looked for. `left` counts its records without a place or a result."""

    root: Draft
    reason: str
    field: str | None
    left: int
    posts: int = 0
    streak: int = 0
    last: str | None = None
    closed: bool = False


class Run:
    """One campaign. Made inside a running loop."""

    def __init__(self, core: Core, options: CampaignOptions, journal: Journal) -> None:
        self.core = core
        self.options = options
        self.journal = journal
        self.loop = asyncio.get_running_loop()
        self.phase = Phase.RUNNING
        self.fault: Exception | None = None
        self.tally = Tally()
        self.schedule = Schedule()
        self.chunker = Chunker(watermark=options.correlate == "watermark")
        self.pairs = PairOrder()
        self.dedupe = Dedupe(options.dedupe)
        self.first_poll = FirstPoll(options.poll)
        self.outlet = Outlet()
        self.alarm = Alarm()
        self.stopped = asyncio.Event()
        self.accepted: dict[int, Accepted] = {}
        self.isolations: dict[int, Isolation] = {}
        self.refusals: Counter[str] = Counter()
        self.flights: set[asyncio.Task[None]] = set()
        self.in_flight = 0
        self.source_done = False
        self.more_waits = False
        self.ever_worked = False
        self.may_push = True
        self.waiting_until: datetime | None = None
        self.began = self.now()
        self.ended: float | None = None
        self.first_sent: float | None = None
        self.last_sent: float | None = None
        self.most_tokens = 0
        self.recent: deque[tuple[float, int]] = deque()
        self._grace: asyncio.TimerHandle | None = None

    def now(self) -> float:
        """The loop's clock."""
        return self.loop.time()

    def wall_ms(self) -> int:
        """The wall clock, in the wire's milliseconds."""
        return int(self.core.clock.wall() * 1000)

    @property
    def running(self) -> bool:
        """Whether anything new may still be sent."""
        return self.phase is Phase.RUNNING

    @property
    def credits(self) -> int:
        """How many more records the source may be asked for."""
        return self.options.max_unresolved - (self.tally.read - self.outlet.handed_over)

    def spawn(self, flight: Coroutine[object, object, None]) -> None:
        """Start a piece of work that is never cancelled: a request, and what follows from its answer."""
        task = self.employ(flight)
        self.flights.add(task)
        task.add_done_callback(self.flights.discard)

    def employ(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Start a task whose unforeseen end is the end of the run."""
        task = self.loop.create_task(work)
        task.add_done_callback(self._landed)
        return task

    def _landed(self, task: asyncio.Task[None]) -> None:
        defect = None if task.cancelled() else task.exception()
        if defect is not None:
            self._crash(defect)
        self.alarm.ring()

    def _crash(self, defect: BaseException) -> None:
        """A defect of ours: nothing can be promised any more, so the reader hears of it at once."""
        self.fault = defect if isinstance(defect, Exception) else self.fault
        self.phase = Phase.DONE
        self.ended = self.now()
        self.stopped.set()
        self.outlet.close()

    async def write(self, *entries: Entry) -> bool:
        """Tell the journal. False means it could not be told, and then nothing may be sent."""
        try:
            await self.journal.write(*entries)
        except JournalError as error:
            self.fail(error)
            return False
        return True

    async def settle(self, results: list[RecordResult], seq: int | None = None) -> None:
        """These records have their outcome."""
        if not results:
            return
        await self.write(*_settled(results, seq))
        self.tally.settle(results)
        self.outlet.put(results)
        self.check_done()

    def check_done(self) -> None:
        """Over, when the source is done and nothing is owed."""
        if not self.source_done or self.tally.open or self.phase is Phase.DONE:
            return
        self.phase = Phase.DONE
        self.ended = self.now()
        if self._grace is not None:
            self._grace.cancel()
        self.stopped.set()
        self.outlet.close()
        self.alarm.ring()
        self.core.observer.stage("campaign.done", {"read": self.tally.read, **self.counts()})

    def fail(self, error: Exception) -> None:
        """A fault of the whole run: the first one is kept, and the run ends in good order."""
        if self.phase is Phase.DONE or self.fault is not None:
            return
        self.fault = error
        name = type(error).__name__ if isinstance(error, TruecallerError) else "defect"
        self.core.observer.stage("campaign.fault", {"error": name})
        self.stop(abort=isinstance(error, POLLS_WOULD_FAIL))

    def stop(self, *, abort: bool) -> None:
        """Send nothing new. What waits to be sent gets its result; polling goes on for the grace, or not at all."""
        if self.phase is Phase.DONE:
            return
        first = self.running
        self.phase = Phase.ABORTING if abort or self.phase is Phase.ABORTING else Phase.DRAINING
        self.stopped.set()
        if first:
            self.core.observer.stage("campaign.stopping", {"open": self.tally.open})
            self.spawn(self._withdraw())
        if self.phase is Phase.ABORTING:
            self.spawn(self._give_up_polling())
        elif self._grace is None:
            self._grace = self.loop.call_later(DRAIN_GRACE, lambda: self.stop(abort=True))
        self.alarm.ring()

    async def put_back(self, draft: Draft) -> None:
        """A planned draft waits for its next turn, unless the run has stopped."""
        if self.running:
            self.schedule.add(draft, self.now())
        else:
            await self.leave_unsent([draft])

    async def leave_unsent(self, drafts: Iterable[Draft]) -> None:
        """The run is over for these: what may have been applied is unknown, what was refused failed."""
        for draft in drafts:
            isolation = self.isolations.get(draft.root) if draft.root is not None else None
            outcome, reason = Outcome.UNSENT, STOPPED
            if draft.doubts:
                outcome, reason = Outcome.UNKNOWN, "the answer was lost, and the run stopped before it was sent again"
            elif isolation is not None:
                outcome, reason = Outcome.FAILED, isolation.reason
            await self.settle(self.results(draft, range(len(draft)), outcome, reason), draft.seq)

    async def release(self, draft: Draft) -> None:
        """The draft is settled as far as the order of its pairs goes: what came after it may go."""
        if draft.root is not None:
            isolation = self.isolations.get(draft.root)
            if isolation is None:
                return
            isolation.left -= len(draft)
            if isolation.left > 0:
                return
            draft = self.isolations.pop(draft.root).root
        self.pairs.settle(draft)
        self.schedule.settled(draft.seq, self.now())
        self.alarm.ring()

    def results(
        self,
        draft: Draft,
        indexes: Iterable[int],
        outcome: Outcome,
        reason: str | None = None,
        field: str | None = None,
        batch_id: str | None = None,
    ) -> list[RecordResult]:
        """One result for each of these places of a draft, all with the same outcome."""
        return [
            RecordResult(
                draft.given[index],
                draft.rows[index],
                draft.given[index].key,
                outcome,
                reason,
                field,
                batch_id,
                attempts=draft.sends,
                possibly_duplicated=draft.resent,
            )
            for index in indexes
        ]

    def taken_out(
        self, draft: Draft, taken: list[tuple[int, CallRecord]], outcome: Outcome, reason: str
    ) -> list[RecordResult]:
        """Results for records that were taken out of a draft; after a lost answer nobody knows more than that."""
        if draft.root in self.isolations:
            self.isolations[draft.root].left -= len(taken)
        if draft.doubts:
            outcome, reason = Outcome.UNKNOWN, f"the answer was lost, and {reason}"
        return [
            RecordResult(given, row, given.key, outcome, reason, attempts=draft.sends, possibly_duplicated=draft.resent)
            for row, given in taken
        ]

    def counts(self) -> dict[str, int]:
        """Records by outcome, every outcome named."""
        return {str(outcome): self.tally.outcomes[outcome] for outcome in Outcome}

    def note_sent(self, records: int) -> None:
        """A batch was accepted: for the rate."""
        now = self.now()
        self.tally.sent += records
        self.recent.append((now, records))
        while self.recent and self.recent[0][0] < now - RATE_WINDOW:
            self.recent.popleft()

    async def _withdraw(self) -> None:
        drafts = self.schedule.withdraw()
        partial = self.chunker.flush()
        if partial is not None:
            await self.settle(self.results(partial, range(len(partial)), Outcome.UNSENT, STOPPED))
        await self.leave_unsent(drafts)

    async def _give_up_polling(self) -> None:
        for accepted in list(self.accepted.values()):
            await self.give_up(accepted, STOPPED_POLLING)

    async def give_up(self, accepted: Accepted, reason: str) -> None:
        """No more polls for this batch: its open records stay unknown."""
        if self.accepted.pop(accepted.draft.seq, None) is None:
            return
        draft = accepted.draft
        results = self.results(draft, sorted(accepted.open), Outcome.UNKNOWN, reason, batch_id=accepted.batch_id)
        await self.settle(results, draft.seq)


def _settled(results: list[RecordResult], seq: int | None) -> list[Settled]:
    """What the journal is told of these results: one entry for each outcome and reason among them."""
    groups: dict[tuple[Outcome, str | None], list[int]] = {}
    for result in results:
        groups.setdefault((result.outcome, result.reason), []).append(result.row)
    return [Settled(tuple(rows), outcome, reason, seq) for (outcome, reason), rows in groups.items()]
