"""The journal in memory: it ends with the process.

Algorithm:
    A resumable one can be opened again, by another client of the same process. It keeps what a durable one keeps: the
    state of the campaign, and the fingerprints of all rows. One that is not resumable keeps nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.models.journal_entries import JournalEntry, RowsRead


class MemoryJournal:
    """The journal of a campaign that does not need to survive its process.

    Args:
        resumable: Keep the fingerprints of the rows, so that another run can continue.
    """

    def __init__(self, *, resumable: bool = False) -> None:
        self.state = CampaignState()
        self._resumable = resumable
        self._reads: list[RowsRead] = []
        self._is_open = False

    @property
    def resumable(self) -> bool:
        """Return whether another run can continue from it, so that fingerprints and payloads are needed."""
        return self._resumable

    async def open(self, *, is_new: bool) -> CampaignState:
        """Open the journal and return the state of its campaign, which the caller changes by `apply`.

        Args:
            is_new: Start a campaign in it. Otherwise it must contain one.

        Raises:
            JournalBusy: It is open.
            JournalError: `is_new` is set and it contains a campaign, or `is_new` is not set and it contains none.
        """
        if self._is_open:
            raise JournalBusy("the journal is in use: it is already open. Close it first.")
        if is_new is (self.state.started is not None):
            if is_new:
                raise JournalError("the journal already contains a campaign. Resume that, or use another journal.")
            raise JournalError("the journal contains no campaign. Start one in it.")
        self._is_open = True
        return self.state

    def append(self, entries: Sequence[JournalEntry], changed: Iterable[CampaignBatch]) -> asyncio.Future[None] | None:
        """Keep the fingerprints of the entries. See `Journal.append`.

        Raises:
            JournalError: The journal is closed.
        """
        if not self._is_open:
            raise JournalError("the journal is closed. Open it again.")
        if self._resumable:
            self._reads += [entry for entry in entries if isinstance(entry, RowsRead)]
        return None

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        """Return up to `limit` `RowsRead` entries behind the row `after`, in the order of the rows."""
        return [read for read in self._reads if read.position.row > after][:limit]

    async def aclose(self) -> None:
        """Accept no more entries until it is opened again."""
        self._is_open = False
