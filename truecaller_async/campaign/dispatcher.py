"""Distribute the work of a run to tokens: one worker per token, and a supervisor that requests tokens.

Algorithm:
    A worker waits for the cooldown of its token and chooses the most urgent call with ready work. Then it checks the
    service guard, acquires a permit of the token, acquires a grant of the guard, and starts the request.

Invariants:
    - A cooling-down token blocks only its own worker.
    - If the retry budget is empty, retries and ambiguous batches are skipped in favour of first attempts.
    - While the breaker is open only probes are sent. While it is open or the retry budget is empty, two of three
      probes prefer a poll, because a poll changes nothing. Each third prefers a batch: one call may fail while the
      other works.
    - The first token is requested when there is work. Another one is requested if the queued batches would keep the
      live tokens busy for more than 1 second, or if they exceed the read-ahead target of the intake. It is not
      requested while the breaker is open, or before a request with the first token has succeeded.
    - After a failed token request no token is requested for 1 to 60 seconds (`_no_mint_before`).

Failure modes:
    If the event loop is blocked for more than 1 second, `loop.stalled` is reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

from truecaller_async.campaign.core.ambiguity import resend_due
from truecaller_async.campaign.core.outgoing_batch import OutgoingBatch
from truecaller_async.campaign.run import Phase, Run
from truecaller_async.campaign.wakeup import WAIT_MIN_SECONDS
from truecaller_async.errors import (
    AuthenticationFailed,
    Forbidden,
    ResponseLost,
    ServerError,
    TokenBudgetExhausted,
    TruecallerError,
)
from truecaller_async.models import Token
from truecaller_async.resilience.rate_law import calls_per_second
from truecaller_async.resilience.service_guard import RECHECK_SECONDS, Grant
from truecaller_async.tokens import TokenPermit
from truecaller_async.tokens.pool import BACKLOG_PER_TOKEN_SECONDS

IN_FLIGHT_MAX = 64
"""Requests of one run in flight at the same time."""

NORMAL_ORDER = ("push", "status", "submit")
"""Order of the calls if the service answers well."""
POLLS_FIRST = ("status", "push", "submit")
SENDS_FIRST = ("push", "submit", "status")
DEGRADED_ORDERS = (POLLS_FIRST, POLLS_FIRST, SENDS_FIRST)
"""Orders used in rotation while the breaker is open or the retry budget is empty."""

BATCHES_PER_RECHECK = 20
"""Accepted and queued batches that add one more `RECHECK_SECONDS` to the delay of postponed work."""
POSTPONE_MAX_SECONDS = 10.0
"""Longest delay of postponed work."""

SUPERVISE_INTERVAL_SECONDS = 1.0
"""Longest wait of the supervisor between two checks."""
COALESCE_SECONDS = 0.01
"""Shortest time between two checks of the supervisor while it has workers: every batch wakes it."""

MINT_RETRY_SECONDS = 30.0
"""Pause after a failed token request, if other tokens are live."""
WAITING_EVENT_INTERVAL_SECONDS = 60.0
"""Longest time between two events that report an exhausted token budget."""

LOOP_STALL_SECONDS = 1.0
"""Delay of the event loop above which it is reported."""


class Dispatcher:
    """Starts the requests of one run on the tokens of the pool."""

    def __init__(
        self,
        run: Run,
        send: Callable[[OutgoingBatch, TokenPermit, Grant], Coroutine[object, object, None]],
        poll: Callable[[int, TokenPermit, Grant], Coroutine[object, object, None]],
        prune: Callable[[OutgoingBatch], Awaitable[bool]],
    ) -> None:
        self._run = run
        self._pool = run.deps.pool
        self._send = send
        self._poll = poll
        self._prune = prune
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._mint_task: asyncio.Task[None] | None = None
        self._no_mint_before = float("-inf")

    async def run(self) -> None:
        """Keep one worker per live token and enough tokens for the work, until the run is done."""
        run = self._run
        unsubscribe = self._pool.subscribe(run.wakeup.notify_all)
        try:
            await self._pool.open()
            while run.phase is not Phase.DONE:
                self._start_workers()
                if self._mint_task is None and self._wants_token():
                    self._mint_task = run.start_critical(self._mint_token())
                await self._wait_for_change()
        except TruecallerError as error:
            run.fail(error)
        finally:
            unsubscribe()
            await self._stop_workers()

    async def _wait_for_change(self) -> None:
        """Wait for a change, for at most `SUPERVISE_INTERVAL_SECONDS`; report a blocked event loop."""
        run = self._run
        until = run.now() + SUPERVISE_INTERVAL_SECONDS
        await run.wakeup.wait(until)
        # Notifications in this pause are not lost: everything is checked after it.
        if self._workers and run.phase is not Phase.DONE:
            await asyncio.sleep(COALESCE_SECONDS)
        if run.now() - until > LOOP_STALL_SECONDS:
            run.deps.observer.event("loop.stalled", {"delay_seconds": round(run.now() - until, 1)})

    def _start_workers(self) -> None:
        live = self._pool.live()
        self._run.peak_tokens = max(self._run.peak_tokens, len(live))
        for token in live:
            worker = self._workers.get(token.token_id)
            if worker is None:
                self._workers[token.token_id] = self._run.start_critical(self._token_worker(token))
        for token_id in [token_id for token_id, worker in self._workers.items() if worker.done()]:
            del self._workers[token_id]

    async def _stop_workers(self) -> None:
        """Cancel the workers and the wait for a token. The pool completes the token request for later callers."""
        tasks = [*self._workers.values(), *([self._mint_task] if self._mint_task is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._workers.clear()

    def _wants_token(self) -> bool:
        run = self._run
        live = len(self._pool.live())
        if run.now() < self._no_mint_before or live >= self._pool.max_tokens:
            return False
        if live == 0:
            return bool(run.queue.records or run.accepted)
        if run.deps.guard.is_open or not self._pool.account_verified:
            return False
        capacity = live * calls_per_second(self._pool.limits, "submit")
        return run.running and (run.read_ahead_is_full or run.queue.batches > capacity * BACKLOG_PER_TOKEN_SECONDS)

    async def _mint_token(self) -> None:
        run = self._run
        try:
            await self._pool.grow()
        except TokenBudgetExhausted as error:
            wait = error.retry_at.timestamp() - run.deps.clock.wall()
            self._no_mint_before = run.now() + min(
                max(wait, SUPERVISE_INTERVAL_SECONDS), WAITING_EVENT_INTERVAL_SECONDS
            )
            if not self._pool.live():
                run.waiting_until = error.retry_at
                run.deps.observer.event(
                    "token_budget.exhausted", {"retry_at": error.retry_at.isoformat(timespec="seconds")}
                )
        except TruecallerError as error:
            cannot_start = not self._pool.live() and not run.server_reached and not self._may_recover(error)
            if cannot_start or isinstance(error, AuthenticationFailed | Forbidden):
                run.fail(error)
            self._no_mint_before = run.now() + (MINT_RETRY_SECONDS if self._pool.live() else SUPERVISE_INTERVAL_SECONDS)
        else:
            run.waiting_until = None
        finally:
            self._mint_task = None

    def _may_recover(self, error: TruecallerError) -> bool:
        """Return whether the error may be temporary: 5xx or lost answer, run younger than `retry.total` s."""
        run = self._run
        return isinstance(error, ServerError | ResponseLost) and run.now() - run.started_at < run.deps.retry.total

    async def _token_worker(self, token: Token) -> None:
        """Send work with one token until the token is no longer in the pool."""
        run = self._run
        while self._pool.knows(token.token_id):
            now = run.now()
            cooldown_end = self._pool.cooldown_until(token.token_id)
            if cooldown_end > now:
                await run.wakeup.wait(cooldown_end)
            elif len(run.request_tasks) >= IN_FLIGHT_MAX:
                # No deadline: the end of each request task notifies (`Run._task_done`).
                await run.wakeup.wait()
            else:
                wait = await self._send_next(token, now)
                # None: nothing was ready and nothing was awaited since that check, so no notification is lost.
                # Above 0: a notification may be lost while the permit is acquired, for at most `wait` seconds.
                if wait is None or wait > 0:
                    await run.wakeup.wait(_earliest(now, wait, run.queue.next_due(now)))

    async def _send_next(self, token: Token, now: float) -> float | None:
        """Start the most urgent request this token may send now.

        Returns:
            0.0 if work was done, otherwise the seconds to wait for a permit, or None if no work is ready.
        """
        run = self._run
        shortest: float | None = None
        for call in self._call_order():
            # Checked for each call: another worker may have taken the last batch during an await below.
            if call not in run.queue.ready(now):
                continue
            if call == "status":
                wait = await self._send_next_poll(token)
            else:
                wait = await self._send_next_batch(call, token)
            if wait == 0.0:
                return wait
            shortest = wait if shortest is None else min(shortest, wait)
        return shortest

    def _call_order(self) -> tuple[str, ...]:
        guard = self._run.deps.guard
        if not guard.is_degraded:
            return NORMAL_ORDER
        return DEGRADED_ORDERS[guard.grant_counts[Grant.PROBE] % len(DEGRADED_ORDERS)]

    async def _send_next_poll(self, token: Token) -> float:
        run = self._run
        seq = run.queue.pop_poll()
        tracked = run.accepted.get(seq)
        if tracked is None:
            return 0.0
        postponed_to = tracked.polls.postpone_first(run.first_poll.delay, run.now())
        if postponed_to is not None:
            run.queue.add_poll(seq, postponed_to)
            return 0.0
        is_retry = tracked.polls.failures > 0
        acquired = await self._acquire(token, "status", is_retry=is_retry)
        if not isinstance(acquired, float):
            permit, grant = acquired
            self._start_request(self._poll(seq, permit, grant), permit)
            return 0.0
        is_postponed = self._only_retry_budget_missing(is_retry)
        run.queue.add_poll(seq, self._postponed_until() if is_postponed else run.now())
        return 0.0 if is_postponed else acquired

    async def _send_next_batch(self, call: str, token: Token) -> float:
        run = self._run
        # Taken out before the first await, so that no other worker can send it; put back if it may not be sent now.
        batch = run.queue.pop(call)
        if not await self._prune(batch):
            return 0.0
        if batch.lost_answers and (due := self._resend_due(batch)) > run.now():
            batch.not_before = min(due, self._postponed_until())
            await run.requeue(batch)
            return 0.0
        acquired = await self._acquire(token, call, is_retry=batch.is_retry)
        if isinstance(acquired, float):
            is_postponed = self._only_retry_budget_missing(batch.is_retry)
            batch.not_before = self._postponed_until() if is_postponed else batch.not_before
            await run.requeue(batch)
            return 0.0 if is_postponed else acquired
        permit, grant = acquired
        # The run may have stopped while the permit was acquired.
        if run.running:
            run.in_flight += len(batch)
            self._start_request(self._send(batch, permit, grant), permit)
        else:
            permit.cancel()
            run.deps.guard.cancel(grant)
            await run.requeue(batch)
        return 0.0

    def _resend_due(self, batch: OutgoingBatch) -> float:
        run = self._run
        left = (batch.expires_ms - run.expiry_now_ms()) / 1000
        return resend_due(batch, run.deps.guard, left, is_only_work=not run.accepted)

    def _start_request(self, request: Coroutine[object, object, None], permit: TokenPermit) -> None:
        # The permit has ended when the task ends. It has not if the task was cancelled before its first step.
        self._run.start_request(request).add_done_callback(lambda _: permit.cancel())

    async def _acquire(self, token: Token, call: str, *, is_retry: bool) -> tuple[TokenPermit, Grant] | float:
        """Acquire a permit and a grant to send now; otherwise return the seconds to wait."""
        run = self._run
        guard = run.deps.guard
        wait = guard.wait(run.now(), is_retry=is_retry)
        permit = wait if wait > 0 else self._pool.try_acquire(call, run.now(), token.token_id)
        if isinstance(permit, float):
            # The change that ends an endless wait may be reported before the worker waits for it. So it asks again.
            return permit if permit < float("inf") else SUPERVISE_INTERVAL_SECONDS
        try:
            if permit.noted is not None:
                await permit.noted
        except BaseException:
            permit.cancel()
            raise
        # The guard, the token and its cooldown may have changed during the await.
        is_usable = self._pool.is_usable(token.token_id)
        grant = guard.try_acquire(run.now(), is_retry=is_retry) if is_usable else None
        if grant is None:
            permit.cancel()
            return WAIT_MIN_SECONDS
        return permit, grant

    def _postponed_until(self) -> float:
        """Return when postponed work is checked again: later with more batches, at most in 10 s."""
        run = self._run
        crowd = 1 + (len(run.accepted) + run.queue.batches) / BATCHES_PER_RECHECK
        return run.now() + min(RECHECK_SECONDS * crowd, POSTPONE_MAX_SECONDS)

    def _only_retry_budget_missing(self, is_retry: bool) -> bool:
        """Return whether a retry must wait while a first attempt may be sent."""
        guard, now = self._run.deps.guard, self._run.now()
        return is_retry and guard.wait(now, is_retry=True) > 0 and guard.wait(now) == 0


def _earliest(now: float, wait: float | None, due: float | None) -> float | None:
    times = [time for time in (None if wait is None else now + wait, due) if time is not None]
    return min(times, default=None)
