"""Taking up again what an earlier run left open.

The journal says in which state each batch was left, and the state says what may be done: what was planned is sent, what
was accepted is asked for, what was refused is isolated, and what may have been applied without our knowing goes by the
caller's policy. The order of pairs is entered first, batch by batch, so that what waits for another waits again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from truecaller_async.engine.isolation import BatchRejection, isolate, keep_order
from truecaller_async.engine.run import Isolation, Run, TrackedBatch
from truecaller_async.engine.sender import Sender
from truecaller_async.engine.source_check import RecoveredRows
from truecaller_async.errors import BadRequest
from truecaller_async.models import CallRecord, Outcome
from truecaller_async.planning.ambiguity import can_resend_abandoned
from truecaller_async.planning.batch_state import BatchEvent, BatchState
from truecaller_async.planning.campaign_state import JournaledBatch
from truecaller_async.planning.chunker import with_watermark
from truecaller_async.planning.outgoing_batch import OutgoingBatch, earliest_expiry
from truecaller_async.planning.poll_schedule import PollSchedule
from truecaller_async.validation.normalise import canonical

OUTDATED = "a later row of the same caller and receiver was read after it"
ANSWER_LOST = "the answer was lost"
WITHHELD = (
    f"sent, and {ANSWER_LOST}; not sent again, because a later row may be of the same caller and receiver, and rows "
    "that were read before cannot be seen again: give the same source"
)
TO_PLANNED = {BatchState.STOPPED: BatchEvent.RESUME, BatchState.ABANDONED: BatchEvent.RESEND}
ABANDONED_STATES = (BatchState.ACCEPTED, BatchState.ABANDONED, BatchState.UNTRACKED)
"""States in which later batches of the same pairs need not wait."""


class CampaignResumer:
    """What one run takes up from another. It is used once, before anything else of the run begins."""

    def __init__(self, run: Run, sender: Sender, recovered: RecoveredRows) -> None:
        self._run = run
        self._sender = sender
        self._recovered = recovered
        self._batches = run.state.open
        self._places: dict[int, dict[int, int]] = {}
        self._drafts = {batch.seq: self._draft(batch) for batch in self._batches}

    async def restore(self) -> None:
        """Give every open batch back to the run.

        First those that wait to be sent, and what they wait for; then those that may be settled or split at once,
        because that is told to who waits already.
        """
        self._enter_pairs()
        waiting = [batch for batch in self._batches if self._is_to_be_sent(batch)]
        others = [batch for batch in self._batches if not self._is_to_be_sent(batch)]
        for batch in waiting:
            await self._requeue_batch(batch, self._drafts[batch.seq])
        for batch in others:
            draft = self._drafts[batch.seq]
            if batch.seq in self._recovered.withheld:
                await self._leave(draft, WITHHELD)
            else:
                await self._go_on(batch, draft)

    def _draft(self, batch: JournaledBatch) -> OutgoingBatch:
        rows = batch.open_rows
        if batch.state is BatchState.ACCEPTED:
            rows = [row for row in batch.planned if row not in batch.excluded_rows]
        given = [self._recovered.originals[row] for row in rows]
        records = self._as_sent(batch, rows, given)
        return OutgoingBatch(
            batch.seq,
            rows,
            given,
            records,
            earliest_expiry(records),
            call=batch.call,
            root_batch=batch.root_batch,
            state=batch.state,
            attempts=batch.attempts,
            maybe_received=batch.maybe_received,
            lost_answers=batch.lost_answers,
            possibly_duplicated=batch.possibly_duplicated,
            is_retry=batch.lost_answers > 0,
        )

    def _as_sent(self, batch: JournaledBatch, rows: Iterable[int], given: Iterable[CallRecord]) -> list[CallRecord]:
        """The records in the form in which they are sent: with a watermark, their place in their first batch."""
        records = [canonical(record) for record in given]
        if self._run.options.correlate != "watermark":
            return records
        first = batch if batch.root_batch is None else self._run.state.batch(batch.root_batch)
        if first.seq not in self._places:
            self._places[first.seq] = {row: place for place, row in enumerate(first.planned)}
        places = self._places[first.seq]
        return [with_watermark(record, places[row]) for row, record in zip(rows, records, strict=True)]

    def _enter_pairs(self) -> None:
        """In the order of the batches as they were read; the parts of a refused one stand where the whole stood."""
        waiting: defaultdict[int, list[JournaledBatch]] = defaultdict(list)
        for batch in self._batches:
            if not self._is_abandoned(batch):
                waiting[batch.root_batch or batch.seq].append(batch)
        for seq in sorted(waiting):
            if waiting[seq][0].root_batch is not None:
                parts = [self._drafts[batch.seq] for batch in waiting[seq]]
                earlier = self._run.pairs.add(self._isolation(seq, parts).root)
                for batch in filter(self._is_to_be_sent, waiting[seq]):
                    self._drafts[batch.seq].blocked_by |= earlier
            else:
                draft = self._drafts[seq]
                draft.blocked_by = self._run.pairs.add(draft)

    def _is_to_be_sent(self, batch: JournaledBatch) -> bool:
        if batch.seq in self._recovered.withheld:
            return False
        return batch.state in (BatchState.PLANNED, BatchState.STOPPED) or can_resend_abandoned(batch, self._run.options)

    def _is_abandoned(self, batch: JournaledBatch) -> bool:
        if batch.seq in self._recovered.withheld:
            return True
        return batch.state in ABANDONED_STATES and not can_resend_abandoned(batch, self._run.options)

    def _isolation(self, root: int, parts: list[OutgoingBatch]) -> Isolation:
        """The search for a bad record among these parts of a refused batch goes on."""
        parts.sort(key=lambda part: part.rows[0])
        keep_order(parts)
        first = self._run.state.batch(root)
        whole = OutgoingBatch(
            root,
            [row for part in parts for row in part.rows],
            [record for part in parts for record in part.originals],
            [record for part in parts for record in part.wire_records],
            min(part.expires_ms for part in parts),
        )
        said = _refusal_of(first)
        isolation = Isolation(whole, said.reason, said.field, len(whole), len(first.planned), said.error)
        self._run.isolations[root] = isolation
        return isolation

    async def _requeue_batch(self, batch: JournaledBatch, draft: OutgoingBatch) -> None:
        """What was let go may have been overtaken: then its records are not sent. One that is empty sends nothing."""
        run = self._run
        outdated = [place for place, row in enumerate(draft.rows) if row in self._recovered.outdated]
        taken = draft.remove(outdated)
        await run.record_results(run.removed_results(draft, taken, Outcome.UNKNOWN, OUTDATED), draft.seq)
        event = TO_PLANNED.get(batch.state)
        if event is not None:
            draft.apply(event)
        await run.requeue(draft)

    async def _go_on(self, batch: JournaledBatch, draft: OutgoingBatch) -> None:
        run = self._run
        match batch.state:
            case BatchState.AMBIGUOUS:
                await self._sender.handle_lost_answer(draft, ANSWER_LOST)
            case BatchState.ACCEPTED if batch.batch_id is not None:
                self._resume_polling(batch, draft, batch.batch_id)
            case BatchState.ACCEPTED:
                await self._settle(draft, Outcome.DELIVERED, None)
            case BatchState.REJECTED:
                await isolate(run, draft, _refusal_of(batch))
            case BatchState.UNTRACKED:
                await self._settle(draft, Outcome.UNKNOWN, "taken by the server, but its batch id is not known")
            case _:
                await self._leave(draft, f"sent, and {ANSWER_LOST}")

    def _resume_polling(self, batch: JournaledBatch, draft: OutgoingBatch, batch_id: str) -> None:
        run = self._run
        now = run.now()
        age = max(0.0, run.deps.clock.wall() - (batch.accepted_at or 0.0))
        plan = PollSchedule(run.options.poll, now - age, run.first_poll.delay)
        still_open = {place for place, row in enumerate(draft.rows) if row not in batch.closed}
        run.accepted[draft.seq] = TrackedBatch(draft, batch_id, plan, still_open)
        run.batch_ids.add(batch_id)
        run.queue.add_poll(draft.seq, now)

    async def _leave(self, draft: OutgoingBatch, reason: str) -> None:
        """Nothing more is done in this run."""
        results = self._run.results(draft, range(len(draft)), Outcome.UNKNOWN, reason)
        await self._run.record_results(results, draft.seq, final=False)

    async def _settle(self, draft: OutgoingBatch, outcome: Outcome, reason: str | None) -> None:
        await self._run.record_results(self._run.results(draft, range(len(draft)), outcome, reason), draft.seq)


def _refusal_of(batch: JournaledBatch) -> BatchRejection:
    """What the server said of a batch, as the journal has it."""
    reason = batch.reason or "refused without a reason"
    return BatchRejection(reason, batch.field, BadRequest(400, message=reason, field=batch.field))
