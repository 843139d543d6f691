"""Carry out the search for the bad records of a rejected batch (`core.isolation_rules`).

Invariants:
    - The parts are planned in the transaction that records the rejection, so no crash separates them.
"""

from __future__ import annotations

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.campaign.core.isolation_rules import (
    NOT_FOUND_REASON,
    Method,
    SearchSettings,
    method_for,
    method_for_merged,
    order_of,
    parts_of,
)
from truecaller_async.campaign.core.pair_order import replaced_in_batch
from truecaller_async.campaign.core.results import STOPPED_BEFORE_SENDING, SUPERSEDED
from truecaller_async.campaign.core.work_queue import Place
from truecaller_async.campaign.outcomes import release_batch, settle_rows
from truecaller_async.campaign.recorder import Transaction
from truecaller_async.campaign.rows.stored_records import pack_records
from truecaller_async.campaign.run import Run
from truecaller_async.errors import APIStatusError, BadRequest, TruecallerError
from truecaller_async.models import Outcome
from truecaller_async.models.journal_entries import BatchPlanned

SAME_REJECTIONS_MAX = 3
"""The run fails after this many complete rejections with one reason, with no accepted batch in between."""

NO_REASON = "rejected without a reason"


class Isolator:
    """Finds the bad records of the rejected batches of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._errors: dict[int, TruecallerError] = {}

    def isolate(self, transaction: Transaction, batch: CampaignBatch, error: TruecallerError | None = None) -> None:
        """Split a rejected batch to find its bad records, or fail all its records.

        Args:
            transaction: The transaction that records the rejection.
            batch: The batch, in the state `rejected`.
            error: The error of the request; None after a resume.
        """
        if batch.root_batch is None:
            self._errors[batch.seq] = error or BadRequest(400, message=batch.reason or NO_REASON, field=batch.field)
        if batch.lost_answers:
            self._settle_replaced(transaction, batch)
        too_large = isinstance(error, APIStatusError) and error.status == 413
        method = method_for(batch, self._root(batch).isolation, self._search_settings(), is_too_large=too_large)
        match method:
            case Method.FAIL:
                self._fail_batch(transaction, batch, batch.reason or NO_REASON, batch.field)
            case Method.STOP:
                outcome = Outcome.UNKNOWN if batch.lost_answers else Outcome.UNSENT
                release_batch(transaction, batch, outcome, STOPPED_BEFORE_SENDING)
            case _:
                self._split(transaction, batch, method)

    def push_rejected(self, transaction: Transaction, batch: CampaignBatch) -> None:
        """Record a rejected single record, and end the search after too many equal rejections."""
        root = self._root(batch)
        settle_rows(transaction, batch, Outcome.FAILED, batch.reason or NO_REASON, batch.field)
        if root.isolation is not None and root.isolation.ended_early:
            for single in self._waiting_pushes(root.seq):
                self._fail_batch(transaction, single, root.reason or NO_REASON, root.field)

    def switch_to_bisect(self, transaction: Transaction, batch: CampaignBatch) -> None:
        """Merge the queued single records of a batch into one batch after a 403."""
        run = self._run
        root = self._root(batch)
        singles = self._mergeable_pushes(batch, root.seq)
        content = BatchContent.joined([single.open_content for single in singles])
        seq = run.state.last_seq + 1
        payload = pack_records(content.originals) if run.stores_records else None
        for single in singles:
            run.queue.split(single.seq, [seq])
        try:
            for single in singles:
                transaction.add(BatchPlanned(seq, single.rows, single.seq, payload=payload))
        finally:  # also after a defect: the sweep needs the records of the rows that were moved
            merged = transaction.changed.get(seq)
            if merged is not None:
                merged.attach(content if len(merged.rows) == len(content) else content.at(range(len(merged.rows))))
        merged = transaction.changed[seq]
        method = method_for_merged(len(content), root.isolation)
        if method is not Method.WHOLE:
            self._split(transaction, merged, method)

    def check_refusals(self, batch: CampaignBatch) -> None:
        """Fail the run after too many complete rejections with one reason. Call it after a transaction."""
        run = self._run
        if max(run.state.run.refusals_by_reason.values(), default=0) >= SAME_REJECTIONS_MAX:
            error = self._errors.get(batch.root_or_self)
            run.lifecycle.fail(error or BadRequest(400, message=batch.reason or NO_REASON, field=batch.field))
        # Errors of searches that have ended; there are few.
        for seq in [seq for seq in self._errors if seq not in run.state.batches]:
            del self._errors[seq]

    def _settle_replaced(self, transaction: Transaction, batch: CampaignBatch) -> None:
        """Settle the rows that later rows of the same batch replace, before an ambiguous batch is split.

        The lost attempt may have applied both. Sent one by one, the window of the later row may close before it is
        sent again, and the older one would stay.
        """
        content = batch.open_content
        replaced = content.at(replaced_in_batch(content.wire_records))
        settle_rows(transaction, batch, Outcome.UNKNOWN, f"the answer was lost, and {SUPERSEDED}", content=replaced)

    def _split(self, transaction: Transaction, batch: CampaignBatch, method: Method) -> None:
        run = self._run
        root = self._root(batch)
        if method is Method.FAIL_NOT_FOUND:
            self._fail_batch(transaction, batch, f"{NOT_FOUND_REASON}: {root.reason}", root.field)
            return
        first = run.state.last_seq + 1
        parts = list(enumerate(parts_of(batch.open_content, method), first))
        blocked_by = order_of(parts)
        if batch.root_batch is not None:  # others wait for the root as a whole
            run.queue.split(batch.seq, [seq for seq, _ in parts])
        call = "push" if method is Method.SINGLES else "submit"
        for seq, content in parts:
            payload = pack_records(content.originals) if run.stores_records else None
            entry = BatchPlanned(seq, content.rows, batch.seq, call, payload)
            run.queue.enter(transaction.plan(entry, seq, content), blocked_by[seq])

    def _fail_batch(self, transaction: Transaction, batch: CampaignBatch, reason: str, field: str | None) -> None:
        """Record the batch as failed, or as unknown if an answer was lost before."""
        if batch.lost_answers:
            reason = f"an answer was lost, and the resent batch was rejected: {reason}"
            settle_rows(transaction, batch, Outcome.UNKNOWN, reason, field)
        else:
            settle_rows(transaction, batch, Outcome.FAILED, reason, field)

    def _waiting_pushes(self, root: int) -> list[CampaignBatch]:
        state, queue = self._run.state, self._run.queue
        return [part for part in state.parts_of(root) if part.call == "push" and queue.find_waiting(part.seq)]

    def _mergeable_pushes(self, batch: CampaignBatch, root: int) -> list[CampaignBatch]:
        """Return this record and the queued records of its batch that wait for no record in flight."""
        taken = {batch.seq: batch}
        for single in self._waiting_pushes(root):
            if self._blocked_by(single) <= taken.keys():
                taken[single.seq] = single
        return sorted(taken.values(), key=lambda single: single.rows[0])

    def _blocked_by(self, batch: CampaignBatch) -> set[int]:
        item = self._run.queue.find(batch.seq)
        return set() if item is None or item.place is Place.NOWHERE else item.blocked_by

    def _root(self, batch: CampaignBatch) -> CampaignBatch:
        return self._run.state.batches[batch.root_or_self]

    def _search_settings(self) -> SearchSettings:
        run = self._run
        return SearchSettings(run.options.isolate, run.state.run.realtime_allowed, run.lifecycle.is_running)
