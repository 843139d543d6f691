"""Decide what may be done with an ambiguous batch (law 3).

A batch is ambiguous if the server may or may not have applied it: its answer was lost, or the process ended before it.

Algorithm:
    - The policy `on_ambiguous` decides whether it is resent, at most `max_resends` times.
    - Otherwise it is abandoned: its rows are `unknown`, and later rows of the same pairs may be sent.
    - An abandoned batch is resent only if a later run has another policy, or if the operator decides that it was not
      applied. Its results are flagged even then, because the decision may be wrong.
    Time of a resend: resends are few, and an outage would use all of them in its first seconds. So the batch waits for
    the next good answer to any request. Without one it waits 5 s the first time and 60 s from then on. While the
    breaker is open, it waits 600 s if it is the only work; otherwise polls and unsent batches are the probes.
Invariants:
    - A resend never waits longer than half of the remaining window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from truecaller_async.campaign.core.batch import CampaignBatch, allows_resend
from truecaller_async.campaign.core.batch_state import BatchEvent, BatchState
from truecaller_async.campaign.core.row_ranges import as_rows
from truecaller_async.campaign.core.work_queue import QueuedBatch
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import (
    AttemptEnded,
    BatchAbandoned,
    JournalEntry,
    OperatorDecided,
    RowsSettled,
)
from truecaller_async.options import CampaignOptions
from truecaller_async.resilience.service_guard import ServiceGuard

PROCESS_ENDED_DETAIL = "the process ended before the answer came"
APPLIED_REASON = "applied by the server, as the operator decided; its batch id is not known"
DECIDABLE_STATES = frozenset({BatchState.ABANDONED, BatchState.AMBIGUOUS, BatchState.IN_FLIGHT})
"""States in which the operator may decide; `IN_FLIGHT` only if no process works on the campaign."""

FIRST_RESEND_SECONDS = 5.0
RESEND_SECONDS = 60.0
OUTAGE_RESEND_SECONDS = 600.0


def resend_due(item: QueuedBatch, guard: ServiceGuard, window_left: float, *, is_only_work: bool) -> float:
    """Return the time at which to resend an ambiguous batch, on the clock of `item.lost_at`.

    Args:
        item: The ambiguous batch.
        guard: The service guard of the client.
        window_left: Seconds until the earliest window of the batch ends.
        is_only_work: Whether there is no poll that could show that the server answers.
    """
    if guard.last_answer_was_good:
        return item.lost_at
    delay = FIRST_RESEND_SECONDS if item.batch.lost_answers == 1 else RESEND_SECONDS
    if guard.is_open:
        delay = OUTAGE_RESEND_SECONDS if is_only_work else math.inf
    return item.lost_at + min(delay, max(window_left, 0.0) / 2)


def can_resend_abandoned(batch: CampaignBatch, options: CampaignOptions) -> bool:
    """Return whether an abandoned batch is resent: by the operator's decision, or by a new policy."""
    if not batch.abandoned:
        return False
    return batch.state is BatchState.PLANNED or (batch.state is BatchState.ABANDONED and allows_resend(options, batch))


def ended_by_crash(batch: CampaignBatch, at: float) -> AttemptEnded:
    """Build the end of an attempt that was in flight when its process ended. `at`: wall-clock seconds."""
    return AttemptEnded(batch.seq, batch.attempts, BatchEvent.LOST, at, detail=PROCESS_ENDED_DETAIL)


def decision_entries(batch: CampaignBatch, applied: bool, at: float) -> Iterator[JournalEntry]:
    """Yield the journal entries of an operator's decision.

    The caller must apply each entry to `batch` before it requests the next one, because the next depends on it.

    Args:
        batch: A batch in one of `DECIDABLE_STATES`.
        applied: Whether the server had applied the batch.
        at: Wall-clock seconds.
    """
    if batch.state is BatchState.IN_FLIGHT:
        yield ended_by_crash(batch, at)
    if batch.state is not BatchState.ABANDONED:
        yield BatchAbandoned(batch.seq)
    yield OperatorDecided(batch.seq, applied, at)
    if applied:
        yield RowsSettled(
            as_rows(batch.open_rows),
            Outcome.UNKNOWN,
            APPLIED_REASON,
            batch.seq,
            attempts=batch.maybe_received,
            possibly_duplicated=batch.possibly_duplicated,
        )
