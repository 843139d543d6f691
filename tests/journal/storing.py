"""Store entries in a journal as the engine does: apply each, then append them together."""

from __future__ import annotations

from asyncio import Future

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.models.journal_entries import JournalEntry
from truecaller_async.ports import Journal


def append(journal: Journal, state: CampaignState, *entries: JournalEntry) -> Future[None] | None:
    """Apply the entries and append them as one transaction; do not wait."""
    changed: dict[int, CampaignBatch] = {}
    for entry in entries:
        changed |= {batch.seq: batch for batch in state.apply(entry)}
    return journal.append(entries, changed.values())


async def store(journal: Journal, state: CampaignState, *entries: JournalEntry) -> None:
    """Apply the entries, append them as one transaction, and wait until they are durable."""
    stored = append(journal, state, *entries)
    if stored is not None:
        await stored
