"""A journal in memory that behaves like a disk: what it stored survives the process, nothing else.

`open` replays the stored transactions into a new state. A transaction is stored when its future is done, or before; a
process that ends may leave any number of the transactions behind that stored, but no gap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.models.journal_entries import JournalEntry, RowsRead, RowsSettled


def replay(entries: Iterable[JournalEntry]) -> CampaignState:
    """Return the state after these entries."""
    state = CampaignState()
    for entry in entries:
        state.apply(entry)
    return state


class DurableMemory:
    """The `Journal` port. It checks that each row gets one final outcome."""

    resumable = True

    def __init__(self) -> None:
        self.entries: list[JournalEntry] = []
        self.words: dict[int, RowsSettled] = {}
        self._is_open = False

    @property
    def state(self) -> CampaignState:
        """The state of what is stored, as the next process loads it."""
        return replay(self.entries)

    async def open(self, *, is_new: bool) -> CampaignState:
        if self._is_open:
            raise JournalBusy("the journal is in use: it is already open. Close it first.")
        if is_new is bool(self.entries):
            raise JournalError("the journal contains a campaign, or none")
        self._is_open = True
        return self.state

    def store(self, entries: Sequence[JournalEntry]) -> None:
        """Store one transaction."""
        for entry in entries:
            if isinstance(entry, RowsSettled):
                assert self.words.keys().isdisjoint(entry.rows), "a second final outcome"
                self.words.update(dict.fromkeys(entry.rows, entry))
        self.entries += entries

    def append(self, entries: Sequence[JournalEntry], changed: Iterable[CampaignBatch]) -> asyncio.Future[None] | None:
        if not self._is_open:
            raise JournalError("the journal is closed. Open it again.")
        self.store(entries)
        return None

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        reads = [entry for entry in self.entries if isinstance(entry, RowsRead)]
        return [read for read in reads if read.position.row > after][:limit]

    async def aclose(self) -> None:
        self._is_open = False

    def abandon(self) -> None:
        """End the process that has it open."""
        self._is_open = False
