"""Ports with a random delay in each call, which makes the order of events depend on the seed.

Code that awaits a port must be correct whatever happens meanwhile. So each call takes some turns of the loop or a short
time. `journals` has the journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random

import attrs

from truecaller_async.models import Token
from truecaller_async.models.tokens import SentRequest, StoreSnapshot
from truecaller_async.ports import Limiter, Permit
from truecaller_async.tokens import MemoryTokenStore


@attrs.define
class RandomDelay:
    """Delay of a call through a port: none, some loop turns, or up to `seconds`; endless after a crash."""

    dice: Random
    seconds: float
    crashed: asyncio.Event

    async def __call__(self) -> None:
        if self.crashed.is_set():
            await asyncio.Event().wait()
        kind = self.dice.random()
        if kind < 0.5:
            return
        if kind < 0.85 or not self.seconds:
            for _ in range(self.dice.randint(1, 3)):
                await asyncio.sleep(0)
        else:
            await asyncio.sleep(self.dice.uniform(0.0, self.seconds))


@attrs.define(eq=False)
class RecordedPermit:
    """A permit that the limiter knows until it ends."""

    inner: Permit
    call: str
    granted_at: float
    limiter: DelayedLimiter

    def __attrs_post_init__(self) -> None:
        self.limiter.open[self] = None
        self.limiter.grants.append(self._grant)

    @property
    def _grant(self) -> tuple[float, str, str]:
        return self.granted_at, self.token_id, self.call

    @property
    def token_id(self) -> str:
        return self.inner.token_id

    @property
    def at(self) -> float:
        return self.inner.at

    def done(self, at: float) -> None:
        self.limiter.open.pop(self, None)
        self.inner.done(at)

    def lost(self, at: float) -> None:
        self.limiter.open.pop(self, None)
        self.inner.lost(at)

    def cancel(self) -> None:
        if self in self.limiter.open:
            del self.limiter.open[self]
            self.limiter.grants.remove(self._grant)
        self.inner.cancel()


@attrs.define(eq=False)
class DelayedLimiter:
    """The `Limiter` port with delays: it denies some permits, and a moment later calls its subscribers.

    It records the permits.
    """

    inner: Limiter
    delay: RandomDelay
    grants: list[tuple[float, str, str]] = attrs.field(factory=list)
    """Loop time, token id and call of each permit, except for those that were cancelled."""
    open: dict[RecordedPermit, None] = attrs.field(factory=dict)
    """The permits that have not ended."""
    _subscribers: list[Callable[[], None]] = attrs.field(factory=list)
    _is_notifying: bool = False

    def try_acquire(self, call: str, token_ids: Sequence[str], now: float) -> RecordedPermit | float:
        if self.delay.crashed.is_set():
            return float("inf")
        chance = self.delay.dice.random()
        if chance < 0.1:
            if not self._is_notifying:
                self._is_notifying = True
                asyncio.get_running_loop().call_soon(self._notify)
            return float("inf")
        if chance < 0.15 and self.delay.seconds:
            return self.delay.dice.uniform(0.0, self.delay.seconds)
        permit = self.inner.try_acquire(call, token_ids, now)
        if isinstance(permit, float):
            return permit
        return RecordedPermit(permit, call, asyncio.get_running_loop().time(), self)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        self._subscribers.append(callback)
        return self.inner.subscribe(callback)

    def _notify(self) -> None:
        self._is_notifying = False
        for callback in self._subscribers:
            callback()

    def slow_down(self, token_id: str, now: float) -> bool:
        return self.inner.slow_down(token_id, now)

    def restore(self, token_id: str, sent_requests: Mapping[str, Sequence[float]]) -> None:
        self.inner.restore(token_id, sent_requests)

    def remove(self, token_id: str) -> None:
        self.inner.remove(token_id)


class SharedTokenStore(MemoryTokenStore):
    """Tokens and mints of a machine, which survive its processes."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens_by_id: dict[str, Token] = {}
        self._sent: dict[SentRequest, float | None] = {}


class DelayedTokenStore:
    """The `TokenStore` port of one process, in front of the store that survives it."""

    def __init__(self, shared: SharedTokenStore, delay: RandomDelay) -> None:
        self._shared = shared
        self._delay = delay
        self._notes: set[asyncio.Task[None]] = set()

    async def adopt(self, now: float) -> Sequence[Token]:
        await self._delay()
        kept = self._shared._tokens_by_id
        for token_id in [token_id for token_id, token in kept.items() if token.expires_at <= now]:
            del kept[token_id]
        return list(kept.values())

    async def add(self, token: Token) -> None:
        await self._delay()
        self._shared._tokens_by_id[token.token_id] = token
        await self._delay()

    async def discard(self, token_id: str) -> None:
        await self._delay()
        self._shared._tokens_by_id.pop(token_id, None)
        await self._delay()

    async def claim_mint(self, limit: int, per: float, now: float) -> float:
        await self._delay()
        wait = await self._shared.claim_mint(limit, per, now)
        await self._delay()
        return wait

    async def refund_mint(self, now: float) -> None:
        await self._delay()
        await self._shared.refund_mint(now)

    def record_sent_request(self, request: SentRequest) -> asyncio.Task[None]:
        async def record() -> None:
            await self._delay()
            self._shared._sent[request] = None
            await self._delay()

        note = asyncio.get_running_loop().create_task(record())
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)
        return note

    def record_request_end(self, request: SentRequest, counts_at: float | None) -> None:
        if self._delay.crashed.is_set():
            return
        if counts_at is None:
            self._shared._sent.pop(request, None)
        elif request in self._shared._sent:
            self._shared._sent[request] = counts_at

    async def sent_requests(self, token_id: str, since: float, now: float) -> Mapping[str, Sequence[float]]:
        await self._delay()
        noted: dict[str, list[float]] = {}
        for request, counts_at in self._shared._sent.items():
            if request.token_id != token_id:
                continue
            at = self._shared._sent[request] = now if counts_at is None else counts_at
            for rule in request.rules if at > since else ():
                noted.setdefault(rule, []).append(at)
        return noted

    async def snapshot(self, now: float, since: float) -> StoreSnapshot:
        return await self._shared.snapshot(now, since)

    async def release_all(self, idle_since: float | None) -> None:
        await self._delay()
        kept = self._shared._tokens_by_id
        for token_id, token in kept.items():
            kept[token_id] = attrs.evolve(token, idle_since=idle_since)

    async def aclose(self) -> None:
        """Keep the shared store open; write what was handed over, as the store on disk does."""
        if self._notes and not self._delay.crashed.is_set():
            await asyncio.wait(self._notes)
