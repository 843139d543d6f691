"""Reading again what a resumed run must know, and seeing whether it is still what it was.

The journal has no records. So the rows of every open batch are read once more, and compared with their prints; so are
the rows before the place where reading goes on, because a row may repeat one of them (`dedupe`). A file is sought in;
where it has been touched since, or where the source is no file, all that was read before is read and compared. The
first row that differs ends it: `SourceChanged`, and nothing is sent.

A batch that was let go before (its answer was lost, and it was not sent again) may be sent now after all. Its records
that have a later row of the same caller and receiver must not be: they would put the older word back on the phone.
Where the later rows cannot be read again, the whole batch stays as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict

import attrs

from truecaller_async.engine.run import Run
from truecaller_async.errors import JournalError, SourceChanged, SourceError
from truecaller_async.models import CallRecord, Row, RowsRead, SourcePosition
from truecaller_async.planning.ambiguity import can_resend_abandoned
from truecaller_async.planning.batch_state import BatchState
from truecaller_async.planning.campaign_state import START, JournaledBatch
from truecaller_async.planning.dedupe import WINDOW
from truecaller_async.planning.fingerprints import RowFingerprints
from truecaller_async.planning.pair_order import pair_of
from truecaller_async.planning.stored_records import unpack_records
from truecaller_async.sources import FileSource, RowReader
from truecaller_async.validation.normalise import canonical
from truecaller_async.validation.record_rules import RULE_PAST, preflight

PAGE = 256
"""Stretches of rows that the journal is asked for at once."""

UNPACKED_AT_MOST = 4
"""Times that a compressed file is unpacked in order to read single stretches of it."""

NEVER = 2**63


@attrs.define
class RecoveredRows:
    """`reader` goes on where reading stopped, None where there is nothing left to read.

    `given` are the records of the open batches by row, and `outdated` the rows that must not be sent again. `withheld`
    are batches of which nobody can tell whether they are outdated, because later rows cannot be read again.
    """

    reader: RowReader | None
    originals: dict[int, CallRecord] = attrs.field(factory=dict)
    outdated: set[int] = attrs.field(factory=set)
    withheld: frozenset[int] = frozenset()

    async def aclose(self) -> None:
        """Nobody is going to read on: let the source go."""
        if self.reader is not None:
            with contextlib.suppress(SourceError):
                await self.reader.aclose()


async def reread_open_rows(run: Run, source: object, *, same: bool) -> RecoveredRows:
    """Everything a resumed run must know of its rows. `same`: the file was not touched, so that parts of it will do.

    Raises `SourceChanged`, `SourceError`, `ConfigError`, and `JournalError` where the records of open batches are
    neither in the source nor in the journal.
    """
    if source is None:
        return RecoveredRows(None, _from_payloads(run.state.open), withheld=_overtaken_perhaps(run))
    recalling = _SourceCheck(run, source, same=same)
    try:
        return await recalling.all()
    except BaseException:
        await RecoveredRows(recalling.reader).aclose()
        raise


def _overtaken_perhaps(run: Run) -> frozenset[int]:
    """The batches that were let go and would be sent again, though later rows were read that nobody can see now."""
    last = run.state.position.row
    return frozenset(
        batch.seq for batch in run.state.open if can_resend_abandoned(batch, run.options) and batch.planned[-1] < last
    )


def _from_payloads(batches: list[JournaledBatch]) -> dict[int, CallRecord]:
    given: dict[int, CallRecord] = {}
    for batch in batches:
        if batch.payload is None:
            raise JournalError(
                f"the records of batch {batch.seq} are not in the journal, and their source cannot be opened again; "
                "give the same source with source="
            )
        given.update(zip(batch.planned, unpack_records(batch.payload), strict=True))
    return given


class _SourceCheck:
    def __init__(self, run: Run, source: object, *, same: bool) -> None:
        self._run = run
        self._source = source
        self._state = run.state
        begun = run.state.started
        self._fingerprints = RowFingerprints(begun.salt if begun is not None else b"")
        self._is_file = isinstance(source, FileSource) and source.descriptor() is not None
        self._all = not same or not self._is_file or self._is_slow_to_seek()
        self.reader: RowReader | None = None
        self._row = 0
        self._recovered = RecoveredRows(None)
        self._stretches = {batch.source_start.row for batch in self._state.open}
        self._needed = {row for batch in self._state.open for row in batch.planned}
        self._late = {row: batch.seq for batch in self._late_batches() for row in batch.open_rows}
        self._late_from = min((batch.source_start.row for batch in self._late_batches()), default=NEVER)
        self._unsent = {
            row
            for batch in self._state.open
            if batch.state is BatchState.PLANNED and not batch.abandoned
            for row in batch.open_rows
        }
        self._pairs: defaultdict[tuple[str, str], list[tuple[int, CallRecord]]] = defaultdict(list)
        self._dedupe_from = self._first_of_dedupe()

    def _is_slow_to_seek(self) -> bool:
        """A compressed file is unpacked from its beginning for each place: reading it once is soon the shorter way."""
        stretches = {batch.source_start.row for batch in self._state.open}
        source = self._source
        return isinstance(source, FileSource) and source.name.endswith(".gz") and len(stretches) > UNPACKED_AT_MOST

    async def all(self) -> RecoveredRows:
        place = START
        while page := await self._run.journal.read_blocks(place.row, PAGE):
            for read in page:
                if self._is_wanted(place, read):
                    await self._inspect(place, read)
                place = read.position
        self._recovered.reader = await self._go_on()
        return self._recovered

    def _late_batches(self) -> list[JournaledBatch]:
        return [batch for batch in self._state.open if can_resend_abandoned(batch, self._run.options)]

    def _first_of_dedupe(self) -> int:
        """The row from which on repetitions must be known."""
        mode = self._run.options.dedupe
        if mode == "off" or self._state.source_exhausted:
            return NEVER
        return 0 if mode == "exact" else self._state.position.row - WINDOW

    def _is_wanted(self, before: SourcePosition, read: RowsRead) -> bool:
        return (
            self._all
            or before.row in self._stretches
            or before.row >= self._late_from
            or read.position.row > self._dedupe_from
        )

    async def _inspect(self, before: SourcePosition, read: RowsRead) -> None:
        """Read one stretch again, compare it, and keep what is needed of it."""
        rows = await self._rows(before, read.position.row - before.row)
        different = self._fingerprints.first_difference(read.fingerprints, [row.record for row in rows])
        if different is not None:
            raise self._changed(before.row + different + 1, "is not the row that was read when the campaign began")
        for row in rows:
            if row.record is not None:
                self._keep(row.number, row.record)
        await asyncio.sleep(0)

    async def _rows(self, before: SourcePosition, count: int) -> list[Row]:
        if self.reader is None or self._row != before.row:
            await self._close()
            self.reader = RowReader(self._source, before if before.row else None)
        rows: list[Row] = []
        while len(rows) < count and (more := await self.reader.read(count - len(rows))):
            rows += more
        self._row = before.row + len(rows)
        if len(rows) < count:
            raise self._changed(self._row + 1, f"is not there any more: the source has only {self._row} rows")
        return rows

    def _keep(self, number: int, record: CallRecord) -> None:
        if number in self._needed:
            self._recovered.originals[number] = record
        is_late = bool(self._late) and number > self._late_from
        formed = self._if_good(record) if is_late or number > self._dedupe_from else None
        if formed is None:
            return
        if number > self._dedupe_from:
            self._run.dedupe.is_repeat(formed)
        if is_late:
            self._compare(number, formed)

    def _if_good(self, record: CallRecord) -> CallRecord | None:
        """The record in canonical form; None for one that was refused before sending, like every one equal to it."""
        if not self._run.options.validate:
            return canonical(record)
        formed, problems = preflight(record, self._run.server_now_ms())
        return formed if all(problem.rule == RULE_PAST for problem in problems) else None

    def _compare(self, number: int, record: CallRecord) -> None:
        """A later row of a pair makes an earlier one that was let go outdated.

        Not one that is still to be sent itself, and not one that says the same: it was not sent as a rule, being a
        duplicate, and it cannot matter in which order they are.
        """
        pair = pair_of(record)
        if number in self._late:
            self._pairs[pair].append((number, record))
        elif number not in self._unsent:
            self._recovered.outdated.update(row for row, earlier in self._pairs.get(pair, ()) if earlier != record)

    async def _go_on(self) -> RowReader | None:
        """The reader behind the last row that was read; none where the source had ended there."""
        place = self._state.position
        if self._is_file and (self.reader is None or self._row != place.row):
            await self._close()
            self.reader = RowReader(self._source, place if place.row else None)
        elif self.reader is None:
            self.reader = RowReader(self._source)
        if not self._state.source_exhausted:
            return self.reader
        if self._all and await self.reader.read(1):
            raise self._changed(place.row + 1, "is new: the source had ended before it when the campaign was run")
        await self._close()
        return None

    async def _close(self) -> None:
        reader, self.reader = self.reader, None
        if reader is not None:
            await reader.aclose()

    def _changed(self, row: int, said: str) -> SourceChanged:
        name = self._source.name if isinstance(self._source, FileSource) else "the source"
        return SourceChanged(
            f"{name}: row {row} {said}; nothing was sent. Put the rows back as they were and resume, or run what is "
            "left as a new campaign",
            row=row,
        )
