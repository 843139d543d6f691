"""Pull lanes: one task for each live token, and a keeper that has tokens made.

A lane waits out its token's hold, looks at the kinds of work that are ready, most urgent first, and asks for a
permit for the first that its limits allow now. Only with the permit in hand it takes the work and lets it fly. A lane
whose token is on hold or used up blocks nobody: the others go on. While the client's breaker is open nothing goes but
a probe now and then, and polls come first, because they change nothing; but each third probe is for what waits to be
sent, because one call may be down and the other not. A retry for which there is no budget steps aside for work that
needs none, and so does a batch in doubt until the server answers.

The keeper makes the first token when there is work, and one more whenever the batches that wait would keep the live
tokens busy for more than a second, or the source has more than they can take at once; never a second one before the
first has worked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

from truecaller_async.engine.run import Phase, Run
from truecaller_async.engine.wakeup import WAIT_MIN_SECONDS
from truecaller_async.errors import (
    AuthenticationFailed,
    Forbidden,
    ResponseLost,
    ServerError,
    TokenBudgetExhausted,
    TruecallerError,
)
from truecaller_async.models import Token
from truecaller_async.planning.ambiguity import resend_due
from truecaller_async.planning.outgoing_batch import OutgoingBatch
from truecaller_async.resilience.rate_law import calls_per_second
from truecaller_async.resilience.service_guard import RECHECK_SECONDS, Grant
from truecaller_async.tokens.pool import BACKLOG_PER_TOKEN_SECONDS

IN_FLIGHT_MAX = 64
"""Requests of one run that are in flight at once."""

MOST_URGENT_FIRST = ("push", "status", "submit")
POLLS_FIRST = ("status", "push", "submit")
SENDS_FIRST = ("push", "submit", "status")
PROBE_ORDERS = (POLLS_FIRST, POLLS_FIRST, SENDS_FIRST)

BACKOFF_CROWD_SIZE = 20
POSTPONE_MAX_SECONDS = 10.0
"""Seconds for which work steps aside at a time, at most."""

SUPERVISE_INTERVAL_SECONDS = 1.0
COALESCE_SECONDS = 0.01
"""Seconds between two looks of the keeper, once there is a lane: it is rung with the lanes, by every batch."""

GROWTH_PAUSE_SECONDS = 30.0
WAITING_EVENT_INTERVAL_SECONDS = 60.0
"""Seconds between two words that the run waits for the budget of tokens."""

LOOP_STALL_SECONDS = 1.0
"""Seconds by which the loop may be late before it is worth a word."""


class Dispatcher:
    """Hands the work of one run to the tokens of the pool."""

    def __init__(
        self,
        run: Run,
        send: Callable[[OutgoingBatch, Token, Grant], Coroutine[object, object, None]],
        poll: Callable[[int, Token, Grant], Coroutine[object, object, None]],
        prune: Callable[[OutgoingBatch], Awaitable[bool]],
    ) -> None:
        self._run = run
        self._pool = run.deps.pool
        self._send = send
        self._poll = poll
        self._prune = prune
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._growing: asyncio.Task[None] | None = None
        self._no_growth_before = float("-inf")

    async def run(self) -> None:
        """Keep a lane for each live token, and enough tokens for the work, until the run is over."""
        run = self._run
        try:
            await self._pool.open()
            while run.phase is not Phase.DONE:
                self._start_workers()
                if self._growing is None and self._wants_token():
                    self._growing = run.start_critical(self._grow())
                await self._wait_for_change()
        except TruecallerError as error:
            run.fail(error)
        finally:
            await self._stop_workers()

    async def _wait_for_change(self) -> None:
        """Until something changes, or for a second; whoever held the loop longer than that held everything up."""
        run = self._run
        until = run.now() + SUPERVISE_INTERVAL_SECONDS
        await run.wakeup.wait(until)
        if self._workers and run.phase is not Phase.DONE:
            await asyncio.sleep(COALESCE_SECONDS)
        if run.now() - until > LOOP_STALL_SECONDS:
            run.deps.observer.event("loop.stalled", {"delay_seconds": round(run.now() - until, 1)})

    def _start_workers(self) -> None:
        live = self._pool.live()
        self._run.peak_tokens = max(self._run.peak_tokens, len(live))
        for token in live:
            lane = self._workers.get(token.token_id)
            if lane is None:
                self._workers[token.token_id] = self._run.start_critical(self._token_worker(token))
        for token_id in [token_id for token_id, lane in self._workers.items() if lane.done()]:
            del self._workers[token_id]

    async def _stop_workers(self) -> None:
        """Whoever waits for a token stops waiting; the token is made all the same, for whoever comes next."""
        tasks = [*self._workers.values(), *([self._growing] if self._growing is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._workers.clear()

    def _wants_token(self) -> bool:
        run = self._run
        live = len(self._pool.live())
        if run.now() < self._no_growth_before or live >= self._pool.max_tokens:
            return False
        if live == 0:
            return bool(run.queue.records or run.accepted)
        if run.deps.guard.is_open or not self._pool.account_verified:
            return False
        carried = live * calls_per_second(self._pool.limits, "submit")
        return run.running and (run.source_has_more or run.queue.batches > carried * BACKLOG_PER_TOKEN_SECONDS)

    async def _grow(self) -> None:
        run = self._run
        try:
            await self._pool.grow()
        except TokenBudgetExhausted as error:
            wait = error.retry_at.timestamp() - run.deps.clock.wall()
            self._no_growth_before = run.now() + min(
                max(wait, SUPERVISE_INTERVAL_SECONDS), WAITING_EVENT_INTERVAL_SECONDS
            )
            if not self._pool.live():
                run.waiting_until = error.retry_at
                run.deps.observer.event(
                    "token_budget.exhausted", {"retry_at": error.retry_at.isoformat(timespec="seconds")}
                )
        except TruecallerError as error:
            hopeless = not self._pool.live() and not run.server_reached and not self._may_recover(error)
            if hopeless or isinstance(error, AuthenticationFailed | Forbidden):
                run.fail(error)
            self._no_growth_before = run.now() + (
                GROWTH_PAUSE_SECONDS if self._pool.live() else SUPERVISE_INTERVAL_SECONDS
            )
        else:
            run.waiting_until = None
        finally:
            self._growing = None

    def _may_recover(self, error: TruecallerError) -> bool:
        """Whether a run that begins with this error has not waited long enough for its end."""
        run = self._run
        return isinstance(error, ServerError | ResponseLost) and run.now() - run.started_at < run.deps.retry.total

    async def _token_worker(self, token: Token) -> None:
        """The life of one lane: until its token is gone."""
        run = self._run
        while self._pool.knows(token.token_id):
            now = run.now()
            held = self._pool.cooldown_until(token.token_id)
            if held > now:
                await run.wakeup.wait(held)
            elif len(run.request_tasks) >= IN_FLIGHT_MAX:
                await run.wakeup.wait()
            else:
                wait = await self._send_next(token, now)
                if wait is None or wait > 0:
                    await run.wakeup.wait(_earliest(now, wait, run.queue.next_due(now)))

    async def _send_next(self, token: Token, now: float) -> float | None:
        """Do the most urgent work this token may do: 0.0 done; else the wait for a permit, None if nothing waits."""
        run = self._run
        shortest: float | None = None
        for call in self._order():
            if call not in run.queue.ready(now):  # asked each time: another lane may have taken the last of it
                continue
            if call == "status":
                wait = await self._send_next_poll(token)
            else:
                wait = await self._send_next_batch(call, token)
            if wait == 0.0:
                return wait
            shortest = wait if shortest is None else min(shortest, wait)
        return shortest

    def _order(self) -> tuple[str, ...]:
        """Which kind of work is asked for first."""
        guard = self._run.deps.guard
        if not guard.is_degraded:
            return MOST_URGENT_FIRST
        return PROBE_ORDERS[guard.grant_counts[Grant.PROBE] % len(PROBE_ORDERS)]

    async def _send_next_poll(self, token: Token) -> float:
        run = self._run
        seq = run.queue.pop_poll()
        accepted = run.accepted.get(seq)
        if accepted is None:
            return 0.0
        later = accepted.polls.postpone_first(run.first_poll.delay, run.now())
        if later is not None:
            run.queue.add_poll(seq, later)
            return 0.0
        again = accepted.polls.failures > 0
        grant = await self._acquire(token, "status", again=again)
        if isinstance(grant, Grant):
            run.start_request(self._poll(seq, token, grant))
            return 0.0
        aside = self._only_retry_budget_missing(again)
        run.queue.add_poll(seq, self._postponed_until() if aside else run.now())
        return 0.0 if aside else grant

    async def _send_next_batch(self, call: str, token: Token) -> float:
        run = self._run
        batch = run.queue.pop(call)
        if not await self._prune(batch):
            return 0.0
        if batch.lost_answers and (due := self._resend_due(batch)) > run.now():
            batch.not_before = min(due, self._postponed_until())
            await run.requeue(batch)
            return 0.0
        grant = await self._acquire(token, call, again=batch.is_retry)
        if not isinstance(grant, Grant):
            aside = self._only_retry_budget_missing(batch.is_retry)
            batch.not_before = self._postponed_until() if aside else batch.not_before
            await run.requeue(batch)
            return 0.0 if aside else grant
        if run.running:
            run.in_flight += len(batch)
            run.start_request(self._send(batch, token, grant))
        else:
            run.deps.guard.cancel(grant)
            await run.requeue(batch)
        return 0.0

    def _resend_due(self, batch: OutgoingBatch) -> float:
        run = self._run
        left = (batch.expires_ms - run.expiry_now_ms()) / 1000
        return resend_due(batch, run.deps.guard, left, is_only_work=not run.accepted)

    async def _acquire(self, token: Token, call: str, *, again: bool) -> Grant | float:
        """Leave and a permit to send now, or the seconds to wait. `again`: it repeats a request that failed."""
        run = self._run
        guard = run.deps.guard
        wait = guard.wait(run.now(), is_retry=again) or await self._permit(token, call)
        if wait > 0:
            return wait
        return guard.try_acquire(run.now(), is_retry=again) or WAIT_MIN_SECONDS

    def _postponed_until(self) -> float:
        """When what steps aside looks again: the later, the more there is of it, because each look costs."""
        run = self._run
        crowd = 1 + (len(run.accepted) + run.queue.batches) / BACKOFF_CROWD_SIZE
        return run.now() + min(RECHECK_SECONDS * crowd, POSTPONE_MAX_SECONDS)

    def _only_retry_budget_missing(self, again: bool) -> bool:
        """Whether there is no leave for a retry, and there is for other work."""
        guard, now = self._run.deps.guard, self._run.now()
        return again and guard.wait(now, is_retry=True) > 0 and guard.wait(now) == 0

    async def _permit(self, token: Token, call: str) -> float:
        """A permit, unless the token was put on hold, or went, while it was asked for."""
        wait = await self._pool.try_acquire(token.token_id, call)
        if wait == 0.0 and not self._pool.knows(token.token_id):
            return WAIT_MIN_SECONDS
        return max(wait, self._pool.cooldown_until(token.token_id) - self._run.now())


def _earliest(now: float, wait: float | None, due: float | None) -> float | None:
    times = [time for time in (None if wait is None else now + wait, due) if time is not None]
    return min(times, default=None)
