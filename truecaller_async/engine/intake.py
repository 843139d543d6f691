"""From the source to planned batches.

The source is asked for as many rows as there are credits and as the batch at hand has room for. They are counted,
checked, compared with the rows before them, and put into the chunker: all at once where all are good, which is seen at
a glance, else one by one; a row that cannot be sent waits for the batch that is being filled. A draft that is full, or
has lingered, is planned: the journal hears in one transaction of the batch, of the rows between its rows that are not
sent, and how far the source has been read. So the rows of a journal have no gaps, and reading goes on where it stopped.
Then the order of its pairs is noted, and the lanes may have it.

Planning waits for the disk, reading does not: a few plans may be on their way to the journal at once, and come back in
order. When the run stops, reading stops at the next row, wherever the source is waiting: the read is broken off.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import attrs

from truecaller_async.cancellation import is_being_cancelled
from truecaller_async.engine.run import Run, settled_entries
from truecaller_async.errors import SourceError, TruecallerError
from truecaller_async.models import (
    BatchPlanned,
    CallRecord,
    JournalEntry,
    Outcome,
    Problem,
    RecordColumns,
    RecordResult,
    Rows,
    RowsRead,
    SourceEnded,
    SourcePosition,
)
from truecaller_async.planning.fingerprints import RowFingerprints
from truecaller_async.planning.outgoing_batch import OutgoingBatch
from truecaller_async.planning.stored_records import pack_records
from truecaller_async.resilience.rate_law import burst_capacity, calls_per_second
from truecaller_async.sources import RowReader
from truecaller_async.validation.batch_validation import all_canonical, all_valid
from truecaller_async.validation.preflight import RULE_PAST, canonical, preflight

READ_AHEAD_BATCHES = 0.25
"""Seconds of work for the live tokens that are read as fast as the source gives."""

READ_AHEAD_MAX_BATCHES = 64
"""Batches: as many as may be in flight at once. To read beyond them fills the memory and nothing else."""

COALESCE_SECONDS = 0.02
"""Seconds between two reads beyond that: reading on is useful, but must not hold up what can be sent now."""

PLANS_IN_FLIGHT_MAX = 16
"""Plans that the journal has not yet confirmed, at most."""

JUST_RECORDS = frozenset({CallRecord})

SUPERSEDED = "a later row of the same caller and receiver replaces it"


@attrs.define
class ReadSpan:
    """The rows that were read since the last plan: what they say, and the results of those that are not sent."""

    records: list[CallRecord | None] = attrs.field(factory=list)
    rejected: list[RecordResult] = attrs.field(factory=list)
    end: SourcePosition | None = None

    def add(self, rows: Rows) -> None:
        """These rows were read."""
        lines, offset = rows.end or (0, 0)
        self.end = SourcePosition(rows.first + len(rows) - 1, lines, offset)
        self.records += rows.records


class Intake:
    """Reads one source to its end, or until the run stops. Without a reader there is nothing left to read."""

    def __init__(self, run: Run, reader: RowReader | None) -> None:
        self._run = run
        self._reader = reader
        self._linger: asyncio.TimerHandle | None = None
        self._margin_ms = int(run.options.expiry_margin * 1000)
        limits = run.deps.pool.limits
        self._enough_for_one = max(
            burst_capacity(limits, "submit"), READ_AHEAD_BATCHES * calls_per_second(limits, "submit")
        )
        self._span = ReadSpan()
        self._fingerprints = (
            RowFingerprints(run.state.started.salt) if run.journal.resumable and run.state.started else None
        )
        self._plans: deque[asyncio.Task[None]] = deque()
        self._reading: asyncio.Timeout | None = None
        self.waits_for_credits = False

    async def read_all(self) -> None:
        """The whole life of the intake."""
        run = self._run
        run.on_stop = self._cancel_read
        try:
            if self._reader is not None:
                await self._read(self._reader)
        except TruecallerError as error:
            run.fail(error)
        finally:
            self._flush()
            await self._planned()
            await self._close()
            run.source_exhausted = True
            run.source_has_more = False
            run.check_done()
            run.wakeup.notify_all()

    async def _read(self, reader: RowReader) -> None:
        run = self._run
        while run.running and (rows := await self._next_rows(reader)):
            await self._process(rows)
        if run.running:
            self._flush()
            await self._planned()
            await run.append(SourceEnded())

    async def _next_rows(self, reader: RowReader) -> Rows | None:
        """Rows for the batch at hand; None at the end, or when the run stops meanwhile."""
        run = self._run
        while run.credits <= 0 and run.running:
            self.waits_for_credits = True
            await run.wakeup.wait()
        self.waits_for_credits = False
        run.source_has_more = run.queue.batches > self._read_ahead_target()
        if run.source_has_more:
            run.wakeup.notify_all()
            await run.wakeup.wait(run.now() + COALESCE_SECONDS)
        if not run.running:
            return None
        try:
            async with asyncio.timeout(None) as self._reading:
                return await reader.read_rows(min(run.chunker.free_places, run.credits)) or None
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            if is_being_cancelled():
                raise
            raise SourceError(
                f"the source was cancelled after row {run.counters.read}", row=run.counters.read
            ) from None
        finally:
            self._reading = None

    def _cancel_read(self) -> None:
        """The run has stopped: whatever the source waits for, nobody waits for it any more."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.reschedule(self._run.now())

    def _read_ahead_target(self) -> float:
        """Batches that keep the live tokens busy for a while; beyond them, sending comes before reading."""
        return min(READ_AHEAD_MAX_BATCHES, max(1, len(self._run.deps.pool.live())) * self._enough_for_one)

    async def _process(self, rows: Rows) -> None:
        run = self._run
        run.counters.read += len(rows)
        self._span.add(rows)
        now_ms = run.min_now_ms()
        columns = self._validated_columns(rows, now_ms)
        if columns is not None:
            batch = run.chunker.add_all(rows.first, cast("list[CallRecord]", rows.records), columns)
        else:
            batch = self._process_each(rows, now_ms)
        if batch is not None or not len(run.chunker):
            await self._schedule_plan(batch)
        self._set_linger()

    def _validated_columns(self, rows: Rows, now_ms: int) -> RecordColumns | None:
        """The columns of rows that may all be sent as they are; None where each has to be looked at."""
        options = self._run.options
        if not JUST_RECORDS.issuperset(map(type, rows.records)):
            return None
        columns = RecordColumns.of(cast("list[CallRecord]", rows.records))
        is_fit = all_valid(columns, now_ms) if options.validate else all_canonical(columns)
        if not is_fit or min(columns.ends_at) <= now_ms + self._margin_ms:
            return None
        return columns if self._run.dedupe.add_if_all_new(columns) else None

    def _process_each(self, rows: Rows, now_ms: int) -> OutgoingBatch | None:
        """Row by row; the draft that is full with the last of them."""
        batch = None
        for index, record in enumerate(rows.records):
            number = rows.first + index
            checked = self._check(number, record, rows.problems.get(index, ()), now_ms)
            if isinstance(checked, RecordResult):
                self._span.rejected.append(checked)
            else:
                batch = self._run.chunker.add(number, *checked)
        return batch

    def _check(
        self, row: int, given: CallRecord | None, problems: tuple[Problem, ...], now_ms: int
    ) -> RecordResult | tuple[CallRecord, CallRecord]:
        """The record as given and in canonical form, or the result that keeps it from being sent."""
        run = self._run
        if given is None:
            return _invalid(row, None, problems)
        record, problems = preflight(given, now_ms) if run.options.validate else (canonical(given), ())
        expired = isinstance(record.ends_at, int) and record.ends_at <= now_ms + self._margin_ms
        if problems and not (expired and all(problem.rule == RULE_PAST for problem in problems)):
            return _invalid(row, given, problems)
        if expired:
            reason = f"its window closes in less than {run.options.expiry_margin:g} s, or has closed"
            return RecordResult(given, row, given.key, Outcome.EXPIRED, reason, "ends_at")
        if run.dedupe.is_repeat(record):
            return RecordResult(given, row, given.key, Outcome.DUPLICATE, "equal to an earlier row")
        return given, record

    async def _schedule_plan(self, batch: OutgoingBatch | None) -> None:
        """Plan what was read since the last plan: at once, where no disk has to be waited for."""
        if self._run.journal.resumable or self._plans:
            self._begin_plan(batch)
        elif (end := self._span.end) is not None:
            await self._plan(batch, self._next_span(), end, None)
            await asyncio.sleep(0)
        while len(self._plans) > PLANS_IN_FLIGHT_MAX:
            await asyncio.wait([self._plans[0]])

    def _begin_plan(self, batch: OutgoingBatch | None) -> None:
        """Plan what was read since the last plan, behind the plans that are on their way."""
        if (end := self._span.end) is None:
            return
        before = self._plans[-1] if self._plans else None
        self._plans.append(self._run.start_critical(self._plan(batch, self._next_span(), end, before)))
        self._plans[-1].add_done_callback(lambda _: self._plans.popleft())

    def _next_span(self) -> ReadSpan:
        span, self._span = self._span, ReadSpan()
        return span

    async def _plan(
        self, batch: OutgoingBatch | None, span: ReadSpan, end: SourcePosition, before: asyncio.Task[None] | None
    ) -> None:
        run = self._run
        entries: list[JournalEntry] = list(settled_entries(span.rejected, None))
        if batch is not None:
            payload = pack_records(batch.originals) if run.stores_records else None
            entries.append(BatchPlanned(batch.seq, tuple(batch.rows), payload=payload))
        entries.append(RowsRead(end, self._fingerprints.of(span.records) if self._fingerprints is not None else b""))
        kept = await run.append(*entries)
        if before is not None and not before.done():
            await asyncio.wait([before])
        if span.rejected:
            run.deliver(span.rejected, final=kept)
        if batch is None:
            return
        if kept:
            await self._enqueue(batch)
        else:
            await run.settle_unsent([batch])
        run.wakeup.notify_all()

    async def _enqueue(self, batch: OutgoingBatch) -> None:
        """The draft is planned: it may go when what it must come after has gone."""
        run = self._run
        batch.blocked_by = run.pairs.add(batch)
        superseded = self._supersede(batch) if run.options.same_pair == "keep_last" else {}
        await run.requeue(batch)
        if superseded:
            kept = await run.append(
                *(entry for seq, gone in superseded.items() for entry in settled_entries(gone, seq))
            )
            for gone in superseded.values():
                run.deliver(gone, final=kept)

    def _supersede(self, batch: OutgoingBatch) -> dict[int, list[RecordResult]]:
        """Take older records of its pairs out of the drafts that wait; it comes after what those come after.

        Nothing is awaited here: what it comes after, and what waits, would be others then.
        """
        run = self._run
        superseded = {}
        for seq in sorted(batch.blocked_by):
            waiting = run.queue.find(seq)
            if waiting is None:
                continue
            batch.blocked_by = (batch.blocked_by | waiting.blocked_by) - {seq}
            taken = waiting.remove(run.pairs.superseded(waiting))
            run.queue.remove_records(len(taken))
            if taken:
                superseded[seq] = run.removed_results(waiting, taken, Outcome.UNSENT, SUPERSEDED)
        return superseded

    async def _planned(self) -> None:
        """Wait for every plan that is on its way."""
        while self._plans:
            await asyncio.wait([self._plans[-1]])

    def _set_linger(self) -> None:
        if len(self._run.chunker) and self._linger is None:
            self._linger = self._run.loop.call_later(self._run.options.linger, self._lingered)

    def _lingered(self) -> None:
        self._linger = None
        if self._run.running:
            self._flush()

    def _flush(self) -> None:
        self._begin_plan(self._run.chunker.flush())

    async def _close(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
        if self._reader is None:
            return
        try:
            await self._reader.aclose()
        except TruecallerError as error:
            self._run.fail(error)


def _invalid(row: int, given: CallRecord | None, problems: tuple[Problem, ...]) -> RecordResult:
    reason = "; ".join(str(problem) for problem in problems)
    key = given.key if given is not None else None
    field = problems[0].field if problems else None
    return RecordResult(given, row, key, Outcome.INVALID, reason, field)
