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
from truecaller_async.engine.result_queue import ResultQueue
from truecaller_async.engine.wakeup import Wakeup
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
    BatchResults,
    CallRecord,
    CostReported,
    JournalEntry,
    Outcome,
    OutcomeKey,
    RecordResult,
    ResultList,
    RowsSettled,
    RunCost,
)
from truecaller_async.options import CampaignOptions, RetryPolicy
from truecaller_async.planning.campaign_state import CampaignState
from truecaller_async.planning.chunker import Chunker
from truecaller_async.planning.counters import Counters
from truecaller_async.planning.dedupe import Dedupe
from truecaller_async.planning.outgoing_batch import OutgoingBatch
from truecaller_async.planning.pair_order import PairOrder
from truecaller_async.planning.poll_schedule import AdaptiveFirstPoll, PollSchedule
from truecaller_async.planning.work_queue import WorkQueue
from truecaller_async.ports import Journal, Observer
from truecaller_async.resilience.service_guard import Grant, ServiceGuard
from truecaller_async.resources import Batches, Calls
from truecaller_async.tokens import TokenPool

DRAIN_GRACE_SECONDS = 30.0
"""Seconds for which a draining run goes on polling."""

RATE_WINDOW_SECONDS = 10.0
COST_INTERVAL_SECONDS = 1.0
"""Seconds after which the journal hears again what the run has cost."""

SAME_REJECTIONS_MAX = 3
"""Batches refused throughout, one after the other for one reason, that stop the run."""

CLOCK_ERROR_MAX_MS = 3_600_000
UNTRACKED_MAX = 3
"""Requests that were taken, one after the other, with an answer nobody can use: more would be lost the same way."""

UUID_LIKE = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
POLLS_WOULD_FAIL = (AuthenticationFailed, Forbidden, UnexpectedRedirect, NotSent, TokenBudgetExhausted)
STOPPED = "the run stopped before it was sent"
STOPPED_POLLING = "the run stopped before the server said its final word"


@attrs.frozen
class CampaignDeps:
    """What the client lends to a run."""

    calls: Calls
    batches: Batches
    pool: TokenPool
    clock: Clock
    rng: Random
    observer: Observer
    retry: RetryPolicy
    guard: ServiceGuard
    record_end: Callable[[Grant, BaseException | None], None]
    """Told how each request ended that had leave."""
    server_time: Callable[[], float]
    """What time it is at the server, in seconds since the epoch."""
    server_time_is_known: Callable[[], bool]
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
    def of(cls, core: CampaignDeps) -> Mints:
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
class TrackedBatch:
    """A batch that the server has: its draft, its id, its polls, and which of its records are still open.

    `is_shared`: the server gave its id to another batch as well.
    """

    batch: OutgoingBatch
    batch_id: str
    polls: PollSchedule
    open: Collection[int]
    is_shared: bool = False


@attrs.define(eq=False)
class Isolation:
    """A refused batch whose bad record is looked for.

    `left` counts its records without a place or a result, `refused` those that were refused once more. It is `closed`
    when the rest was found to be no better.
    """

    root: OutgoingBatch
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

    def __init__(self, core: CampaignDeps, options: CampaignOptions, journal: Journal, state: CampaignState) -> None:
        self.deps = core
        self.options = options
        self.journal = journal
        self.state = state
        self.loop = asyncio.get_running_loop()
        self.phase = Phase.RUNNING
        self.fault: Exception | None = None
        self.counters = Counters(state)
        self.queue = WorkQueue()
        self.chunker = Chunker(watermark=options.correlate == "watermark", last_seq=state.last_seq)
        self.pairs = PairOrder()
        self.dedupe = Dedupe(options.dedupe)
        self.first_poll = AdaptiveFirstPoll(options.poll)
        self.result_queue = ResultQueue()
        self.result_queue.delivered_count = self.counters.resolved
        self.wakeup = Wakeup()
        self.on_stop: Callable[[], None] = _nothing
        self.accepted: dict[int, TrackedBatch] = {}
        self.isolations: dict[int, Isolation] = {}
        self.refusals: Counter[str] = Counter()
        self.batch_ids: set[str] = set()
        self.untracked = 0
        self.request_tasks: set[asyncio.Task[None]] = set()
        self.in_flight = 0
        self.last_answer_at = self.loop.time()
        self.source_exhausted = False
        self.source_has_more = False
        self.server_reached = False
        self.realtime_allowed = True
        self.waiting_until: datetime | None = None
        self.started_at = self.now()
        self.ended_at: float | None = None
        self.first_sent_at: float | None = None
        self.last_sent_at: float | None = None
        self.peak_tokens = 0
        self.batches_before = self.counters.batches
        self.stores_records = False
        self.recent: deque[tuple[float, int]] = deque()
        self._grace: asyncio.TimerHandle | None = None
        self._mints_before = Mints.of(core)
        self._tell_cost_at = self.started_at + COST_INTERVAL_SECONDS

    def now(self) -> float:
        """The loop's clock."""
        return self.loop.time()

    def server_now_ms(self) -> int:
        """The server's clock, by which windows close, in the wire's milliseconds."""
        return int(self.deps.server_time() * 1000)

    def min_now_ms(self) -> int:
        """A time that has surely come: before the server was heard, our clock may be wrong by an hour or so.

        What closes between this time and `expiry_now_ms` is judged again just before it is sent.
        """
        return self.expiry_now_ms() - (0 if self.deps.server_time_is_known() else CLOCK_ERROR_MAX_MS)

    def expiry_now_ms(self) -> int:
        """The time by which a record is too late; while one answer's word stands against our clock, by both of them."""
        own = int(self.deps.clock.wall() * 1000)
        return self.server_now_ms() if self.deps.server_time_is_known() else min(own, self.server_now_ms())

    @property
    def running(self) -> bool:
        """Whether anything new may still be sent."""
        return self.phase is Phase.RUNNING

    @property
    def credits(self) -> int:
        """How many more records the source may be asked for."""
        return self.options.max_unresolved - (self.counters.read - self.result_queue.delivered_count)

    def start_request(self, flight: Coroutine[object, object, None]) -> None:
        """Start a piece of work that is never cancelled: a request, and what follows from its answer."""
        self.request_tasks.add(self.start_critical(flight))

    def start_critical(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Start a task whose unforeseen end is the end of the run."""
        task = self.loop.create_task(work)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self.request_tasks.discard(task)
        defect = None if task.cancelled() else task.exception()
        if defect is not None:
            self._crash(defect)
        self.wakeup.notify_all()

    def _crash(self, defect: BaseException) -> None:
        """A defect of ours: nothing can be promised any more, so the reader hears of it at once."""
        self.fault = defect if isinstance(defect, Exception) else self.fault
        self.phase = Phase.DONE
        self.ended_at = self.now()
        self.on_stop()
        self.result_queue.close()

    async def append(self, *entries: JournalEntry) -> bool:
        """Tell the journal. False means it could not be told, and then nothing may be sent."""
        if self.journal.resumable and self.now() >= self._tell_cost_at:
            self._tell_cost_at = self.now() + COST_INTERVAL_SECONDS
            entries += (self.cost_entry(),)
        try:
            await self.journal.write(*entries)
        except JournalError as error:
            self.fail(error)
            return False
        return True

    async def record_results(self, results: ResultList, seq: int | None = None, *, final: bool = True) -> None:
        """These records have their outcome: for good, or as far as this run goes (`final=False`)."""
        if not results:
            return
        final = final or not self.journal.resumable
        kept = final and await self.append(*settled_entries(results, seq))
        self.deliver(results, final=kept)

    def deliver(self, results: ResultList, *, final: bool) -> None:
        """The journal knows: count them, and let the reader have them."""
        if not final:
            for result in [results] if isinstance(results, BatchResults) else results:
                result.final = False
        self.counters.count(results)
        self.result_queue.put(results)
        self.check_done()

    def cost(self) -> RunCost:
        """What this run has cost up to now."""
        counters, mints = self.counters, self.mints()
        return RunCost(
            dict(counters.requests) | {"mint": mints.requests},
            counters.retries,
            counters.throttled + mints.throttled,
            mints.made,
            (self.ended_at if self.ended_at is not None else self.now()) - self.started_at,
            counters.empty_polls,
        )

    def cost_entry(self) -> CostReported:
        """The same for the journal."""
        effort = self.cost()
        return CostReported(effort.requests, effort.retries, effort.throttled, effort.tokens_minted, effort.elapsed)

    def mints(self) -> Mints:
        """The requests for tokens since this run began."""
        return Mints.of(self.deps).since(self._mints_before)

    def check_done(self) -> None:
        """Over, when the source is done and nothing is owed."""
        if not self.source_exhausted or self.counters.open or self.phase is Phase.DONE:
            return
        self.phase = Phase.DONE
        self.ended_at = self.now()
        if self._grace is not None:
            self._grace.cancel()
        self.on_stop()
        self.result_queue.close()
        self.wakeup.notify_all()
        self.deps.observer.event("campaign.finished", {"read": self.counters.read, **self.counts()})

    def fail(self, error: Exception) -> None:
        """A fault of the whole run: the first one is kept, and the run ends in good order."""
        if self.phase is Phase.DONE or self.fault is not None:
            return
        self.fault = error
        name = type(error).__name__ if isinstance(error, TruecallerError) else "internal_error"
        self.deps.observer.event("campaign.failed", {"error": name})
        self.stop(abort=isinstance(error, POLLS_WOULD_FAIL))

    def stop(self, *, abort: bool) -> None:
        """Send nothing new. What waits to be sent gets its result; polling goes on for the grace, or not at all."""
        if self.phase is Phase.DONE:
            return
        first = self.running
        self.phase = Phase.ABORTING if abort or self.phase is Phase.ABORTING else Phase.DRAINING
        self.on_stop()
        if first:
            self.deps.observer.event("campaign.stop_requested", {"open_records": self.counters.open})
            self.start_request(self._settle_queued())
        if self.phase is Phase.ABORTING:
            self.start_request(self._stop_all_polling())
        elif self._grace is None:
            self._grace = self.loop.call_later(DRAIN_GRACE_SECONDS, lambda: self.stop(abort=True))
        self.wakeup.notify_all()

    async def requeue(self, batch: OutgoingBatch) -> None:
        """A planned draft waits for its next turn, unless the run has stopped."""
        if self.running:
            self.queue.add(batch, self.now())
        else:
            await self.settle_unsent([batch])

    async def settle_unsent(self, drafts: Iterable[OutgoingBatch]) -> None:
        """The run is over for these: what may have been applied is unknown."""
        for batch in drafts:
            isolation = self.isolations.get(batch.root_batch) if batch.root_batch is not None else None
            outcome, reason = Outcome.UNSENT, STOPPED
            if batch.lost_answers:
                outcome, reason = Outcome.UNKNOWN, "the answer was lost, and the run stopped before it was sent again"
            elif isolation is not None:
                reason = f"the run stopped before it was sent alone; its batch was refused: {isolation.reason}"
            await self.record_results(self.results(batch, range(len(batch)), outcome, reason), batch.seq, final=False)

    async def release_pairs(self, batch: OutgoingBatch) -> None:
        """The draft is settled as far as the order of its pairs goes: what came after it may go."""
        if batch.root_batch is not None:
            self.queue.unblock(batch.seq, self.now())
            isolation = self.isolations.get(batch.root_batch)
            if isolation is None:
                return
            isolation.left -= len(batch)
            if isolation.left > 0:
                return
            del self.isolations[batch.root_batch]
            batch = isolation.root
            if isolation.refused >= isolation.size and not isolation.closed:
                self.count_full_rejection(isolation.reason, isolation.error)
        self.pairs.release(batch)
        self.queue.unblock(batch.seq, self.now())
        self.wakeup.notify_all()

    def count_full_rejection(self, reason: str, error: TruecallerError) -> None:
        """A batch of which nothing was taken. A few of them for one reason, and nothing taken between, are enough."""
        kind = UUID_LIKE.sub("", reason)
        self.refusals[kind] += 1
        if self.refusals[kind] >= SAME_REJECTIONS_MAX:
            self.fail(error)

    def count_untracked(self, error: TruecallerError) -> None:
        """The server took something, and its answer does not say what became of it."""
        self.untracked += 1
        if self.untracked >= UNTRACKED_MAX:
            self.fail(error)

    def results(
        self,
        batch: OutgoingBatch,
        indexes: Iterable[int],
        outcome: Outcome,
        reason: str | None = None,
        field: str | None = None,
        batch_id: str | None = None,
    ) -> list[RecordResult]:
        """One result for each of these places of a draft, all with the same outcome."""
        return [
            RecordResult(
                batch.originals[index],
                batch.rows[index],
                batch.originals[index].key,
                outcome,
                reason,
                field,
                batch_id,
                attempts=batch.maybe_received,
                possibly_duplicated=batch.possibly_duplicated,
            )
            for index in indexes
        ]

    def removed_results(
        self, batch: OutgoingBatch, taken: list[tuple[int, CallRecord]], outcome: Outcome, reason: str
    ) -> list[RecordResult]:
        """Results for records that were taken out of a draft; after a lost answer nobody knows more than that."""
        if batch.root_batch in self.isolations:
            self.isolations[batch.root_batch].left -= len(taken)
        if batch.lost_answers:
            outcome, reason = Outcome.UNKNOWN, f"the answer was lost, and {reason}"
        return [
            RecordResult(
                given,
                row,
                given.key,
                outcome,
                reason,
                attempts=batch.maybe_received,
                possibly_duplicated=batch.possibly_duplicated,
            )
            for row, given in taken
        ]

    def counts(self) -> dict[str, int]:
        """Records by outcome, every outcome named."""
        return {str(outcome): self.counters.outcomes[outcome] for outcome in Outcome}

    def record_sent(self, records: int) -> None:
        """The server took a batch, or a single record."""
        now = self.now()
        self.refusals.clear()
        self.untracked = 0
        self.counters.sent += records
        self.recent.append((now, records))
        while self.recent and self.recent[0][0] < now - RATE_WINDOW_SECONDS:
            self.recent.popleft()

    async def _settle_queued(self) -> None:
        await self.settle_unsent(self.queue.remove_all())

    async def _stop_all_polling(self) -> None:
        for accepted in list(self.accepted.values()):
            await self.stop_polling(accepted, STOPPED_POLLING)

    async def stop_polling(self, accepted: TrackedBatch, reason: str, *, final: bool = False) -> None:
        """No more polls for this batch in this run: its open records stay unknown. `final`: no other run will know."""
        if self.accepted.pop(accepted.batch.seq, None) is None:
            return
        batch = accepted.batch
        results = self.results(batch, sorted(accepted.open), Outcome.UNKNOWN, reason, batch_id=accepted.batch_id)
        await self.record_results(results, batch.seq, final=final)


def _nothing() -> None:
    """Nobody has to be told."""


_kind = attrgetter("outcome", "reason", "field", "attempts", "possibly_duplicated")


def settled_entries(results: ResultList, seq: int | None) -> list[RowsSettled]:
    """What the journal is told of these results: one entry for all that are alike."""
    if isinstance(results, BatchResults):
        if results.is_plain:
            attempts, twice = results.attempts, results.possibly_duplicated
            return [RowsSettled(tuple(results.rows), Outcome.DELIVERED, None, seq, None, attempts, twice)]
        kinds, numbers = results.outcome_keys(), results.rows
    else:
        kinds, numbers = list(map(_kind, results)), [result.row for result in results]
    groups: dict[OutcomeKey, list[int]] = {kind: [] for kind in kinds}
    for kind, row in zip(kinds, numbers, strict=True):
        groups[kind].append(row)
    return [
        RowsSettled(tuple(rows), outcome, reason, seq, field, attempts, twice)
        for (outcome, reason, field, attempts, twice), rows in groups.items()
    ]
