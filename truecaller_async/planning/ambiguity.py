"""What may be done with a batch that may have been applied without anybody knowing: law 3 in one place.

A batch comes into doubt when its answer is lost, or when the process ends before the answer. Then the caller's stated
policy decides, up to its number of resends. What that leaves is let go: its rows are unknown as it stands, and later
rows of the same pairs may be sent. Such a batch goes again only if a later run has another policy, or if the operator
says that it was not applied. The operator's word does not make the lost answer a known one: what is sent after it is
flagged all the same.

A resend that fails as well is one of few, and an outage would use them all up in its first seconds. So a batch in doubt
waits until the server answers others; where there are no others, some seconds the first time and a minute from then on.
While the breaker is open it is the last to be a probe: polls are, and batches that were never sent. But it never waits
beyond the half of what is left of its windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from truecaller_async.models import AttemptEnded, BatchAbandoned, JournalEntry, OperatorDecided, Outcome, RowsSettled
from truecaller_async.options import CampaignOptions
from truecaller_async.planning.batch_state import AttemptCounts, BatchEvent, BatchState
from truecaller_async.planning.campaign_state import JournaledBatch
from truecaller_async.planning.outgoing_batch import OutgoingBatch
from truecaller_async.resilience.service_guard import ServiceGuard

PROCESS_ENDED_DETAIL = "the process ended before the answer came"
APPLIED_REASON = "taken by the server, by the operator's word; its batch id is not known"
DECIDABLE_STATES = frozenset({BatchState.ABANDONED, BatchState.AMBIGUOUS, BatchState.IN_FLIGHT})
"""States in which the operator may know more than we; in flight only when no process works on the campaign."""


FIRST_RESEND_SECONDS = 5.0
RESEND_SECONDS = 60.0
OUTAGE_RESEND_SECONDS = 600.0


def resend_due(batch: OutgoingBatch, guard: ServiceGuard, window_left: float, *, is_only_work: bool) -> float:
    """When to send a batch in doubt again, on the clock of `draft.lost_at`.

    `window_left`: seconds that its windows have. `alone`: there is no poll by which to see whether the server answers.
    """
    if guard.last_answer_was_good:
        return batch.lost_at
    patience = FIRST_RESEND_SECONDS if batch.lost_answers == 1 else RESEND_SECONDS
    if guard.is_open:
        patience = OUTAGE_RESEND_SECONDS if is_only_work else math.inf
    return batch.lost_at + min(patience, max(window_left, 0.0) / 2)


def policy_allows_resend(attempts: AttemptCounts, options: CampaignOptions) -> bool:
    """Whether the policy has a batch in doubt sent again."""
    return options.on_ambiguous == "resend" and attempts.lost_answers <= options.max_resends


def can_resend_abandoned(batch: JournaledBatch, options: CampaignOptions) -> bool:
    """Whether a batch that was let go is sent again: the operator says so, or the policy is another one now."""
    if not batch.abandoned:
        return False
    return batch.state is BatchState.PLANNED or (
        batch.state is BatchState.ABANDONED and policy_allows_resend(batch, options)
    )


def ended_by_crash(batch: JournaledBatch, at: float) -> AttemptEnded:
    """The end of an attempt that was under way when its process ended. `at`: wall-clock seconds."""
    return AttemptEnded(batch.seq, batch.attempts, BatchEvent.LOST, at, detail=PROCESS_ENDED_DETAIL)


def decision_entries(batch: JournaledBatch, applied: bool, at: float) -> Iterator[JournalEntry]:
    """What the operator's word means, entry by entry: take each before asking for the next, which follows from it.

    The batch is in one of the states `DECIDABLE_STATES`. `at`: wall-clock seconds.
    """
    if batch.state is BatchState.IN_FLIGHT:
        yield ended_by_crash(batch, at)
    if batch.state is not BatchState.ABANDONED:
        yield BatchAbandoned(batch.seq)
    yield OperatorDecided(batch.seq, applied, at)
    if applied:
        yield RowsSettled(
            tuple(batch.open_rows),
            Outcome.UNKNOWN,
            APPLIED_REASON,
            batch.seq,
            attempts=batch.maybe_received,
            possibly_duplicated=batch.possibly_duplicated,
        )
