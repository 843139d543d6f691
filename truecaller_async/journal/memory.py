"""The journal in memory: it ends with the process.

Algorithm:
    A resumable one can be opened again, by another client of the same process. It keeps what a durable one keeps: the
    state of the campaign, and the fingerprints of all rows. A batch is removed when its last row is settled. One that
    is not resumable ignores the entries about rows and batches, because no run continues from them.
"""

from __future__ import annotations

from collections.abc import Sequence

from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.models import (
    AttemptEnded,
    AttemptStarted,
    BatchAbandoned,
    BatchPlanned,
    JournalEntry,
    OperatorDecided,
    RowsRead,
    RowsSettled,
)

ROW_AND_BATCH_ENTRIES = (
    BatchPlanned,
    AttemptStarted,
    AttemptEnded,
    BatchAbandoned,
    OperatorDecided,
    RowsSettled,
    RowsRead,
)


class MemoryJournal:
    """The journal of a campaign that does not need to survive its process.

    Args:
        resumable: Keep the state of rows and batches, so that another run can continue.
    """

    def __init__(self, *, resumable: bool = False) -> None:
        self.state = CampaignState()
        self._resumable = resumable
        self._reads: list[RowsRead] = []
        self._is_open = False
        self._broken = False

    @property
    def resumable(self) -> bool:
        """Return whether another run can continue from it, so that fingerprints and payloads are needed."""
        return self._resumable

    async def open(self, *, is_new: bool) -> CampaignState:
        """Open the journal and return the state of its campaign, the object that `write` changes.

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

    async def write(self, *entries: JournalEntry) -> None:
        """Apply the entries to the state.

        Raises:
            JournalError: The journal is closed, or an entry contradicts the state. No later write succeeds then.
        """
        if not self._is_open:
            raise JournalError("the journal is closed. Open it again.")
        if self._broken:
            raise JournalError("the journal accepts no more entries: an earlier one contradicted its state.")
        try:
            for entry in entries:
                if self._resumable or not isinstance(entry, ROW_AND_BATCH_ENTRIES):
                    self.state.apply(entry)
        except JournalError:
            self._broken = True
            raise
        if self._resumable:
            self._reads += [entry for entry in entries if isinstance(entry, RowsRead)]

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        """Return the `RowsRead` entries behind row `after`, in the order of the rows, up to `limit` of them."""
        return [read for read in self._reads if read.position.row > after][:limit]

    async def aclose(self) -> None:
        """Accept no more entries until it is opened again."""
        self._is_open = False
