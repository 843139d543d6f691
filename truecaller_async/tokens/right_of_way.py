"""Who goes first where permits are scarce: single calls before a campaign.

A push just before its call is worthless a moment later, and a campaign has hours; but a campaign asks again at each
moment when a permit is free, so that a call that only asks now and then would hardly ever find one. So single calls
wait in line, and whoever comes for a permit first serves the line: with what the token may send now, in the order in
which they came. What is left is his who came. The limiter itself says what a call waits for: one that is denied by a
limit in which the campaign has no part holds up nobody else.

Single calls could use up a limit for good. Where they take what a campaign asks for in vain, the campaign has a turn
after each `TURN_AFTER` permits of theirs, which leaves it a tenth: calls that wait no shorter than the campaign does
are served again when it has had its permit, or has not come for it in time.

A permit that was given to a call which is cancelled in the same moment goes to the next one of the same kind; where
there is none it lapses.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

import attrs

from truecaller_async.models import Token

T = TypeVar("T")

TURN_AFTER = 9
"""Permits of single calls between two that a waiting campaign has for certain."""

LATE = 0.05
"""Seconds by which a campaign may come late for its turn."""

TICK = 0.001
"""The shortest wait for the end of a turn: a shorter one may be lost in the clock's resolution."""


class Place:
    """The place in line of one single call."""

    __slots__ = ("_away", "_bell", "_token", "call", "number")

    def __init__(self, call: str, number: int) -> None:
        self.call = call
        self.number = number
        self._token: Token | None = None
        self._bell: asyncio.Future[None] | None = None
        self._away = False

    @property
    def is_served(self) -> bool:
        """Whether it was given a token that it has not collected yet."""
        return self._token is not None

    @property
    def waits(self) -> bool:
        """Whether it would send at once what it is given a permit for."""
        return self._token is None and not self._away

    def give(self, token: Token) -> None:
        """A permit was taken for it."""
        self._token = token
        self.wake()

    def collect(self) -> Token | None:
        """The token for which it has a permit, once."""
        token, self._token = self._token, None
        return token

    def wake(self) -> None:
        """End its rest."""
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)

    async def rest(self, seconds: float | None = None) -> None:
        """Until it is woken, at the latest after so long."""
        loop = asyncio.get_running_loop()
        self._bell = loop.create_future()
        timer = None if seconds is None else loop.call_later(seconds, self.wake)
        try:
            await self._bell
        finally:
            self._bell = None
            if timer is not None:
                timer.cancel()

    async def step_aside(self, work: Awaitable[T]) -> T:
        """Do something that takes long; the others are served meanwhile."""
        self._away = True
        try:
            return await work
        finally:
            self._away = False


@attrs.frozen
class Turn:
    """A campaign's: until then these calls are not served."""

    asked_for: str
    until: float
    calls: Collection[str]


class RightOfWay:
    """The line of the single calls of one pool. `take` asks the limiter for a permit of a token for a call."""

    def __init__(self, take: Callable[[str, str], Awaitable[float]]) -> None:
        self._take = take
        self._lines: dict[str, OrderedDict[Place, None]] = {}
        self._entered = 0
        self._passed: dict[str, int] = {}
        self._turn: Turn | None = None

    def enter(self, call: str) -> Place:
        """Stand at the end of the line."""
        self._entered += 1
        place = Place(call, self._entered)
        self._lines.setdefault(call, OrderedDict())[place] = None
        return place

    def leave(self, place: Place) -> None:
        """Go out of the line. Who is first now looks for a permit himself."""
        line = self._lines[place.call]
        del line[place]
        if not line:
            del self._lines[place.call]
            return
        token = place.collect()
        if token is not None:
            self._give(token, place.call)
        next(iter(line)).wake()

    def is_first(self, place: Place) -> bool:
        """Whether nobody waits longer for a permit for the same call."""
        return next(iter(self._lines[place.call])) is place

    def waiting(self, call: str) -> int:
        """How many stand in line for this call."""
        return len(self._lines.get(call, ()))

    async def serve(self, token: Token) -> dict[str, float]:
        """Give those who wait what this token may send now; for each call that was denied, the seconds to wait."""
        denied: dict[str, float] = {}
        while (call := self._next(denied)) is not None:
            wait = self._turn_lasts(call) or await self._take(token.token_id, call)
            if wait > 0:
                denied[call] = wait
            else:
                self._give(token, call)
        return denied

    async def give_way(self, token: Token, call: str) -> float:
        """A permit for a campaign, after those who wait: 0.0 if granted, else the seconds to wait."""
        denied = await self.serve(token) if self._lines else {}
        wait = await self._take(token.token_id, call)
        if wait == 0.0:
            self._passed.pop(call, None)
            if self._turn is not None and self._turn.asked_for == call:
                self._end_turn()
            return 0.0
        before = [single for single, longer in denied.items() if longer >= wait]
        if before and self._passed.setdefault(call, 0) >= TURN_AFTER:
            self._passed[call] = 0
            self._turn = Turn(call, _now() + wait + LATE, before)
        return wait

    def _next(self, denied: Collection[str]) -> str | None:
        """The call of the one who waits longest, but for calls that were denied."""
        fronts = [self._front(call) for call in self._lines if call not in denied]
        waiting = [place for place in fronts if place is not None]
        return min(waiting, key=lambda place: place.number).call if waiting else None

    def _front(self, call: str) -> Place | None:
        return next((place for place in self._lines.get(call, ()) if place.waits), None)

    def _give(self, token: Token, call: str) -> None:
        for asked_for in self._passed:
            self._passed[asked_for] += 1
        place = self._front(call)
        if place is not None:
            place.give(token)

    def _turn_lasts(self, call: str) -> float:
        """Seconds for which a campaign has its turn before this call."""
        if self._turn is None or call not in self._turn.calls:
            return 0.0
        left = self._turn.until - _now()
        return left if left > TICK else 0.0

    def _end_turn(self) -> None:
        self._turn = None
        for line in self._lines.values():
            next(iter(line)).wake()


def _now() -> float:
    return asyncio.get_running_loop().time()
