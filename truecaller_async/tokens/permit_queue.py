"""Give scarce permits to single calls before campaigns.

Algorithm:
    A campaign asks for permits continuously and would starve single calls. So single calls wait in queues (FIFO, one
    queue for each kind of call). Every caller that asks for a permit first gives the waiters all permits that there are
    now, then asks for itself. A single call that the limiter denies delays only its own queue.

    To prevent the reverse starvation, a campaign that waits gets one reserved slot after every
    `CAMPAIGN_SLOT_AFTER_PERMITS_COUNT` (9) permits given to single calls, so at least a tenth of the permits. During
    the slot, kinds of single calls that the limiter denied for as long as the campaign, or longer, get no permit. It
    ends with the campaign's permit, or `CAMPAIGN_SLOT_LATE_SECONDS` after the moment at which that permit was due.
Invariants:
    - A permit is charged before it is assigned. If its waiter is cancelled at the same moment, the next waiter of the
      same kind gets it; without one it is cancelled.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import TypeAlias, TypeVar

import attrs

from truecaller_async.tokens.token_permit import TokenPermit

T = TypeVar("T")

CAMPAIGN_SLOT_AFTER_PERMITS_COUNT = 9
"""Permits given to single calls before a waiting campaign has a reserved slot."""

CAMPAIGN_SLOT_LATE_SECONDS = 0.05
"""How late a campaign may come for its slot."""

WAIT_MIN_SECONDS = 0.001
"""The shortest wait for the end of a slot: a shorter one may be lost in the resolution of the clock."""


TryAcquire: TypeAlias = Callable[[str, Sequence[str], float], TokenPermit | float]
"""Asks for a permit, given a call, token ids and the loop time. Returns it, or the seconds to wait."""


class Waiter:
    """One single call in the queue."""

    __slots__ = ("_is_paused", "_permit", "_wakeup", "call", "number")

    def __init__(self, call: str, number: int) -> None:
        self.call = call
        self.number = number
        self._permit: TokenPermit | None = None
        self._wakeup: asyncio.Future[None] | None = None
        self._is_paused = False

    @property
    def has_permit(self) -> bool:
        """Return whether a permit was assigned that the waiter has not collected yet."""
        return self._permit is not None

    @property
    def is_waiting(self) -> bool:
        """Return whether the waiter would use a permit at once."""
        return self._permit is None and not self._is_paused

    def assign(self, permit: TokenPermit) -> None:
        """Assign a permit, and wake the waiter."""
        self._permit = permit
        self.wake()

    def collect(self) -> TokenPermit | None:
        """Return the assigned permit, once; None without one."""
        permit, self._permit = self._permit, None
        return permit

    def wake(self) -> None:
        """End the current `wait()`."""
        if self._wakeup is not None and not self._wakeup.done():
            self._wakeup.set_result(None)

    async def wait(self, seconds: float | None = None) -> None:
        """Wait until `wake()` is called, at most these seconds."""
        # A wake() outside wait() is not stored, and none is lost: the pool checks whether the waiter is first and has a
        # permit right before it waits, without suspending in between.
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
        """Await slow work (a mint). Meanwhile permits go to the other waiters."""
        self._is_paused = True
        try:
            return await work
        finally:
            self._is_paused = False


@attrs.frozen
class CampaignSlot:
    """A time in which the next permit is reserved for a campaign."""

    campaign_call: str
    """The call of the campaign."""
    until: float
    """The end of the slot, on the loop's clock."""
    delayed_calls: Collection[str]
    """The kinds of single calls that get no permit during the slot."""


class PermitQueue:
    """The queue of the single calls of one pool. `try_acquire` asks the limiter."""

    def __init__(self, try_acquire: TryAcquire) -> None:
        self._try_acquire = try_acquire
        self._queues: dict[str, OrderedDict[Waiter, None]] = {}
        self._last_number = 0
        self._permits_while_campaign_waits: dict[str, int] = {}
        self._campaign_slot: CampaignSlot | None = None

    def add(self, call: str) -> Waiter:
        """Add a waiter at the end of the queue."""
        self._last_number += 1
        waiter = Waiter(call, self._last_number)
        self._queues.setdefault(call, OrderedDict())[waiter] = None
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Remove a waiter. A permit that it did not collect goes to the next waiter of the same kind."""
        queue = self._queues[waiter.call]
        del queue[waiter]
        permit = waiter.collect()
        if not queue:
            del self._queues[waiter.call]
        else:
            # Only the first of a queue looks for permits by itself, so the new first must be woken.
            next(iter(queue)).wake()
        if permit is not None:
            self._give(permit, waiter.call)

    def is_first(self, waiter: Waiter) -> bool:
        """Return whether this waiter is the first of its kind of call."""
        return next(iter(self._queues[waiter.call])) is waiter

    def waiting_count(self, call: str) -> int:
        """Return the number of waiters for this call."""
        return len(self._queues.get(call, ()))

    def wake_first(self) -> None:
        """Wake the first waiter of each kind of call, so that it asks again."""
        for queue in self._queues.values():
            next(iter(queue)).wake()

    def dispatch(self, token_ids: Sequence[str], now: float) -> dict[str, float]:
        """Give the waiters all permits that these tokens have now, oldest waiter first.

        Returns:
            The seconds to wait, for each call that was denied.
        """
        denied: dict[str, float] = {}
        while (call := self._next_call(denied)) is not None:
            wait = self._campaign_slot_seconds(call, now)
            permit = wait if wait > 0 else self._try_acquire(call, token_ids, now)
            if isinstance(permit, TokenPermit):
                self._give(permit, call)
            else:
                denied[call] = permit
        return denied

    def acquire_low_priority(
        self, call: str, token_ids: Sequence[str], now: float, *, all_token_ids: Sequence[str]
    ) -> TokenPermit | float:
        """Try to acquire a permit for a campaign, after the waiters.

        Args:
            call: The call of the campaign.
            token_ids: The tokens that the campaign may use.
            now: The loop time.
            all_token_ids: The tokens that the waiters may use.

        Returns:
            The permit, or the seconds to wait.
        """
        denied = self.dispatch(all_token_ids, now) if self._queues else {}
        permit = self._try_acquire(call, token_ids, now)
        if isinstance(permit, TokenPermit):
            self._permits_while_campaign_waits.pop(call, None)
            if self._campaign_slot is not None and self._campaign_slot.campaign_call == call:
                self._end_campaign_slot()
        else:
            self._reserve_slot(call, permit, denied, now)
        return permit

    def _reserve_slot(self, call: str, wait: float, denied: dict[str, float], now: float) -> None:
        # Only calls with an equal or longer wait compete with the campaign for the same limit.
        competing = [single for single, single_wait in denied.items() if single_wait >= wait]
        if not competing:
            return
        given = self._permits_while_campaign_waits.setdefault(call, 0)
        # No slot without an end: the campaign asks again when the answer has come for which it waits.
        if given >= CAMPAIGN_SLOT_AFTER_PERMITS_COUNT and wait < float("inf"):
            self._permits_while_campaign_waits[call] = 0
            self._campaign_slot = CampaignSlot(call, now + wait + CAMPAIGN_SLOT_LATE_SECONDS, competing)

    def _next_call(self, denied: Collection[str]) -> str | None:
        """Return the call of the oldest waiter, except for calls that were denied."""
        fronts = [self._front(call) for call in self._queues if call not in denied]
        waiting = [waiter for waiter in fronts if waiter is not None]
        return min(waiting, key=lambda waiter: waiter.number).call if waiting else None

    def _front(self, call: str) -> Waiter | None:
        return next((waiter for waiter in self._queues.get(call, ()) if waiter.is_waiting), None)

    def _give(self, permit: TokenPermit, call: str) -> None:
        waiter = self._front(call)
        if waiter is None:
            permit.cancel()
            return
        for campaign_call in self._permits_while_campaign_waits:
            self._permits_while_campaign_waits[campaign_call] += 1
        waiter.assign(permit)

    def _campaign_slot_seconds(self, call: str, now: float) -> float:
        """Return the seconds for which a campaign has priority over this call; 0.0 if it has not."""
        if self._campaign_slot is None or call not in self._campaign_slot.delayed_calls:
            return 0.0
        left = self._campaign_slot.until - now
        return left if left > WAIT_MIN_SECONDS else 0.0

    def _end_campaign_slot(self) -> None:
        self._campaign_slot = None
        self.wake_first()
