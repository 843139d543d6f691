"""Continue the open batches of an earlier run.

Algorithm:
    1. Attach the records to each open batch (`source_check` has read them again).
    2. Enter the batches into the pair order, as they were read. The parts of a rejected batch take its place.
    3. Record `RunStarted`, and a lost answer for each attempt that was in flight.
    4. What the state of each batch says: planned batches wait to be sent, accepted ones are polled, rejected ones are
       isolated, and ambiguous ones follow the policy `on_ambiguous`.
Invariants:
    - No fact is copied: the batches of the loaded state are those of the run.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from truecaller_async.campaign.core.ambiguity import can_resend_abandoned, ended_by_crash
from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.batch_state import BatchState
from truecaller_async.campaign.core.isolation_rules import order_of
from truecaller_async.campaign.core.poll_schedule import PollSchedule
from truecaller_async.campaign.core.results import SUPERSEDED
from truecaller_async.campaign.outcomes import release_batch, settle_rows
from truecaller_async.campaign.recorder import Transaction
from truecaller_async.campaign.rows.chunker import with_watermark
from truecaller_async.campaign.run import Run
from truecaller_async.campaign.startup.source_check import RecoveredRows
from truecaller_async.campaign.workers.dispatcher import Dispatcher
from truecaller_async.models import CallRecord, Outcome
from truecaller_async.models.journal_entries import JournalEntry
from truecaller_async.validation.normalise import canonical

ANSWER_LOST = "the answer was lost"
WITHHELD = (
    f"sent, and {ANSWER_LOST}; not sent again, because a later row may replace it and the source cannot be read. "
    "Resume with the same source"
)
ID_NOT_KNOWN = "accepted by the server, but its batch id is not known"
NON_BLOCKING_STATES = (BatchState.ACCEPTED, BatchState.ABANDONED, BatchState.UNTRACKED)
"""States in which later batches of the same pairs do not wait."""


class CampaignResumer:
    """Continues the batches of earlier runs in a run. Use it once, before the dispatcher is opened."""

    def __init__(self, run: Run, dispatcher: Dispatcher, recovered: RecoveredRows) -> None:
        self._run = run
        self._sender = dispatcher.sender
        self._isolator = dispatcher.isolator
        self._recovered = recovered
        self._batches = run.state.open
        self._record_indexes: dict[int, dict[int, int]] = {}

    def resume(self, first_entries: Sequence[JournalEntry]) -> asyncio.Future[None] | None:
        """Record the start of the run, and continue every open batch.

        Args:
            first_entries: `RunStarted`, and the notes of the caller.

        Returns:
            A future that is done when this is durable; None if there is nothing to wait for.
        """
        run = self._run
        for batch in self._batches:
            batch.attach(self._content(batch))
        self._enter_pair_order()
        crashed = [batch for batch in self._batches if batch.state is BatchState.IN_FLIGHT]
        with run.recorder.transaction() as transaction:
            transaction.add(*first_entries)
            transaction.add(*(ended_by_crash(batch, run.deps.clock.wall()) for batch in crashed))
            for batch in self._batches:
                self._continue(transaction, batch)
        for batch in self._batches:
            run.queue.place(batch, run.now())
            self._isolator.check_refusals(batch)
        return transaction.durable

    def _content(self, batch: CampaignBatch) -> BatchContent:
        rows = batch.open_rows
        if batch.state is BatchState.ACCEPTED:
            rows = [row for row in batch.rows if row not in batch.excluded_rows]
        originals = [self._recovered.originals[row] for row in rows]
        return BatchContent.of(rows, originals, self._as_sent(batch, rows, originals))

    def _as_sent(self, batch: CampaignBatch, rows: Iterable[int], originals: Iterable[CallRecord]) -> list[CallRecord]:
        """Return the canonical records; with a watermark, they carry their index in the original batch."""
        records = [canonical(record) for record in originals]
        if self._run.options.correlate != "watermark":
            return records
        root = self._run.state.batch(batch.root_or_self)
        if root.seq not in self._record_indexes:
            self._record_indexes[root.seq] = {row: index for index, row in enumerate(root.rows)}
        indexes = self._record_indexes[root.seq]
        return [with_watermark(record, indexes[row]) for row, record in zip(rows, records, strict=True)]

    def _enter_pair_order(self) -> None:
        """Add the batches to the pair order as they were read."""
        queue = self._run.queue
        waiting: defaultdict[int, list[CampaignBatch]] = defaultdict(list)
        for batch in self._batches:
            if not self._does_not_block(batch):
                waiting[batch.root_or_self].append(batch)
        for root, batches in sorted(waiting.items()):
            parts = sorted(batches, key=lambda batch: batch.rows[0])
            earlier = queue.pairs.add(root, BatchContent.joined([part.open_content for part in parts]))
            within = order_of([(part.seq, part.open_content) for part in parts]) if parts[0].root_batch else {}
            for part in parts:
                # A part that is not sent, because its state is known, waits for nothing.
                queue.enter(part, (within.get(part.seq, set()) | earlier) if self._will_be_sent(part) else ())

    def _will_be_sent(self, batch: CampaignBatch) -> bool:
        if batch.seq in self._recovered.withheld:
            return False
        return batch.state in (BatchState.PLANNED, BatchState.STOPPED, BatchState.AMBIGUOUS, BatchState.IN_FLIGHT) or (
            can_resend_abandoned(batch, self._run.options)
        )

    def _does_not_block(self, batch: CampaignBatch) -> bool:
        if batch.seq in self._recovered.withheld:
            return True
        return batch.state in NON_BLOCKING_STATES and not can_resend_abandoned(batch, self._run.options)

    def _continue(self, transaction: Transaction, batch: CampaignBatch) -> None:
        if batch.seq in self._recovered.withheld:
            release_batch(transaction, batch, Outcome.UNKNOWN, WITHHELD)
            return
        match batch.state:
            case BatchState.PLANNED:
                self._settle_superseded(transaction, batch)
            case BatchState.AMBIGUOUS:
                self._sender.handle_lost_answer(transaction, batch, ANSWER_LOST)
            case BatchState.ABANDONED if self._run.state.policy_allows_resend(batch):
                self._settle_superseded(transaction, batch)
            case BatchState.ABANDONED:
                release_batch(transaction, batch, Outcome.UNKNOWN, f"sent, and {ANSWER_LOST}")
            case BatchState.ACCEPTED if batch.batch_id is not None:
                self._resume_polling(batch)
            case BatchState.ACCEPTED:
                settle_rows(transaction, batch, Outcome.DELIVERED)
            case BatchState.REJECTED:
                self._isolator.isolate(transaction, batch)
            case _:
                settle_rows(transaction, batch, Outcome.UNKNOWN, ID_NOT_KNOWN)

    def _settle_superseded(self, transaction: Transaction, batch: CampaignBatch) -> None:
        """Settle the rows that later rows of the same pairs have replaced since the batch was abandoned."""
        content = batch.open_content
        superseded = content.at([index for index, row in enumerate(content.rows) if row in self._recovered.superseded])
        self._sender.settle_unsent(transaction, batch, superseded, Outcome.UNKNOWN, SUPERSEDED)

    def _resume_polling(self, batch: CampaignBatch) -> None:
        run, queue = self._run, self._run.queue
        now = run.now()
        age = max(0.0, run.deps.clock.wall() - (batch.accepted_at or 0.0))
        item = queue.find(batch.seq) or queue.enter(batch)
        item.polls = PollSchedule(run.options.poll, now - age, queue.first_poll.delay)
        queue.add_poll(item, now)
