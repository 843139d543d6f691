"""Keep the state of a campaign, which only `CampaignState.apply(entry)` changes, live and on replay.

Invariants, after any prefix of the entries:
    - Law 2: each row up to `position.row` has a final outcome or is an open row of exactly one batch.
    - Law 3: an attempt starts from `ambiguous` or `abandoned` only if the policy of the run allows it.
    - Law 4: a batch whose attempt has not ended (`in_flight`) may have been applied; a batch without `AttemptStarted`
      was not. So a later run knows what it may do with each batch.
    - The state holds facts. Times of the next attempt or poll belong to `WorkQueue`.
    - Bounds: `batches` holds open batches and the roots of such, so at most one for each row under way;
      `unconfirmed_rows` one range for each gap between rows read since the last `RowsRead`; `recent_batch_ids`,
      `refusals_by_reason` and the counters are limited by constants. The caller limits `notes`.
Failure modes:
    - An entry that cannot follow from the previous ones raises `JournalError` and changes nothing. Examples: the end of
      an attempt that did not begin, a second outcome of a row, an outcome of a row that was not read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import attrs

from truecaller_async.campaign.core.batch import NO_ROWS, RESENDABLE_STATES, CampaignBatch, Isolation, allows_resend
from truecaller_async.campaign.core.batch_state import (
    ATTEMPT_ENDS,
    FAILURE_EVENTS,
    PROCESSED_EVENTS,
    BatchEvent,
    BatchState,
    next_state,
)
from truecaller_async.campaign.core.recent_ids import RecentIds
from truecaller_async.campaign.core.row_ranges import RowRanges, as_rows, is_ascending
from truecaller_async.errors import JournalError
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
    SourceEnded,
    SourcePosition,
)

START = SourcePosition(0, 0, 0)
NO_COST = CostReported({}, 0, 0, 0, 0.0)

REASONS_MAX = 100
"""Different reasons of complete rejections that are counted; further ones are counted together."""
OTHER_REASONS = "other"

UUID_PATTERN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""Ids in a rejection reason, which are ignored when two reasons are compared."""


@attrs.define(eq=False)
class RunFacts:
    """Facts of the latest run. `RunStarted` resets them; only the cost is stored."""

    provisional: Counter[Outcome] = attrs.field(factory=Counter)
    """Number of open rows of released batches, by provisional outcome."""
    provisional_duplicated: int = 0
    """Number of these rows that are possibly duplicated."""
    refusals_by_reason: Counter[str] = attrs.field(factory=Counter)
    """Complete rejections by reason since the last accepted batch."""
    untracked_in_a_row: int = 0
    """Consecutive accepted requests without a batch id."""
    realtime_allowed: bool = True
    """Whether the account may push single records; False after a 403."""
    cost: CostReported = NO_COST
    """Cost of the run up to now."""
    recent_batch_ids: RecentIds = attrs.field(factory=RecentIds)
    """Batch ids that the server gave."""


@attrs.define(eq=False)
class CampaignState:
    """The state of a campaign after all of its entries."""

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
    batches: dict[int, CampaignBatch] = attrs.field(factory=dict)
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
    """Start of the latest run, with its policy for ambiguous batches."""
    cost_before: CostReported = NO_COST
    """Cost of all other runs together."""
    notes: dict[str, str] = attrs.field(factory=dict)
    """Notes of the caller, by name."""
    unconfirmed_rows: RowRanges = attrs.field(factory=RowRanges)
    """Rows that were planned or settled after the last `RowsRead`."""
    run: RunFacts = attrs.field(factory=RunFacts)
    """Facts of the present run."""
    _children: dict[int, set[int]] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for batch in self.batches.values():
            if batch.root_batch is not None:
                self._children.setdefault(batch.root_batch, set()).add(batch.seq)

    @property
    def open(self) -> list[CampaignBatch]:
        """Return the batches with open rows, in the order of planning."""
        return [batch for _, batch in sorted(self.batches.items()) if batch.open_count]

    @property
    def complete(self) -> bool:
        """Return whether every row of the source has a final outcome, so that there is nothing to resume."""
        return self.source_exhausted and not any(batch.open_count for batch in self.batches.values())

    @property
    def resolved(self) -> int:
        """Return the number of rows that have a final outcome, or a provisional one in this run."""
        return self.outcomes.total() + self.run.provisional.total()

    def outcome_counts(self) -> Counter[Outcome]:
        """Count every row read by its final or provisional outcome."""
        counts = self.outcomes.copy()
        for batch in self.open:
            counts[batch.provisional_outcome] += batch.open_count
        return counts

    def batch(self, seq: int) -> CampaignBatch:
        """Return an open batch, or the root of one, by number. Raises `JournalError` if there is none."""
        try:
            return self.batches[seq]
        except KeyError:
            raise JournalError(f"batch {seq} is not open: it was never planned, or all of its rows are final") from None

    def parts_of(self, root: int) -> list[CampaignBatch]:
        """Return the open batches that were split from a root, in the order of planning."""
        return [self.batches[seq] for seq in sorted(self._children.get(root, ()))]

    def apply(self, entry: JournalEntry) -> Sequence[CampaignBatch]:
        """Apply one entry.

        Returns:
            The batches that it changed. A batch whose last row it closed is among them, although it is forgotten.

        Raises:
            JournalError: The entry is not possible. Then nothing is changed.
        """
        return self._HANDLERS[type(entry)](self, entry)

    def _apply_started(self, entry: CampaignStarted) -> Sequence[CampaignBatch]:
        if self.started is not None:
            raise JournalError("the journal already contains the start of a campaign")
        self.started = entry
        return ()

    def _apply_run_started(self, entry: RunStarted) -> Sequence[CampaignBatch]:
        self.runs += 1
        self.last_run = entry
        self.cost_before = add_costs(self.cost_before, self.run.cost)
        self.run = RunFacts()
        changed = [batch for batch in self.batches.values() if batch.state is BatchState.STOPPED and batch.open_count]
        for batch in changed:
            self._move(batch, BatchEvent.RESUME)
        for batch in self.batches.values():
            self._reset_run_fields(batch)
        for batch in self.batches.values():
            if batch.root_batch is not None:
                isolation = self._isolation_of(batch)
                isolation.remaining += batch.unsettled_count
                isolation.size = len(self.batches[batch.root_batch].rows)
        return changed

    def _reset_run_fields(self, batch: CampaignBatch) -> None:
        batch.released, batch.sent_from, batch.has_shared_id, batch.isolation = False, None, False, None
        batch.is_retry = batch.lost_answers > 0
        if batch.state is BatchState.ACCEPTED and batch.batch_id is not None:
            self.run.recent_batch_ids.add(batch.batch_id)

    def _apply_planned(self, entry: BatchPlanned) -> Sequence[CampaignBatch]:
        parent = None if entry.parent is None else self.batch(entry.parent)
        batch = self.batches.get(entry.seq)
        self._check_plan(entry, batch, parent)
        if batch is None:
            batch = self._create_batch(entry, parent)
        else:
            batch.rows = as_rows([*batch.rows, *entry.rows])
            batch.open_count += len(entry.rows)
        if parent is not None:
            isolation = self._isolation_of(batch)
            isolation.remaining += len(entry.rows)
            isolation.size += len(entry.rows) * (parent.root_batch is None)
        batch.payload = entry.payload
        if parent is None:
            self.unconfirmed_rows.add(entry.rows)
            return (batch,)
        batch.maybe_received = max(batch.maybe_received, parent.maybe_received)
        batch.lost_answers = max(batch.lost_answers, parent.lost_answers)
        batch.possibly_duplicated = batch.possibly_duplicated or parent.possibly_duplicated
        self._close_rows(parent, entry.rows)
        return batch, parent

    def _check_plan(self, entry: BatchPlanned, batch: CampaignBatch | None, parent: CampaignBatch | None) -> None:
        before = batch.rows[-1:] if batch is not None else ()
        if (
            not entry.rows
            or not is_ascending(entry.rows)
            or (before and before[0] >= entry.rows[0])
            or not self._are_unassigned(entry.rows, parent)
        ):
            raise JournalError(
                f"batch {entry.seq} cannot own its rows: they are not ascending, final, or in another batch"
            )
        if parent is not None and (parent.seq >= entry.seq or parent.state is BatchState.IN_FLIGHT or parent.released):
            raise JournalError(
                f"batch {entry.seq} cannot have the parent {parent.seq}: it is in flight, released, or has a larger "
                "number"
            )
        if batch is None and entry.seq <= self.last_seq:
            raise JournalError(f"batch {entry.seq} cannot be planned: its number was used before")
        if batch is not None and (
            batch.state is not BatchState.PLANNED
            or not batch.open_count
            or batch.released
            or (batch.parent is None) is not (parent is None)
        ):
            raise JournalError(
                f"rows cannot be added to batch {entry.seq}: it is {batch.state}, released, of another origin, or all "
                "rows are final"
            )

    def _are_unassigned(self, rows: Sequence[int], parent: CampaignBatch | None) -> bool:
        """Return whether the rows have no outcome and no other batch: open in the parent, or new."""
        if parent is not None:
            return parent.has_open(rows)
        return not rows or (rows[0] > self.position.row and self.unconfirmed_rows.is_disjoint(rows))

    def _create_batch(self, entry: BatchPlanned, parent: CampaignBatch | None) -> CampaignBatch:
        start = self.position if parent is None else parent.source_start
        root = None if parent is None else parent.root_or_self
        batch = CampaignBatch(entry.seq, as_rows(entry.rows), start, entry.call, entry.parent, root)
        self.batches[entry.seq] = batch
        self.last_seq = max(self.last_seq, entry.seq)
        if root is not None:
            self._children.setdefault(root, set()).add(entry.seq)
            self._isolation_of(batch).posts += entry.call == "submit"
        return batch

    def _isolation_of(self, part: CampaignBatch) -> Isolation:
        """Return the isolation of the root of a part; a new one with the first part of a run."""
        root = self.batches[part.root_or_self]
        if root.isolation is None:
            root.isolation = Isolation()
        return root.isolation

    def _apply_attempt_started(self, entry: AttemptStarted) -> Sequence[CampaignBatch]:
        batch = self.batch(entry.seq)
        if not batch.open_count or batch.released or entry.attempt != batch.attempts + 1:
            raise JournalError(
                f"attempt {entry.attempt} of batch {entry.seq} cannot begin: no open rows, released, or wrong number"
            )
        if batch.state in RESENDABLE_STATES and not self.policy_allows_resend(batch):
            raise JournalError(
                f"attempt {entry.attempt} of batch {entry.seq} cannot begin: its answer was lost, and the policy of "
                "this run does not send it again"
            )
        before = batch.state
        self._move(batch, BatchEvent.ATTEMPT_STARTED)
        batch.sent_from = before
        batch.attempts = entry.attempt
        batch.excluded_rows = frozenset(batch.closed) if batch.closed else NO_ROWS
        return (batch,)

    def policy_allows_resend(self, batch: CampaignBatch) -> bool:
        """Return whether the policy of this run allows to send a batch again after a lost answer (law 3)."""
        return self.last_run is not None and allows_resend(self.last_run, batch)

    def _apply_attempt_ended(self, entry: AttemptEnded) -> Sequence[CampaignBatch]:
        batch = self.batch(entry.seq)
        event = _ATTEMPT_ENDS.get(entry.event)
        if event is None:
            raise JournalError(f"attempt {entry.attempt} of batch {entry.seq} ended with an unknown event")
        if batch.state is not BatchState.IN_FLIGHT or batch.attempts != entry.attempt:
            raise JournalError(f"attempt {entry.attempt} of batch {entry.seq} cannot end: it is not in flight")
        unsettled = batch.unsettled_count
        self._move(batch, event)
        batch.count_end(event, was_processed=event in PROCESSED_EVENTS)
        if event is not BatchEvent.NOT_SENT or entry.detail is not None:  # a claim that was undone is no failure
            batch.is_retry = event in FAILURE_EVENTS
        if event is BatchEvent.ACCEPTED:
            self._record_accepted(batch, entry)
        elif event is BatchEvent.REJECTED:
            batch.reason, batch.field = entry.reason, entry.field
            if batch.call == "push":
                self._record_push_rejected(batch)
        elif event is BatchEvent.UNTRACKED:
            self.run.untracked_in_a_row += 1
            self._mark_shared_id(entry.batch_id)
        elif event is BatchEvent.CALL_FORBIDDEN:
            self.run.realtime_allowed = False
        self._settle_part(batch, unsettled)
        return (batch,)

    def _record_accepted(self, batch: CampaignBatch, entry: AttemptEnded) -> None:
        batch.batch_id, batch.accepted_at = entry.batch_id, entry.at
        self.accepted += batch.call == "submit"
        self.sent += batch.open_count
        self.run.refusals_by_reason.clear()
        self.run.untracked_in_a_row = 0
        if batch.batch_id is not None:
            self.run.recent_batch_ids.add(batch.batch_id)
        if batch.call == "push" and batch.root_batch is not None:
            self._isolation_of(batch).streak = 0

    def _mark_shared_id(self, batch_id: str | None) -> None:
        # The server gave the id of another batch again: status rows of both batches cannot be distinguished.
        if batch_id is not None:
            for other in self.batches.values():
                other.has_shared_id = other.has_shared_id or other.batch_id == batch_id

    def _record_push_rejected(self, batch: CampaignBatch) -> None:
        if batch.root_batch is None:
            return
        root, isolation = self.batches[batch.root_batch], self._isolation_of(batch)
        was_searching = not isolation.ended_early
        isolation.record_push_rejected(batch.reason, batch.field, root.reason)
        if was_searching and isolation.ended_early:
            self._count_refusal(root.reason)

    def _apply_abandoned(self, entry: BatchAbandoned) -> Sequence[CampaignBatch]:
        batch = self.batch(entry.seq)
        if batch.state is not BatchState.AMBIGUOUS:
            raise JournalError(
                f"batch {batch.seq} cannot be abandoned: it is {batch.state}, and its answer was not lost"
            )
        self._move(batch, BatchEvent.ABANDON)
        batch.abandoned = True
        return (batch,)

    def _apply_decided(self, entry: OperatorDecided) -> Sequence[CampaignBatch]:
        batch = self.batch(entry.seq)
        unsettled = batch.unsettled_count
        self._move(batch, BatchEvent.APPLIED if entry.applied else BatchEvent.NOT_APPLIED)
        self._settle_part(batch, unsettled)
        return (batch,)

    def _apply_settled(self, entry: RowsSettled) -> Sequence[CampaignBatch]:
        batch = None if entry.seq is None else self.batch(entry.seq)
        if (
            not is_ascending(entry.rows)
            or not self._are_unassigned(entry.rows, batch)
            or (batch is not None and (batch.state is BatchState.IN_FLIGHT or batch.released))
        ):
            owner = "without a batch" if batch is None else f"of batch {batch.seq}"
            raise JournalError(
                f"rows {owner} cannot be settled: they are final already, in flight, released, or in another batch"
            )
        self.outcomes[entry.outcome] += len(entry.rows)
        self.possibly_duplicated += len(entry.rows) * entry.possibly_duplicated
        if batch is None:
            self.unconfirmed_rows.add(entry.rows)
            return ()
        if batch.state is BatchState.REJECTED:
            self._record_rejected_rows(batch, len(entry.rows))
        self._close_rows(batch, entry.rows)
        return (batch,)

    def _record_rejected_rows(self, batch: CampaignBatch, count: int) -> None:
        if batch.root_batch is not None:
            self._isolation_of(batch).rejected += count
        elif count == batch.open_count and batch.isolation is None:
            self._count_refusal(batch.reason)

    def _apply_released(self, entry: BatchReleased) -> Sequence[CampaignBatch]:
        batch = self.batch(entry.seq)
        if batch.released or not batch.open_count or batch.state is BatchState.IN_FLIGHT:
            raise JournalError(f"batch {entry.seq} cannot be released: it is {batch.state}, or no longer this run's")
        unsettled = batch.unsettled_count
        batch.released = True
        self.run.provisional[entry.outcome] += batch.open_count
        self.run.provisional_duplicated += batch.open_count * batch.possibly_duplicated
        self._settle_part(batch, unsettled)
        return (batch,)

    def _apply_read(self, entry: RowsRead) -> Sequence[CampaignBatch]:
        # Law 2: the rows read are those that were planned or settled since the last `RowsRead`, without a gap.
        expected = [(self.position.row + 1, entry.position.row + 1)] if entry.position.row > self.position.row else []
        if entry.position.row < self.position.row or list(self.unconfirmed_rows) != expected:
            raise JournalError(
                f"rows up to {entry.position.row} were read, but not each of them was planned or settled"
            )
        self.position = entry.position
        self.unconfirmed_rows.clear()
        return ()

    def _apply_source_ended(self, entry: SourceEnded) -> Sequence[CampaignBatch]:
        self.source_exhausted = True
        return ()

    def _apply_cost(self, entry: CostReported) -> Sequence[CampaignBatch]:
        self.run.cost = entry
        return ()

    def _apply_note(self, entry: NoteAdded) -> Sequence[CampaignBatch]:
        self.notes[entry.name] = entry.value
        return ()

    def _move(self, batch: CampaignBatch, event: BatchEvent) -> None:
        after = next_state(batch.state, event, batch.sent_from)
        if after is None:
            raise JournalError(f"the event {event} is not possible for batch {batch.seq} in state {batch.state}")
        batch.state = after

    def _count_refusal(self, reason: str | None) -> None:
        refusals = self.run.refusals_by_reason
        same_reason = UUID_PATTERN.sub("", reason or "")
        refusals[same_reason if same_reason in refusals or len(refusals) < REASONS_MAX else OTHER_REASONS] += 1

    def _close_rows(self, batch: CampaignBatch, rows: Sequence[int]) -> None:
        unsettled = batch.unsettled_count
        batch.close(rows)
        self._settle_part(batch, unsettled)
        if not batch.open_count:
            batch.payload = None
            self._remove(batch)

    def _settle_part(self, batch: CampaignBatch, unsettled_before: int) -> None:
        """Update the number of remaining rows of the root; count a search that found every row bad."""
        if batch.root_batch is None or batch.unsettled_count == unsettled_before:
            return
        root, isolation = self.batches[batch.root_batch], self._isolation_of(batch)
        isolation.remaining += batch.unsettled_count - unsettled_before
        if not isolation.remaining and isolation.rejected >= isolation.size and not isolation.ended_early:
            self._count_refusal(root.reason)

    def _remove(self, batch: CampaignBatch) -> None:
        if self._children.get(batch.seq):  # a root stays while batches that were split from it are open
            return
        del self.batches[batch.seq]
        if batch.root_batch is None:
            return
        siblings = self._children[batch.root_batch]
        siblings.discard(batch.seq)
        if not siblings:
            del self._children[batch.root_batch]
            root = self.batches.get(batch.root_batch)
            if root is not None and not root.open_count:
                self._remove(root)

    _HANDLERS: ClassVar[Mapping[type[Any], Callable[[Any, Any], Sequence[CampaignBatch]]]] = {
        CampaignStarted: _apply_started,
        RunStarted: _apply_run_started,
        BatchPlanned: _apply_planned,
        RowsSettled: _apply_settled,
        RowsRead: _apply_read,
        SourceEnded: _apply_source_ended,
        AttemptStarted: _apply_attempt_started,
        AttemptEnded: _apply_attempt_ended,
        BatchAbandoned: _apply_abandoned,
        OperatorDecided: _apply_decided,
        BatchReleased: _apply_released,
        CostReported: _apply_cost,
        NoteAdded: _apply_note,
    }


_ATTEMPT_ENDS: dict[str, BatchEvent] = {event.value: event for event in ATTEMPT_ENDS}


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
