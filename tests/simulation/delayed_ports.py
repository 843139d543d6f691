"""Ports with a random delay in each call, which makes the order of events depend on the seed.

Code that awaits a port must be correct whatever happens meanwhile. So each call takes some turns of the loop or a short
time. The journals store their entries outside the process, and can end a process at one of its writes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import attrs

from tests.journal.entry_generator import comparable
from tests.simulation.scenario import ProcessEnd
from tests.simulation.timeline import Timeline
from truecaller_async import JournalError
from truecaller_async.campaign.core.ambiguity import DECIDABLE_STATES, decision_entries
from truecaller_async.campaign.core.campaign_state import CampaignState, JournaledBatch
from truecaller_async.journal import MemoryJournal
from truecaller_async.journal.database_file import examine
from truecaller_async.journal.handle import JournalHandle, open_handle
from truecaller_async.journal.load import load_builder
from truecaller_async.journal.maintenance import decide
from truecaller_async.journal.outcome_kinds import storable_text
from truecaller_async.models import CostReported, JournalEntry, RowsRead, RowsSettled, Token
from truecaller_async.models.tokens import SentRequest, StoreSnapshot
from truecaller_async.ports import Limiter, Permit
from truecaller_async.tokens import MemoryTokenStore

DISK_FULL_MESSAGE = "the journal cannot be written: the disk is full"


class SyncMemoryJournal(MemoryJournal):
    """Memory journal that can be written without an await."""

    def write_now(self, entries: tuple[JournalEntry, ...]) -> None:
        """Write the entries at once."""
        with contextlib.suppress(StopIteration):
            self.write(*entries).send(None)


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

    def try_acquire(self, call: str, token_ids: Sequence[str], now: float) -> RecordedPermit | float:
        if self.delay.crashed.is_set():
            return float("inf")
        chance = self.delay.dice.random()
        if chance < 0.1:
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

        return asyncio.get_running_loop().create_task(record())

    def record_request_end(self, request: SentRequest, counts_at: float | None) -> None:
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
        """Keep the shared store open."""


@attrs.define(eq=False)
class CrashTrigger:
    """Decides at which journal write a process ends; shared by all its journals."""

    process_end: ProcessEnd | None
    crashed: asyncio.Event = attrs.field(factory=asyncio.Event)
    writes: int = 0

    def count_write(self) -> bool:
        """Count one write; return whether the process ends at it."""
        self.writes += 1
        return self.process_end is not None and self.writes >= self.process_end.write


@attrs.define(eq=False)
class SurvivingJournal:
    """Journal of one campaign over all its processes: every stored entry, in order.

    With a `path`, the tables of a real journal are written as well, and each process starts from what is loaded from
    them. `errors` lists differences between the two.
    """

    resumable: bool
    path: Path | None
    memory: SyncMemoryJournal = attrs.field()
    entries: list[JournalEntry] = attrs.field(factory=list)
    errors: list[str] = attrs.field(factory=list)
    handle: JournalHandle | None = None

    @memory.default
    def _memory(self) -> SyncMemoryJournal:
        return SyncMemoryJournal(resumable=self.resumable)

    @property
    def has_campaign(self) -> bool:
        """Return whether there is a campaign to resume."""
        return self.memory.state.started is not None

    async def open(self, *, is_new: bool) -> CampaignState:
        state = await self.memory.open(is_new=is_new)
        if self.path is None:
            return state
        self.handle = open_handle(self.path, is_new=is_new)
        self.handle.db.execute("PRAGMA synchronous=OFF")
        return self.handle.statements.state

    def store(self, entries: tuple[JournalEntry, ...]) -> None:
        """Store the entries."""
        if self.handle is not None:
            self.handle.commit(self.handle.statements.build(entries))
        self.memory.write_now(entries)
        self.entries += [entry for entry in entries if not isinstance(entry, CostReported)]

    @property
    def undecided(self) -> list[JournaledBatch]:
        """Return the batches that the operator may decide while no process works on the campaign."""
        return [batch for batch in self.memory.state.open if batch.state in DECIDABLE_STATES]

    def decide(self, batch: JournaledBatch, *, applied: bool, at: float) -> None:
        """Write the operator's decision into every form of the journal, and compare them."""
        if self.path is not None:
            decide(self.path, batch.seq, applied, at)
        for entry in decision_entries(batch, applied, at):
            self.memory.state.apply(entry)
            self.entries.append(entry)
        if self.path is not None:
            self._compare()

    async def end_process(self) -> None:
        """Close the journal of a process that has ended, in whatever way, and compare both forms."""
        await self.memory.aclose()
        if self.handle is None:
            return
        self.handle.close()
        self.handle = None
        if self.has_campaign:
            self._compare()

    def close(self) -> None:
        """Close the tables at the end of the simulation."""
        if self.handle is not None:
            self.handle.close()
            self.handle = None

    def _compare(self) -> None:
        assert self.path is not None
        examine(self.path, is_locked=True)
        handle = open_handle(self.path, is_new=False)
        try:
            found_text = handle.db.execute("PRAGMA integrity_check").fetchone()[0]
            if found_text != "ok":
                self.errors.append(f"integrity_check: {found_text}")
            loaded, known = comparable(load_builder(handle.db).state), comparable(self.memory.state)
            self.errors += _differences("", loaded, known)
        finally:
            handle.close()


def _differences(where: str, loaded: Any, known: Any) -> list[str]:
    """Return each place in which the two values differ."""
    if not (isinstance(loaded, dict) and isinstance(known, dict)):
        known = (
            storable_text(known) if where.endswith("reason") else known
        )  # long numbers in server messages are masked
        return [] if loaded == known else [f"{where} is {loaded!r} in the tables, but {known!r} was written"]
    found = []
    for name in {**loaded, **known}:
        found += _differences(f"{where} {name}".strip(), loaded.get(name), known.get(name))
    return found


class DelayedJournal:
    """The `Journal` port of one process."""

    def __init__(
        self, journal: SurvivingJournal, trigger: CrashTrigger, delay: RandomDelay, timeline: Timeline, name: str
    ) -> None:
        self._journal = journal
        self._trigger = trigger
        self._delay = delay
        self._timeline = timeline
        self._name = name
        self._disk_full = False
        self.resumable = journal.resumable

    async def open(self, *, is_new: bool) -> CampaignState:
        await self._delay()
        return await self._journal.open(is_new=is_new)

    async def write(self, *entries: JournalEntry) -> None:
        """Store the entries before the first await, so that a cancelled writer loses nothing."""
        if self._trigger.crashed.is_set():
            await asyncio.Event().wait()
        if self._disk_full:
            raise JournalError(DISK_FULL_MESSAGE)
        if self._trigger.count_write():
            await self._end_process(entries)
        self._journal.store(entries)
        for entry in entries:
            self._timeline.record(f"journal {self._name}", _short(entry))
        await self._delay()

    async def _end_process(self, entries: tuple[JournalEntry, ...]) -> None:
        process_end = self._trigger.process_end
        assert process_end is not None
        self._timeline.record(process_end.how, self._name, "kept" if process_end.is_stored else "not kept")
        if process_end.how == "disk full":
            self._disk_full = True
            raise JournalError(DISK_FULL_MESSAGE)
        if process_end.is_stored:
            self._journal.store(entries)
        self._trigger.crashed.set()
        await asyncio.Event().wait()

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        await self._delay()
        return await self._journal.memory.read_blocks(after, limit)

    async def aclose(self) -> None:
        if not self._trigger.crashed.is_set():
            await self._journal.end_process()


def _short(entry: JournalEntry) -> str:
    if isinstance(entry, RowsSettled):
        return (
            f"Settled(batch {entry.seq}: {len(entry.rows)} rows from {entry.rows[0]}, {entry.outcome}, {entry.reason})"
        )
    return f"{type(entry).__name__}({', '.join(f'{name}={value}' for name, value in _shown(entry))})"


def _shown(entry: JournalEntry) -> list[tuple[str, object]]:
    hidden = ("at", "fingerprints", "payload", "salt", "options", "library", "pid", "account", "elapsed")
    fields = [field.name for field in attrs.fields(type(entry)) if field.name not in hidden]
    return [(name, value) for name in fields if (value := getattr(entry, name)) is not None]
