"""Pull lanes: one task for each live token, and a keeper that has tokens made.

A lane waits out its token's hold, looks at the kinds of work that are ready, most urgent first, and asks for a
permit for the first that its limits allow now. Only with the permit in hand it takes the work and lets it fly. A lane
whose token is on hold or used up blocks nobody: the others go on.

The keeper makes the first token when there is work, and one more whenever the batches that wait would keep the live
tokens busy for more than a second, or the source has more than they can take at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

from truecaller_async.engine.alarm import TICK
from truecaller_async.engine.run import Phase, Run
from truecaller_async.errors import AuthenticationFailed, Forbidden, TokenBudgetExhausted, TruecallerError
from truecaller_async.models import Token
from truecaller_async.planning.draft import Draft
from truecaller_async.planning.pace import rate_of
from truecaller_async.tokens.pool import BACKLOG_WORTH_A_TOKEN

IN_FLIGHT_MAX = 64
"""Requests of one run that are in flight at once."""

KEEPER_ROUND = 1.0
GROW_AGAIN = 30.0


class Lanes:
    """Hands the work of one run to the tokens of the pool."""

    def __init__(
        self,
        run: Run,
        send: Callable[[Draft, Token], Coroutine[object, object, None]],
        poll: Callable[[int, Token], Coroutine[object, object, None]],
        prune: Callable[[Draft], Awaitable[bool]],
    ) -> None:
        self._run = run
        self._pool = run.core.pool
        self._send = send
        self._poll = poll
        self._prune = prune
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._no_growth_before = float("-inf")

    async def keep(self) -> None:
        """Keep a lane for each live token, and enough tokens for the work, until the run is over."""
        run = self._run
        try:
            await self._pool.open()
            while run.phase is not Phase.DONE:
                self._open_lanes()
                if self._wants_token():
                    await self._grow()
                else:
                    await run.alarm.wait(run.now() + KEEPER_ROUND)
        except TruecallerError as error:
            run.fail(error)
        finally:
            await self._close_lanes()

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
        for lane in self._lanes.values():
            lane.cancel()
        await asyncio.gather(*self._lanes.values(), return_exceptions=True)
        self._lanes.clear()

    def _wants_token(self) -> bool:
        run = self._run
        live = len(self._pool.live())
        if run.now() < self._no_growth_before or live >= self._pool.max_tokens:
            return False
        if live == 0:
            return bool(run.schedule.records or run.accepted)
        carried = live * rate_of(self._pool.limits, "submit")
        return run.running and (run.more_waits or run.schedule.batches > carried * BACKLOG_WORTH_A_TOKEN)

    async def _grow(self) -> None:
        run = self._run
        try:
            await self._pool.grow()
        except TokenBudgetExhausted as error:
            wait = error.retry_at.timestamp() - run.core.clock.wall()
            self._no_growth_before = run.now() + max(wait, KEEPER_ROUND)
            if not self._pool.live():
                run.waiting_until = error.retry_at
                run.core.observer.stage("campaign.waiting", {"until": error.retry_at.isoformat(timespec="seconds")})
        except TruecallerError as error:
            hopeless = not self._pool.live() and not run.ever_worked
            if hopeless or isinstance(error, AuthenticationFailed | Forbidden):
                run.fail(error)
            self._no_growth_before = run.now() + GROW_AGAIN
        else:
            run.waiting_until = None

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
        for call in list(run.schedule.ready(now)):
            if call == "status":
                wait = await self._serve_poll(token)
            else:
                wait = await self._serve_draft(call, token)
            if wait == 0.0:
                return wait
            shortest = wait if shortest is None else min(shortest, wait)
        return shortest

    async def _serve_poll(self, token: Token) -> float:
        run = self._run
        seq = run.schedule.take_poll()
        if seq not in run.accepted:
            return 0.0
        wait = await self._permit(token, "status")
        if wait > 0:
            run.schedule.poll(seq, run.now())
        else:
            run.spawn(self._poll(seq, token))
        return wait

    async def _serve_draft(self, call: str, token: Token) -> float:
        run = self._run
        draft = run.schedule.take(call)
        if not await self._prune(draft):
            return 0.0
        wait = await self._permit(token, call)
        if wait > 0 or not run.running:
            await run.put_back(draft)
        else:
            run.in_flight += len(draft)
            run.spawn(self._send(draft, token))
        return wait

    async def _permit(self, token: Token, call: str) -> float:
        """A permit, unless the token was put on hold, or went, while it was asked for."""
        wait = await self._pool.take(token.token_id, call)
        if wait == 0.0 and not self._pool.knows(token.token_id):
            return TICK
        return max(wait, self._pool.held_until(token.token_id) - self._run.now())


def _earliest(now: float, wait: float | None, due: float | None) -> float | None:
    times = [time for time in (None if wait is None else now + wait, due) if time is not None]
    return min(times, default=None)
