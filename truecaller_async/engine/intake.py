"""From the source to planned batches.

The source is asked for as many rows as there are credits, at most a batch at a time. Each row is counted, checked,
compared with the rows before it, and put into the chunker; a row that cannot be sent waits for the batch that is being
filled. A draft that is full, or has lingered, is planned: the journal hears in one transaction of the batch, of the
rows between its rows that are not sent, and how far the source has been read. So the rows of a journal have no gaps,
and reading goes on where it stopped. Then the order of its pairs is noted, and the lanes may have it.

Planning waits for the disk, reading does not: a few plans may be on their way to the journal at once, and come back in
order. When the run stops, reading stops at the next row, wherever the source is waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque

import attrs

from truecaller_async.engine.run import Run, settled
from truecaller_async.errors import SourceError, TruecallerError
from truecaller_async.models import (
    CallRecord,
    Entry,
    Outcome,
    Place,
    Planned,
    Problem,
    Read,
    RecordResult,
    Row,
    SourceEnded,
)
from truecaller_async.options import BATCH_MAX
from truecaller_async.planning.draft import Draft
from truecaller_async.planning.pace import at_once, rate_of
from truecaller_async.planning.payload import packed
from truecaller_async.planning.preflight import RULE_PAST, canonical, preflight
from truecaller_async.planning.prints import Prints
from truecaller_async.sources import RowReader

READ_AHEAD = 0.25
"""Seconds of work for the live tokens that are read as fast as the source gives."""

UNHURRIED = 0.02
"""Seconds between two reads beyond that: reading on is useful, but must not hold up what can be sent now."""

PLANS_ON_THEIR_WAY = 16
"""Plans that the journal has not yet confirmed, at most."""

SUPERSEDED = "a later row of the same caller and receiver replaces it"


@attrs.define
class Stretch:
    """The rows that were read since the last plan: what they say, and the results of those that are not sent."""

    records: list[CallRecord | None] = attrs.field(factory=list)
    refused: list[RecordResult] = attrs.field(factory=list)
    end: Place | None = None

    def add(self, row: Row) -> None:
        """One row more was read."""
        lines, offset = row.end or (0, 0)
        self.end = Place(row.number, lines, offset)
        self.records.append(row.record)


class Intake:
    """Reads one source to its end, or until the run stops. Without a reader there is nothing left to read."""

    def __init__(self, run: Run, reader: RowReader | None) -> None:
        self._run = run
        self._reader = reader
        self._linger: asyncio.TimerHandle | None = None
        self._margin_ms = int(run.options.expiry_margin * 1000)
        self._stretch = Stretch()
        self._prints = Prints(run.standing.begun.salt) if run.journal.resumable and run.standing.begun else None
        self._plans: deque[asyncio.Task[None]] = deque()
        self.waits_for_credits = False

    async def read_all(self) -> None:
        """The whole life of the intake."""
        run = self._run
        try:
            if self._reader is not None:
                await self._read(self._reader)
        except TruecallerError as error:
            run.fail(error)
        finally:
            self._flush()
            await self._planned()
            await self._close()
            run.source_done = True
            run.more_waits = False
            run.check_done()
            run.alarm.ring()

    async def _read(self, reader: RowReader) -> None:
        run = self._run
        while run.running and (rows := await self._next_rows(reader)):
            await self._admit(rows)
        if run.running:
            self._flush()
            await self._planned()
            await run.write(SourceEnded())

    async def _next_rows(self, reader: RowReader) -> list[Row]:
        """Up to one batch of rows; none at the end, or when the run stops meanwhile."""
        run = self._run
        while run.credits <= 0 and run.running:
            self.waits_for_credits = True
            await run.alarm.wait()
        self.waits_for_credits = False
        run.more_waits = run.schedule.batches > self._enough()
        if run.more_waits:
            run.alarm.ring()
            await run.alarm.wait(run.now() + UNHURRIED)
        if not run.running:
            return []
        reading = asyncio.ensure_future(reader.read(min(BATCH_MAX, run.credits)))
        stopping = asyncio.ensure_future(run.stopped.wait())
        await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not reading.done():
            reading.cancel()
        await asyncio.wait((reading, stopping))
        if not reading.cancelled():
            return reading.result()
        if run.running:
            raise SourceError(f"the source was cancelled after row {run.tally.read}", row=run.tally.read)
        return []

    def _enough(self) -> float:
        """Batches that keep the live tokens busy for a while; beyond them, sending comes before reading."""
        pool = self._run.core.pool
        each = max(at_once(pool.limits, "submit"), READ_AHEAD * rate_of(pool.limits, "submit"))
        return max(1, len(pool.live())) * each

    async def _admit(self, rows: list[Row]) -> None:
        run = self._run
        run.tally.read += len(rows)
        now_ms = run.surely_ms()
        for row in rows:
            self._stretch.add(row)
            checked = self._check(row, now_ms)
            if isinstance(checked, RecordResult):
                self._stretch.refused.append(checked)
                continue
            given, record = checked
            draft = run.chunker.add(row.number, given, record)
            if draft is not None:
                self._begin_plan(draft)
        if not len(run.chunker):
            self._begin_plan(None)
        self._set_linger()
        while len(self._plans) > PLANS_ON_THEIR_WAY:
            await asyncio.wait([self._plans[0]])

    def _check(self, row: Row, now_ms: int) -> RecordResult | tuple[CallRecord, CallRecord]:
        """The record as given and in canonical form, or the result that keeps it from being sent."""
        run = self._run
        given = row.record
        if given is None:
            return _invalid(row, row.problems)
        record, problems = preflight(given, now_ms) if run.options.validate else (canonical(given), ())
        expired = isinstance(record.ends_at, int) and record.ends_at <= now_ms + self._margin_ms
        if problems and not (expired and all(problem.rule == RULE_PAST for problem in problems)):
            return _invalid(row, problems)
        if expired:
            reason = f"its window closes in less than {run.options.expiry_margin:g} s, or has closed"
            return RecordResult(given, row.number, given.key, Outcome.EXPIRED, reason, "ends_at")
        if run.dedupe.is_repeat(record):
            return RecordResult(given, row.number, given.key, Outcome.DUPLICATE, "equal to an earlier row")
        return given, record

    def _begin_plan(self, draft: Draft | None) -> None:
        """Plan what was read since the last plan, behind the plans that are on their way."""
        stretch, self._stretch = self._stretch, Stretch()
        if stretch.end is None:
            return
        before = self._plans[-1] if self._plans else None
        self._plans.append(self._run.employ(self._plan(draft, stretch, stretch.end, before)))
        self._plans[-1].add_done_callback(lambda _: self._plans.popleft())

    async def _plan(self, draft: Draft | None, stretch: Stretch, end: Place, before: asyncio.Task[None] | None) -> None:
        run = self._run
        entries: list[Entry] = list(settled(stretch.refused, None))
        if draft is not None:
            payload = packed(draft.given) if run.keeps_payloads else None
            entries.append(Planned(draft.seq, tuple(draft.rows), payload=payload))
        entries.append(Read(end, self._prints.of(stretch.records) if self._prints is not None else b""))
        kept = await run.write(*entries)
        if before is not None:
            await asyncio.wait([before])
        if stretch.refused:
            run.publish(stretch.refused, final=kept)
        if draft is None:
            return
        if kept:
            await self._enter(draft)
        else:
            await run.leave_unsent([draft])
        run.alarm.ring()

    async def _enter(self, draft: Draft) -> None:
        """The draft is planned: it may go when what it must come after has gone."""
        run = self._run
        draft.after = run.pairs.enter(draft)
        superseded = self._supersede(draft) if run.options.same_pair == "keep_last" else {}
        await run.put_back(draft)
        if superseded:
            kept = await run.write(*(entry for seq, gone in superseded.items() for entry in settled(gone, seq)))
            for gone in superseded.values():
                run.publish(gone, final=kept)

    def _supersede(self, draft: Draft) -> dict[int, list[RecordResult]]:
        """Take older records of its pairs out of the drafts that wait; it comes after what those come after.

        Nothing is awaited here: what it comes after, and what waits, would be others then.
        """
        run = self._run
        superseded = {}
        for seq in sorted(draft.after):
            waiting = run.schedule.find(seq)
            if waiting is None:
                continue
            draft.after = (draft.after | waiting.after) - {seq}
            taken = waiting.take_out(run.pairs.superseded(waiting))
            run.schedule.shrank(len(taken))
            if taken:
                superseded[seq] = run.taken_out(waiting, taken, Outcome.UNSENT, SUPERSEDED)
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


def _invalid(row: Row, problems: tuple[Problem, ...]) -> RecordResult:
    reason = "; ".join(str(problem) for problem in problems)
    key = row.record.key if row.record is not None else None
    field = problems[0].field if problems else None
    return RecordResult(row.record, row.number, key, Outcome.INVALID, reason, field)
