"""The journal on disk: what survives the process, the machine's power, and everything but the disk itself.

`write` brings the standing forward at once, in the loop, and hands the changes to the thread of the file. It returns
when they are on disk (`synchronous=FULL`; on a network file system without a log, see `journal.database_file`). So the
standing is always ahead of the disk by just those writes that have not returned.

No phone number is in it, unless the source cannot be read again; then each batch brings its records, and they go with
its last word. What the server said is kept with its long numbers masked. Other processes may read while one writes; the
one that writes holds the lock beside the file.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal.database_file import Factory
from truecaller_async.journal.handle import open_handle
from truecaller_async.journal.statements import StatementBuilder
from truecaller_async.journal.writer import Writer
from truecaller_async.models import JournalEntry, RowsRead, SourcePosition
from truecaller_async.planning.campaign_state import CampaignState

READS = "SELECT row, lines, offset, prints FROM span WHERE row > ? ORDER BY row LIMIT ?"


class SqliteJournal:
    """The journal in the file `path`. `factory` makes its connection, as in `sqlite3.connect`."""

    resumable = True

    def __init__(self, path: Path, *, factory: Factory = sqlite3.Connection) -> None:
        self.path = path
        self._factory = factory
        self._writer: Writer | None = None
        self._builder: StatementBuilder | None = None
        self._refused: str | None = None

    async def open(self, *, is_new: bool) -> CampaignState:
        """Where the campaign stands. The port says the rest.

        Raises `JournalBusy` where it is in use, `JournalError` where it is no journal, damaged, written by a newer
        version, purged, or holds a campaign just where it should not; it is as it was then.
        """
        if self._writer is not None:
            raise JournalBusy(f"the journal {self.path} is in use")
        self._writer = writer = Writer(partial(open_handle, self.path, is_new=is_new, factory=self._factory))
        try:
            held = await writer.open()
        except BaseException:
            self._writer = None
            raise
        self._builder, self._refused = held.statements, None
        return held.statements.state

    async def write(self, *entries: JournalEntry) -> None:
        """One transaction, durable when this returns.

        Raises `JournalError` where it cannot be written, or where an entry cannot be true; nothing is written after it.
        """
        writer, builder = self._usable()
        try:
            statements = builder.build(entries)
        except Exception as error:
            self._refused = f"the journal {self.path} takes nothing more: {error}"
            raise
        if statements:
            await writer.write(statements)

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        """What was read behind that row."""
        writer, _ = self._usable()
        lines = await writer.query(lambda db: db.execute(READS, (after, limit)).fetchall())
        return [RowsRead(SourcePosition(row, at, offset), fingerprints) for row, at, offset, fingerprints in lines]

    async def aclose(self) -> None:
        """Write what is on its way, and let go. May be called twice."""
        writer, self._builder = self._writer, None
        if writer is not None:
            await writer.aclose()
            self._writer = None

    def _usable(self) -> tuple[Writer, StatementBuilder]:
        if self._writer is None or self._builder is None:
            raise JournalError(f"the journal {self.path} is closed")
        failure = self._refused or self._writer.failure
        if failure is not None:
            raise JournalError(failure)
        return self._writer, self._builder
