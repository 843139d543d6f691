"""From what a journal was told to where the campaign stands.

`CampaignState.apply` is the one reading of the entries; every journal uses it, whether it keeps its state in memory or
on a disk. An entry that cannot follow from those before it is refused, because it would be a lie: an attempt that ends
without having begun, a word on a row that has one, a row that nobody read.

Law 4 lives here. After any number of entries, from the first to the last:

- each row up to `place.row` has a final word, or belongs to exactly one open batch;
- a batch whose attempt has not ended may have been applied (`IN_FLIGHT`), and one that never had an intent was not;
- so `account` gives every row exactly one outcome, and a resumed run knows for each batch what may be done with it.

Only what is still open is kept in memory: a batch is forgotten with the word on its last row, unless it is the root of
others that are open, for a row's place in its root is part of what was sent (the watermark).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from operator import lt

import attrs

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
from truecaller_async.planning.batch_state import AttemptCounts, BatchEvent, BatchState, advance

START = SourcePosition(0, 0, 0)
NO_COST = CostReported({}, 0, 0, 0, 0.0)
IMPLIED_BY_ATTEMPT = {
    BatchState.AMBIGUOUS: BatchEvent.RESEND,
    BatchState.ABANDONED: BatchEvent.RESEND,
    BatchState.STOPPED: BatchEvent.RESUME,
}
"""What an intent says without words of a batch that was not planned just now."""

UNSENT_STATES = frozenset({BatchState.PLANNED, BatchState.STOPPED, BatchState.REJECTED})
"""States in which the latest attempt, if there was one, was not applied."""


def is_ascending(rows: Sequence[int]) -> bool:
    """Whether each row comes behind the one before it."""
    return all(map(lt, rows, rows[1:]))


def as_range_if_dense(rows: Sequence[int]) -> Sequence[int]:
    """Ascending rows; as a range where none is left out, because that is what most batches have."""
    if rows and rows[-1] - rows[0] + 1 == len(rows):
        return range(rows[0], rows[-1] + 1)
    return tuple(rows)


@attrs.define(eq=False)
class JournaledBatch(AttemptCounts):
    """A batch that still owes words.

    `planned` are its rows as it was planned, ascending; `closed` those of them that have a final word or were planned
    anew, and `excluded_rows` those that were closed already when it was accepted, so that the server never had them in
    it. `begins` is the end of the last row before the rows that were read with it. `abandoned` is set when later rows
    of its pairs may have been sent. `reason` and `field` are what the server said where it refused the batch.
    """

    seq: int
    planned: Sequence[int] = attrs.field(converter=as_range_if_dense)
    source_start: SourcePosition
    closed: set[int] = attrs.field(factory=set)
    excluded_rows: frozenset[int] = frozenset()
    parent: int | None = None
    root_batch: int | None = None
    call: str = "submit"
    state: BatchState = BatchState.PLANNED
    batch_id: str | None = None
    accepted_at: float | None = None
    abandoned: bool = False
    reason: str | None = None
    field: str | None = None
    payload: bytes | None = attrs.field(default=None, repr=False)

    @property
    def open_count(self) -> int:
        """How many of its rows are open."""
        return len(self.planned) - len(self.closed)

    @property
    def open_rows(self) -> list[int]:
        """The rows that are open, ascending."""
        return [row for row in self.planned if row not in self.closed] if self.closed else list(self.planned)

    def has_open(self, rows: Collection[int]) -> bool:
        """Whether all of these are open in it."""
        if not rows or not self.closed.isdisjoint(rows):
            return False
        if isinstance(self.planned, range):
            return min(rows) in self.planned and max(rows) in self.planned
        return set(self.planned).issuperset(rows)

    @property
    def provisional_outcome(self) -> Outcome:
        """The outcome of its open rows, if nobody ever went on."""
        if self.state in UNSENT_STATES and not self.lost_answers:
            return Outcome.UNSENT
        return Outcome.UNKNOWN

    def apply(self, event: BatchEvent) -> None:
        """Move to the state that follows. Raises `JournalError` where none does."""
        try:
            self.state = advance(self.state, event)
        except AssertionError:
            raise JournalError(f"batch {self.seq} is {self.state} and cannot see {event}") from None


@attrs.define(eq=False)
class CampaignState:
    """Where a campaign stands. `outcomes` counts final words, `twice` the possibly duplicated rows among them.

    `place` is the end of the last row that was read; `batches` holds those that are open, and the roots of such. `runs`
    counts the processes that worked on it; `spent` is what the last of them cost, `cost_before` all the others.
    `accepted` counts batches that the server took, `sent` the records in them. `loose` are rows that were planned or
    settled, and not told as read yet.
    """

    started: CampaignStarted | None = None
    position: SourcePosition = START
    source_exhausted: bool = False
    outcomes: Counter[Outcome] = attrs.field(factory=Counter)
    possibly_duplicated: int = 0
    batches: dict[int, JournaledBatch] = attrs.field(factory=dict)
    last_seq: int = 0
    accepted: int = 0
    sent: int = 0
    runs: int = 0
    last_run: RunStarted | None = None
    cost: CostReported = NO_COST
    cost_before: CostReported = NO_COST
    notes: dict[str, str] = attrs.field(factory=dict)
    unconfirmed_rows: set[int] = attrs.field(factory=set)
    _children: Counter[int] = attrs.field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        self._children.update(batch.root_batch for batch in self.batches.values() if batch.root_batch is not None)

    @property
    def open(self) -> list[JournaledBatch]:
        """The batches that owe words, in the order in which they were planned."""
        return [batch for _, batch in sorted(self.batches.items()) if batch.open_count]

    @property
    def complete(self) -> bool:
        """Whether every row of the source has its final word, so that there is nothing to resume."""
        return self.source_exhausted and not self.open

    def outcome_counts(self) -> Counter[Outcome]:
        """Every row read, by its outcome as it stands."""
        account = self.outcomes.copy()
        for batch in self.open:
            account[batch.provisional_outcome] += batch.open_count
        return account

    def apply(self, entry: JournalEntry) -> None:
        """One entry more. Raises `JournalError` for one that cannot be true, and has then changed nothing."""
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
        """An open batch. Raises `JournalError` where there is none of that number."""
        try:
            return self.batches[seq]
        except KeyError:
            raise JournalError(f"batch {seq} was never planned, or has every word already") from None

    def _apply_run_entry(self, entry: JournalEntry) -> None:
        match entry:
            case CampaignStarted():
                if self.started is not None:
                    raise JournalError("a campaign cannot begin twice in one journal")
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
            raise JournalError(f"batch {entry.seq} is planned with rows that it cannot have")
        if parent is not None and parent.seq >= entry.seq:
            raise JournalError(f"batch {entry.seq} cannot come from batch {parent.seq}, which is not older")
        if batch is not None and (batch.state is not BatchState.PLANNED or not batch.open_count):
            raise JournalError(f"batch {entry.seq} is {batch.state}, and no more rows can join it")
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
        """Whether these rows have no word and no other home: they are open in the parent, or nobody saw them yet."""
        if not rows or parent is not None:
            return parent is not None and parent.has_open(rows)
        return min(rows) > self.position.row and self.unconfirmed_rows.isdisjoint(rows)

    def _create_batch(self, entry: BatchPlanned, parent: JournaledBatch | None) -> JournaledBatch:
        root = None if parent is None else parent.seq if parent.root_batch is None else parent.root_batch
        begins = self.position if parent is None else parent.source_start
        batch = JournaledBatch(entry.seq, entry.rows, begins, parent=entry.parent, root_batch=root, call=entry.call)
        self.batches[entry.seq] = batch
        self.last_seq = max(self.last_seq, entry.seq)
        if root is not None:
            self._children[root] += 1
        return batch

    def _apply_attempt_started(self, entry: AttemptStarted) -> None:
        batch = self.batch(entry.seq)
        if not batch.open_count or entry.attempt <= batch.attempts:
            raise JournalError(f"batch {entry.seq} has no rows to send, or had attempt {entry.attempt} already")
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
            raise JournalError(f"batch {entry.seq} ended in a way that nobody knows") from None
        if batch.state is not BatchState.IN_FLIGHT or batch.attempts != entry.attempt:
            raise JournalError(f"batch {entry.seq} ended attempt {entry.attempt}, which was not under way")
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
            raise JournalError(f"batch {batch.seq} is {batch.state}: only one whose answer was lost can be given up")
        batch.apply(BatchEvent.ABANDON)
        batch.abandoned = True

    def _apply_settled(self, entry: RowsSettled) -> None:
        batch = None if entry.seq is None else self.batch(entry.seq)
        if len(set(entry.rows)) != len(entry.rows) or not self._are_unassigned(entry.rows, batch):
            home = "no batch" if batch is None else f"batch {batch.seq}"
            raise JournalError(f"rows of {home} are settled that have their word already, or another home")
        if batch is None:
            self.unconfirmed_rows.update(entry.rows)
        else:
            self._close_rows(batch, entry.rows)
        self.outcomes[entry.outcome] += len(entry.rows)
        self.possibly_duplicated += len(entry.rows) * entry.possibly_duplicated

    def _apply_read(self, entry: RowsRead) -> None:
        """Law 2, as far as the journal sees it: what was read is exactly what was planned or settled since."""
        if self.unconfirmed_rows != set(range(self.position.row + 1, entry.position.row + 1)):
            raise JournalError(f"the rows up to {entry.position.row} were read, and not each of them is accounted for")
        self.position = entry.position
        self.unconfirmed_rows = set()

    def _close_rows(self, batch: JournaledBatch, rows: Collection[int]) -> None:
        batch.closed.update(rows)
        if not batch.open_count:
            batch.payload = None
            self._discard_batch(batch.seq)

    def _discard_batch(self, seq: int) -> None:
        """Unless others come from it; its own root may go with it."""
        batch = self.batches[seq]
        if self._children[seq]:
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
    """Both together."""
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
