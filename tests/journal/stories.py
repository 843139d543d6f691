"""Stories: what a journal may be told, transaction by transaction, with another book kept beside it.

A `Teller` chooses at random among the moves that are possible where its campaign stands: reading, sending, losing an
answer, isolating by single records or halves, joining again what was split, settling in parts, dying in flight. It
notes for itself where each row is at home, without the help of `CampaignState`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs
from hypothesis import strategies as st

from truecaller_async.models import (
    AttemptEnded,
    AttemptStarted,
    BatchAbandoned,
    BatchPlanned,
    CampaignStarted,
    CostReported,
    JournalEntry,
    NoteAdded,
    OperatorDecided,
    Outcome,
    RowsRead,
    RowsSettled,
    RunStarted,
    SourceDescriptor,
    SourceEnded,
    SourcePosition,
)
from truecaller_async.planning.batch_state import BatchEvent, BatchState
from truecaller_async.planning.campaign_state import CampaignState, JournaledBatch

BEGUN = CampaignStarted(
    1.5,
    "0.1",
    "0c3f5b1e-0000-4000-8000-000000000001",
    "v2",
    {"on_ambiguous": "hold", "poll": {"first": 2.0}},
    SourceDescriptor("csv", "/data/caf\udce9.csv", {"caller": "from"}, {"label_id": None}, 10, 20),
    b"\x00salt",
)
ENDS = (
    BatchEvent.ACCEPTED,
    BatchEvent.NOT_SENT,
    BatchEvent.THROTTLED,
    BatchEvent.UNAUTHORIZED,
    BatchEvent.REJECTED,
    BatchEvent.UNTRACKED,
    BatchEvent.LOST,
    BatchEvent.FATAL,
)
REASONS = (None, "not a user", "not a user", "bad label", "“quoted”\n")
SENDABLE = (BatchState.PLANNED, BatchState.AMBIGUOUS, BatchState.ABANDONED, BatchState.STOPPED)

Said: TypeAlias = tuple[Outcome, str | None, str | None, int, bool, int | None]
Transaction: TypeAlias = tuple[JournalEntry, ...]


@attrs.define
class Teller:
    """Tells one story. `homes` has for each row the batch that owes its word, or the word."""

    dice: random.Random
    state: CampaignState = attrs.field(factory=CampaignState)
    homes: dict[int, int | Said] = attrs.field(factory=dict)
    row: int = 0
    seq: int = 0
    at: float = 100.0
    later: list[JournalEntry] = attrs.field(factory=list)

    def transaction(self) -> Transaction:
        """What happens next."""
        if self.state.started is None:
            return self._tell([BEGUN, RunStarted(self.at, 7)])
        if self.later:
            return self._tell([self.later.pop(0)])
        moves: list[Callable[[], list[JournalEntry]]] = [self._read, self._about_the_run]
        for move in (self._send, self._end, self._settle, self._split, self._join, self._doubt):
            moves += [move, move]
        self.dice.shuffle(moves)
        entries = next(entries for move in moves if (entries := move()))
        if len(entries) > 1 and isinstance(entries[-1], RowsRead) and self.dice.random() < 0.2:
            self.later = entries[1:]
            del entries[1:]
        return self._tell(entries)

    def _tell(self, entries: list[JournalEntry]) -> Transaction:
        for entry in entries:
            self.state.apply(entry)
            if isinstance(entry, BatchPlanned):
                self.homes |= dict.fromkeys(entry.rows, entry.seq)
            if isinstance(entry, RowsSettled):
                word = (entry.outcome, entry.reason, entry.field, entry.attempts, entry.possibly_duplicated, entry.seq)
                self.homes |= dict.fromkeys(entry.rows, word)
        return tuple(entries)

    def _time(self) -> float:
        self.at += self.dice.random()
        return self.at

    def _next_seq(self) -> int:
        self.seq += self.dice.randint(1, 2)
        return self.seq

    def _pick(self, *states: BatchState) -> JournaledBatch | None:
        found = [batch for batch in self.state.open if batch.state in states]
        return self.dice.choice(found) if found else None

    def _read(self) -> list[JournalEntry]:
        if self.state.source_exhausted:
            return []
        rows = range(self.row + 1, self.row + self.dice.randint(1, 12) + 1)
        self.row = rows[-1]
        kinds: dict[int, list[int]] = {}
        for row in rows:
            kinds.setdefault(self.dice.choice((0, 1, 1, 1, 1, 2)), []).append(row)
        entries: list[JournalEntry] = [
            self._said(tuple(unconfirmed), None) for unconfirmed in [kinds.pop(0, [])] if unconfirmed
        ]
        entries += [BatchPlanned(self._next_seq(), tuple(mine), payload=self._payload()) for mine in kinds.values()]
        fingerprints = self.dice.randbytes(self.dice.randint(0, 9))
        return [*entries, RowsRead(SourcePosition(self.row, 2 * self.row, 31 * self.row), fingerprints)]

    def _payload(self) -> bytes | None:
        return self.dice.randbytes(5) if self.dice.random() < 0.5 else None

    def _said(self, rows: tuple[int, ...], seq: int | None) -> RowsSettled:
        dice = self.dice
        outcome = dice.choice((Outcome.DELIVERED, Outcome.DELIVERED, Outcome.FAILED, Outcome.UNKNOWN, Outcome.EXPIRED))
        field = dice.choice((None, None, "receiver"))
        return RowsSettled(rows, outcome, dice.choice(REASONS), seq, field, dice.randint(0, 2), dice.random() < 0.2)

    def _send(self) -> list[JournalEntry]:
        batch = self._pick(*SENDABLE)
        return [] if batch is None else [AttemptStarted(batch.seq, batch.attempts + 1, "0123456789ab", self._time())]

    def _end(self) -> list[JournalEntry]:
        """Of a batch that has words already, too, as long as others come from it."""
        flying = [batch for batch in self.state.batches.values() if batch.state is BatchState.IN_FLIGHT]
        if not flying:
            return []
        batch = self.dice.choice(flying)
        event = self.dice.choice(ENDS)
        batch_id = f"b-{batch.seq}" if event is BatchEvent.ACCEPTED and self.dice.random() < 0.9 else None
        return [
            AttemptEnded(batch.seq, batch.attempts, event, self._time(), batch_id, "Error", "bad label", "label_id")
        ]

    def _settle(self) -> list[JournalEntry]:
        batch = self._pick(*BatchState)
        if batch is None:
            return []
        rows = list(batch.open_rows)
        if self.dice.random() < 0.5:
            rows = self.dice.sample(rows, self.dice.randint(1, len(rows)))
        parts: dict[int, list[int]] = {}
        for row in rows:
            parts.setdefault(self.dice.randint(0, 2), []).append(row)
        return [self._said(tuple(part), batch.seq) for part in parts.values()]

    def _split(self) -> list[JournalEntry]:
        batch = self._pick(
            BatchState.REJECTED, BatchState.REJECTED, BatchState.PLANNED, BatchState.STOPPED, BatchState.IN_FLIGHT
        )
        if batch is None:
            return []
        rows = tuple(batch.open_rows)
        parts: list[tuple[int, ...]]
        if self.dice.random() < 0.5:
            parts = [(row,) for row in rows if self.dice.random() < 0.8]
        else:
            parts = [part for part in (rows[: len(rows) // 2], rows[len(rows) // 2 :]) if part]
        via = self.dice.choice(("push", "submit"))
        return [BatchPlanned(self._next_seq(), part, batch.seq, via, self._payload()) for part in parts]

    def _join(self) -> list[JournalEntry]:
        """Several batches become one again, as when an account turns out to have no real-time call."""
        seq, last = self._next_seq(), 0
        entries: list[JournalEntry] = []
        payload = self._payload()
        for batch in sorted(self.state.open, key=lambda batch: batch.open_rows[0]):
            if batch.state in (BatchState.PLANNED, BatchState.STOPPED) and batch.open_rows[0] > last:
                entries.append(BatchPlanned(seq, tuple(batch.open_rows), batch.seq, payload=payload))
                last = batch.open_rows[-1]
        return entries

    def _doubt(self) -> list[JournalEntry]:
        batch = self._pick(BatchState.AMBIGUOUS, BatchState.ABANDONED)
        if batch is None:
            return []
        if batch.state is BatchState.AMBIGUOUS:
            return [BatchAbandoned(batch.seq)]
        return [OperatorDecided(batch.seq, self.dice.random() < 0.5, self._time())]

    def _about_the_run(self) -> list[JournalEntry]:
        kind = self.dice.randint(0, 9)
        if kind == 0:
            crashed = [batch for batch in self.state.open if batch.state is BatchState.IN_FLIGHT]
            ends = [AttemptEnded(b.seq, b.attempts, BatchEvent.LOST, self._time(), detail="crash") for b in crashed]
            return [RunStarted(self._time(), self.dice.randint(1, 99)), *ends]
        if kind == 1:
            return [SourceEnded()]
        if kind < 6:
            return [CostReported({"submit": self.dice.randint(0, 9)}, 1, 2, 3, self._time())]
        return [NoteAdded(self.dice.choice(("results", "x")), f"/data/caf\udce9-{self.seq}-20261121.csv")]


@st.composite
def tellers(draw: st.DrawFn) -> Teller:
    """A teller with dice of its own."""
    return Teller(draw(st.randoms(use_true_random=False)))


def picture(state: CampaignState) -> dict[str, Any]:
    """All that two standings are compared by."""
    shown = {field.name: getattr(state, field.name) for field in attrs.fields(CampaignState)}
    shown["batches"] = {seq: attrs.asdict(batch) for seq, batch in state.batches.items()}
    return {name: +value if isinstance(value, Counter) else value for name, value in shown.items()}
