"""Read the source, validate the rows, and plan batches.

Algorithm:
    1. Wait until results were taken (credits), the queue is short, and the journal is not behind.
    2. Read rows. If all are valid, check them at once by column, otherwise row by row.
    3. Fill the chunker. Rows that cannot be sent wait for the plan of the current batch.
    4. When a batch is full, or its linger time is over, record its plan in one transaction: the batch, the results of
       the rows that are not sent, the older rows that it supersedes, and the position in the source.

Invariants:
    - The recorded rows have no gaps; a resumed run continues at the recorded position.

Failure modes:
    - Run stopped: a pending read is cancelled by its timeout. The rows read so far are planned and released as unsent.
    - Source error: the run fails and drains.
"""

from __future__ import annotations

import asyncio
from typing import cast

import attrs

from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.results import STOPPED_BEFORE_SENDING, SUPERSEDED, settled_entries
from truecaller_async.campaign.recorder import Transaction
from truecaller_async.campaign.rows.chunker import Chunker
from truecaller_async.campaign.rows.dedupe import Dedupe
from truecaller_async.campaign.rows.fingerprints import RowFingerprints
from truecaller_async.campaign.rows.stored_records import pack_records
from truecaller_async.campaign.run import Run
from truecaller_async.campaign.wakeup import Wakeup
from truecaller_async.campaign.workers.dispatcher import Dispatcher
from truecaller_async.cancellation import cancelled_from_outside, is_being_cancelled
from truecaller_async.errors import SourceError, TruecallerError
from truecaller_async.models import (
    CallRecord,
    Outcome,
    Problem,
    RecordColumns,
    RecordResult,
    Rows,
)
from truecaller_async.models.journal_entries import BatchPlanned, RowsRead, SourceEnded, SourcePosition
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

PLAIN_RECORD_TYPES = frozenset({CallRecord})
"""Types for which whole columns can be checked: no subclass, no missing record."""


@attrs.define
class ReadSpan:
    """Rows read since the last plan."""

    first: int = 0
    """Number of the first row."""
    records: list[CallRecord | None] = attrs.field(factory=list)
    """Record of each row; None if the row could not be read as a record."""
    rejected: list[RecordResult] = attrs.field(factory=list)
    """Results of the rows that are not sent."""
    end: SourcePosition | None = None
    """Position in the source after the last row."""

    def add(self, rows: Rows) -> None:
        """Add rows that were read."""
        lines, offset = rows.end or (0, 0)
        self.first = self.first or rows.first
        self.end = SourcePosition(rows.first + len(rows) - 1, lines, offset)
        self.records += rows.records

    def results(self) -> list[RecordResult]:
        """Return a result for each row: that of a row that is not sent, otherwise unsent."""
        known = {result.row: result for result in self.rejected}
        return [
            known.get(row)
            or RecordResult(record, row, None if record is None else record.key, Outcome.UNSENT, STOPPED_BEFORE_SENDING)
            for row, record in enumerate(self.records, self.first)
        ]


class Intake:
    """Reads one source until its end or until the run stops. Without a reader nothing is left to read."""

    def __init__(self, run: Run, dispatcher: Dispatcher, dedupe: Dedupe, reader: RowReader | None) -> None:
        self._run = run
        self._tokens = dispatcher.tokens
        self._sender = dispatcher.sender
        self._dedupe = dedupe
        self._reader = reader
        self._chunker = Chunker(watermark=run.options.correlate == "watermark")
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
        self._room = Wakeup()
        self._read_timeout: asyncio.Timeout | None = None
        self.waits_for_credits = False
        """Whether reading waits until the consumer has taken results."""
        run.lifecycle.leftover_results = lambda: self._span.results()

    def notify(self) -> None:
        """Check again whether to read: the run has changed."""
        self._room.notify_all()
        if not self._run.lifecycle.is_running:
            self._cancel_read()

    async def read_all(self) -> None:
        """Read the source to its end and plan the batches."""
        run = self._run
        try:
            if self._reader is not None:
                await self._read(self._reader)
            self._flush()
        except Exception as error:  # noqa: BLE001 - the run ends in good order, whatever failed
            run.lifecycle.fail(error)
            self._flush_after_failure()
        await self._close()
        self._tokens.read_ahead_is_full = False
        # Last: from here on the run may end.
        run.lifecycle.end_reading()

    async def _read(self, reader: RowReader) -> None:
        run = self._run
        while run.lifecycle.is_running and (rows := await self._next_rows(reader)):
            await self._process(rows)
        if run.lifecycle.is_running:
            self._flush()
            run.recorder.record(SourceEnded())

    async def _next_rows(self, reader: RowReader) -> Rows | None:
        """Return rows for the current batch; None at the end of the source or if the run stops."""
        run = self._run
        await self._wait_for_room()
        if not run.lifecycle.is_running:
            return None
        try:
            # A timeout without a deadline. `_cancel_read` sets the deadline to now: it ends the read, not the task.
            async with asyncio.timeout(None) as self._read_timeout:
                return await reader.read_rows(min(self._chunker.free_slots, run.credits)) or None
        except TimeoutError:
            return None
        except asyncio.CancelledError:
            # The source itself raised CancelledError: report it as a fault of the source, not as a cancelled task.
            if is_being_cancelled():
                raise
            raise SourceError(
                f"the source raised CancelledError after row {run.progress.read}. Check the source",
                row=run.progress.read,
            ) from None
        finally:
            self._read_timeout = None

    async def _wait_for_room(self) -> None:
        """Wait until rows may be read: credits, a journal that is not behind, and a short queue."""
        run = self._run
        while (run.credits <= 0 or run.recorder.is_behind) and run.lifecycle.is_running:
            self.waits_for_credits = run.credits <= 0
            await self._room.wait()
        self.waits_for_credits = False
        is_full = run.queue.submits_waiting > self._read_ahead_target()
        self._tokens.read_ahead_is_full = is_full
        if is_full:
            self._tokens.consider_growth()
            await self._room.wait(run.now() + READ_PAUSE_SECONDS)

    def _cancel_read(self) -> None:
        reading, self._read_timeout = self._read_timeout, None
        if reading is not None:
            reading.reschedule(self._run.now())

    def _read_ahead_target(self) -> float:
        """Return the number of batches that keep the live tokens busy for `READ_AHEAD_SECONDS`."""
        return min(READ_AHEAD_MAX_BATCHES, max(1, self._tokens.live_count) * self._read_ahead_per_token)

    async def _process(self, rows: Rows) -> None:
        run = self._run
        self._span.add(rows)
        run.progress.read += len(rows)
        now_ms = run.deps.min_now_ms()
        columns = self._validated_columns(rows, now_ms)
        if columns is not None:
            content = self._chunker.add_all(rows.first, cast("list[CallRecord]", rows.records), columns)
        else:
            content = self._process_each(rows, now_ms)
        if content is not None or not len(self._chunker):
            self._plan(content)
            await asyncio.sleep(0)  # lets the workers start this batch before the next read
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
        return columns if self._dedupe.add_if_all_new(columns) else None

    def _process_each(self, rows: Rows, now_ms: int) -> BatchContent | None:
        """Check the rows one by one; return the content of the batch that became full, if any."""
        content = None
        for index, record in enumerate(rows.records):
            number = rows.first + index
            checked = self._check(number, record, rows.problems.get(index, ()), now_ms)
            if isinstance(checked, RecordResult):
                self._span.rejected.append(checked)
            else:
                content = self._chunker.add(number, *checked)
        return content

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
        if self._dedupe.is_repeat(record):
            return RecordResult(original, row, original.key, Outcome.DUPLICATE, "equal to an earlier row")
        return original, record

    def _plan(self, content: BatchContent | None) -> None:
        """Record the rows read since the last plan, and plan their batch if there is one."""
        span, run = self._span, self._run
        if span.end is None:
            return
        with run.recorder.transaction() as transaction:
            transaction.add_results(span.rejected, settled_entries(span.rejected, None))
            if content is not None:
                self._plan_batch(transaction, content)
            fingerprints = b"" if self._fingerprints is None else self._fingerprints.of(span.records)
            transaction.add(RowsRead(span.end, fingerprints))
            self._span = ReadSpan()

    def _plan_batch(self, transaction: Transaction, content: BatchContent) -> None:
        run = self._run
        seq = run.state.last_seq + 1
        payload = pack_records(content.originals) if run.stores_records else None
        batch = transaction.plan(BatchPlanned(seq, content.rows, payload=payload), seq, content)
        item = run.queue.enter(batch, run.queue.pairs.add(seq, content))
        if run.options.same_pair == "keep_last":
            self._supersede(transaction, item.batch.seq)

    def _supersede(self, transaction: Transaction, seq: int) -> None:
        """Settle older rows of the same pairs in waiting batches.

        The new batch then waits for the batches for which those wait.
        """
        queue = self._run.queue
        item = queue.find(seq)
        for earlier in sorted(item.blocked_by) if item is not None else ():
            waiting = queue.find_waiting(earlier)
            if item is None or waiting is None or waiting.batch.root_batch is not None:
                continue
            queue.block(item, waiting.blocked_by)
            item.blocked_by.discard(earlier)
            content = waiting.batch.open_content
            superseded = content.at(queue.pairs.superseded(earlier, content))
            self._sender.settle_unsent(transaction, waiting.batch, superseded, Outcome.UNSENT, SUPERSEDED)

    def _set_linger(self) -> None:
        if len(self._chunker) and self._linger is None:
            loop = asyncio.get_running_loop()
            self._linger = loop.call_later(self._run.options.linger, self._lingered)

    def _lingered(self) -> None:
        self._linger = None
        if self._run.lifecycle.is_running:
            try:
                self._flush()
            except Exception as defect:  # noqa: BLE001 - the run ends in good order, whatever failed
                self._run.lifecycle.fail(defect)

    def _flush(self) -> None:
        self._plan(self._chunker.flush())

    def _flush_after_failure(self) -> None:
        """Plan what was read before a fault of the source; after a defect the sweep gives the results."""
        if isinstance(self._run.lifecycle.fault, TruecallerError):
            try:
                self._flush()
            except Exception as defect:  # noqa: BLE001 - the run ends in good order, whatever failed
                self._run.lifecycle.fail(defect)

    async def _close(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
        if self._reader is None:
            return
        try:
            with cancelled_from_outside("the source, when it was closed,"):
                await self._reader.aclose()
        except Exception as error:  # noqa: BLE001 - the run ends in good order, whatever failed
            self._run.lifecycle.fail(error)


def _invalid(row: int, original: CallRecord | None, problems: tuple[Problem, ...]) -> RecordResult:
    reason = "; ".join(str(problem) for problem in problems)
    key = original.key if original is not None else None
    field = problems[0].field if problems else None
    return RecordResult(original, row, key, Outcome.INVALID, reason, field)
