"""Read open rows again when a campaign is resumed, and check that the source is unchanged.

Algorithm:
    The journal has no records, only fingerprints of blocks of rows. The rows of open batches are read again and
    compared with their fingerprints; so are the rows before the resume position that `dedupe` needs. A file is read
    at the needed positions only. If the file was touched, or the source is no file, all earlier rows are read.

Invariants:
    - An abandoned batch (lost answer, not resent) may be sent now if the policy or the operator allows it. Its records
      that have a later row of the same pair are superseded: sent now, they would replace the newer record.
    - If the later rows cannot be read again, the whole batch is withheld.

Failure modes:
    The first row that differs raises `SourceChanged`, and nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict

import attrs

from truecaller_async.campaign.core.ambiguity import can_resend_abandoned
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.campaign.core.campaign_state import START
from truecaller_async.campaign.core.pair_order import pair_of
from truecaller_async.campaign.rows.dedupe import WINDOW_ROWS, Dedupe
from truecaller_async.campaign.rows.fingerprints import RowFingerprints
from truecaller_async.campaign.rows.stored_records import unpack_records
from truecaller_async.campaign.run import Run
from truecaller_async.errors import JournalError, SourceChanged, SourceError
from truecaller_async.models import CallRecord, Row
from truecaller_async.models.journal_entries import RowsRead, SourcePosition
from truecaller_async.sources import FileSource, RowReader
from truecaller_async.validation.normalise import canonical
from truecaller_async.validation.record_rules import RULE_PAST, preflight

PAGE_SIZE = 256
"""Blocks of rows read from the journal at once."""

UNPACK_MAX = 4
"""Most positions for which a compressed file is unpacked once each; for more, the whole file is read once."""

ROW_MAX = 2**63
"""Greater than every row number; means "no row"."""


@attrs.define
class RecoveredRows:
    """Rows of an earlier run, read again, and the reader that continues the source."""

    reader: RowReader | None
    """Reader at the position where reading continues; None if nothing is left to read."""
    dedupe: Dedupe
    """Recognises rows with the content of an earlier row."""
    originals: dict[int, CallRecord] = attrs.field(factory=dict)
    """Records of the open batches, by row."""
    superseded: set[int] = attrs.field(factory=set)
    """Rows that must not be sent again, because a later row of the same pair replaces them."""
    withheld: frozenset[int] = frozenset()
    """Numbers of batches that are not sent, because the later rows cannot be read again."""

    async def aclose(self) -> None:
        """Close the reader, if there is one."""
        if self.reader is not None:
            with contextlib.suppress(SourceError):
                await self.reader.aclose()


async def reread_open_rows(run: Run, source: object, *, is_unchanged: bool) -> RecoveredRows:
    """Read the rows that a resumed run needs, and compare them with the journal.

    Args:
        run: The resumed run.
        source: Source to read; None if it is not needed or cannot be opened again.
        is_unchanged: Whether the file was not touched, so that only the needed parts are read.

    Raises:
        SourceChanged: A row differs.
        SourceError: The source cannot be read.
        ConfigError: The source has another type, or cannot be read from a position.
        JournalError: The records of an open batch are neither in the source nor in the journal.
    """
    if source is None:
        return RecoveredRows(
            None, Dedupe(run.options.dedupe), _stored_records(run.state.open), withheld=_unverifiable_batches(run)
        )
    check = _SourceCheck(run, source, is_unchanged=is_unchanged)
    try:
        return await check.reread()
    except BaseException:
        await RecoveredRows(check.reader, Dedupe("off")).aclose()
        raise


def _unverifiable_batches(run: Run) -> frozenset[int]:
    """Return the abandoned batches that would be resent although later rows cannot be read again."""
    last = run.state.position.row
    return frozenset(
        batch.seq for batch in run.state.open if can_resend_abandoned(batch, run.options) and batch.rows[-1] < last
    )


def _stored_records(batches: list[CampaignBatch]) -> dict[int, CallRecord]:
    originals: dict[int, CallRecord] = {}
    for batch in batches:
        if batch.payload is None:
            raise JournalError(
                f"the records of batch {batch.seq} are not in the journal, and their source cannot be opened again. "
                "Give the same source with source="
            )
        originals.update(zip(batch.rows, unpack_records(batch.payload), strict=True))
    return originals


class _SourceCheck:
    def __init__(self, run: Run, source: object, *, is_unchanged: bool) -> None:
        self._run = run
        self._source = source
        self._state = run.state
        started = run.state.started
        self._fingerprints = RowFingerprints(started.salt if started is not None else b"")
        self._is_file = isinstance(source, FileSource) and source.descriptor() is not None
        self._read_everything = not is_unchanged or not self._is_file or self._is_slow_to_seek()
        self.reader: RowReader | None = None
        self._row_read = 0
        self._recovered = RecoveredRows(None, Dedupe(run.options.dedupe))
        self._batch_starts = {batch.source_start.row for batch in self._state.open}
        self._needed = {row for batch in self._state.open for row in batch.rows}
        self._abandoned_rows = {row: batch.seq for batch in self._resendable_batches() for row in batch.open_rows}
        self._abandoned_from = min((batch.source_start.row for batch in self._resendable_batches()), default=ROW_MAX)
        self._unsent = {
            row
            for batch in self._state.open
            if batch.state is BatchState.PLANNED and not batch.abandoned
            for row in batch.open_rows
        }
        self._pairs: defaultdict[tuple[str, str], list[tuple[int, CallRecord]]] = defaultdict(list)
        self._dedupe_from = self._first_dedupe_row()

    def _is_slow_to_seek(self) -> bool:
        """Return whether the file is compressed and more than `UNPACK_MAX` positions are needed."""
        starts = {batch.source_start.row for batch in self._state.open}
        source = self._source
        return isinstance(source, FileSource) and source.name.endswith(".gz") and len(starts) > UNPACK_MAX

    async def reread(self) -> RecoveredRows:
        position = START
        while blocks := await self._run.journal.read_blocks(position.row, PAGE_SIZE):
            for block in blocks:
                if self._is_needed(position, block):
                    await self._check_block(position, block)
                position = block.position
        self._recovered.reader = await self._continue_reader()
        return self._recovered

    def _resendable_batches(self) -> list[CampaignBatch]:
        return [batch for batch in self._state.open if can_resend_abandoned(batch, self._run.options)]

    def _first_dedupe_row(self) -> int:
        """Return the row from which `dedupe` must know the rows."""
        mode = self._run.options.dedupe
        if mode == "off" or self._state.source_exhausted:
            return ROW_MAX
        return 0 if mode == "exact" else self._state.position.row - WINDOW_ROWS

    def _is_needed(self, before: SourcePosition, block: RowsRead) -> bool:
        return (
            self._read_everything
            or before.row in self._batch_starts
            or before.row >= self._abandoned_from
            or block.position.row > self._dedupe_from
        )

    async def _check_block(self, before: SourcePosition, block: RowsRead) -> None:
        """Read one block of rows again, compare it, and record what is needed of it."""
        rows = await self._read_rows(before, block.position.row - before.row)
        different = self._fingerprints.first_difference(block.fingerprints, [row.record for row in rows])
        if different is not None:
            raise self._changed_error(before.row + different + 1, "differs from the row that was read before")
        for row in rows:
            if row.record is not None:
                self._record_row(row.number, row.record)
        await asyncio.sleep(0)

    async def _read_rows(self, before: SourcePosition, count: int) -> list[Row]:
        if self.reader is None or self._row_read != before.row:
            await self._close()
            self.reader = RowReader(self._source, before if before.row else None)
        rows: list[Row] = []
        while len(rows) < count and (more := await self.reader.read(count - len(rows))):
            rows += more
        self._row_read = before.row + len(rows)
        if len(rows) < count:
            raise self._changed_error(self._row_read + 1, f"is missing: the source has only {self._row_read} rows")
        return rows

    def _record_row(self, number: int, record: CallRecord) -> None:
        if number in self._needed:
            self._recovered.originals[number] = record
        may_supersede = bool(self._abandoned_rows) and number > self._abandoned_from
        normalised = self._canonical_if_valid(record) if may_supersede or number > self._dedupe_from else None
        if normalised is None:
            return
        if number > self._dedupe_from:
            self._recovered.dedupe.is_repeat(normalised)
        if may_supersede:
            self._mark_superseded(number, normalised)

    def _canonical_if_valid(self, record: CallRecord) -> CallRecord | None:
        """Return the canonical record; None if it was invalid and therefore never sent."""
        if not self._run.options.validate:
            return canonical(record)
        normalised, problems = preflight(record, self._run.deps.server_now_ms())
        return normalised if all(problem.rule == RULE_PAST for problem in problems) else None

    def _mark_superseded(self, number: int, record: CallRecord) -> None:
        """Mark abandoned rows that this later row of the same pair supersedes.

        A later row that was never sent marks nothing. Nor does an equal record: it was usually a duplicate that was not
        sent, and the order of equal records does not matter. Nor does a later row of the same batch: one request sends
        both, in their order. A later row of another abandoned batch may have been applied, and its window may close
        before it is sent again; then the earlier row must not be applied after it.
        """
        pair, batch = pair_of(record), self._abandoned_rows.get(number)
        if number not in self._unsent:
            self._recovered.superseded.update(
                row
                for row, earlier in self._pairs.get(pair, ())
                if earlier != record and self._abandoned_rows[row] != batch
            )
        if batch is not None:
            self._pairs[pair].append((number, record))

    async def _continue_reader(self) -> RowReader | None:
        """Return the reader at the resume position; None if the source ended there in the earlier run."""
        position = self._state.position
        if self._is_file and (self.reader is None or self._row_read != position.row):
            await self._close()
            self.reader = RowReader(self._source, position if position.row else None)
        elif self.reader is None:
            self.reader = RowReader(self._source)
        if not self._state.source_exhausted:
            return self.reader
        if self._read_everything and await self.reader.read(1):
            raise self._changed_error(position.row + 1, "is new: the source ended before it in the earlier run")
        await self._close()
        return None

    async def _close(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            await reader.aclose()

    def _changed_error(self, row: int, difference: str) -> SourceChanged:
        name = self._source.name if isinstance(self._source, FileSource) else "the source"
        return SourceChanged(
            f"{name}: row {row} {difference}; nothing was sent. Restore the original rows and resume, or run the "
            "remaining rows as a new campaign",
            row=row,
        )
