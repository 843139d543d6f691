"""A journal that lives as long as the process.

A `resumable` one can be opened again, by another client of the same process. It keeps what a durable one keeps: where
the campaign stands, and the prints of all rows. A batch is forgotten when its last row is settled.

From any other nobody will go on, and what became of its batches is told to nobody: of that it keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from truecaller_async.planning.campaign_state import CampaignState

OF_BATCHES = (BatchPlanned, AttemptStarted, AttemptEnded, BatchAbandoned, OperatorDecided, RowsSettled, RowsRead)


class MemoryJournal:
    """The journal of a run that need not survive a crash."""

    def __init__(self, *, resumable: bool = False) -> None:
        self.standing = CampaignState()
        self._resumable = resumable
        self._reads: list[RowsRead] = []
        self._is_open = False
        self._broken = False

    @property
    def resumable(self) -> bool:
        """Whether prints and payloads are worth their cost."""
        return self._resumable

    async def open(self, *, is_new: bool) -> CampaignState:
        """Where the campaign stands. Raises `JournalBusy` while it is open, and `JournalError`."""
        if self._is_open:
            raise JournalBusy("the journal is in use")
        if is_new is (self.standing.started is not None):
            said = "holds a campaign already; resume that, or take another" if is_new else "holds no campaign"
            raise JournalError(f"the journal {said}")
        self._is_open = True
        return self.standing

    async def write(self, *entries: JournalEntry) -> None:
        """Take the entries in. Raises `JournalError` where it is not open, and for entries that cannot be true."""
        if not self._is_open or self._broken:
            raise JournalError("the journal is closed" if not self._is_open else "the journal is broken")
        try:
            for entry in entries:
                if self._resumable or not isinstance(entry, OF_BATCHES):
                    self.standing.apply(entry)
        except JournalError:
            self._broken = True
            raise
        if self._resumable:
            self._reads += [entry for entry in entries if isinstance(entry, RowsRead)]

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        """What was read behind that row."""
        return [read for read in self._reads if read.position.row > after][:limit]

    async def aclose(self) -> None:
        """Nothing more is written, until it is opened again."""
        self._is_open = False
