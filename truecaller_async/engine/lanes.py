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

from truecaller_async.engine.alarm import TICK
from truecaller_async.engine.run import Phase, Run
from truecaller_async.errors import (
    AuthenticationFailed,
    Forbidden,
    ResponseLost,
    ServerError,
    TokenBudgetExhausted,
    TruecallerError,
)
from truecaller_async.models import Token
from truecaller_async.planning.doubts import resend_due
from truecaller_async.planning.draft import Draft
from truecaller_async.planning.pace import rate_of
from truecaller_async.planning.restraint import LOOK_AGAIN, Leave
from truecaller_async.tokens.pool import BACKLOG_WORTH_A_TOKEN

IN_FLIGHT_MAX = 64
"""Requests of one run that are in flight at once."""

MOST_URGENT_FIRST = ("push", "status", "submit")
POLLS_FIRST = ("status", "push", "submit")
SENDS_FIRST = ("push", "submit", "status")
PROBES = (POLLS_FIRST, POLLS_FIRST, SENDS_FIRST)

CROWD = 20
ASIDE_MAX = 10.0
"""Seconds for which work steps aside at a time, at most."""

KEEPER_ROUND = 1.0
UNHURRIED = 0.01
"""Seconds between two looks of the keeper, once there is a lane: it is rung with the lanes, by every batch."""

GROW_AGAIN = 30.0
TELL_AGAIN = 60.0
"""Seconds between two words that the run waits for the budget of tokens."""

STALL = 1.0
"""Seconds by which the loop may be late before it is worth a word."""


class Lanes:
    """Hands the work of one run to the tokens of the pool."""

    def __init__(
        self,
        run: Run,
        send: Callable[[Draft, Token, Leave], Coroutine[object, object, None]],
        poll: Callable[[int, Token, Leave], Coroutine[object, object, None]],
        prune: Callable[[Draft], Awaitable[bool]],
    ) -> None:
        self._run = run
        self._pool = run.core.pool
        self._send = send
        self._poll = poll
        self._prune = prune
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._growing: asyncio.Task[None] | None = None
        self._no_growth_before = float("-inf")

    async def keep(self) -> None:
        """Keep a lane for each live token, and enough tokens for the work, until the run is over."""
        run = self._run
        try:
            await self._pool.open()
            while run.phase is not Phase.DONE:
                self._open_lanes()
                if self._growing is None and self._wants_token():
                    self._growing = run.employ(self._grow())
                await self._rest()
        except TruecallerError as error:
            run.fail(error)
        finally:
            await self._close_lanes()

    async def _rest(self) -> None:
        """Until something changes, or for a second; whoever held the loop longer than that held everything up."""
        run = self._run
        until = run.now() + KEEPER_ROUND
        await run.alarm.wait(until)
        if self._lanes and run.phase is not Phase.DONE:
            await asyncio.sleep(UNHURRIED)
        if run.now() - until > STALL:
            run.core.observer.stage("loop.stalled", {"delay_seconds": round(run.now() - until, 1)})

    def _open_lanes(self) -> None:
        live = self._pool.live()
        self._run.most_tokens = max(self._run.most_tokens, len(live))
        for token in live:
            lane = self._lanes.get(token.token_id)
            if lane is None:
                self._lanes[token.token_id] = self._run.employ(self._lane(token))
        for token_id in [token_id for token_id, lane in self._lanes.items() if lane.done()]:
            del self._lanes[token_id]

    async def _close_lanes(self) -> None:
        """Whoever waits for a token stops waiting; the token is made all the same, for whoever comes next."""
        tasks = [*self._lanes.values(), *([self._growing] if self._growing is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lanes.clear()

    def _wants_token(self) -> bool:
        run = self._run
        live = len(self._pool.live())
        if run.now() < self._no_growth_before or live >= self._pool.max_tokens:
            return False
        if live == 0:
            return bool(run.schedule.records or run.accepted)
        if run.core.restraint.is_open or not self._pool.proven:
            return False
        carried = live * rate_of(self._pool.limits, "submit")
        return run.running and (run.more_waits or run.schedule.batches > carried * BACKLOG_WORTH_A_TOKEN)

    async def _grow(self) -> None:
        run = self._run
        try:
            await self._pool.grow()
        except TokenBudgetExhausted as error:
            wait = error.retry_at.timestamp() - run.core.clock.wall()
            self._no_growth_before = run.now() + min(max(wait, KEEPER_ROUND), TELL_AGAIN)
            if not self._pool.live():
                run.waiting_until = error.retry_at
                run.core.observer.stage(
                    "token_budget.exhausted", {"retry_at": error.retry_at.isoformat(timespec="seconds")}
                )
        except TruecallerError as error:
            hopeless = not self._pool.live() and not run.ever_worked and not self._may_pass(error)
            if hopeless or isinstance(error, AuthenticationFailed | Forbidden):
                run.fail(error)
            self._no_growth_before = run.now() + (GROW_AGAIN if self._pool.live() else KEEPER_ROUND)
        else:
            run.waiting_until = None
        finally:
            self._growing = None

    def _may_pass(self, error: TruecallerError) -> bool:
        """Whether a run that begins with this error has not waited long enough for its end."""
        run = self._run
        return isinstance(error, ServerError | ResponseLost) and run.now() - run.began < run.core.retry.total

    async def _lane(self, token: Token) -> None:
        """The life of one lane: until its token is gone."""
        run = self._run
        while self._pool.knows(token.token_id):
            now = run.now()
            held = self._pool.held_until(token.token_id)
            if held > now:
                await run.alarm.wait(held)
            elif len(run.flights) >= IN_FLIGHT_MAX:
                await run.alarm.wait()
            else:
                wait = await self._serve(token, now)
                if wait is None or wait > 0:
                    await run.alarm.wait(_earliest(now, wait, run.schedule.next_due(now)))

    async def _serve(self, token: Token, now: float) -> float | None:
        """Do the most urgent work this token may do: 0.0 done; else the wait for a permit, None if nothing waits."""
        run = self._run
        shortest: float | None = None
        for call in self._order():
            if call not in run.schedule.ready(now):  # asked each time: another lane may have taken the last of it
                continue
            if call == "status":
                wait = await self._serve_poll(token)
            else:
                wait = await self._serve_draft(call, token)
            if wait == 0.0:
                return wait
            shortest = wait if shortest is None else min(shortest, wait)
        return shortest

    def _order(self) -> tuple[str, ...]:
        """Which kind of work is asked for first."""
        restraint = self._run.core.restraint
        if not restraint.is_strained:
            return MOST_URGENT_FIRST
        return PROBES[restraint.granted[Leave.PROBE] % len(PROBES)]

    async def _serve_poll(self, token: Token) -> float:
        run = self._run
        seq = run.schedule.take_poll()
        accepted = run.accepted.get(seq)
        if accepted is None:
            return 0.0
        later = accepted.plan.put_off(run.first_poll.delay, run.now())
        if later is not None:
            run.schedule.poll(seq, later)
            return 0.0
        again = accepted.plan.failures > 0
        leave = await self._leave(token, "status", again=again)
        if isinstance(leave, Leave):
            run.spawn(self._poll(seq, token, leave))
            return 0.0
        aside = self._is_spent(again)
        run.schedule.poll(seq, self._a_little_later() if aside else run.now())
        return 0.0 if aside else leave

    async def _serve_draft(self, call: str, token: Token) -> float:
        run = self._run
        draft = run.schedule.take(call)
        if not await self._prune(draft):
            return 0.0
        if draft.doubts and (due := self._resend_due(draft)) > run.now():
            draft.not_before = min(due, self._a_little_later())
            await run.put_back(draft)
            return 0.0
        leave = await self._leave(token, call, again=draft.again)
        if not isinstance(leave, Leave):
            aside = self._is_spent(draft.again)
            draft.not_before = self._a_little_later() if aside else draft.not_before
            await run.put_back(draft)
            return 0.0 if aside else leave
        if run.running:
            run.in_flight += len(draft)
            run.spawn(self._send(draft, token, leave))
        else:
            run.core.restraint.give_back(leave)
            await run.put_back(draft)
        return 0.0

    def _resend_due(self, draft: Draft) -> float:
        run = self._run
        left = (draft.closes - run.late_ms()) / 1000
        return resend_due(draft, run.core.restraint, left, alone=not run.accepted)

    async def _leave(self, token: Token, call: str, *, again: bool) -> Leave | float:
        """Leave and a permit to send now, or the seconds to wait. `again`: it repeats a request that failed."""
        run = self._run
        restraint = run.core.restraint
        wait = restraint.wait(run.now(), again=again) or await self._permit(token, call)
        if wait > 0:
            return wait
        return restraint.ask(run.now(), again=again) or TICK

    def _a_little_later(self) -> float:
        """When what steps aside looks again: the later, the more there is of it, because each look costs."""
        run = self._run
        crowd = 1 + (len(run.accepted) + run.schedule.batches) / CROWD
        return run.now() + min(LOOK_AGAIN * crowd, ASIDE_MAX)

    def _is_spent(self, again: bool) -> bool:
        """Whether there is no leave for a retry, and there is for other work."""
        restraint, now = self._run.core.restraint, self._run.now()
        return again and restraint.wait(now, again=True) > 0 and restraint.wait(now) == 0

    async def _permit(self, token: Token, call: str) -> float:
        """A permit, unless the token was put on hold, or went, while it was asked for."""
        wait = await self._pool.take(token.token_id, call)
        if wait == 0.0 and not self._pool.knows(token.token_id):
            return TICK
        return max(wait, self._pool.held_until(token.token_id) - self._run.now())


def _earliest(now: float, wait: float | None, due: float | None) -> float | None:
    times = [time for time in (None if wait is None else now + wait, due) if time is not None]
    return min(times, default=None)
