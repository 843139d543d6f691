"""Generate random valid sequences of journal entries, transaction by transaction.

Algorithm:
    An `EntryGenerator` chooses at random among the entries that are valid in its state: read rows, start or end an
    attempt, lose an answer, split a batch into halves or single records, join split batches, settle rows in parts,
    release a batch, and restart the run. Independently of `CampaignState` it records for each row its batch, or its
    final outcome; and the provisional outcomes of the run.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
from hypothesis import strategies as st

from truecaller_async.campaign.core.batch import RESENDABLE_STATES, CampaignBatch
from truecaller_async.campaign.core.batch_state import BatchEvent, BatchState
from truecaller_async.campaign.core.campaign_state import CampaignState, RunFacts
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    AttemptStarted,
    BatchAbandoned,
    BatchPlanned,
    BatchReleased,
    CampaignStarted,
    CostReported,
    JournalEntry,
    NoteAdded,
    OperatorDecided,
    RowsRead,
    RowsSettled,
    RunStarted,
    SourceDescriptor,
    SourceEnded,
    SourcePosition,
)

STARTED = CampaignStarted(
    1.5,
    "0.1",
    "0c3f5b1e-0000-4000-8000-000000000001",
    "v2",
    {"on_ambiguous": "hold", "poll": {"first": 2.0}},
    SourceDescriptor("csv", "/data/caf\udce9.csv", {"caller": "from"}, {"label_id": None}, 10, 20),
    b"\x00salt",
)
END_EVENTS = (
    BatchEvent.ACCEPTED,
    BatchEvent.NOT_SENT,
    BatchEvent.THROTTLED,
    BatchEvent.UNAUTHORIZED,
    BatchEvent.REJECTED,
    BatchEvent.UNTRACKED,
    BatchEvent.LOST,
    BatchEvent.FATAL,
    BatchEvent.CALL_FORBIDDEN,
)
REASONS = (None, "not a user", "not a user", "bad label", "“quoted”\n")
NOT_IN_FLIGHT = tuple(state for state in BatchState if state is not BatchState.IN_FLIGHT)

FinalOutcome: TypeAlias = tuple[Outcome, str | None, str | None, int, bool, int | None]
Transaction: TypeAlias = tuple[JournalEntry, ...]


@attrs.define
class EntryGenerator:
    """Generates the entries of one campaign."""

    rng: random.Random
    """The source of all choices."""
    state: CampaignState = attrs.field(factory=CampaignState)
    """The state after the generated entries."""
    fates: dict[int, int | FinalOutcome] = attrs.field(factory=dict)
    """For each row that was planned or settled: the number of its open batch, or its final outcome."""
    changed: dict[int, CampaignBatch] = attrs.field(factory=dict)
    """The batches that the latest transaction changed."""
    provisional: Counter[Outcome] = attrs.field(factory=Counter)
    """The rows that were released in this run, by provisional outcome."""
    row: int = 0
    """The last row that was read."""
    seq: int = 0
    """The number of the last batch."""
    at: float = 100.0
    """The current time, in seconds."""
    postponed: list[JournalEntry] = attrs.field(factory=list)
    """Entries that become transactions of their own."""

    def transaction(self) -> Transaction:
        """Return the entries of the next transaction, already applied to `state`."""
        if self.state.started is None:
            return self._apply([STARTED, self._run_started()])
        if self.postponed:
            return self._apply([self.postponed.pop(0)])
        steps: list[Callable[[], list[JournalEntry]]] = [self._read, self._run_entries]
        for step in (self._send, self._end, self._settle, self._split, self._join, self._decide):
            steps += [step, step]
        if self.rng.random() < 0.1:
            steps.append(self._release)
        self.rng.shuffle(steps)
        entries = next(entries for step in steps if (entries := step()))
        if len(entries) > 1 and isinstance(entries[-1], RowsRead) and self.rng.random() < 0.2:
            self.postponed = entries[1:]
            del entries[1:]
        return self._apply(entries)

    def restart(self) -> Transaction:
        """Return the first transaction of another run, already applied to `state`."""
        return self._apply(self._restart())

    def _apply(self, entries: list[JournalEntry]) -> Transaction:
        self.changed = {}
        for entry in entries:
            if isinstance(entry, BatchReleased):
                self.provisional[entry.outcome] += sum(fate == entry.seq for fate in self.fates.values())
            if isinstance(entry, RunStarted):
                self.provisional.clear()
            self.changed |= {batch.seq: batch for batch in self.state.apply(entry)}
            if isinstance(entry, BatchPlanned):
                self.fates |= dict.fromkeys(entry.rows, entry.seq)
            if isinstance(entry, RowsSettled):
                outcome = (
                    entry.outcome,
                    entry.reason,
                    entry.field,
                    entry.attempts,
                    entry.possibly_duplicated,
                    entry.seq,
                )
                self.fates |= dict.fromkeys(entry.rows, outcome)
        return tuple(entries)

    def _time(self) -> float:
        self.at += self.rng.random()
        return self.at

    def _next_seq(self) -> int:
        self.seq += self.rng.randint(1, 2)
        return self.seq

    def _pick(self, *states: BatchState) -> CampaignBatch | None:
        found = [batch for batch in self.state.open if batch.state in states and not batch.released]
        return self.rng.choice(found) if found else None

    def _read(self) -> list[JournalEntry]:
        if self.state.source_exhausted:
            return []
        rows = range(self.row + 1, self.row + self.rng.randint(1, 12) + 1)
        self.row = rows[-1]
        kinds: dict[int, list[int]] = {}
        for row in rows:
            kinds.setdefault(self.rng.choice((0, 1, 1, 1, 1, 2)), []).append(row)
        entries: list[JournalEntry] = [
            self._settled(tuple(unplanned), None) for unplanned in [kinds.pop(0, [])] if unplanned
        ]
        entries += [BatchPlanned(self._next_seq(), tuple(rows), payload=self._payload()) for rows in kinds.values()]
        fingerprints = self.rng.randbytes(self.rng.randint(0, 9))
        return [*entries, RowsRead(SourcePosition(self.row, 2 * self.row, 31 * self.row), fingerprints)]

    def _payload(self) -> bytes | None:
        return self.rng.randbytes(5) if self.rng.random() < 0.5 else None

    def _settled(self, rows: tuple[int, ...], seq: int | None) -> RowsSettled:
        rng = self.rng
        outcome = rng.choice((Outcome.DELIVERED, Outcome.DELIVERED, Outcome.FAILED, Outcome.UNKNOWN, Outcome.EXPIRED))
        field = rng.choice((None, None, "receiver"))
        return RowsSettled(rows, outcome, rng.choice(REASONS), seq, field, rng.randint(0, 2), rng.random() < 0.2)

    def _send(self) -> list[JournalEntry]:
        batch = self._pick(BatchState.PLANNED, *RESENDABLE_STATES)
        if batch is None or (batch.state in RESENDABLE_STATES and not self.state.policy_allows_resend(batch)):
            return []
        return [AttemptStarted(batch.seq, batch.attempts + 1, "0123456789ab", self._time())]

    def _end(self) -> list[JournalEntry]:
        batch = self._pick(BatchState.IN_FLIGHT)
        if batch is None:
            return []
        event = self.rng.choice(END_EVENTS)
        batch_id = f"b-{batch.seq}" if event is BatchEvent.ACCEPTED and self.rng.random() < 0.9 else None
        return [
            AttemptEnded(batch.seq, batch.attempts, event, self._time(), batch_id, "Error", "bad label", "label_id")
        ]

    def _settle(self) -> list[JournalEntry]:
        batch = self._pick(*NOT_IN_FLIGHT)
        if batch is None:
            return []
        rows = list(batch.open_rows)
        if self.rng.random() < 0.5:
            rows = sorted(self.rng.sample(rows, self.rng.randint(1, len(rows))))
        parts: dict[int, list[int]] = {}
        for row in rows:
            parts.setdefault(self.rng.randint(0, 2), []).append(row)
        return [self._settled(tuple(part), batch.seq) for part in parts.values()]

    def _split(self) -> list[JournalEntry]:
        batch = self._pick(BatchState.REJECTED, BatchState.REJECTED, BatchState.PLANNED, BatchState.STOPPED)
        if batch is None:
            return []
        rows = tuple(batch.open_rows)
        parts: list[tuple[int, ...]]
        if self.rng.random() < 0.5:
            parts = [(row,) for row in rows if self.rng.random() < 0.8]
        else:
            parts = [part for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :]) if part]
        call = self.rng.choice(("push", "submit"))
        return [BatchPlanned(self._next_seq(), part, batch.seq, call, self._payload()) for part in parts]

    def _join(self) -> list[JournalEntry]:
        # As when single records were planned for the real-time call, and the account does not have it.
        seq, last = self._next_seq(), 0
        entries: list[JournalEntry] = []
        payload = self._payload()
        for batch in sorted(self.state.open, key=lambda batch: batch.open_rows[0]):
            is_waiting = batch.state in (BatchState.PLANNED, BatchState.STOPPED) and not batch.released
            if is_waiting and batch.open_rows[0] > last:
                entries.append(BatchPlanned(seq, tuple(batch.open_rows), batch.seq, payload=payload))
                last = batch.open_rows[-1]
        return entries

    def _decide(self) -> list[JournalEntry]:
        batch = self._pick(BatchState.AMBIGUOUS, BatchState.ABANDONED)
        if batch is None:
            return []
        if batch.state is BatchState.AMBIGUOUS:
            return [BatchAbandoned(batch.seq)]
        return [OperatorDecided(batch.seq, self.rng.random() < 0.5, self._time())]

    def _release(self) -> list[JournalEntry]:
        batch = self._pick(*NOT_IN_FLIGHT)
        return [] if batch is None else [BatchReleased(batch.seq, batch.provisional_outcome, "stopped")]

    def _restart(self) -> list[JournalEntry]:
        crashed = [batch for batch in self.state.open if batch.state is BatchState.IN_FLIGHT]
        ends = [AttemptEnded(b.seq, b.attempts, BatchEvent.LOST, self._time(), detail="crash") for b in crashed]
        return [self._run_started(), *ends]

    def _run_started(self) -> RunStarted:
        policy = self.rng.choice(("hold", "resend"))
        return RunStarted(self._time(), self.rng.randint(1, 99), policy, self.rng.randint(0, 2))

    def _run_entries(self) -> list[JournalEntry]:
        kind = self.rng.randint(0, 9)
        if kind == 0:
            return self._restart()
        if kind == 1:
            return [SourceEnded()]
        if kind < 6:
            return [CostReported({"submit": self.rng.randint(0, 9)}, 1, 2, 3, self._time())]
        return [NoteAdded(self.rng.choice(("results", "x")), f"/data/caf\udce9-{self.seq}-20261121.csv")]


@st.composite
def entry_generators(draw: st.DrawFn) -> EntryGenerator:
    """Draw a generator with its own random numbers."""
    return EntryGenerator(draw(st.randoms(use_true_random=False)))


STORED_FIELDS = tuple(
    field.name for field in attrs.fields(CampaignState) if field.name not in ("batches", "run", "_children")
)
RUN_FIELDS_OF_BATCH = ("released", "is_retry", "sent_from", "has_shared_id")
STORED_FIELDS_OF_BATCH = tuple(
    field.name
    for field in attrs.fields(CampaignBatch)
    if field.name not in (*RUN_FIELDS_OF_BATCH, "isolation", "content", "_open_content", "_sent_content")
)


def comparable(state: CampaignState, *, with_run: bool = False) -> dict[str, Any]:
    """Return the stored values of a state, in a form in which two states can be compared.

    Args:
        state: The state.
        with_run: Return the facts of the present run too.
    """
    values = {name: getattr(state, name) for name in STORED_FIELDS}
    values["unconfirmed_rows"] = list(state.unconfirmed_rows)
    values["batches"] = {seq: _comparable_batch(batch, with_run) for seq, batch in state.batches.items()}
    values["parts"] = {seq: [part.seq for part in state.parts_of(seq)] for seq in state.batches}
    if with_run:
        values |= {f"run.{field.name}": getattr(state.run, field.name) for field in attrs.fields(RunFacts)}
        recent = state.run.recent_batch_ids
        values["run.recent_batch_ids"] = sorted(recent._hashes)
    return {name: +value if isinstance(value, Counter) else value for name, value in values.items()}


def _comparable_batch(batch: CampaignBatch, with_run: bool) -> dict[str, Any]:
    names = STORED_FIELDS_OF_BATCH + (RUN_FIELDS_OF_BATCH if with_run else ())
    values = {name: getattr(batch, name) for name in names}
    # Not complete once no row is open, so not stored then.
    values["closed"] = set(batch.closed) if batch.open_count else set()
    if with_run:
        values["isolation"] = None if batch.isolation is None else attrs.asdict(batch.isolation)
    return values


def assert_sound(state: CampaignState) -> None:
    """Check what is true after any prefix of entries: law 2, and the counts of the run."""
    assert state.outcome_counts().total() == state.position.row + sum(
        stop - start for start, stop in state.unconfirmed_rows
    )
    owners = Counter(row for batch in state.batches.values() for row in batch.open_rows)
    assert not owners or max(owners.values()) == 1
    roots = {batch.root_batch for batch in state.open}
    for seq, batch in state.batches.items():
        assert batch.open_count == len(batch.open_rows)
        assert batch.open_count or seq in roots
        parts = state.parts_of(seq)
        assert [part.seq for part in parts] == sorted(one.seq for one in state.open if one.root_batch == seq)
        remaining = 0 if batch.isolation is None else batch.isolation.remaining
        assert remaining == sum(part.unsettled_count for part in parts)
    released = [batch for batch in state.batches.values() if batch.released]
    assert state.run.provisional.total() == sum(batch.open_count for batch in released)
    assert state.run.provisional_duplicated == sum(one.open_count for one in released if one.possibly_duplicated)
    assert state.resolved == state.outcomes.total() + state.run.provisional.total()
