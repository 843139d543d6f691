"""Derive the state of a campaign from its journal entries.

`CampaignState.apply` is the only code that interprets entries. Every journal uses it, in memory or on disk.

Invariants (law 4), after any prefix of the entries:
    - Each row up to `position.row` has a final outcome or belongs to exactly one open batch.
    - A batch whose attempt has not ended (`IN_FLIGHT`) may have been applied. A batch without `AttemptStarted` was not.
    - So `outcome_counts` gives every row exactly one outcome, and a resumed run knows what it may do with each batch.
    - Memory holds open batches only. A batch is discarded with the outcome of its last row, unless it is the root of
      open batches: the index of a row in its root is part of what was sent (the watermark).
Failure modes:
    - An entry that cannot follow from the previous ones raises `JournalError` and changes nothing. Examples: the end of
      an attempt that did not begin, a second outcome of a row, an outcome of a row that was not read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from operator import lt

import attrs

from truecaller_async.campaign.core.batch_state import AttemptCounts, BatchEvent, BatchState, advance
from truecaller_async.errors import JournalError
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
    SourceEnded,
    SourcePosition,
)

START = SourcePosition(0, 0, 0)
NO_COST = CostReported({}, 0, 0, 0, 0.0)
IMPLIED_BY_ATTEMPT = {
    BatchState.AMBIGUOUS: BatchEvent.RESEND,
    BatchState.ABANDONED: BatchEvent.RESEND,
    BatchState.STOPPED: BatchEvent.RESUME,
}
"""Event that `AttemptStarted` implies for a batch that is not `PLANNED`."""

UNSENT_STATES = frozenset({BatchState.PLANNED, BatchState.STOPPED, BatchState.REJECTED})
"""States in which the latest attempt, if there was one, was certainly not applied."""


def is_ascending(rows: Sequence[int]) -> bool:
    """Return whether each row number is larger than the previous one."""
    return all(map(lt, rows, rows[1:]))


def as_range_if_dense(rows: Sequence[int]) -> Sequence[int]:
    """Convert ascending row numbers to a range if they are consecutive, otherwise to a tuple."""
    if rows and rows[-1] - rows[0] + 1 == len(rows):
        return range(rows[0], rows[-1] + 1)
    return tuple(rows)


@attrs.define(eq=False)
class JournaledBatch(AttemptCounts):
    """A batch in the journal that has open rows (without a final outcome), or is the root of such a batch."""

    seq: int
    """Number of the batch."""
    planned: Sequence[int] = attrs.field(converter=as_range_if_dense)
    """Row numbers as planned, ascending."""
    source_start: SourcePosition
    """File position before the block of rows that contains the batch."""
    closed: set[int] = attrs.field(factory=set)
    """Rows with a final outcome, or moved to another batch."""
    excluded_rows: frozenset[int] = frozenset()
    """Rows that were closed before the server accepted the batch, so that they were not sent in it."""
    parent: int | None = None
    """Number of the batch from which the rows were moved, or None."""
    root_batch: int | None = None
    """Number of the first batch of the chain of parents, or None."""
    call: str = "submit"
    """Call that sends the batch: "submit" or "push"."""
    state: BatchState = BatchState.PLANNED
    """State of the batch."""
    batch_id: str | None = None
    """Batch id of the server, None if it is not known."""
    accepted_at: float | None = None
    """Wall-clock seconds at which the server accepted the batch."""
    abandoned: bool = False
    """Whether the batch was abandoned, so that later rows of its pairs may have been sent."""
    reason: str | None = None
    """Message of the server, if it rejected the batch."""
    field: str | None = None
    """Field that the server named, if it rejected the batch."""
    payload: bytes | None = attrs.field(default=None, repr=False)
    """The stored records, if the source cannot be read again."""

    @property
    def open_count(self) -> int:
        """Return the number of open rows."""
        return len(self.planned) - len(self.closed)

    @property
    def open_rows(self) -> list[int]:
        """Return the open rows, ascending."""
        return [row for row in self.planned if row not in self.closed] if self.closed else list(self.planned)

    def has_open(self, rows: Collection[int]) -> bool:
        """Return whether the batch contains all of `rows` and all are open."""
        if not rows or not self.closed.isdisjoint(rows):
            return False
        if isinstance(self.planned, range):
            return min(rows) in self.planned and max(rows) in self.planned
        return set(self.planned).issuperset(rows)

    @property
    def provisional_outcome(self) -> Outcome:
        """Return the outcome of the open rows if the campaign is never resumed."""
        if self.state in UNSENT_STATES and not self.lost_answers:
            return Outcome.UNSENT
        return Outcome.UNKNOWN

    def apply(self, event: BatchEvent) -> None:
        """Change the state. Raises `JournalError` if the event is not possible."""
        try:
            self.state = advance(self.state, event)
        except AssertionError:
            raise JournalError(
                f"the event {event} is not possible for batch {self.seq} in state {self.state}"
            ) from None


@attrs.define(eq=False)
class CampaignState:
    """The state of a campaign after all entries of its journal."""

    started: CampaignStarted | None = None
    """The first entry, None in an empty journal."""
    position: SourcePosition = START
    """End of the last row that was read."""
    source_exhausted: bool = False
    """Whether the source was read to its end."""
    outcomes: Counter[Outcome] = attrs.field(factory=Counter)
    """Number of rows with a final outcome, by outcome."""
    possibly_duplicated: int = 0
    """Number of rows with a final outcome that are possibly duplicated."""
    batches: dict[int, JournaledBatch] = attrs.field(factory=dict)
    """Open batches and their roots, by number."""
    last_seq: int = 0
    """Highest batch number."""
    accepted: int = 0
    """Number of batches that the server accepted."""
    sent: int = 0
    """Number of records that the server accepted."""
    runs: int = 0
    """Number of processes that worked on the campaign."""
    last_run: RunStarted | None = None
    """Start of the latest run."""
    cost: CostReported = NO_COST
    """Cost of the latest run."""
    cost_before: CostReported = NO_COST
    """Cost of all other runs together."""
    notes: dict[str, str] = attrs.field(factory=dict)
    """Notes of the caller, by name."""
    unconfirmed_rows: set[int] = attrs.field(factory=set)
    """Rows that were planned or settled after the last `RowsRead`."""
    _children: Counter[int] = attrs.field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        self._children.update(batch.root_batch for batch in self.batches.values() if batch.root_batch is not None)

    @property
    def open(self) -> list[JournaledBatch]:
        """Return the batches with open rows, in the order of planning."""
        return [batch for _, batch in sorted(self.batches.items()) if batch.open_count]

    @property
    def complete(self) -> bool:
        """Return whether every row of the source has a final outcome, so that there is nothing to resume."""
        return self.source_exhausted and not self.open

    def outcome_counts(self) -> Counter[Outcome]:
        """Count every row read by its final or provisional outcome."""
        counts = self.outcomes.copy()
        for batch in self.open:
            counts[batch.provisional_outcome] += batch.open_count
        return counts

    def apply(self, entry: JournalEntry) -> None:
        """Apply one entry. Raises `JournalError`, and changes nothing, if the entry is not possible."""
        match entry:
            case BatchPlanned():
                self._apply_planned(entry)
            case AttemptStarted():
                self._apply_attempt_started(entry)
            case AttemptEnded():
                self._apply_attempt_ended(entry)
            case BatchAbandoned(seq):
                self._apply_abandoned(self.batch(seq))
            case OperatorDecided(seq, applied):
                self.batch(seq).apply(BatchEvent.APPLIED if applied else BatchEvent.NOT_APPLIED)
            case RowsSettled():
                self._apply_settled(entry)
            case RowsRead():
                self._apply_read(entry)
            case _:
                self._apply_run_entry(entry)

    def batch(self, seq: int) -> JournaledBatch:
        """Return an open batch, or the root of one, by number. Raises `JournalError` if there is none."""
        try:
            return self.batches[seq]
        except KeyError:
            raise JournalError(f"batch {seq} is not open: it was never planned, or all of its rows are final") from None

    def _apply_run_entry(self, entry: JournalEntry) -> None:
        match entry:
            case CampaignStarted():
                if self.started is not None:
                    raise JournalError("the journal already contains the start of a campaign")
                self.started = entry
            case RunStarted():
                self.runs += 1
                self.last_run = entry
                self.cost_before, self.cost = add_costs(self.cost_before, self.cost), NO_COST
            case SourceEnded():
                self.source_exhausted = True
            case CostReported():
                self.cost = entry
            case NoteAdded(name, value):
                self.notes[name] = value

    def _apply_planned(self, entry: BatchPlanned) -> None:
        parent = None if entry.parent is None else self.batch(entry.parent)
        batch = self.batches.get(entry.seq)
        before = batch.planned[-1:] if batch is not None else ()
        if not is_ascending((*before, *entry.rows)) or not self._are_unassigned(entry.rows, parent):
            raise JournalError(
                f"batch {entry.seq} cannot own its rows: they are not ascending, final, or in another batch"
            )
        if parent is not None and parent.seq >= entry.seq:
            raise JournalError(f"batch {entry.seq} cannot have the parent {parent.seq}: a parent has a smaller number")
        if batch is not None and (batch.state is not BatchState.PLANNED or not batch.open_count):
            raise JournalError(f"rows cannot be added to batch {entry.seq}: it is {batch.state}, or all rows are final")
        if batch is None:
            batch = self._create_batch(entry, parent)
        else:
            batch.planned = as_range_if_dense([*batch.planned, *entry.rows])
        batch.payload = entry.payload
        if parent is None:
            self.unconfirmed_rows.update(entry.rows)
            return
        batch.maybe_received = max(batch.maybe_received, parent.maybe_received)
        batch.lost_answers = max(batch.lost_answers, parent.lost_answers)
        batch.possibly_duplicated = batch.possibly_duplicated or parent.possibly_duplicated
        self._close_rows(parent, entry.rows)

    def _are_unassigned(self, rows: Collection[int], parent: JournaledBatch | None) -> bool:
        """Return whether the rows have no outcome and no other batch: open in the parent, or new."""
        if not rows or parent is not None:
            return parent is not None and parent.has_open(rows)
        return min(rows) > self.position.row and self.unconfirmed_rows.isdisjoint(rows)

    def _create_batch(self, entry: BatchPlanned, parent: JournaledBatch | None) -> JournaledBatch:
        root = None if parent is None else parent.seq if parent.root_batch is None else parent.root_batch
        start = self.position if parent is None else parent.source_start
        batch = JournaledBatch(entry.seq, entry.rows, start, parent=entry.parent, root_batch=root, call=entry.call)
        self.batches[entry.seq] = batch
        self.last_seq = max(self.last_seq, entry.seq)
        if root is not None:
            self._children[root] += 1
        return batch

    def _apply_attempt_started(self, entry: AttemptStarted) -> None:
        batch = self.batch(entry.seq)
        if not batch.open_count or entry.attempt <= batch.attempts:
            raise JournalError(
                f"attempt {entry.attempt} of batch {entry.seq} cannot begin: no open rows, or number used"
            )
        before = IMPLIED_BY_ATTEMPT.get(batch.state)
        if before is not None:
            batch.apply(before)
        batch.apply(BatchEvent.ATTEMPT_STARTED)
        batch.attempts = entry.attempt

    def _apply_attempt_ended(self, entry: AttemptEnded) -> None:
        batch = self.batch(entry.seq)
        try:
            event = BatchEvent(entry.event)
        except ValueError:
            raise JournalError(f"attempt {entry.attempt} of batch {entry.seq} ended with an unknown event") from None
        if batch.state is not BatchState.IN_FLIGHT or batch.attempts != entry.attempt:
            raise JournalError(f"attempt {entry.attempt} of batch {entry.seq} cannot end: it is not in flight")
        batch.apply(event)
        batch.count_end(event)
        if event is BatchEvent.ACCEPTED:
            batch.batch_id, batch.accepted_at = entry.batch_id, entry.at
            batch.excluded_rows = frozenset(batch.closed)
            self.accepted += batch.call == "submit"
            self.sent += batch.open_count
        elif event is BatchEvent.REJECTED:
            batch.reason, batch.field = entry.reason, entry.field

    def _apply_abandoned(self, batch: JournaledBatch) -> None:
        if batch.state is not BatchState.AMBIGUOUS:
            raise JournalError(
                f"batch {batch.seq} cannot be abandoned: it is {batch.state}, and its answer was not lost"
            )
        batch.apply(BatchEvent.ABANDON)
        batch.abandoned = True

    def _apply_settled(self, entry: RowsSettled) -> None:
        batch = None if entry.seq is None else self.batch(entry.seq)
        if len(set(entry.rows)) != len(entry.rows) or not self._are_unassigned(entry.rows, batch):
            owner = "without a batch" if batch is None else f"of batch {batch.seq}"
            raise JournalError(f"rows {owner} cannot be settled: they are final already, or in another batch")
        if batch is None:
            self.unconfirmed_rows.update(entry.rows)
        else:
            self._close_rows(batch, entry.rows)
        self.outcomes[entry.outcome] += len(entry.rows)
        self.possibly_duplicated += len(entry.rows) * entry.possibly_duplicated

    def _apply_read(self, entry: RowsRead) -> None:
        # Law 2 in the journal: the rows read are exactly those that were planned or settled since the last `RowsRead`.
        if self.unconfirmed_rows != set(range(self.position.row + 1, entry.position.row + 1)):
            raise JournalError(
                f"rows up to {entry.position.row} were read, but not each of them was planned or settled"
            )
        self.position = entry.position
        self.unconfirmed_rows = set()

    def _close_rows(self, batch: JournaledBatch, rows: Collection[int]) -> None:
        batch.closed.update(rows)
        if not batch.open_count:
            batch.payload = None
            self._discard_batch(batch.seq)

    def _discard_batch(self, seq: int) -> None:
        batch = self.batches[seq]
        if self._children[seq]:  # a root stays while batches that were split from it are open
            return
        del self.batches[seq]
        if batch.root_batch is None:
            return
        self._children[batch.root_batch] -= 1
        if not self._children[batch.root_batch]:
            del self._children[batch.root_batch]
            root = self.batches.get(batch.root_batch)
            if root is not None and not root.open_count:
                self._discard_batch(batch.root_batch)


def add_costs(one: CostReported, other: CostReported) -> CostReported:
    """Add two costs."""
    return CostReported(
        _sum_counts(one.requests, other.requests),
        one.retries + other.retries,
        one.throttled + other.throttled,
        one.tokens_minted + other.tokens_minted,
        one.elapsed + other.elapsed,
    )


def _sum_counts(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {
        call: one.get(call, 0) + other.get(call, 0) for call in [*one, *(call for call in other if call not in one)]
    }
