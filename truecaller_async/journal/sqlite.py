"""The durable journal: a SQLite file that survives the end of the process and a power failure.

Algorithm:
    `append` makes the SQL of entries that are applied already, in the event loop, and hands it to the writer thread.
    The future is done after the commit (`synchronous=FULL`; without a write-ahead log on a network file system, see
    `journal.database_file`).

Invariants:
    - The disk has a prefix of what was appended, in whole transactions: when a future is done, so are all before it.
    - The file contains no phone number, unless the source cannot be read again. Then each batch is stored with its
      records, which are deleted with its last outcome. Long numbers in server messages are masked.
    - One process writes; it holds the lock beside the file. Other processes may read at the same time.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.campaign_state import CampaignState
from truecaller_async.errors import JournalBusy, JournalError
from truecaller_async.journal.database_file import Factory
from truecaller_async.journal.handle import open_handle
from truecaller_async.journal.statements import StatementBuilder
from truecaller_async.journal.writer import Writer
from truecaller_async.models.journal_entries import JournalEntry, RowsRead, SourcePosition

SELECT_READ_BLOCKS = (
    "SELECT last_row, line, offset, fingerprints FROM read_block WHERE last_row > ? ORDER BY last_row LIMIT ?"
)


class SqliteJournal:
    """The journal in a SQLite file.

    Args:
        path: The file; `open(is_new=True)` creates it if it is missing.
        factory: The class of the connection, as in `sqlite3.connect`.
    """

    resumable = True
    """A later run can continue from it."""

    def __init__(self, path: Path, *, factory: Factory = sqlite3.Connection) -> None:
        self.path = path
        self._factory = factory
        self._writer: Writer | None = None
        self._builder: StatementBuilder | None = None
        self._rejection: str | None = None

    async def open(self, *, is_new: bool) -> CampaignState:
        """Lock the journal and return the state of its campaign, which the caller changes by `apply`.

        Args:
            is_new: Start a campaign in it. Otherwise it must contain one.

        Raises:
            JournalBusy: Another process, or this object, has it open.
            JournalError: It is no journal, is damaged, has a version that cannot be used or was purged; or `is_new` is
                set and it contains a campaign, or `is_new` is not set and it contains none. Then its committed content
                is unchanged.
        """
        if self._writer is not None:
            raise JournalBusy(f"the journal {self.path} is in use: it is already open here. Close it first.")
        self._writer = writer = Writer(partial(open_handle, self.path, is_new=is_new, factory=self._factory))
        try:
            handle = await writer.open()
        except BaseException:
            self._writer = None
            raise
        self._builder, self._rejection = handle.statements, None
        return handle.statements.state

    def append(self, entries: Sequence[JournalEntry], changed: Iterable[CampaignBatch]) -> asyncio.Future[None] | None:
        """Write applied entries as one transaction. See `Journal.append`.

        Raises:
            JournalError: The journal is closed, an earlier write failed, or an entry has no stored form. No later
                write succeeds.
        """
        writer, builder = self._usable()
        try:
            statements = builder.build(entries, changed)
        except Exception as error:
            # The state contains the entries and the disk never will, so nothing that follows may be written.
            self._rejection = f"the journal {self.path} accepts no more entries: {error}"
            raise
        return writer.write(statements) if statements else None

    async def read_blocks(self, after: int, limit: int) -> Sequence[RowsRead]:
        """Return the `RowsRead` entries behind row `after`, in the order of the rows, up to `limit` of them.

        Raises:
            JournalError: The journal cannot be read.
        """
        writer, _ = self._usable()
        found = await writer.query(lambda db: db.execute(SELECT_READ_BLOCKS, (after, limit)).fetchall())
        return [RowsRead(SourcePosition(row, line, offset), fingerprints) for row, line, offset, fingerprints in found]

    async def aclose(self) -> None:
        """Write what is queued, close the file and release the lock. May be called twice."""
        writer, self._builder = self._writer, None
        if writer is not None:
            await writer.aclose()
            self._writer = None

    def _usable(self) -> tuple[Writer, StatementBuilder]:
        if self._writer is None or self._builder is None:
            raise JournalError(f"the journal {self.path} is closed. Open it again.")
        failure = self._rejection or self._writer.failure
        if failure is not None:
            raise JournalError(failure)
        return self._writer, self._builder
