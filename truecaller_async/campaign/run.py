"""State of one campaign, and the operations that all components of the engine use.

Algorithm:
    Every outcome goes through `record_results()`: write the journal, update the counters, queue the result. In that
    order. The run is done when the source is exhausted and every row has its result.

Invariants:
    - A resumable journal stores final outcomes only. If the run stops early, or a journal write fails, the open rows
      are returned with `final=False` and stay open for the next run.
    - With a non-resumable journal every outcome is final.
    - Every row gets exactly one result, also when the run stops: `unsent` if the row was never sent, `unknown` if its
      final status is missing.

Failure modes:
    - Draining: nothing more is read or sent. Requests in flight finish, and polling continues for 30 seconds.
    - Aborting: polling stops too. Only requests in flight finish.
    - `fail` stores the first fault of the whole run and drains the run. For an error in `ABORTING_ERRORS` it aborts
      the run. The consumer of the results gets the fault after the last result.
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

from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.campaign.core.chunker import Chunker
from truecaller_async.campaign.core.counters import Counters
from truecaller_async.campaign.core.dedupe import Dedupe
from truecaller_async.campaign.core.outgoing_batch import OutgoingBatch
from truecaller_async.campaign.core.pair_order import PairOrder
from truecaller_async.campaign.core.poll_schedule import AdaptiveFirstPoll, PollSchedule
from truecaller_async.campaign.core.work_queue import WorkQueue
from truecaller_async.campaign.result_queue import ResultQueue
from truecaller_async.campaign.wakeup import Wakeup
from truecaller_async.clock import Clock
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
from truecaller_async.ports import Journal, Observer
from truecaller_async.resilience.service_guard import Grant, ServiceGuard
from truecaller_async.resources import Batches, Calls
from truecaller_async.tokens import TokenPool

DRAIN_GRACE_SECONDS = 30.0
"""How long a draining run continues to poll."""

RATE_WINDOW_SECONDS = 10.0
"""Length of the window for the current rate of a run."""
COST_INTERVAL_SECONDS = 1.0
"""Time between two entries about the cost of the run in the journal."""

SAME_REJECTIONS_MAX = 3
"""The run fails after this many complete rejections with one reason, with no accepted batch in between."""

CLOCK_ERROR_MAX_MS = 3_600_000
"""Assumed error of the local clock until the server time is known."""
UNTRACKED_MAX = 3
"""The run fails after this many consecutive accepted requests without a batch id: the next would be lost as well."""

UUID_PATTERN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""Ids in a rejection reason, which are ignored when two reasons are compared."""
ABORTING_ERRORS = (AuthenticationFailed, Forbidden, UnexpectedRedirect, NotSent, TokenBudgetExhausted)
"""Faults of the run after which polls would fail as well."""
SUPERSEDED = "a later row of the same caller and receiver replaces it"
STOPPED_BEFORE_SENDING = "the run stopped before it was sent"
STOPPED_POLLING = "the run stopped before the final status was received"


@attrs.frozen
class CampaignDeps:
    """Dependencies of a run, provided by the client."""

    calls: Calls
    """Call resource, for single pushes."""
    batches: Batches
    """Batch resource, for submissions and status requests."""
    pool: TokenPool
    """Token pool of the client."""
    clock: Clock
    """Local wall clock."""
    rng: Random
    """Random source for jitter."""
    observer: Observer
    """Receiver of events."""
    retry: RetryPolicy
    """Retry policy of the client."""
    guard: ServiceGuard
    """Circuit breaker and retry budget of the client."""
    record_end: Callable[[Grant, BaseException | None], None]
    """Records the end of a request that had a grant: the error, or None for a good answer."""
    server_time: Callable[[], float]
    """Returns the server time, in seconds since the epoch."""
    server_time_is_known: Callable[[], bool]
    """Returns whether a server `Date` was seen; before that, `server_time` is the local clock."""
    requests: Counter[str]
    """Requests of the whole client by call, updated as requests are sent."""
    account: str
    """Client account id."""
    api_version: str
    """API version of the campaign."""


@attrs.frozen
class TokenRequestCounts:
    """Counts of token requests: sent, answered with a token, and answered with 429."""

    requests: int = 0
    succeeded: int = 0
    throttled: int = 0

    @classmethod
    def of(cls, deps: CampaignDeps) -> TokenRequestCounts:
        """Return the counts of the whole client up to now."""
        return cls(deps.requests["mint"], deps.pool.minted, deps.pool.mints_throttled)

    def since(self, before: TokenRequestCounts) -> TokenRequestCounts:
        """Return the difference to the earlier counts `before`."""
        return TokenRequestCounts(
            self.requests - before.requests, self.succeeded - before.succeeded, self.throttled - before.throttled
        )


class Phase(Enum):
    """Phase of a run; it only moves forward."""

    RUNNING = 0
    """Reading, sending and polling."""
    DRAINING = 1
    """Nothing new is read or sent; polling continues for `DRAIN_GRACE_SECONDS`."""
    ABORTING = 2
    """Only requests in flight are awaited."""
    DONE = 3
    """Every row has its result."""


@attrs.define(eq=False)
class TrackedBatch:
    """A batch that the server has accepted and whose status is requested."""

    batch: OutgoingBatch
    """The batch as it was sent."""
    batch_id: str
    """Id that the server gave."""
    polls: PollSchedule
    """Times of its status requests."""
    open: Collection[int]
    """Indexes of the records without a final outcome."""
    is_shared: bool = False
    """Whether the server gave the same id to another batch."""


@attrs.define(eq=False)
class Isolation:
    """State of the search for bad records in one rejected batch."""

    root: OutgoingBatch
    """The rejected batch."""
    reason: str
    """Reason of the rejection, from the server."""
    field: str | None
    """Field that the server named, if any."""
    remaining: int
    """Records of the batch that are neither accepted nor recorded."""
    size: int
    """Records of the batch as planned."""
    error: TruecallerError
    """Error of the rejected request."""
    rejected: int = 0
    """Records that were rejected again."""
    posts: int = 0
    """Batch requests spent on halving; limited by `BISECT_POSTS_MAX`."""
    streak: int = 0
    """Single records rejected in a row for the same reason."""
    last_reason: str | None = None
    """Reason of the latest rejected single record."""
    ended_early: bool = False
    """Whether the search ended because the remaining records were considered equally bad."""


class Run:
    """State of one run of a campaign. Create it inside a running event loop."""

    def __init__(self, deps: CampaignDeps, options: CampaignOptions, journal: Journal, state: CampaignState) -> None:
        self.deps = deps
        """What the client provides."""
        self.options = options
        """Options of the campaign."""
        self.journal = journal
        """Open journal."""
        self.state = state
        """Campaign state as the journal has it, including earlier runs."""
        self.loop = asyncio.get_running_loop()
        """Event loop of the run; its clock is the clock of all times here."""
        self.phase = Phase.RUNNING
        """Current phase."""
        self.fault: Exception | None = None
        """First fault of the whole run; raised to the consumer after the last result."""
        self.counters = Counters(state)
        """Counts of rows, outcomes and requests."""
        self.queue = WorkQueue()
        """Batches and polls that wait to be sent."""
        self.chunker = Chunker(watermark=options.correlate == "watermark", last_seq=state.last_seq)
        """Collects records into batches and gives out batch numbers."""
        self.pairs = PairOrder()
        """Order of batches with the same caller and receiver."""
        self.dedupe = Dedupe(options.dedupe)
        """Finds rows that repeat an earlier row."""
        self.first_poll = AdaptiveFirstPoll(options.poll)
        """Learned delay of the first status request."""
        self.result_queue = ResultQueue()
        """Results that wait for the consumer."""
        self.result_queue.delivered_count = self.counters.resolved
        self.wakeup = Wakeup()
        """Notified when anything changes that a worker or the intake waits for."""
        self.on_stop: Callable[[], None] = _do_nothing
        """Called when the run stops, so that the intake can end a pending read."""
        self.accepted: dict[int, TrackedBatch] = {}
        """Accepted batches with open records, by batch number."""
        self.isolations: dict[int, Isolation] = {}
        """Searches for bad records, by the number of the rejected batch."""
        self.rejections: Counter[str] = Counter()
        """Complete rejections by reason since the last accepted batch."""
        self.batch_ids: set[str] = set()
        """All batch ids that the server gave in this run."""
        self.untracked = 0
        """Consecutive accepted requests without a batch id."""
        self.request_tasks: set[asyncio.Task[None]] = set()
        """Tasks that must never be cancelled: requests and the work that follows from their answers."""
        self.in_flight = 0
        """Records of batches whose send task has not ended."""
        self.last_answer_at = self.loop.time()
        """Loop time of the latest end of a request."""
        self.source_exhausted = False
        """Whether the intake has ended; no more rows will be counted as read."""
        self.read_ahead_is_full = False
        """Whether more batches are queued than the read-ahead target; another token is then requested."""
        self.server_reached = False
        """Whether any request reached the server in this run."""
        self.realtime_allowed = True
        """Whether the account may push single records; False after a 403."""
        self.waiting_until: datetime | None = None
        """Time at which a token may be requested again, while the run has no token."""
        self.started_at = self.now()
        """Loop time of the start of this run."""
        self.ended_at: float | None = None
        """Loop time of the end of this run."""
        self.first_sent_at: float | None = None
        """Loop time of the first attempt to send."""
        self.last_sent_at: float | None = None
        """Loop time of the latest accepted batch."""
        self.peak_tokens = 0
        """Largest number of live tokens so far."""
        self.batches_before = self.counters.batches
        """Batches that earlier runs sent."""
        self.stores_records = False
        """Whether the journal stores the records, because the source cannot be opened again."""
        self.recently_sent: deque[tuple[float, int]] = deque()
        """Loop time and record count of each accepted request in the rate window."""
        self._grace: asyncio.TimerHandle | None = None
        self._token_requests_before = TokenRequestCounts.of(deps)
        self._next_cost_entry_at = self.started_at + COST_INTERVAL_SECONDS

    def now(self) -> float:
        """Return the loop time in seconds."""
        return self.loop.time()

    def server_now_ms(self) -> int:
        """Return the server time, by which windows close, in ms."""
        return int(self.deps.server_time() * 1000)

    def min_now_ms(self) -> int:
        """Return a lower bound of the current server time, in ms.

        Until a server `Date` was seen, assume the local clock may be 1 h fast. Windows that end between this bound and
        `expiry_now_ms()` are checked again just before sending.
        """
        return self.expiry_now_ms() - (0 if self.deps.server_time_is_known() else CLOCK_ERROR_MAX_MS)

    def expiry_now_ms(self) -> int:
        """Return the time at which a window counts as closed, in ms.

        This is the server time. Until it is known, it is the earlier of the local clock and the estimate of the server
        time, so that one wrong `Date` header does not expire records.
        """
        own = int(self.deps.clock.wall() * 1000)
        return self.server_now_ms() if self.deps.server_time_is_known() else min(own, self.server_now_ms())

    @property
    def running(self) -> bool:
        """Return whether new requests may still be sent."""
        return self.phase is Phase.RUNNING

    @property
    def credits(self) -> int:
        """Number of rows that may still be read from the source; may be zero or negative."""
        return self.options.max_unresolved - (self.counters.read - self.result_queue.delivered_count)

    def start_request(self, request: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Start a task that is never cancelled: a request and the work that follows from its answer."""
        task = self.start_critical(request)
        self.request_tasks.add(task)
        return task

    def start_critical(self, coroutine: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Start a task whose unexpected failure ends the run."""
        task = self.loop.create_task(coroutine)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self.request_tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._crash(error)
        # Wakes the workers that wait because `IN_FLIGHT_MAX` requests were in flight.
        self.wakeup.notify_all()

    def _crash(self, error: BaseException) -> None:
        """End the run at once after an internal error: no further result would be reliable."""
        self.fault = error if isinstance(error, Exception) else self.fault
        self.phase = Phase.DONE
        self.ended_at = self.now()
        self.on_stop()
        self.result_queue.close()

    async def append(self, *entries: JournalEntry) -> bool:
        """Write entries to the journal; return False if the write failed.

        After False the run has failed (`fail`), and nothing may be sent.
        """
        if self.journal.resumable and self.now() >= self._next_cost_entry_at:
            self._next_cost_entry_at = self.now() + COST_INTERVAL_SECONDS
            entries += (self.cost_entry(),)
        try:
            await self.journal.write(*entries)
        except JournalError as error:
            self.fail(error)
            return False
        return True

    async def record_results(self, results: ResultList, seq: int | None = None, *, final: bool = True) -> None:
        """Record outcomes: write the journal, update the counters, queue the results.

        Args:
            results: Results of rows that have no outcome yet.
            seq: Number of their batch; None for rows that were not planned.
            final: False if the next run may continue with these rows. Ignored if the journal is not resumable.
        """
        if not results:
            return
        final = final or not self.journal.resumable
        # Write the journal first: otherwise, after a crash, the next run would give the consumer this result again.
        is_recorded = final and await self.append(*outcome_entries(results, seq))
        self.deliver(results, final=is_recorded)

    def deliver(self, results: ResultList, *, final: bool) -> None:
        """Count results and queue them for the consumer.

        `final=False` marks results that the journal does not contain.
        """
        if not final:
            for result in [results] if isinstance(results, BatchResults) else results:
                result.final = False
        self.counters.count(results)
        self.result_queue.put(results)
        self.check_done()

    def cost(self) -> RunCost:
        """Return the cost of this run up to now."""
        counters, token_requests = self.counters, self.token_requests()
        return RunCost(
            dict(counters.requests) | {"mint": token_requests.requests},
            counters.retries,
            counters.throttled + token_requests.throttled,
            token_requests.succeeded,
            (self.ended_at if self.ended_at is not None else self.now()) - self.started_at,
            counters.empty_polls,
        )

    def cost_entry(self) -> CostReported:
        """Return the cost of this run as a journal entry."""
        cost = self.cost()
        return CostReported(cost.requests, cost.retries, cost.throttled, cost.tokens_minted, cost.elapsed)

    def token_requests(self) -> TokenRequestCounts:
        """Return the counts of token requests since this run started."""
        return TokenRequestCounts.of(self.deps).since(self._token_requests_before)

    def check_done(self) -> None:
        """End the run if the source is exhausted and every row has its result."""
        if not self.source_exhausted or self.counters.open or self.phase is Phase.DONE:
            return
        # The phase first: the calls below may lead back here.
        self.phase = Phase.DONE
        self.ended_at = self.now()
        if self._grace is not None:
            self._grace.cancel()
        self.on_stop()
        self.result_queue.close()
        self.wakeup.notify_all()
        self.deps.observer.event("campaign.finished", {"read": self.counters.read, **self.counts()})

    def fail(self, error: Exception) -> None:
        """Stop the run because of a fault; only the first fault is kept.

        The run drains. For an error in `ABORTING_ERRORS` it aborts, because polls would fail as well.
        """
        if self.phase is Phase.DONE or self.fault is not None:
            return
        self.fault = error
        name = type(error).__name__ if isinstance(error, TruecallerError) else "internal_error"
        self.deps.observer.event("campaign.failed", {"error": name})
        self.stop(abort=isinstance(error, ABORTING_ERRORS))

    def stop(self, *, abort: bool) -> None:
        """Stop the run: record queued batches as unsent, and limit polling.

        Args:
            abort: Stop polling now. If False, polling continues for `DRAIN_GRACE_SECONDS`.
        """
        if self.phase is Phase.DONE:
            return
        first = self.running
        self.phase = Phase.ABORTING if abort or self.phase is Phase.ABORTING else Phase.DRAINING
        self.on_stop()
        if first:
            self.deps.observer.event("campaign.stop_requested", {"open_records": self.counters.open})
            self.start_request(self._record_queued())
        if self.phase is Phase.ABORTING:
            self.start_request(self._stop_all_polling())
        elif self._grace is None:
            self._grace = self.loop.call_later(DRAIN_GRACE_SECONDS, lambda: self.stop(abort=True))
        self.wakeup.notify_all()

    async def requeue(self, batch: OutgoingBatch) -> None:
        """Queue a planned batch; if the run has stopped, record it as unsent instead."""
        if self.running:
            self.queue.add(batch, self.now())
        else:
            await self.record_stopped([batch])

    async def record_stopped(self, batches: Iterable[OutgoingBatch]) -> None:
        """Record the results of batches that are not sent in this run, as not final.

        The outcome is `unsent`, or `unknown` if an earlier answer for the batch was lost.
        """
        for batch in batches:
            isolation = self.isolations.get(batch.root_batch) if batch.root_batch is not None else None
            outcome, reason = Outcome.UNSENT, STOPPED_BEFORE_SENDING
            if batch.lost_answers:
                outcome, reason = Outcome.UNKNOWN, "the answer was lost, and the run stopped before it was sent again"
            elif isolation is not None:
                reason = f"the run stopped before it was sent alone; its batch was rejected: {isolation.reason}"
            await self.record_results(self.results(batch, range(len(batch)), outcome, reason), batch.seq, final=False)

    async def release_pairs(self, batch: OutgoingBatch) -> None:
        """Release the pair order of a batch that was accepted, recorded or emptied.

        Later batches of the same pairs may then be sent. Parts of a rejected batch release the order of the whole
        batch with the last part.
        """
        if batch.root_batch is not None:
            self.queue.unblock(batch.seq, self.now())
            isolation = self.isolations.get(batch.root_batch)
            if isolation is None:
                return
            isolation.remaining -= len(batch)
            if isolation.remaining > 0:
                return
            del self.isolations[batch.root_batch]
            batch = isolation.root
            if isolation.rejected >= isolation.size and not isolation.ended_early:
                self.count_full_rejection(isolation.reason, isolation.error)
        self.pairs.remove(batch)
        self.queue.unblock(batch.seq, self.now())
        self.wakeup.notify_all()

    def count_full_rejection(self, reason: str, error: TruecallerError) -> None:
        """Count a complete rejection; fail the run after `SAME_REJECTIONS_MAX` with one reason."""
        same_reason = UUID_PATTERN.sub("", reason)
        self.rejections[same_reason] += 1
        if self.rejections[same_reason] >= SAME_REJECTIONS_MAX:
            self.fail(error)

    def count_untracked(self, error: TruecallerError) -> None:
        """Count an accepted request without a batch id; fail the run after `UNTRACKED_MAX` consecutive ones."""
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
        """Return one result for each of these indexes of a batch, all with the same outcome."""
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
        self, batch: OutgoingBatch, removed: list[tuple[int, CallRecord]], outcome: Outcome, reason: str
    ) -> list[RecordResult]:
        """Return the results of records that were removed from a batch before sending.

        If an earlier answer for the batch was lost, the outcome becomes `unknown`.
        """
        if batch.root_batch in self.isolations:
            self.isolations[batch.root_batch].remaining -= len(removed)
        if batch.lost_answers:
            outcome, reason = Outcome.UNKNOWN, f"the answer was lost, and {reason}"
        return [
            RecordResult(
                original,
                row,
                original.key,
                outcome,
                reason,
                attempts=batch.maybe_received,
                possibly_duplicated=batch.possibly_duplicated,
            )
            for row, original in removed
        ]

    def counts(self) -> dict[str, int]:
        """Return the number of results for each outcome, including zeros."""
        return {str(outcome): self.counters.outcomes[outcome] for outcome in Outcome}

    def record_sent(self, records: int) -> None:
        """Count records of an accepted request, and reset the counters of consecutive failures."""
        now = self.now()
        self.rejections.clear()
        self.untracked = 0
        self.counters.sent += records
        self.recently_sent.append((now, records))
        while self.recently_sent and self.recently_sent[0][0] < now - RATE_WINDOW_SECONDS:
            self.recently_sent.popleft()

    async def _record_queued(self) -> None:
        await self.record_stopped(self.queue.remove_all())

    async def _stop_all_polling(self) -> None:
        # A copy: `stop_polling` removes entries, and polls in flight may do so during its await.
        for tracked in list(self.accepted.values()):
            await self.stop_polling(tracked, STOPPED_POLLING)

    async def stop_polling(self, tracked: TrackedBatch, reason: str, *, final: bool = False) -> None:
        """Stop polling a batch in this run; its open records become `unknown`.

        Args:
            tracked: The batch; ignored if its polling has ended.
            reason: Reason for the results.
            final: True if no later run can learn more about these records.
        """
        # Removed before the await: a second caller finds nothing, so each record gets one result.
        if self.accepted.pop(tracked.batch.seq, None) is None:
            return
        batch = tracked.batch
        results = self.results(batch, sorted(tracked.open), Outcome.UNKNOWN, reason, batch_id=tracked.batch_id)
        await self.record_results(results, batch.seq, final=final)


def _do_nothing() -> None:
    """Default of `on_stop`: there is nothing to interrupt."""


_outcome_key = attrgetter("outcome", "reason", "field", "attempts", "possibly_duplicated")


def outcome_entries(results: ResultList, seq: int | None) -> list[RowsSettled]:
    """Return the journal entries for these results: one entry for all rows with equal outcomes."""
    if isinstance(results, BatchResults):
        if results.is_plain:
            attempts, possibly_duplicated = results.attempts, results.possibly_duplicated
            return [RowsSettled(tuple(results.rows), Outcome.DELIVERED, None, seq, None, attempts, possibly_duplicated)]
        keys, rows = results.outcome_keys(), results.rows
    else:
        keys, rows = list(map(_outcome_key, results)), [result.row for result in results]
    groups: dict[OutcomeKey, list[int]] = {key: [] for key in keys}
    for key, row in zip(keys, rows, strict=True):
        groups[key].append(row)
    return [
        RowsSettled(tuple(rows), outcome, reason, seq, field, attempts, possibly_duplicated)
        for (outcome, reason, field, attempts, possibly_duplicated), rows in groups.items()
    ]
