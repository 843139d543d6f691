"""Define one batch of a campaign: one object while it is planned, sent, polled, stored and loaded.

Purpose:
    The fields come in three groups. *Stored* fields are facts; a journal stores them. *Run* fields are facts of the
    present run; `RunStarted` resets them. The *content* (records) is attached once by the intake, the isolation or the
    resume, and never changes: what is sent is the content without the closed rows.
Invariants:
    - `CampaignState.apply` is the only code that changes a stored field or a run field.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import attrs

from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.batch_state import BatchEvent, BatchState
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import SourcePosition

UNSENT_STATES = frozenset({BatchState.PLANNED, BatchState.STOPPED, BatchState.REJECTED})
"""States in which the latest attempt, if there was one, was certainly not applied."""

RESENDABLE_STATES = frozenset({BatchState.AMBIGUOUS, BatchState.ABANDONED})
"""States after a lost answer, from which only the policy allows another attempt (law 3)."""

WAITING_STATES = frozenset({BatchState.PLANNED, *RESENDABLE_STATES})
"""States in which a batch waits to be sent, unless it is released."""

SETTLED_STATES = frozenset({BatchState.ACCEPTED, BatchState.UNTRACKED})
"""States in which later batches of the same pairs no longer wait."""

SAME_REJECTION_STREAK_MAX = 20
"""Single records rejected in a row for one reason that end the search for bad records."""

NO_ROWS: frozenset[int] = frozenset()


class ResendPolicy(Protocol):
    """Policy for a batch whose answer was lost: `RunStarted` or `CampaignOptions`."""

    @property
    def on_ambiguous(self) -> str:
        """Return "hold" or "resend"."""
        ...

    @property
    def max_resends(self) -> int:
        """Return the number of lost answers up to which a batch is sent again."""
        ...


@attrs.define(eq=False)
class Isolation:
    """Progress of the search for bad records in one rejected batch: a run field of its root."""

    size: int = 0
    """Rows that were moved from the root to parts; all rows of the root after a resume."""
    remaining: int = 0
    """Open rows of parts that are neither accepted nor released."""
    posts: int = 0
    """Batch requests spent on halving."""
    rejected: int = 0
    """Rows of parts that were rejected again."""
    streak: int = 0
    """Single records rejected in a row for the same reason."""
    last_reason: str | None = None
    """Reason of the latest rejected single record."""
    ended_early: bool = False
    """Whether the search ended because the remaining records were considered equally bad."""

    def record_push_rejected(self, reason: str | None, field: str | None, root_reason: str | None) -> None:
        """Record that a single record was rejected.

        A rejection without a field, with another reason than the batch, concerns the receiver ("Not a Truecaller
        user"). It says nothing about the other records and resets the streak.
        """
        if self.ended_early:
            return
        if field is None and reason != root_reason:
            self.streak = 0
            return
        self.streak = self.streak + 1 if reason == self.last_reason else 1
        self.last_reason = reason
        self.ended_early = self.streak >= SAME_REJECTION_STREAK_MAX


@attrs.define(eq=False)
class CampaignBatch:
    """A batch that has open rows (without a final outcome), or is the root of such a batch."""

    seq: int
    """Number of the batch."""
    rows: Sequence[int]
    """Row numbers as planned, ascending."""
    source_start: SourcePosition
    """File position before the block of rows that contains the batch."""
    call: str = "submit"
    """Call that sends the batch: "submit", or "push" for a single record that is isolated."""
    parent: int | None = None
    """Number of the batch from which the rows were moved, or None."""
    root_batch: int | None = None
    """Number of the first batch of the chain of parents, or None."""
    state: BatchState = BatchState.PLANNED
    """State of the batch."""
    attempts: int = 0
    """Number of attempts."""
    maybe_received: int = 0
    """Number of attempts that may have reached the server."""
    lost_answers: int = 0
    """Number of attempts whose answer was lost."""
    possibly_duplicated: bool = False
    """Whether the batch was sent again after a lost answer."""
    batch_id: str | None = None
    """Batch id of the server, None if it is not known."""
    accepted_at: float | None = None
    """Wall-clock seconds at which the server accepted the batch."""
    closed: set[int] = attrs.field(factory=set)
    """Rows with a final outcome, or moved to another batch. Not complete once `open_count` is 0."""
    open_count: int = attrs.field(default=attrs.Factory(lambda batch: len(batch.rows), takes_self=True))
    """Number of open rows."""
    excluded_rows: frozenset[int] = NO_ROWS
    """Rows that were closed before the latest attempt, so that they were not sent in it."""
    abandoned: bool = False
    """Whether the batch was abandoned, so that later rows of its pairs may have been sent."""
    reason: str | None = None
    """Message of the server, if it rejected the batch."""
    field: str | None = None
    """Field that the server named, if it rejected the batch."""
    payload: bytes | None = attrs.field(default=None, repr=False)
    """The stored records, if the source cannot be read again."""
    # Run fields: facts of the present run.
    released: bool = False
    """Whether this run does nothing more with the batch."""
    is_retry: bool = False
    """Whether the next attempt repeats a failed one, and needs the retry budget."""
    sent_from: BatchState | None = None
    """State from which the latest attempt of this run was started."""
    has_shared_id: bool = False
    """Whether the server gave its batch id to another batch too."""
    isolation: Isolation | None = None
    """Search for bad records, if parts were split from this batch."""
    # Attached once.
    content: BatchContent = attrs.field(default=None, repr=False)
    """The records of `rows`; not known before they are attached."""
    _open_content: BatchContent | None = attrs.field(default=None, repr=False)
    _sent_content: BatchContent | None = attrs.field(default=None, repr=False)

    @property
    def root_or_self(self) -> int:
        """Return the number of the root, or of the batch itself if it was not split from another one."""
        return self.seq if self.root_batch is None else self.root_batch

    @property
    def open_rows(self) -> Sequence[int]:
        """Return the open rows, ascending."""
        if not self.open_count:
            return ()
        return [row for row in self.rows if row not in self.closed] if self.closed else self.rows

    @property
    def open_content(self) -> BatchContent:
        """Return the content of the open rows: what the next attempt sends."""
        if not self.closed:
            return self.content
        if self._open_content is None or len(self._open_content) != self.open_count:
            self._open_content = self.content.without(self.closed)
        return self._open_content

    @property
    def sent_content(self) -> BatchContent:
        """Return the content of the latest attempt: what the server has if it accepted the batch."""
        if not self.excluded_rows:
            return self.content
        if self._sent_content is None or len(self._sent_content) != len(self.rows) - len(self.excluded_rows):
            self._sent_content = self.content.without(self.excluded_rows)
        return self._sent_content

    @property
    def is_waiting(self) -> bool:
        """Return whether this run is going to send the batch."""
        return self.state in WAITING_STATES and self.open_count > 0 and not self.released

    @property
    def unsettled_count(self) -> int:
        """Return the number of open rows for which later rows of the same pairs must wait."""
        return 0 if self.released or self.state in SETTLED_STATES else self.open_count

    @property
    def is_settled(self) -> bool:
        """Return whether later batches of the same pairs may be sent."""
        return self.unsettled_count == 0 and (self.isolation is None or self.isolation.remaining == 0)

    @property
    def provisional_outcome(self) -> Outcome:
        """Return the outcome of the open rows if the campaign is never resumed."""
        if self.state in UNSENT_STATES and not self.lost_answers:
            return Outcome.UNSENT
        return Outcome.UNKNOWN

    def has_open(self, rows: Sequence[int]) -> bool:
        """Return whether the batch contains all of the ascending `rows` and all are open."""
        if not rows or not self.open_count or (self.closed and not self.closed.isdisjoint(rows)):
            return False
        if isinstance(self.rows, range):
            return rows[0] in self.rows and rows[-1] in self.rows
        return rows is self.rows or set(self.rows).issuperset(rows)

    def count_end(self, event: BatchEvent, *, was_processed: bool) -> None:
        """Count an attempt that ended with this event."""
        self.maybe_received += event is not BatchEvent.NOT_SENT
        self.possibly_duplicated = self.possibly_duplicated or (self.lost_answers > 0 and was_processed)
        self.lost_answers += event is BatchEvent.LOST

    def close(self, rows: Collection[int]) -> None:
        """Close open rows."""
        self.open_count -= len(rows)
        if self.open_count:
            self.closed.update(rows)

    def attach(self, content: BatchContent) -> None:
        """Attach the records of all rows."""
        self.content = content


def allows_resend(policy: ResendPolicy, batch: CampaignBatch) -> bool:
    """Return whether the policy allows to send a batch again after a lost answer (law 3)."""
    return policy.on_ambiguous == "resend" and batch.lost_answers <= policy.max_resends
