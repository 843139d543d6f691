"""Choose the work of a run and give it to workers. No other module chooses work, or waits for it.

Algorithm:
    `pump` takes the most urgent work that may be sent now, and gives it to the worker that became idle last, so that
    few connections stay warm. A worker makes one request at a time; it is started when there is work for it. Work is
    chosen in this order: pushes, polls, batches. Work without a permit or a grant is skipped, not waited for.
Invariants:
    - There is no `await` between a choice and the worker that gets it, so nothing changes in between, and no wake-up
      can be lost: whatever may make work possible ends in `pump`. That is a recorded transaction, a commit, the timer,
      an idle worker, a permit that ended, a new token, and a change of the phase.
    - A batch is `in_flight` from the choice on: `AttemptStarted` is recorded in the same step.
    - While the breaker is open only probes are sent. While it is open or the retry budget is empty, two of three
      probes prefer a poll, because a poll changes nothing. Each third prefers a batch: one call may fail while the
      other works.
Failure modes:
    - The token store cannot be written: nothing new is sent for 1, 2, 4, ... seconds. If that goes on for the `total`
      of the retry policy, the run fails.
    - If the event loop is blocked for more than 1 second, `loop.stalled` is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from truecaller_async.campaign.core.ambiguity import resend_due
from truecaller_async.campaign.core.work_queue import QueuedBatch
from truecaller_async.campaign.run import Run
from truecaller_async.campaign.workers.isolation import Isolator
from truecaller_async.campaign.workers.poller import Poller
from truecaller_async.campaign.workers.sender import Job, Sender
from truecaller_async.campaign.workers.token_use import StorePause, TokenUse
from truecaller_async.cancellation import cancelled_from_outside
from truecaller_async.errors import ConfigError
from truecaller_async.models.journal_entries import AttemptStarted
from truecaller_async.resilience.service_guard import RECHECK_SECONDS, Grant
from truecaller_async.tokens import TokenPermit

IN_FLIGHT_MAX = 64
"""Requests of one run in flight at the same time."""
IN_FLIGHT_FAST_MAX = 16
"""The same, while the server answers so fast that more requests only compete for the processor."""
FAST_ANSWER_SECONDS = 0.01
"""Mean duration of a request below which the server is fast."""
MEAN_WEIGHT_FACTOR = 0.1
"""Weight of the latest request in the mean duration."""

NORMAL_ORDER = ("push", "status", "submit")
"""Order of the calls if the service answers well."""
POLLS_FIRST = ("status", "push", "submit")
SENDS_FIRST = ("push", "submit", "status")
DEGRADED_ORDERS = (POLLS_FIRST, POLLS_FIRST, SENDS_FIRST)
"""Orders used in rotation while the breaker is open or the retry budget is empty."""

BATCHES_PER_RECHECK = 20
"""Accepted and queued batches that add one more `RECHECK_SECONDS` to the delay of a postponed resend."""
POSTPONE_MAX_SECONDS = 10.0
"""Longest delay of a postponed resend."""

HEARTBEAT_SECONDS = 1.0
"""Longest time between two choices. It renews tokens and measures the delay of the event loop."""
LOOP_STALL_SECONDS = 1.0
"""Delay of the event loop above which it is reported."""

NEVER = float("inf")


class Dispatcher:
    """Makes the requests of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._guard = run.deps.guard
        self._pool = run.deps.pool
        self._queue = run.queue
        self._pause = StorePause(run)
        self.tokens = TokenUse(run, self._pause)
        """The tokens of the run."""
        self.isolator = Isolator(run)
        """The search for bad records."""
        self.sender = Sender(run, self.tokens, self.isolator, self._pause)
        """The sender of batches."""
        self._poller = Poller(run, self.tokens, self._pause)
        self._loop = asyncio.get_running_loop()
        self._idle: list[asyncio.Future[Job | None]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._is_open = False
        self._is_closed = False
        self._is_choosing = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = NEVER
        self._mean_seconds = NEVER
        self._unsubscribe: Callable[[], None] | None = None
        run.lifecycle.busy_workers = lambda: self._busy
        run.lifecycle.on_close = self.close
        run.recorder.on_confirmed = self._confirmed

    async def open(self) -> None:
        """Open the token pool and begin to send, unless the run has ended meanwhile."""
        try:
            with cancelled_from_outside("the token store"):
                await self._pool.open()
        except Exception as error:  # noqa: BLE001 - the run ends in good order, whatever failed
            self._run.lifecycle.fail(error)
            return
        if self._is_closed:  # the run ended while the store was slow
            return
        self._unsubscribe = self._pool.subscribe(self.pump)
        self._is_open = True
        self.tokens.count_live()
        self._set_timer(NEVER, self._run.now())
        self.pump()

    def close(self) -> None:
        """Send nothing more, and end the idle workers."""
        self._is_open, self._is_closed = False, True
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._timer is not None:
            self._timer.cancel()
        self.tokens.close()
        idle, self._idle = self._idle, []
        for waiting in idle:
            waiting.set_result(None)

    def pump(self) -> None:
        """Give all work that may be sent now to workers."""
        # Nothing becomes ready before the timer: it pumps.
        if self._is_choosing or not self._is_open or self._queue.ready_at >= self._timer_at:
            return
        self._is_choosing = True
        try:
            while self._busy < self._busy_max and (job := self._choose()) is not None:
                self._busy += 1
                if self._idle:
                    self._idle.pop().set_result(job)
                else:
                    self._start_worker(job)
        except Exception as defect:  # noqa: BLE001 - the run ends in good order, whatever failed
            self._run.lifecycle.fail(defect)
        finally:
            self._is_choosing = False

    @property
    def _busy_max(self) -> int:
        return IN_FLIGHT_FAST_MAX if self._mean_seconds < FAST_ANSWER_SECONDS else IN_FLIGHT_MAX

    def _choose(self) -> Job | None:
        """Return the most urgent request that may be made now; otherwise set the timer."""
        run, queue, now = self._run, self._queue, self._run.now()
        if run.recorder.is_behind or now < self._pause.until:
            self._set_timer(self._pause.until if now < self._pause.until else NEVER, now)
            return None
        if queue.ready_at > now:
            self._set_timer(queue.ready_at, now)
            return None
        queue.promote(now)
        is_degraded = self._guard.is_degraded
        soonest = NEVER
        for call in self._degraded_order() if is_degraded else NORMAL_ORDER:
            if run.lifecycle.is_running or (call == "status" and run.lifecycle.may_poll):
                found = self._claim(call, now, is_degraded=is_degraded)
                if isinstance(found, Job):
                    return found
                soonest = min(soonest, found)
        # Last: a claim may have postponed work.
        due = queue.next_due(now)
        if soonest == NEVER:  # nothing is ready
            queue.ready_at = due
        self._set_timer(min(soonest, due), now)
        return None

    def _degraded_order(self) -> tuple[str, ...]:
        return DEGRADED_ORDERS[self._guard.grant_counts[Grant.PROBE] % len(DEGRADED_ORDERS)]

    def _claim(self, call: str, now: float, *, is_degraded: bool) -> Job | float:
        """Claim the most urgent work of a call; otherwise return the time at which to try again."""
        queue, guard = self._queue, self._guard
        retry_wait = guard.wait(now, is_retry=True) if is_degraded else 0.0
        while (item := queue.peek(call, now, with_retries=retry_wait <= 0)) is not None:
            if self._was_changed(call, item, now):
                continue
            wait = guard.wait(now, is_retry=item.is_retry) if is_degraded else 0.0
            if wait > 0:
                return now + wait
            try:
                permit = self._pool.try_acquire(call, now)
            except ConfigError as error:  # the token store
                self._pause.record_failure(error)
                return self._pause.until
            if isinstance(permit, float):
                self.tokens.consider_growth()
                return min(now + permit, max(self.tokens.no_growth_before, now + HEARTBEAT_SECONDS))
            return self._start(call, item, permit, now)
        return now + retry_wait if retry_wait > 0 and queue.peek(call, now, with_retries=True) else NEVER

    def _was_changed(self, call: str, item: QueuedBatch, now: float) -> bool:
        """Postpone work that is not due, settle rows that are too late; return whether there were any."""
        run, queue = self._run, self._run.queue
        if call == "status":
            due = item.polls.postpone_first(queue.first_poll.delay, now) if item.polls is not None else None
            if due is not None:
                queue.add_poll(item, due)
            return due is not None
        # Before the first token, only the local clock is known, which may be wrong. The token request shows the time.
        if (run.deps.server_time_is_known() or self._pool.live()) and self.sender.prune(item):
            return True
        if item.batch.lost_answers:
            left = (item.batch.open_content.expires_ms - run.deps.expiry_now_ms()) / 1000
            due = resend_due(item, self._guard, left, is_only_work=not queue.accepted_count)
            if due > now:
                crowd = 1 + (queue.accepted_count + queue.submits_waiting) / BATCHES_PER_RECHECK
                queue.postpone(item, min(due, now + min(RECHECK_SECONDS * crowd, POSTPONE_MAX_SECONDS)), now)
                return True
        return False

    def _start(self, call: str, item: QueuedBatch, permit: TokenPermit, now: float) -> Job | float:
        run, batch = self._run, item.batch
        grant = self._guard.try_acquire(now, is_retry=item.is_retry)
        if grant is None:
            permit.cancel()
            return now + RECHECK_SECONDS
        job = Job(call, item, permit, grant, now)
        try:
            if call == "status":
                self._queue.take_poll(item)
            else:
                started = AttemptStarted(batch.seq, batch.attempts + 1, permit.token_id, run.deps.clock.wall())
                job.intent = run.recorder.record(started)
        except BaseException:  # a defect; permit and grant belong to the whole client
            permit.cancel()
            self._guard.cancel(grant)
            raise
        return job

    def _start_worker(self, job: Job) -> None:
        task = self._loop.create_task(self._work(job))
        self._workers.add(task)
        task.add_done_callback(self._workers.discard)

    async def _work(self, first: Job) -> None:
        """Make requests, one at a time, until the run closes."""
        job: Job | None = first
        while job is not None:
            try:
                with cancelled_from_outside("the transport or a store"):
                    await (self._poller.poll(job) if job.call == "status" else self.sender.send(job))
            except asyncio.CancelledError:
                self._busy -= 1
                self._run.lifecycle.check_end()
                raise
            except Exception as defect:  # noqa: BLE001 - the run ends in good order, whatever failed
                self._run.lifecycle.fail(defect)
            self._record_duration(job.seconds)
            waiting: asyncio.Future[Job | None] = self._loop.create_future()
            self._idle.append(waiting)
            self._busy -= 1
            self.pump()
            self._run.lifecycle.check_end()
            if not self._is_open and not waiting.done():
                self._idle.remove(waiting)
                return
            job = await waiting

    def _record_duration(self, seconds: float) -> None:
        """Record the duration of a request; 0.0 if it was not made."""
        if seconds <= 0:
            return
        if self._mean_seconds == NEVER:
            self._mean_seconds = seconds
        self._mean_seconds += (seconds - self._mean_seconds) * MEAN_WEIGHT_FACTOR

    def _confirmed(self) -> None:
        self._run.lifecycle.on_change()
        self._run.lifecycle.check_end()

    def _set_timer(self, at: float, now: float) -> None:
        """Set the timer to this time, unless it is set to an earlier one; at the latest to the next heartbeat."""
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        at = max(min(at, now + HEARTBEAT_SECONDS), now)
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._timer_fired)

    def _timer_fired(self) -> None:
        delay = self._run.now() - self._timer_at
        self._timer, self._timer_at = None, NEVER
        if delay > LOOP_STALL_SECONDS:
            self._run.deps.observer.event("loop.stalled", {"delay_seconds": round(delay, 1)})
        try:
            self.tokens.count_live()
            if self._run.queue.waiting_count or self._run.queue.accepted_count:
                self.tokens.consider_growth()
        except Exception as defect:  # noqa: BLE001 - the run ends in good order, whatever failed
            self._run.lifecycle.fail(defect)
        self.pump()
        self._set_timer(NEVER, self._run.now())
