"""From the source to planned batches.

The source is asked for as many rows as there are credits, at most a batch at a time. Each row is counted, checked,
compared with the rows before it, and put into the chunker; a row that cannot be sent gets its result at once. A draft
that is full, or has lingered, is planned: the journal hears of it, the order of its pairs is noted, the lanes may
have it. When the run stops, reading stops at the next row, wherever the source is waiting.
"""

from __future__ import annotations

import asyncio

from truecaller_async.engine.run import Run
from truecaller_async.errors import TruecallerError
from truecaller_async.models import CallRecord, Outcome, Planned, Problem, RecordResult, Row
from truecaller_async.options import BATCH_MAX
from truecaller_async.planning.draft import Draft
from truecaller_async.planning.pace import at_once, rate_of
from truecaller_async.planning.preflight import RULE_PAST, canonical, preflight
from truecaller_async.sources import RowReader

READ_AHEAD = 0.25
"""Seconds of work for the live tokens that are read as fast as the source gives."""

UNHURRIED = 0.02
"""Seconds between two reads beyond that: reading on is useful, but must not hold up what can be sent now."""

SUPERSEDED = "a later row of the same caller and receiver replaces it"


class Intake:
    """Reads one source to its end, or until the run stops."""

    def __init__(self, run: Run, source: object) -> None:
        self._run = run
        self._reader = RowReader(source)
        self._linger: asyncio.TimerHandle | None = None
        self._margin_ms = int(run.options.expiry_margin * 1000)
        self.waits_for_credits = False

    async def read_all(self) -> None:
        """The whole life of the intake."""
        run = self._run
        try:
            while run.running and (rows := await self._next_rows()):
                await self._admit(rows)
            await self._flush()
        except TruecallerError as error:
            run.fail(error)
        finally:
            await self._close()
            run.source_done = True
            run.more_waits = False
            run.check_done()
            run.alarm.ring()

    async def _next_rows(self) -> list[Row]:
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
        reading = asyncio.ensure_future(self._reader.read(min(BATCH_MAX, run.credits)))
        stopping = asyncio.ensure_future(run.stopped.wait())
        await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not reading.done():
            reading.cancel()
        await asyncio.wait((reading, stopping))
        return [] if reading.cancelled() else reading.result()

    def _enough(self) -> float:
        """Batches that keep the live tokens busy for a while; beyond them, sending comes before reading."""
        pool = self._run.core.pool
        each = max(at_once(pool.limits, "submit"), READ_AHEAD * rate_of(pool.limits, "submit"))
        return max(1, len(pool.live())) * each

    async def _admit(self, rows: list[Row]) -> None:
        run = self._run
        run.tally.read += len(rows)
        now_ms = run.wall_ms()
        refused: list[RecordResult] = []
        full: list[Draft] = []
        for row in rows:
            checked = self._check(row, now_ms)
            if isinstance(checked, RecordResult):
                refused.append(checked)
                continue
            given, record = checked
            draft = run.chunker.add(row.number, given, record)
            if draft is not None:
                full.append(draft)
        await run.settle(refused)
        for draft in full:
            await self._plan(draft)
        self._set_linger()

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

    async def _plan(self, draft: Draft) -> None:
        run = self._run
        if not await run.write(Planned(draft.seq, tuple(draft.rows))):
            await run.leave_unsent([draft])
            return
        earlier = run.pairs.enter(draft)
        if run.options.same_pair == "keep_last":
            earlier = {seq for seq in earlier if not await self._supersede(seq)}
        draft.after = earlier
        await run.put_back(draft)
        run.alarm.ring()

    async def _supersede(self, seq: int) -> bool:
        """Take older records of the same pairs out of a draft that waits; False if it does not wait any more."""
        run = self._run
        waiting = run.schedule.find(seq)
        if waiting is None:
            return False
        taken = waiting.take_out(run.pairs.superseded(waiting))
        run.schedule.shrank(len(taken))
        await run.settle(run.taken_out(waiting, taken, Outcome.UNSENT, SUPERSEDED), seq)
        return True

    def _set_linger(self) -> None:
        if len(self._run.chunker) and self._linger is None:
            self._linger = self._run.loop.call_later(self._run.options.linger, self._lingered)

    def _lingered(self) -> None:
        self._linger = None
        if self._run.running:
            self._run.spawn(self._flush())

    async def _flush(self) -> None:
        draft = self._run.chunker.flush()
        if draft is not None:
            await self._plan(draft)

    async def _close(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
        try:
            await self._reader.aclose()
        except TruecallerError as error:
            self._run.fail(error)


def _invalid(row: Row, problems: tuple[Problem, ...]) -> RecordResult:
    reason = "; ".join(str(problem) for problem in problems)
    key = row.record.key if row.record is not None else None
    field = problems[0].field if problems else None
    return RecordResult(row.record, row.number, key, Outcome.INVALID, reason, field)
