"""The state of one campaign, and the few acts that everybody in the engine needs.

Whoever learns the fate of a record calls `settle`: the journal hears of it first, then it is counted, then the
reader may have it. When the source is done and nothing is owed any more, the run is over.

The journal hears final words only. What a run that stops leaves open gets a result that is not `final`, and stays open
in the journal; so does what the journal could not be told. A journal that nobody can go on from hears every word.

A run stops in one of two ways. *Draining*: nothing more is read or sent, what is in flight finishes, and polling goes
on for a grace of 30 seconds. *Aborting*: polling ends too. Either way every record gets its result: `unsent` where it
was never sent, `unknown` where the final word is missing. A fault of the whole run (`fail`) drains, or aborts where
polling could not succeed either, and is raised to the reader after the last result.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Coroutine, Iterable
from datetime import datetime
from enum import Enum
from operator import attrgetter
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
from truecaller_async.models import (
    Answered,
    CallRecord,
    Effort,
    Entry,
    Kind,
    Outcome,
    RecordResult,
    Results,
    Settled,
    Spent,
)
from truecaller_async.options import CampaignOptions, RetryPolicy
from truecaller_async.planning.chunker import Chunker
from truecaller_async.planning.dedupe import Dedupe
from truecaller_async.planning.draft import Draft
from truecaller_async.planning.pairs import PairOrder
from truecaller_async.planning.polls import FirstPoll, PollPlan
from truecaller_async.planning.replay import Standing
from truecaller_async.planning.restraint import Leave, Restraint
from truecaller_async.planning.schedule import Schedule
from truecaller_async.planning.tally import Tally
from truecaller_async.ports import Journal, Observer
from truecaller_async.resources import Batches, Calls
from truecaller_async.tokens import TokenPool

DRAIN_GRACE = 30.0
"""Seconds for which a draining run goes on polling."""

RATE_WINDOW = 10.0
TELL_COST_EVERY = 1.0
"""Seconds after which the journal hears again what the run has cost."""

SAME_REFUSALS_MAX = 3
"""Batches refused throughout, one after the other for one reason, that stop the run."""

CLOCK_MAY_BE_OFF_MS = 3_600_000
UNTRACKED_MAX = 3
"""Requests that were taken, one after the other, with an answer nobody can use: more would be lost the same way."""

UUID_LIKE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
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
    restraint: Restraint
    ended: Callable[[Leave, BaseException | None], None]
    """Told how each request ended that had leave."""
    server_wall: Callable[[], float]
    """What time it is at the server, in seconds since the epoch."""
    knows_the_time: Callable[[], bool]
    """Whether the server was heard; before that its time is our own clock's."""
    requests: Counter[str]
    """Requests of the whole client by call, counted on as they are sent."""
    account: str
    api_version: str


@attrs.frozen
class Mints:
    """Requests for tokens: how many, how many of them gave one, and how many were answered 429."""

    requests: int = 0
    made: int = 0
    throttled: int = 0

    @classmethod
    def of(cls, core: Core) -> Mints:
        """Those of the whole client, up to now."""
        return cls(core.requests["mint"], core.pool.minted, core.pool.mints_throttled)

    def since(self, before: Mints) -> Mints:
        """Those of the time in between."""
        return Mints(self.requests - before.requests, self.made - before.made, self.throttled - before.throttled)


class Phase(Enum):
    """How far the run is from its end."""

    RUNNING = 0
    DRAINING = 1
    ABORTING = 2
    DONE = 3


@attrs.define(eq=False)
class Accepted:
    """A batch that the server has: its draft, its id, its polls, and which of its records are still open.

    `is_shared`: the server gave its id to another batch as well.
    """

    draft: Draft
    batch_id: str
    plan: PollPlan
    open: Collection[int]
    is_shared: bool = False


@attrs.define(eq=False)
class Isolation:
    """A refused batch whose bad record is looked for.

    `left` counts its records without a place or a result, `refused` those that were refused once more. It is `closed`
    when the rest was found to be no better.
    """

    root: Draft
    reason: str
    field: str | None
    left: int
    size: int
    error: TruecallerError
    refused: int = 0
    posts: int = 0
    streak: int = 0
    last: str | None = None
    closed: bool = False


class Run:
    """One campaign. Made inside a running loop."""

    def __init__(self, core: Core, options: CampaignOptions, journal: Journal, standing: Standing) -> None:
        self.core = core
        self.options = options
        self.journal = journal
        self.standing = standing
        self.loop = asyncio.get_running_loop()
        self.phase = Phase.RUNNING
        self.fault: Exception | None = None
        self.tally = Tally(standing)
        self.schedule = Schedule()
        self.chunker = Chunker(watermark=options.correlate == "watermark", last_seq=standing.last_seq)
        self.pairs = PairOrder()
        self.dedupe = Dedupe(options.dedupe)
        self.first_poll = FirstPoll(options.poll)
        self.outlet = Outlet()
        self.outlet.handed_over = self.tally.answered
        self.alarm = Alarm()
        self.at_stop: Callable[[], None] = _nothing
        self.accepted: dict[int, Accepted] = {}
        self.isolations: dict[int, Isolation] = {}
        self.refusals: Counter[str] = Counter()
        self.batch_ids: set[str] = set()
        self.untracked = 0
        self.flights: set[asyncio.Task[None]] = set()
        self.in_flight = 0
        self.heard_at = self.loop.time()
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
        self.batches_before = self.tally.batches
        self.keeps_payloads = False
        self.recent: deque[tuple[float, int]] = deque()
        self._grace: asyncio.TimerHandle | None = None
        self._mints_before = Mints.of(core)
        self._tell_cost_at = self.began + TELL_COST_EVERY

    def now(self) -> float:
        """The loop's clock."""
        return self.loop.time()

    def wall_ms(self) -> int:
        """The server's clock, by which windows close, in the wire's milliseconds."""
        return int(self.core.server_wall() * 1000)

    def surely_ms(self) -> int:
        """A time that has surely come: before the server was heard, our clock may be wrong by an hour or so.

        What closes between this time and `late_ms` is judged again just before it is sent.
        """
        return self.late_ms() - (0 if self.core.knows_the_time() else CLOCK_MAY_BE_OFF_MS)

    def late_ms(self) -> int:
        """The time by which a record is too late; while one answer's word stands against our clock, by both of them."""
        own = int(self.core.clock.wall() * 1000)
        return self.wall_ms() if self.core.knows_the_time() else min(own, self.wall_ms())

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
        self.flights.add(self.employ(flight))

    def employ(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Start a task whose unforeseen end is the end of the run."""
        task = self.loop.create_task(work)
        task.add_done_callback(self._landed)
        return task

    def _landed(self, task: asyncio.Task[None]) -> None:
        self.flights.discard(task)
        defect = None if task.cancelled() else task.exception()
        if defect is not None:
            self._crash(defect)
        self.alarm.ring()

    def _crash(self, defect: BaseException) -> None:
        """A defect of ours: nothing can be promised any more, so the reader hears of it at once."""
        self.fault = defect if isinstance(defect, Exception) else self.fault
        self.phase = Phase.DONE
        self.ended = self.now()
        self.at_stop()
        self.outlet.close()

    async def write(self, *entries: Entry) -> bool:
        """Tell the journal. False means it could not be told, and then nothing may be sent."""
        if self.journal.resumable and self.now() >= self._tell_cost_at:
            self._tell_cost_at = self.now() + TELL_COST_EVERY
            entries += (self.spent(),)
        try:
            await self.journal.write(*entries)
        except JournalError as error:
            self.fail(error)
            return False
        return True

    async def settle(self, results: Answered, seq: int | None = None, *, final: bool = True) -> None:
        """These records have their outcome: for good, or as far as this run goes (`final=False`)."""
        if not results:
            return
        final = final or not self.journal.resumable
        kept = final and await self.write(*settled(results, seq))
        self.publish(results, final=kept)

    def publish(self, results: Answered, *, final: bool) -> None:
        """The journal knows: count them, and let the reader have them."""
        if not final:
            for result in [results] if isinstance(results, Results) else results:
                result.final = False
        self.tally.settle(results)
        self.outlet.put(results)
        self.check_done()

    def effort(self) -> Effort:
        """What this run has cost up to now."""
        tally, mints = self.tally, self.mints()
        return Effort(
            dict(tally.requests) | {"mint": mints.requests},
            tally.retries,
            tally.throttled + mints.throttled,
            mints.made,
            (self.ended if self.ended is not None else self.now()) - self.began,
            tally.polls_wasted,
        )

    def spent(self) -> Spent:
        """The same for the journal."""
        effort = self.effort()
        return Spent(effort.requests, effort.retries, effort.throttled, effort.tokens_minted, effort.elapsed)

    def mints(self) -> Mints:
        """The requests for tokens since this run began."""
        return Mints.of(self.core).since(self._mints_before)

    def check_done(self) -> None:
        """Over, when the source is done and nothing is owed."""
        if not self.source_done or self.tally.open or self.phase is Phase.DONE:
            return
        self.phase = Phase.DONE
        self.ended = self.now()
        if self._grace is not None:
            self._grace.cancel()
        self.at_stop()
        self.outlet.close()
        self.alarm.ring()
        self.core.observer.stage("campaign.finished", {"read": self.tally.read, **self.counts()})

    def fail(self, error: Exception) -> None:
        """A fault of the whole run: the first one is kept, and the run ends in good order."""
        if self.phase is Phase.DONE or self.fault is not None:
            return
        self.fault = error
        name = type(error).__name__ if isinstance(error, TruecallerError) else "internal_error"
        self.core.observer.stage("campaign.failed", {"error": name})
        self.stop(abort=isinstance(error, POLLS_WOULD_FAIL))

    def stop(self, *, abort: bool) -> None:
        """Send nothing new. What waits to be sent gets its result; polling goes on for the grace, or not at all."""
        if self.phase is Phase.DONE:
            return
        first = self.running
        self.phase = Phase.ABORTING if abort or self.phase is Phase.ABORTING else Phase.DRAINING
        self.at_stop()
        if first:
            self.core.observer.stage("campaign.stop_requested", {"open_records": self.tally.open})
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
        """The run is over for these: what may have been applied is unknown."""
        for draft in drafts:
            isolation = self.isolations.get(draft.root) if draft.root is not None else None
            outcome, reason = Outcome.UNSENT, STOPPED
            if draft.doubts:
                outcome, reason = Outcome.UNKNOWN, "the answer was lost, and the run stopped before it was sent again"
            elif isolation is not None:
                reason = f"the run stopped before it was sent alone; its batch was refused: {isolation.reason}"
            await self.settle(self.results(draft, range(len(draft)), outcome, reason), draft.seq, final=False)

    async def release(self, draft: Draft) -> None:
        """The draft is settled as far as the order of its pairs goes: what came after it may go."""
        if draft.root is not None:
            self.schedule.settled(draft.seq, self.now())
            isolation = self.isolations.get(draft.root)
            if isolation is None:
                return
            isolation.left -= len(draft)
            if isolation.left > 0:
                return
            del self.isolations[draft.root]
            draft = isolation.root
            if isolation.refused >= isolation.size and not isolation.closed:
                self.refused_throughout(isolation.reason, isolation.error)
        self.pairs.settle(draft)
        self.schedule.settled(draft.seq, self.now())
        self.alarm.ring()

    def refused_throughout(self, reason: str, error: TruecallerError) -> None:
        """A batch of which nothing was taken. A few of them for one reason, and nothing taken between, are enough."""
        kind = UUID_LIKE.sub("", reason)
        self.refusals[kind] += 1
        if self.refusals[kind] >= SAME_REFUSALS_MAX:
            self.fail(error)

    def untracked_again(self, error: TruecallerError) -> None:
        """The server took something, and its answer does not say what became of it."""
        self.untracked += 1
        if self.untracked >= UNTRACKED_MAX:
            self.fail(error)

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
        """The server took a batch, or a single record."""
        now = self.now()
        self.refusals.clear()
        self.untracked = 0
        self.tally.sent += records
        self.recent.append((now, records))
        while self.recent and self.recent[0][0] < now - RATE_WINDOW:
            self.recent.popleft()

    async def _withdraw(self) -> None:
        await self.leave_unsent(self.schedule.withdraw())

    async def _give_up_polling(self) -> None:
        for accepted in list(self.accepted.values()):
            await self.give_up(accepted, STOPPED_POLLING)

    async def give_up(self, accepted: Accepted, reason: str, *, final: bool = False) -> None:
        """No more polls for this batch in this run: its open records stay unknown. `final`: no other run will know."""
        if self.accepted.pop(accepted.draft.seq, None) is None:
            return
        draft = accepted.draft
        results = self.results(draft, sorted(accepted.open), Outcome.UNKNOWN, reason, batch_id=accepted.batch_id)
        await self.settle(results, draft.seq, final=final)


def _nothing() -> None:
    """Nobody has to be told."""


_kind = attrgetter("outcome", "reason", "field", "attempts", "possibly_duplicated")


def settled(results: Answered, seq: int | None) -> list[Settled]:
    """What the journal is told of these results: one entry for all that are alike."""
    if isinstance(results, Results):
        if results.is_plain:
            attempts, twice = results.attempts, results.possibly_duplicated
            return [Settled(tuple(results.rows), Outcome.DELIVERED, None, seq, None, attempts, twice)]
        kinds, numbers = results.kinds(), results.rows
    else:
        kinds, numbers = list(map(_kind, results)), [result.row for result in results]
    groups: dict[Kind, list[int]] = {kind: [] for kind in kinds}
    for kind, row in zip(kinds, numbers, strict=True):
        groups[kind].append(row)
    return [
        Settled(tuple(rows), outcome, reason, seq, field, attempts, twice)
        for (outcome, reason, field, attempts, twice), rows in groups.items()
    ]
