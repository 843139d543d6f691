"""A journal of the simulation: what survives the processes, and the `Journal` port of one process.

Algorithm:
    `append` delays the commit of a transaction, never the order. A process that dies keeps any prefix of its
    transactions, at least those that were confirmed. A full disk fails one transaction and all later ones.
    The next process starts from the replayed entries, or from the tables of a real journal.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import attrs

from tests.simulation.comparison import differences, facts_at_the_next_run
from tests.simulation.delayed_ports import RandomDelay
from tests.simulation.scenario import ProcessEnd
from tests.simulation.timeline import Timeline
from truecaller_async import JournalError, Outcome
from truecaller_async.campaign.core.ambiguity import DECIDABLE_STATES, decision_entries
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.journal.database_file import examine
from truecaller_async.journal.handle import JournalHandle, open_handle
from truecaller_async.journal.load import load_builder
from truecaller_async.journal.maintenance import decide
from truecaller_async.journal.statements import Statement
from truecaller_async.models.journal_entries import (
    AttemptStarted,
    CampaignStarted,
    JournalEntry,
    RowsRead,
    RowsSettled,
)

DISK_FULL_MESSAGE = "the journal cannot be written: the disk is full"
SLOW_COMMIT_SECONDS = 0.5
"""Longest duration of the few slow commits."""


def replay(entries: Iterable[JournalEntry]) -> CampaignState:
    """Return the state after these entries."""
    state = CampaignState()
    for entry in entries:
        state.apply(entry)
    return state


@attrs.define(eq=False)
class RecordingState(CampaignState):
    """A state that keeps the entries that are applied to it, also those that no journal stores."""

    applied: list[JournalEntry] = attrs.field(factory=list)

    @classmethod
    def of(cls, state: CampaignState) -> RecordingState:
        """Return a state with the same facts."""
        fields = [field.name for field in attrs.fields(CampaignState) if not field.name.startswith("_")]
        return cls(**{name: getattr(state, name) for name in fields})

    def apply(self, entry: JournalEntry) -> Sequence[CampaignBatch]:
        changed = super().apply(entry)
        self.applied.append(entry)
        return changed


@attrs.define(eq=False)
class CrashTrigger:
    """Decides at which journal write a process ends; shared by all its journals."""

    process_end: ProcessEnd | None
    crashed: asyncio.Event = attrs.field(factory=asyncio.Event)
    writes: int = 0
    on_crash: Callable[[], None] = lambda: None

    def count_write(self) -> bool:
        """Count one write; return whether the process ends at it."""
        self.writes += 1
        return self.process_end is not None and self.writes == self.process_end.write

    def crash(self) -> None:
        """End the process."""
        self.crashed.set()
        self.on_crash()


@attrs.define(eq=False)
class SurvivingJournal:
    """Journal of one campaign over all its processes: every stored entry, in order.

    With a `path`, the tables of a real journal are written as well, and each process starts from what is loaded from
    them. `errors` lists differences between the two, and entries that cannot follow from the earlier ones.
    """

    resumable: bool
    path: Path | None
    entries: list[JournalEntry] = attrs.field(factory=list)
    errors: list[str] = attrs.field(factory=list)
    stored: CampaignState = attrs.field(factory=CampaignState)
    """The state of what is stored."""
    settled: dict[int, Outcome] = attrs.field(factory=dict)
    """The final outcomes that are stored, by row."""
    tokens: dict[tuple[int, int], str] = attrs.field(factory=dict)
    """The token of each stored attempt, by batch and attempt."""
    handle: JournalHandle | None = None

    @property
    def has_campaign(self) -> bool:
        """Return whether there is a campaign to resume."""
        return self.stored.started is not None

    def open(self, *, is_new: bool) -> RecordingState:
        """Open the journal for one process."""
        if is_new is self.has_campaign:
            raise JournalError("the journal contains a campaign, or none")
        if self.path is None:
            return RecordingState.of(replay(self.entries))
        self.handle = open_handle(self.path, is_new=is_new)
        self.handle.db.execute("PRAGMA synchronous=OFF")
        state = RecordingState.of(self.handle.statements.state)
        self.handle.statements.state = state
        return state

    def build(self, entries: Sequence[JournalEntry], changed: Iterable[CampaignBatch]) -> Sequence[Statement]:
        """Return the statements of a transaction; none without tables."""
        return [] if self.handle is None else self.handle.statements.build(entries, changed)

    def store(self, entries: Sequence[JournalEntry], statements: Sequence[Statement] = ()) -> None:
        """Store a transaction."""
        if self.handle is not None:
            self.handle.commit(statements)
        for entry in entries:
            self._store_entry(entry)

    def _store_entry(self, entry: JournalEntry) -> None:
        self.entries.append(entry)
        try:
            self.stored.apply(entry)
        except JournalError as error:
            self.errors.append(f"an entry that is not possible was stored: {error}")
        if isinstance(entry, RowsSettled):
            self.settled.update(dict.fromkeys(entry.rows, entry.outcome))
        elif isinstance(entry, AttemptStarted):
            self.tokens[entry.seq, entry.attempt] = entry.token_id

    @property
    def undecided(self) -> list[CampaignBatch]:
        """Return the batches that the operator may decide while no process works on the campaign."""
        return [batch for batch in self.stored.open if batch.state in DECIDABLE_STATES]

    def decide(self, batch: CampaignBatch, *, applied: bool, at: float) -> None:
        """Write the operator's decision into every form of the journal, and compare them."""
        if self.path is not None:
            decide(self.path, batch.seq, applied, at)
        for entry in decision_entries(batch, applied, at):
            self._store_entry(entry)
        if self.path is not None:
            self._compare()

    def end_process(self) -> None:
        """Close the journal of a process that has ended, in whatever way, and compare both forms."""
        if self.handle is None:
            return
        self.close()
        if self.has_campaign:
            self._compare()

    def close(self) -> None:
        """Close the tables."""
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
            loaded = facts_at_the_next_run(load_builder(handle.db).state)
        finally:
            handle.close()
        known = facts_at_the_next_run(replay(self.entries))
        self.errors += [f"loaded from the tables: {text}" for text in differences(loaded, known)]


@attrs.define(eq=False)
class PendingTransaction:
    """A transaction that is not stored yet."""

    entries: Sequence[JournalEntry]
    statements: Sequence[Statement]
    durable: asyncio.Future[None]
    fails: bool = False
    """Whether the disk is full at this transaction."""
    is_stored: bool = True
    """Whether it is on the disk nevertheless."""


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
        self._pending: deque[PendingTransaction] = deque()
        self._timer: asyncio.Handle | None = None
        self._emptied: asyncio.Future[None] | None = None
        self.state: RecordingState | None = None
        """The state of the process."""
        self.failed = False
        """Whether a write has failed."""
        self.stored_by_the_failed: Sequence[JournalEntry] = ()
        """Entries of the failed write that are on the disk nevertheless."""
        self.entries_before = len(journal.entries)
        """Entries before this process."""
        self.on_append: Callable[[], None] = lambda: None
        """Called after each transaction."""

    @property
    def resumable(self) -> bool:
        return self._journal.resumable

    async def open(self, *, is_new: bool) -> CampaignState:
        await self._delay()
        self.state = self._journal.open(is_new=is_new)
        return self.state

    def append(self, entries: Sequence[JournalEntry], changed: Iterable[CampaignBatch]) -> asyncio.Future[None] | None:
        loop = asyncio.get_running_loop()
        self.on_append()
        if self._trigger.crashed.is_set():
            return loop.create_future()
        if not self.resumable:
            self._store(entries, ())
            return None
        if self.failed:
            return self._refuse()
        pending = PendingTransaction(tuple(entries), self._journal.build(entries, changed), loop.create_future())
        self._pending.append(pending)
        if self._trigger.count_write():
            self._end_process(pending)
        elif len(self._pending) == 1 and self._delay.dice.random() < 0.2:
            self._commit()  # durable already when `append` returns
            return pending.durable if self._delay.dice.random() < 0.5 else None
        self._schedule()
        return pending.durable

    def _refuse(self) -> asyncio.Future[None]:
        if self._delay.dice.random() < 0.5:
            raise JournalError(DISK_FULL_MESSAGE)
        refused: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        refused.set_exception(JournalError(DISK_FULL_MESSAGE))
        return refused

    def _end_process(self, pending: PendingTransaction) -> None:
        process_end = self._trigger.process_end
        assert process_end is not None
        if process_end.how == "disk full":
            pending.fails, pending.is_stored = True, process_end.is_stored
            return
        kept = len(self._pending) if process_end.is_stored else self._delay.dice.randrange(len(self._pending))
        self._timeline.record("death", self._name, f"{kept} of {len(self._pending)} transactions are kept")
        for one in list(self._pending)[:kept]:
            self._store(one.entries, one.statements)
        self._trigger.crash()

    def _schedule(self) -> None:
        """Commit some of the pending transactions a little later."""
        if self._timer is not None or not self._pending or self._trigger.crashed.is_set():
            return
        loop, dice = asyncio.get_running_loop(), self._delay.dice
        chance = dice.random()
        if chance < 0.5 or not self._delay.seconds:
            self._timer = loop.call_soon(self._commit_some)
        else:
            longest = SLOW_COMMIT_SECONDS if chance > 0.98 else self._delay.seconds
            self._timer = loop.call_later(dice.uniform(0.0, longest), self._commit_some)

    def _commit_some(self) -> None:
        self._timer = None
        if self._trigger.crashed.is_set():
            return
        for _ in range(self._delay.dice.randint(1, len(self._pending))):
            self._commit()
        if not self._pending and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)
        self._schedule()

    def _commit(self) -> None:
        pending = self._pending.popleft()
        if pending.fails:
            self._timeline.record("disk full", self._name, "kept" if pending.is_stored else "not kept")
            self.stored_by_the_failed = pending.entries if pending.is_stored else ()
        if not self.failed and pending.is_stored:
            self._store(pending.entries, pending.statements)
        self.failed = self.failed or pending.fails
        if pending.durable.done():
            return
        if self.failed:
            pending.durable.set_exception(JournalError(DISK_FULL_MESSAGE))
        else:
            pending.durable.set_result(None)

    def _store(self, entries: Sequence[JournalEntry], statements: Sequence[Statement]) -> None:
        self._journal.store(entries, statements)
        for entry in entries:
            self._timeline.record(f"journal {self._name}", _short(entry))

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        await self._delay()
        reads = [entry for entry in self._journal.entries if isinstance(entry, RowsRead)]
        return [read for read in reads if read.position.row > after][:limit]

    async def aclose(self) -> None:
        if self._pending:
            self._emptied = asyncio.get_running_loop().create_future()
            await self._emptied
        if not self._trigger.crashed.is_set():
            self._journal.end_process()


def _short(entry: JournalEntry) -> str:
    if isinstance(entry, RowsSettled):
        return (
            f"Settled(batch {entry.seq}: {len(entry.rows)} rows from {entry.rows[0]}, {entry.outcome}, {entry.reason})"
        )
    if isinstance(entry, CampaignStarted):
        return "CampaignStarted"
    return f"{type(entry).__name__}({', '.join(f'{name}={value}' for name, value in _shown(entry))})"


def _shown(entry: JournalEntry) -> list[tuple[str, object]]:
    hidden = ("at", "fingerprints", "payload", "pid", "elapsed")
    fields = [name for name in type(entry).__struct_fields__ if name not in hidden]
    return [(name, value) for name in fields if (value := getattr(entry, name)) is not None]
