"""A journal that lives as long as the process.

A `resumable` one can be opened again, by another client of the same process. It keeps what a durable one keeps: where
the campaign stands, and the prints of all rows. A batch is forgotten when its last row is settled.

From any other nobody will go on, and what became of its batches is told to nobody: of that it keeps nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.models import AttemptEnded, Entry, GivenUp, Intent, Judged, Planned, Read, Settled
from truecaller_async.planning.replay import Standing

OF_BATCHES = (Planned, Intent, AttemptEnded, GivenUp, Judged, Settled, Read)


class MemoryJournal:
    """The journal of a run that need not survive a crash."""

    def __init__(self, *, resumable: bool = False) -> None:
        self.standing = Standing()
        self._resumable = resumable
        self._reads: list[Read] = []
        self._is_open = False
        self._broken = False

    @property
    def resumable(self) -> bool:
        """Whether prints and payloads are worth their cost."""
        return self._resumable

    async def open(self, *, anew: bool) -> Standing:
        """Where the campaign stands. Raises `JournalBusy` while it is open, and `JournalError`."""
        if self._is_open:
            raise JournalBusy("the journal is in use")
        if anew is (self.standing.begun is not None):
            said = "holds a campaign already; resume that, or take another" if anew else "holds no campaign"
            raise JournalError(f"the journal {said}")
        self._is_open = True
        return self.standing

    async def write(self, *entries: Entry) -> None:
        """Take the entries in. Raises `JournalError` where it is not open, and for entries that cannot be true."""
        if not self._is_open or self._broken:
            raise JournalError("the journal is closed" if not self._is_open else "the journal is broken")
        try:
            for entry in entries:
                if self._resumable or not isinstance(entry, OF_BATCHES):
                    self.standing.take(entry)
        except JournalError:
            self._broken = True
            raise
        if self._resumable:
            self._reads += [entry for entry in entries if isinstance(entry, Read)]

    async def reads(self, after: int, limit: int) -> Sequence[Read]:
        """What was read behind that row."""
        return [read for read in self._reads if read.place.row > after][:limit]

    async def aclose(self) -> None:
        """Nothing more is written, until it is opened again."""
        self._is_open = False
