"""Settle or release the rows of a batch in a transaction: the entry and the results together."""

from __future__ import annotations

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.results import results_of, settled_entries
from truecaller_async.campaign.recorder import Transaction
from truecaller_async.models import Outcome, ResultList
from truecaller_async.models.journal_entries import BatchReleased, RowsSettled


def settle_results(transaction: Transaction, results: ResultList, seq: int | None) -> None:
    """Settle the rows of these results. `seq`: number of their batch, None for rows that were not planned."""
    if results:
        transaction.add_results(results, settled_entries(results, seq))


def settle_rows(
    transaction: Transaction,
    batch: CampaignBatch,
    outcome: Outcome,
    reason: str | None = None,
    field: str | None = None,
    content: BatchContent | None = None,
) -> None:
    """Settle open rows with one outcome: those of `content`, otherwise all open rows of the batch."""
    content = batch.open_content if content is None else content
    if not content.rows:
        return
    results = results_of(batch, content, outcome, reason, field)
    transaction.add(
        RowsSettled(content.rows, outcome, reason, batch.seq, field, batch.maybe_received, batch.possibly_duplicated)
    )
    transaction.deliver(results)


def release_batch(transaction: Transaction, batch: CampaignBatch, outcome: Outcome, reason: str) -> None:
    """End the work of this run on a batch; its open rows get a provisional outcome."""
    results = results_of(batch, batch.open_content, outcome, reason)
    transaction.add(BatchReleased(batch.seq, outcome, reason))
    transaction.deliver(results, final=False)
