"""Who goes first where permits are scarce: single calls before a campaign.

A push just before its call is worthless a moment later, and a campaign has hours; but a campaign asks again at each
moment when a permit is free, so that a call that only asks now and then would hardly ever find one. So single calls
wait in line, and whoever comes for a permit first serves the line: with what the token may send now, in the order in
which they came. What is left is his who came. The limiter itself says what a call waits for: one that is denied by a
limit in which the campaign has no part holds up nobody else.

Single calls could use up a limit for good. Where they take what a campaign asks for in vain, the campaign has a turn
after each `CAMPAIGN_SLOT_AFTER_PERMITS` permits of theirs, which leaves it a tenth: calls that wait no shorter than
the campaign does are served again when it has had its permit, or has not come for it in time.

A permit that was given to a call which is cancelled in the same moment goes to the next one of the same kind; where
there is none it lapses.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

import attrs

from truecaller_async.clock import loop_time
from truecaller_async.models import Token

T = TypeVar("T")

CAMPAIGN_SLOT_AFTER_PERMITS = 9
"""Permits of single calls between two that a waiting campaign has for certain."""

CAMPAIGN_SLOT_LATE_SECONDS = 0.05
"""Seconds by which a campaign may come late for its turn."""

WAIT_MIN_SECONDS = 0.001
"""The shortest wait for the end of a turn: a shorter one may be lost in the clock's resolution."""


class Waiter:
    """The place in line of one single call."""

    __slots__ = ("_is_paused", "_token", "_wakeup", "call", "number")

    def __init__(self, call: str, number: int) -> None:
        self.call = call
        self.number = number
        self._token: Token | None = None
        self._wakeup: asyncio.Future[None] | None = None
        self._is_paused = False

    @property
    def has_token(self) -> bool:
        """Whether it was given a token that it has not collected yet."""
        return self._token is not None

    @property
    def is_waiting(self) -> bool:
        """Whether it would send at once what it is given a permit for."""
        return self._token is None and not self._is_paused

    def assign(self, token: Token) -> None:
        """A permit was taken for it."""
        self._token = token
        self.wake()

    def collect(self) -> Token | None:
        """The token for which it has a permit, once."""
        token, self._token = self._token, None
        return token

    def wake(self) -> None:
        """End its rest."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def wait(self, seconds: float | None = None) -> None:
        """Until it is woken, at the latest after so long."""
        loop = asyncio.get_running_loop()
        self._wakeup = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self.wake)
        try:
            await self._wakeup
        finally:
            self._wakeup = None
            if timer is not None:
                timer.cancel()

    async def run_paused(self, work: Awaitable[T]) -> T:
        """Do something that takes long; the others are served meanwhile."""
        self._is_paused = True
        try:
            return await work
        finally:
            self._is_paused = False


@attrs.frozen
class CampaignSlot:
    """A campaign's: until then these calls are not served."""

    asked_for: str
    until: float
    calls: Collection[str]


class PermitQueue:
    """The line of the single calls of one pool. `take` asks the limiter for a permit of a token for a call."""

    def __init__(self, try_acquire: Callable[[str, str], Awaitable[float]]) -> None:
        self._try_acquire = try_acquire
        self._queues: dict[str, OrderedDict[Waiter, None]] = {}
        self._last_number = 0
        self._permits_since_denial: dict[str, int] = {}
        self._campaign_slot: CampaignSlot | None = None

    def add(self, call: str) -> Waiter:
        """Stand at the end of the line."""
        self._last_number += 1
        place = Waiter(call, self._last_number)
        self._queues.setdefault(call, OrderedDict())[place] = None
        return place

    def remove(self, place: Waiter) -> None:
        """Go out of the line. Who is first now looks for a permit himself."""
        line = self._queues[place.call]
        del line[place]
        if not line:
            del self._queues[place.call]
            return
        token = place.collect()
        if token is not None:
            self._give(token, place.call)
        next(iter(line)).wake()

    def is_first(self, place: Waiter) -> bool:
        """Whether nobody waits longer for a permit for the same call."""
        return next(iter(self._queues[place.call])) is place

    def waiting_count(self, call: str) -> int:
        """How many stand in line for this call."""
        return len(self._queues.get(call, ()))

    async def dispatch(self, token: Token) -> dict[str, float]:
        """Give those who wait what this token may send now; for each call that was denied, the seconds to wait."""
        denied: dict[str, float] = {}
        while (call := self._next(denied)) is not None:
            wait = self._campaign_slot_seconds(call) or await self._try_acquire(token.token_id, call)
            if wait > 0:
                denied[call] = wait
            else:
                self._give(token, call)
        return denied

    async def acquire_low_priority(self, token: Token, call: str) -> float:
        """A permit for a campaign, after those who wait: 0.0 if granted, else the seconds to wait."""
        denied = await self.dispatch(token) if self._queues else {}
        wait = await self._try_acquire(token.token_id, call)
        if wait == 0.0:
            self._permits_since_denial.pop(call, None)
            if self._campaign_slot is not None and self._campaign_slot.asked_for == call:
                self._end_campaign_slot()
            return 0.0
        before = [single for single, longer in denied.items() if longer >= wait]
        if before and self._permits_since_denial.setdefault(call, 0) >= CAMPAIGN_SLOT_AFTER_PERMITS:
            self._permits_since_denial[call] = 0
            self._campaign_slot = CampaignSlot(call, loop_time() + wait + CAMPAIGN_SLOT_LATE_SECONDS, before)
        return wait

    def _next(self, denied: Collection[str]) -> str | None:
        """The call of the one who waits longest, but for calls that were denied."""
        fronts = [self._front(call) for call in self._queues if call not in denied]
        waiting = [place for place in fronts if place is not None]
        return min(waiting, key=lambda place: place.number).call if waiting else None

    def _front(self, call: str) -> Waiter | None:
        return next((place for place in self._queues.get(call, ()) if place.is_waiting), None)

    def _give(self, token: Token, call: str) -> None:
        for asked_for in self._permits_since_denial:
            self._permits_since_denial[asked_for] += 1
        place = self._front(call)
        if place is not None:
            place.assign(token)

    def _campaign_slot_seconds(self, call: str) -> float:
        """Seconds for which a campaign has its turn before this call."""
        if self._campaign_slot is None or call not in self._campaign_slot.calls:
            return 0.0
        left = self._campaign_slot.until - loop_time()
        return left if left > WAIT_MIN_SECONDS else 0.0

    def _end_campaign_slot(self) -> None:
        self._campaign_slot = None
        for line in self._queues.values():
            next(iter(line)).wake()
