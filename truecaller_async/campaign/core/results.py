"""Build the results of rows, and the entries that settle them.

Invariants:
    - The rows of one entry have equal outcomes. A batch whose records are all delivered needs one entry with a range.
"""

from __future__ import annotations

from operator import attrgetter

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.campaign.core.row_ranges import as_rows
from truecaller_async.models import BatchResults, Outcome, OutcomeKey, RecordResult, ResultList
from truecaller_async.models.journal_entries import RowsSettled

SUPERSEDED = "a later row of the same caller and receiver replaces it"
STOPPED_BEFORE_SENDING = "the run stopped before it was sent"
STOPPED_POLLING = "the run stopped before the final status was received"
STOPPED_IN_FLIGHT = "sent, and the run stopped before the answer came"
STOPPED_BEFORE_RESEND = "the answer was lost, and the run stopped before it was sent again"

_outcome_key = attrgetter("outcome", "reason", "field", "attempts", "possibly_duplicated")


def results_of(
    batch: CampaignBatch,
    content: BatchContent,
    outcome: Outcome,
    reason: str | None = None,
    field: str | None = None,
) -> list[RecordResult]:
    """Return one result for each row of the content, all with the same outcome."""
    batch_id = batch.batch_id if batch.state is BatchState.ACCEPTED else None
    return [
        RecordResult(
            original,
            row,
            original.key,
            outcome,
            reason,
            field,
            batch_id,
            attempts=batch.maybe_received,
            possibly_duplicated=batch.possibly_duplicated,
        )
        for row, original in zip(content.rows, content.originals, strict=True)
    ]


def settled_entries(results: ResultList, seq: int | None) -> list[RowsSettled]:
    """Return the entries for these results with ascending rows: one for all rows with equal outcomes."""
    if isinstance(results, BatchResults):
        if results.is_plain:
            attempts, possibly_duplicated = results.attempts, results.possibly_duplicated
            return [RowsSettled(results.rows, Outcome.DELIVERED, None, seq, None, attempts, possibly_duplicated)]
        keys, rows = results.outcome_keys(), results.rows
    else:
        keys, rows = list(map(_outcome_key, results)), [result.row for result in results]
    groups: dict[OutcomeKey, list[int]] = {key: [] for key in keys}
    for key, row in zip(keys, rows, strict=True):
        groups[key].append(row)
    return [
        RowsSettled(as_rows(rows), outcome, reason, seq, field, attempts, possibly_duplicated)
        for (outcome, reason, field, attempts, possibly_duplicated), rows in groups.items()
    ]


def stop_outcome(batch: CampaignBatch, root: CampaignBatch | None) -> tuple[Outcome, str]:
    """Return the provisional outcome of the open rows, and its cause, if the run stops now.

    Args:
        batch: The batch.
        root: The rejected batch from which it was split, or None.
    """
    if batch.state is BatchState.ACCEPTED:
        return Outcome.UNKNOWN, STOPPED_POLLING
    if batch.state is BatchState.IN_FLIGHT:
        return Outcome.UNKNOWN, STOPPED_IN_FLIGHT
    if batch.lost_answers:
        return Outcome.UNKNOWN, STOPPED_BEFORE_RESEND
    if root is not None:
        return Outcome.UNSENT, f"{STOPPED_BEFORE_SENDING} alone; its batch was rejected: {root.reason}"
    return batch.provisional_outcome, STOPPED_BEFORE_SENDING
