"""The ports, each call of which takes its time: the seeded scheduler.

Code that awaits a port must be right whatever happens meanwhile, so every call through one hesitates, for some turns of
the loop or for a little time. The journals remember what they were told, and end a process at one of its writes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import attrs

from tests.journal.entry_generator import comparable
from tests.simulation.fate import Ending
from tests.simulation.timeline import Timeline
from truecaller_async import JournalError
from truecaller_async.journal import MemoryJournal
from truecaller_async.journal.database_file import examine
from truecaller_async.journal.handle import JournalHandle, open_handle
from truecaller_async.journal.load import load_statements
from truecaller_async.journal.maintenance import decide
from truecaller_async.journal.outcome_texts import truncated
from truecaller_async.models import CostReported, JournalEntry, RowsRead, RowsSettled, Token
from truecaller_async.models.tokens import StoreSnapshot
from truecaller_async.planning.ambiguity import DECIDABLE_STATES, decision_entries
from truecaller_async.planning.campaign_state import CampaignState, JournaledBatch
from truecaller_async.ports import Limiter
from truecaller_async.tokens import MemoryTokenStore

FULL = "the journal cannot be written: the disk is full"


class Memory(MemoryJournal):
    """A journal in memory that takes entries without being awaited."""

    def take(self, entries: tuple[JournalEntry, ...]) -> None:
        """As `write`, at once."""
        with contextlib.suppress(StopIteration):
            self.write(*entries).send(None)


@attrs.define
class Hesitation:
    """How long a call through a port takes: nothing, some turns of the loop, up to `seconds`; after death, for ever."""

    dice: Random
    seconds: float
    over: asyncio.Event

    async def __call__(self) -> None:
        if self.over.is_set():
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
class HesitantLimiter:
    """The `Limiter` port. `grants` are the permits: when, which token, which call.

    A permit for a token that was forgotten while it was asked for is none: nobody may use it.
    """

    inner: Limiter
    hesitate: Hesitation
    grants: list[tuple[float, str, str]] = attrs.field(factory=list)
    forgotten: set[str] = attrs.field(factory=set)

    async def try_acquire(self, token_id: str, call: str) -> float:
        await self.hesitate()
        wait = await self.inner.try_acquire(token_id, call)
        if wait == 0.0 and token_id not in self.forgotten:
            self.grants.append((asyncio.get_running_loop().time(), token_id, call))
        await self.hesitate()
        return wait

    def slow_down(self, token_id: str) -> None:
        self.inner.slow_down(token_id)

    def restore(self, token_id: str, releases: Mapping[str, Sequence[float]]) -> None:
        self.inner.restore(token_id, releases)

    def remove(self, token_id: str) -> None:
        self.forgotten.add(token_id)
        self.inner.remove(token_id)


class Shelves(MemoryTokenStore):
    """What a machine keeps of tokens and mints, over the lives of its processes."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, Token] = {}
        self._notes: dict[str, list[tuple[str, float]]] = {}


class HesitantStore:
    """The `TokenStore` port of one process, over the shelves that survive it."""

    def __init__(self, shelves: Shelves, hesitate: Hesitation) -> None:
        self._shelves = shelves
        self._hesitate = hesitate

    async def adopt(self, now: float) -> Sequence[Token]:
        await self._hesitate()
        kept = self._shelves._kept
        for token_id in [token_id for token_id, token in kept.items() if token.expires_at <= now]:
            del kept[token_id]
        return list(kept.values())

    async def add(self, token: Token) -> None:
        await self._hesitate()
        self._shelves._kept[token.token_id] = token
        await self._hesitate()

    async def discard(self, token_id: str) -> None:
        await self._hesitate()
        self._shelves._kept.pop(token_id, None)
        await self._hesitate()

    async def claim_mint(self, limit: int, per: float, now: float) -> float:
        await self._hesitate()
        wait = await self._shelves.claim_mint(limit, per, now)
        await self._hesitate()
        return wait

    async def refund_mint(self, now: float) -> None:
        await self._hesitate()
        await self._shelves.refund_mint(now)

    async def record_release(self, token_id: str, rule: str, at: float) -> None:
        await self._hesitate()
        self._shelves._notes.setdefault(token_id, []).append((rule, at))
        await self._hesitate()

    async def releases(self, token_id: str, since: float) -> Mapping[str, Sequence[float]]:
        await self._hesitate()
        noted: dict[str, list[float]] = {}
        for rule, at in self._shelves._notes.get(token_id, ()):
            if at > since:
                noted.setdefault(rule, []).append(at)
        return noted

    async def snapshot(self, now: float, since: float) -> StoreSnapshot:
        return await self._shelves.snapshot(now, since)

    async def release_all(self, now: float) -> None:
        await self._hesitate()
        kept = self._shelves._kept
        for token_id, token in kept.items():
            kept[token_id] = attrs.evolve(token, idle_since=now)

    async def aclose(self) -> None:
        """The shelves stay."""


@attrs.define(eq=False)
class Doom:
    """How this process ends, if it does not end well: shared by all its journals."""

    ending: Ending | None
    struck: asyncio.Event = attrs.field(factory=asyncio.Event)
    writes: int = 0

    def falls(self) -> bool:
        """One more write: is it the one?"""
        self.writes += 1
        return self.ending is not None and self.writes >= self.ending.write


@attrs.define(eq=False)
class Annals:
    """The journal of one campaign, over the lives of its processes: every entry that is safe, in order.

    With a `path` the tables of a real journal are written too, and each life begins from what is read out of them.
    `flaws` says where the two differ.
    """

    resumable: bool
    path: Path | None
    memory: Memory = attrs.field()
    entries: list[JournalEntry] = attrs.field(factory=list)
    flaws: list[str] = attrs.field(factory=list)
    held: JournalHandle | None = None

    @memory.default
    def _memory(self) -> Memory:
        return Memory(resumable=self.resumable)

    @property
    def begun(self) -> bool:
        """Whether there is a campaign to go on with."""
        return self.memory.state.started is not None

    async def open(self, *, is_new: bool) -> CampaignState:
        state = await self.memory.open(is_new=is_new)
        if self.path is None:
            return state
        self.held = open_handle(self.path, is_new=is_new)
        self.held.db.execute("PRAGMA synchronous=OFF")
        return self.held.statements.state

    def keep(self, entries: tuple[JournalEntry, ...]) -> None:
        """These are safe."""
        if self.held is not None:
            self.held.transact([self.held.statements.build(entries)])
        self.memory.take(entries)
        self.entries += [entry for entry in entries if not isinstance(entry, CostReported)]

    @property
    def undecided(self) -> list[JournaledBatch]:
        """The batches that the operator may decide, while no process works on the campaign."""
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

    async def let_go(self) -> None:
        """The process is over, however it ended."""
        await self.memory.aclose()
        if self.held is None:
            return
        self.held.close()
        self.held = None
        if self.begun:
            self._compare()

    def abandon(self) -> None:
        """Nobody goes on with it."""
        if self.held is not None:
            self.held.close()
            self.held = None

    def _compare(self) -> None:
        assert self.path is not None
        examine(self.path, is_locked=True)
        held = open_handle(self.path, is_new=False)
        try:
            said = held.db.execute("PRAGMA integrity_check").fetchone()[0]
            if said != "ok":
                self.flaws.append(f"integrity_check: {said}")
            loaded, known = comparable(load_statements(held.db).state), comparable(self.memory.state)
            self.flaws += _differences("", loaded, known)
        finally:
            held.close()


def _differences(where: str, loaded: Any, known: Any) -> list[str]:
    """Each place in which the two are not the same."""
    if not (isinstance(loaded, dict) and isinstance(known, dict)):
        known = truncated(known) if where.endswith("reason") else known  # long numbers of the server's words are masked
        return [] if loaded == known else [f"{where} is {loaded!r} in the tables, and {known!r} was told"]
    found = []
    for name in {**loaded, **known}:
        found += _differences(f"{where} {name}".strip(), loaded.get(name), known.get(name))
    return found


class HesitantJournal:
    """The `Journal` port of one process."""

    def __init__(self, annals: Annals, doom: Doom, hesitate: Hesitation, timeline: Timeline, name: str) -> None:
        self._annals = annals
        self._doom = doom
        self._hesitate = hesitate
        self._timeline = timeline
        self._name = name
        self._full = False
        self.resumable = annals.resumable

    async def open(self, *, is_new: bool) -> CampaignState:
        await self._hesitate()
        return await self._annals.open(is_new=is_new)

    async def write(self, *entries: JournalEntry) -> None:
        """Kept before anybody else may run, so that nothing is lost of a writer who is cancelled while it waits."""
        if self._doom.struck.is_set():
            await asyncio.Event().wait()
        if self._full:
            raise JournalError(FULL)
        if self._doom.falls():
            await self._fall(entries)
        self._annals.keep(entries)
        for entry in entries:
            self._timeline.tell(f"journal {self._name}", _short(entry))
        await self._hesitate()

    async def _fall(self, entries: tuple[JournalEntry, ...]) -> None:
        ending = self._doom.ending
        assert ending is not None
        self._timeline.tell(ending.how, self._name, "kept" if ending.kept else "not kept")
        if ending.how == "disk full":
            self._full = True
            raise JournalError(FULL)
        if ending.kept:
            self._annals.keep(entries)
        self._doom.struck.set()
        await asyncio.Event().wait()

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        await self._hesitate()
        return await self._annals.memory.read_blocks(after, limit)

    async def aclose(self) -> None:
        if not self._doom.struck.is_set():
            await self._annals.let_go()


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
