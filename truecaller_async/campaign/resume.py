"""Restore the open batches of an earlier run.

Algorithm:
    The journaled state of each batch decides: planned batches are queued, accepted ones are polled, rejected ones are
    isolated, and ambiguous ones follow the policy `on_ambiguous`.

Invariants:
    The pair order is restored first, batch by batch, so that each batch waits for the same batches as before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from truecaller_async.campaign.core.ambiguity import can_resend_abandoned
from truecaller_async.campaign.core.batch_state import BatchEvent, BatchState
from truecaller_async.campaign.core.campaign_state import JournaledBatch
from truecaller_async.campaign.core.chunker import with_watermark
from truecaller_async.campaign.core.outgoing_batch import OutgoingBatch, earliest_expiry
from truecaller_async.campaign.core.poll_schedule import PollSchedule
from truecaller_async.campaign.isolation import BatchRejection, isolate, keep_order
from truecaller_async.campaign.run import SUPERSEDED, Isolation, Run, TrackedBatch
from truecaller_async.campaign.sender import Sender
from truecaller_async.campaign.source_check import RecoveredRows
from truecaller_async.errors import BadRequest
from truecaller_async.models import CallRecord, Outcome
from truecaller_async.validation.normalise import canonical

ANSWER_LOST = "the answer was lost"
WITHHELD = (
    f"sent, and {ANSWER_LOST}; not sent again, because a later row may replace it and the source cannot be read. "
    "Resume with the same source"
)
TO_PLANNED = {BatchState.STOPPED: BatchEvent.RESUME, BatchState.ABANDONED: BatchEvent.RESEND}
"""Event that moves a batch of this state back to PLANNED."""
NON_BLOCKING_STATES = (BatchState.ACCEPTED, BatchState.ABANDONED, BatchState.UNTRACKED)
"""States in which later batches of the same pairs do not wait."""


class CampaignResumer:
    """Restores the batches of earlier runs into a run. Use it once, before the workers start."""

    def __init__(self, run: Run, sender: Sender, recovered: RecoveredRows) -> None:
        self._run = run
        self._sender = sender
        self._recovered = recovered
        self._batches = run.state.open
        self._record_indexes: dict[int, dict[int, int]] = {}
        self._outgoing = {journaled.seq: self._outgoing_batch(journaled) for journaled in self._batches}

    async def restore(self) -> None:
        """Restore every open batch: queue, poll, split or record it.

        Batches to send are queued first, with the batches that they wait for. Then the others are recorded or split,
        because this unblocks queued batches.
        """
        self._restore_pair_order()
        queued = [journaled for journaled in self._batches if self._will_be_sent(journaled)]
        others = [journaled for journaled in self._batches if not self._will_be_sent(journaled)]
        for journaled in queued:
            await self._requeue_batch(journaled, self._outgoing[journaled.seq])
        for journaled in others:
            batch = self._outgoing[journaled.seq]
            if journaled.seq in self._recovered.withheld:
                await self._record_unknown(batch, WITHHELD)
            else:
                await self._continue(journaled, batch)

    def _outgoing_batch(self, journaled: JournaledBatch) -> OutgoingBatch:
        rows = journaled.open_rows
        if journaled.state is BatchState.ACCEPTED:
            rows = [row for row in journaled.planned if row not in journaled.excluded_rows]
        originals = [self._recovered.originals[row] for row in rows]
        records = self._as_sent(journaled, rows, originals)
        return OutgoingBatch(
            journaled.seq,
            rows,
            originals,
            records,
            earliest_expiry(records),
            call=journaled.call,
            root_batch=journaled.root_batch,
            state=journaled.state,
            attempts=journaled.attempts,
            maybe_received=journaled.maybe_received,
            lost_answers=journaled.lost_answers,
            possibly_duplicated=journaled.possibly_duplicated,
            is_retry=journaled.lost_answers > 0,
        )

    def _as_sent(
        self, journaled: JournaledBatch, rows: Iterable[int], originals: Iterable[CallRecord]
    ) -> list[CallRecord]:
        """Return the canonical records; with a watermark, they carry their index in the original batch."""
        records = [canonical(record) for record in originals]
        if self._run.options.correlate != "watermark":
            return records
        first = journaled if journaled.root_batch is None else self._run.state.batch(journaled.root_batch)
        if first.seq not in self._record_indexes:
            self._record_indexes[first.seq] = {row: index for index, row in enumerate(first.planned)}
        indexes = self._record_indexes[first.seq]
        return [with_watermark(record, indexes[row]) for row, record in zip(rows, records, strict=True)]

    def _restore_pair_order(self) -> None:
        """Add the batches to the pair order as they were read.

        The parts of a rejected batch take the place of the whole batch.
        """
        waiting: defaultdict[int, list[JournaledBatch]] = defaultdict(list)
        for journaled in self._batches:
            if not self._does_not_block(journaled):
                waiting[journaled.root_batch or journaled.seq].append(journaled)
        for seq in sorted(waiting):
            if waiting[seq][0].root_batch is not None:
                parts = [self._outgoing[journaled.seq] for journaled in waiting[seq]]
                earlier = self._run.pairs.add(self._isolation(seq, parts).root)
                for journaled in filter(self._will_be_sent, waiting[seq]):
                    self._outgoing[journaled.seq].blocked_by |= earlier
            else:
                batch = self._outgoing[seq]
                batch.blocked_by = self._run.pairs.add(batch)

    def _will_be_sent(self, journaled: JournaledBatch) -> bool:
        if journaled.seq in self._recovered.withheld:
            return False
        return journaled.state in (BatchState.PLANNED, BatchState.STOPPED) or can_resend_abandoned(
            journaled, self._run.options
        )

    def _does_not_block(self, journaled: JournaledBatch) -> bool:
        if journaled.seq in self._recovered.withheld:
            return True
        return journaled.state in NON_BLOCKING_STATES and not can_resend_abandoned(journaled, self._run.options)

    def _isolation(self, root: int, parts: list[OutgoingBatch]) -> Isolation:
        """Continue the search for bad records among these parts of a rejected batch."""
        parts.sort(key=lambda part: part.rows[0])
        keep_order(parts)
        first = self._run.state.batch(root)
        root_batch = OutgoingBatch(
            root,
            [row for part in parts for row in part.rows],
            [record for part in parts for record in part.originals],
            [record for part in parts for record in part.wire_records],
            min(part.expires_ms for part in parts),
        )
        rejection = _rejection_of(first)
        isolation = Isolation(
            root_batch, rejection.reason, rejection.field, len(root_batch), len(first.planned), rejection.error
        )
        self._run.isolations[root] = isolation
        return isolation

    async def _requeue_batch(self, journaled: JournaledBatch, batch: OutgoingBatch) -> None:
        """Remove the superseded records of an abandoned batch, then requeue the rest.

        `prune()` discards an empty batch.
        """
        run = self._run
        superseded = [index for index, row in enumerate(batch.rows) if row in self._recovered.superseded]
        removed = batch.remove(superseded)
        await run.record_results(run.removed_results(batch, removed, Outcome.UNKNOWN, SUPERSEDED), batch.seq)
        event = TO_PLANNED.get(journaled.state)
        if event is not None:
            batch.apply(event)
        await run.requeue(batch)

    async def _continue(self, journaled: JournaledBatch, batch: OutgoingBatch) -> None:
        run = self._run
        match journaled.state:
            case BatchState.AMBIGUOUS:
                await self._sender.handle_lost_answer(batch, ANSWER_LOST)
            case BatchState.ACCEPTED if journaled.batch_id is not None:
                self._resume_polling(journaled, batch, journaled.batch_id)
            case BatchState.ACCEPTED:
                await self._record_common_outcome(batch, Outcome.DELIVERED, None)
            case BatchState.REJECTED:
                await isolate(run, batch, _rejection_of(journaled))
            case BatchState.UNTRACKED:
                await self._record_common_outcome(
                    batch, Outcome.UNKNOWN, "accepted by the server, but its batch id is not known"
                )
            case _:
                await self._record_unknown(batch, f"sent, and {ANSWER_LOST}")

    def _resume_polling(self, journaled: JournaledBatch, batch: OutgoingBatch, batch_id: str) -> None:
        run = self._run
        now = run.now()
        age = max(0.0, run.deps.clock.wall() - (journaled.accepted_at or 0.0))
        schedule = PollSchedule(run.options.poll, now - age, run.first_poll.delay)
        still_open = {index for index, row in enumerate(batch.rows) if row not in journaled.closed}
        run.accepted[batch.seq] = TrackedBatch(batch, batch_id, schedule, still_open)
        run.batch_ids.add(batch_id)
        run.queue.add_poll(batch.seq, now)

    async def _record_unknown(self, batch: OutgoingBatch, reason: str) -> None:
        """Record the records as unknown, not final: this run does nothing more for them."""
        results = self._run.results(batch, range(len(batch)), Outcome.UNKNOWN, reason)
        await self._run.record_results(results, batch.seq, final=False)

    async def _record_common_outcome(self, batch: OutgoingBatch, outcome: Outcome, reason: str | None) -> None:
        await self._run.record_results(self._run.results(batch, range(len(batch)), outcome, reason), batch.seq)


def _rejection_of(journaled: JournaledBatch) -> BatchRejection:
    """Return the rejection of a batch as the journal has it."""
    reason = journaled.reason or "rejected without a reason"
    return BatchRejection(reason, journaled.field, BadRequest(400, message=reason, field=journaled.field))
