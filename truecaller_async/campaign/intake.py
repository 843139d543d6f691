"""Read the source and plan batches.

Algorithm:
    1. Read as many rows as the credits and the current batch allow.
    2. Check them: all rows at once if all are valid, otherwise row by row.
    3. Fill the chunker. Rows that cannot be sent wait for the plan of the current batch.
    4. When a batch is full, or its linger time is over, write its plan to the journal in one transaction: the batch,
       the results of the rows that are not sent, and the position in the source.
    5. Add the batch to the pair order and queue it for the dispatcher.

Invariants:
    - The rows in a journal have no gaps; a resumed run continues at the journaled position.
    - Up to 16 plans are written at the same time; they take effect in the order of the source.

Failure modes:
    - Run stopped: a pending read is cancelled by its timeout. The rows read so far are planned and recorded as unsent.
    - Source error: the run fails and drains.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

import attrs

from truecaller_async.campaign.core.fingerprints import RowFingerprints
from truecaller_async.campaign.core.outgoing_batch import OutgoingBatch
from truecaller_async.campaign.core.stored_records import pack_records
from truecaller_async.campaign.run import SUPERSEDED, Run, outcome_entries
from truecaller_async.cancellation import is_being_cancelled
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
from truecaller_async.resilience.rate_law import burst_capacity, calls_per_second
from truecaller_async.sources import RowReader
from truecaller_async.validation.batch_validation import all_canonical, all_valid
from truecaller_async.validation.normalise import canonical
from truecaller_async.validation.record_rules import RULE_PAST, preflight

READ_AHEAD_SECONDS = 0.25
"""Seconds of work of the live tokens up to which the source is read without pauses."""

READ_AHEAD_MAX_BATCHES = 64
"""Queued batches above which reading is slowed down. As many can be in flight at once; more would only use memory."""

READ_PAUSE_SECONDS = 0.02
"""Pause between two reads above the read-ahead target: sending comes before reading."""

PLANS_IN_FLIGHT_MAX = 16
"""Plans that the journal has not confirmed yet."""

PLAIN_RECORD_TYPES = frozenset({CallRecord})
"""Types for which whole columns can be checked: no subclass, no missing record."""


@attrs.define
class ReadSpan:
    """Rows read since the last plan."""

    records: list[CallRecord | None] = attrs.field(factory=list)
    """Record of each row; None if the row could not be read as a record."""
    rejected: list[RecordResult] = attrs.field(factory=list)
    """Results of the rows that are not sent."""
    end: SourcePosition | None = None
    """Position in the source after the last row."""

    def add(self, rows: Rows) -> None:
        """Add rows that were read."""
        lines, offset = rows.end or (0, 0)
        self.end = SourcePosition(rows.first + len(rows) - 1, lines, offset)
        self.records += rows.records


class Intake:
    """Reads one source until its end or until the run stops. Without a reader nothing is left to read."""

    def __init__(self, run: Run, reader: RowReader | None) -> None:
        self._run = run
        self._reader = reader
        self._linger: asyncio.TimerHandle | None = None
        self._margin_ms = int(run.options.expiry_margin * 1000)
        limits = run.deps.pool.limits
        self._read_ahead_per_token = max(
            burst_capacity(limits, "submit"), READ_AHEAD_SECONDS * calls_per_second(limits, "submit")
        )
        self._span = ReadSpan()
        self._fingerprints = (
            RowFingerprints(run.state.started.salt) if run.journal.resumable and run.state.started else None
        )
        self._plans: deque[asyncio.Task[None]] = deque()
        self._read_timeout: asyncio.Timeout | None = None
        self.waits_for_credits = False
        """Whether reading waits until the consumer has taken results."""

    async def read_all(self) -> None:
        """Read the source to its end, plan the batches, and mark the source as exhausted."""
        run = self._run
        run.on_stop = self._cancel_read
        try:
            if self._reader is not None:
                await self._read(self._reader)
        except TruecallerError as error:
            run.fail(error)
        finally:
            self._flush()
            await self._wait_for_plans()
            await self._close()
            # Last: from here on `check_done` may end the run.
            run.source_exhausted = True
            run.read_ahead_is_full = False
            run.check_done()
            run.wakeup.notify_all()

    async def _read(self, reader: RowReader) -> None:
        run = self._run
        while run.running and (rows := await self._next_rows(reader)):
            await self._process(rows)
        if run.running:
            self._flush()
            await self._wait_for_plans()
            await run.append(SourceEnded())

    async def _next_rows(self, reader: RowReader) -> Rows | None:
        """Return rows for the current batch; None at the end of the source or if the run stops."""
        run = self._run
        while run.credits <= 0 and run.running:
            self.waits_for_credits = True
            await run.wakeup.wait()
        self.waits_for_credits = False
        run.read_ahead_is_full = run.queue.batches > self._read_ahead_target()
        if run.read_ahead_is_full:
            run.wakeup.notify_all()
            await run.wakeup.wait(run.now() + READ_PAUSE_SECONDS)
        if not run.running:
            return None
        try:
            # A timeout without a deadline. `_cancel_read` sets the deadline to now: it ends the read, not the task.
            async with asyncio.timeout(None) as self._read_timeout:
                return await reader.read_rows(min(run.chunker.free_slots, run.credits)) or None
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            # The source itself raised CancelledError: report it as a fault of the source, not as a cancelled task.
            if is_being_cancelled():
                raise
            raise SourceError(
                f"the source raised CancelledError after row {run.counters.read}. Check the source",
                row=run.counters.read,
            ) from None
        finally:
            self._read_timeout = None

    def _cancel_read(self) -> None:
        reading, self._read_timeout = self._read_timeout, None
        if reading is not None:
            reading.reschedule(self._run.now())

    def _read_ahead_target(self) -> float:
        """Return the number of batches that keep the live tokens busy for `READ_AHEAD_SECONDS`."""
        return min(READ_AHEAD_MAX_BATCHES, max(1, len(self._run.deps.pool.live())) * self._read_ahead_per_token)

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
        """Return the columns if all rows can be sent unchanged; None if each row must be checked."""
        options = self._run.options
        if not PLAIN_RECORD_TYPES.issuperset(map(type, rows.records)):
            return None
        columns = RecordColumns.of(cast("list[CallRecord]", rows.records))
        is_valid = all_valid(columns, now_ms) if options.validate else all_canonical(columns)
        if not is_valid or min(columns.ends_at) <= now_ms + self._margin_ms:
            return None
        return columns if self._run.dedupe.add_if_all_new(columns) else None

    def _process_each(self, rows: Rows, now_ms: int) -> OutgoingBatch | None:
        """Check the rows one by one; return the batch that became full, if any."""
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
        self, row: int, original: CallRecord | None, problems: tuple[Problem, ...], now_ms: int
    ) -> RecordResult | tuple[CallRecord, CallRecord]:
        """Return the original and the canonical record, or the result if the row is not sent."""
        run = self._run
        if original is None:
            return _invalid(row, None, problems)
        record, problems = preflight(original, now_ms) if run.options.validate else (canonical(original), ())
        expired = isinstance(record.ends_at, int) and record.ends_at <= now_ms + self._margin_ms
        if problems and not (expired and all(problem.rule == RULE_PAST for problem in problems)):
            return _invalid(row, original, problems)
        if expired:
            reason = f"its window closes in less than {run.options.expiry_margin:g} s, or has closed"
            return RecordResult(original, row, original.key, Outcome.EXPIRED, reason, "ends_at")
        if run.dedupe.is_repeat(record):
            return RecordResult(original, row, original.key, Outcome.DUPLICATE, "equal to an earlier row")
        return original, record

    async def _schedule_plan(self, batch: OutgoingBatch | None) -> None:
        """Plan the rows read since the last plan; without a resumable journal do it at once."""
        if self._run.journal.resumable or self._plans:
            self._start_plan(batch)
        elif (end := self._span.end) is not None:
            # Awaited here without a task, because a journal in memory does not wait for a disk.
            await self._plan(batch, self._next_span(), end, None)
            await asyncio.sleep(0)  # lets the workers start this batch before the next read
        while len(self._plans) > PLANS_IN_FLIGHT_MAX:
            await asyncio.wait([self._plans[0]])

    def _start_plan(self, batch: OutgoingBatch | None) -> None:
        """Start to plan the rows read since the last plan, after the plans in progress."""
        if (end := self._span.end) is None:
            return
        previous = self._plans[-1] if self._plans else None
        self._plans.append(self._run.start_critical(self._plan(batch, self._next_span(), end, previous)))
        # Plans end in order, because each waits for the previous one; so the first is the one that is done.
        self._plans[-1].add_done_callback(lambda _: self._plans.popleft())

    def _next_span(self) -> ReadSpan:
        span, self._span = self._span, ReadSpan()
        return span

    async def _plan(
        self, batch: OutgoingBatch | None, span: ReadSpan, end: SourcePosition, previous: asyncio.Task[None] | None
    ) -> None:
        run = self._run
        entries: list[JournalEntry] = list(outcome_entries(span.rejected, None))
        if batch is not None:
            payload = pack_records(batch.originals) if run.stores_records else None
            entries.append(BatchPlanned(batch.seq, tuple(batch.rows), payload=payload))
        entries.append(RowsRead(end, self._fingerprints.of(span.records) if self._fingerprints is not None else b""))
        is_recorded = await run.append(*entries)
        # Writes overlap, effects do not: delivery and pair order follow the order of the source.
        if previous is not None and not previous.done():
            await asyncio.wait([previous])
        if span.rejected:
            run.deliver(span.rejected, final=is_recorded)
        if batch is None:
            return
        if is_recorded:
            await self._enqueue(batch)
        else:
            await run.record_stopped([batch])
        run.wakeup.notify_all()

    async def _enqueue(self, batch: OutgoingBatch) -> None:
        """Queue a planned batch behind the batches that it must follow."""
        run = self._run
        batch.blocked_by = run.pairs.add(batch)
        superseded = self._supersede(batch) if run.options.same_pair == "keep_last" else {}
        await run.requeue(batch)
        if superseded:
            is_recorded = await run.append(
                *(entry for seq, results in superseded.items() for entry in outcome_entries(results, seq))
            )
            for results in superseded.values():
                run.deliver(results, final=is_recorded)

    def _supersede(self, batch: OutgoingBatch) -> dict[int, list[RecordResult]]:
        """Remove older records of the same pairs from queued batches.

        The batch then follows the batches that those batches follow. There is no `await` here: with one, the queue and
        `blocked_by` could change in between.
        """
        run = self._run
        superseded = {}
        for seq in sorted(batch.blocked_by):
            queued = run.queue.find(seq)
            if queued is None:
                continue
            batch.blocked_by = (batch.blocked_by | queued.blocked_by) - {seq}
            removed = queued.remove(run.pairs.superseded(queued))
            run.queue.remove_records(len(removed))
            if removed:
                superseded[seq] = run.removed_results(queued, removed, Outcome.UNSENT, SUPERSEDED)
        return superseded

    async def _wait_for_plans(self) -> None:
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
        self._start_plan(self._run.chunker.flush())

    async def _close(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
        if self._reader is None:
            return
        try:
            await self._reader.aclose()
        except TruecallerError as error:
            self._run.fail(error)


def _invalid(row: int, original: CallRecord | None, problems: tuple[Problem, ...]) -> RecordResult:
    reason = "; ".join(str(problem) for problem in problems)
    key = original.key if original is not None else None
    field = problems[0].field if problems else None
    return RecordResult(original, row, key, Outcome.INVALID, reason, field)
