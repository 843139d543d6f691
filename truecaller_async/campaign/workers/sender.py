"""Send one batch, and record how the attempt ended and what follows from it.

Algorithm:
    The dispatcher has recorded `AttemptStarted`, and has a permit and a grant. Wait until the intent and the note of
    the permit are durable, send, then record the end of the attempt and what follows for sure, in one transaction.
Invariants:
    - The first byte is sent only after `AttemptStarted` is durable.
    - Each permit and each grant ends, and each attempt gets its `AttemptEnded`, also after a defect: `not_sent` if the
      request had not begun, otherwise `lost`.
"""

from __future__ import annotations

import asyncio

import attrs

from truecaller_async.campaign.core.batch import CampaignBatch, allows_resend
from truecaller_async.campaign.core.batch_content import BatchContent, expiry_times
from truecaller_async.campaign.core.batch_state import BatchEvent, event_of
from truecaller_async.campaign.core.pair_order import earlier_in_batch
from truecaller_async.campaign.core.results import SUPERSEDED
from truecaller_async.campaign.core.work_queue import QueuedBatch
from truecaller_async.campaign.outcomes import release_batch, settle_rows
from truecaller_async.campaign.recorder import Transaction
from truecaller_async.campaign.run import Run
from truecaller_async.campaign.workers.isolation import Isolator
from truecaller_async.campaign.workers.token_use import StorePause, TokenUse
from truecaller_async.errors import (
    APIStatusError,
    AuthenticationFailed,
    DecodeError,
    PushRejected,
    RateLimited,
    TruecallerError,
)
from truecaller_async.models import Batch, Outcome, PushAnswer
from truecaller_async.models.journal_entries import AttemptEnded, BatchAbandoned
from truecaller_async.resilience.backoff import full_jitter
from truecaller_async.resilience.service_guard import Grant
from truecaller_async.tokens import TokenPermit

UNTRACKED_MAX = 3
"""The run fails after this many consecutive accepted requests without a batch id: the next would be lost as well."""

DETAIL_MAX_CHARS = 200
"""Characters of an error that the journal stores for an attempt."""

WINDOW_CLOSED = "its window closed before it could be sent"
LATER_WINDOW_CLOSED = "a later row of the same caller and receiver may have been applied, and its window has closed"


@attrs.define(eq=False)
class Job:
    """One request that a worker is to make."""

    call: str
    """"push", "status" or "submit"."""
    item: QueuedBatch
    """The batch, in the queue."""
    permit: TokenPermit
    """The permit of the request."""
    grant: Grant
    """The grant of the service guard."""
    claimed_at: float
    """Time at which the work was claimed, on the event loop's clock."""
    seconds: float = 0.0
    """Duration of the request; 0.0 if it was not made."""
    intent: asyncio.Future[None] | None = None
    """Done when the `AttemptStarted` is durable; None if there is nothing to wait for."""
    shared_id: str | None = None
    """Batch id of the answer, if the server gave it to another batch before."""


class Sender:
    """Sends the batches of one run.

    Args:
        run: The run.
        tokens: Records what the answers say about the tokens.
        isolator: Finds bad records.
        pause: The pause while the token store cannot be used.
    """

    def __init__(self, run: Run, tokens: TokenUse, isolator: Isolator, pause: StorePause) -> None:
        self._run = run
        self._tokens = tokens
        self._isolator = isolator
        self._pause = pause

    def prune(self, item: QueuedBatch) -> bool:
        """Settle the rows whose window has closed; return whether there were any."""
        run, batch = self._run, item.batch
        content = batch.open_content
        horizon = run.deps.expiry_now_ms() + int(run.options.expiry_margin * 1000)
        if content.expires_ms > horizon:
            return False
        late = [i for i, end in enumerate(expiry_times(content.wire_records)) if end <= horizon]
        # If an answer was lost, an expired record may have been applied. Earlier records of the same pair are not sent
        # then: they would replace a newer record.
        older = earlier_in_batch(content.wire_records, late) if batch.lost_answers else []
        with run.recorder.transaction() as transaction:
            self.settle_unsent(transaction, batch, content.at(late), Outcome.EXPIRED, WINDOW_CLOSED)
            self._settle_unknown(transaction, batch, content.at(older), LATER_WINDOW_CLOSED)
        return True

    def settle_unsent(
        self, transaction: Transaction, batch: CampaignBatch, content: BatchContent, outcome: Outcome, reason: str
    ) -> None:
        """Settle rows that are not sent; they are `unknown` if an earlier answer for the batch was lost."""
        if batch.lost_answers:
            self._settle_unknown(transaction, batch, content, reason)
        else:
            settle_rows(transaction, batch, outcome, reason, content=content)

    def _settle_unknown(
        self, transaction: Transaction, batch: CampaignBatch, content: BatchContent, reason: str
    ) -> None:
        settle_rows(transaction, batch, Outcome.UNKNOWN, f"the answer was lost, and {reason}", content=content)

    async def send(self, job: Job) -> None:
        """Make one attempt."""
        answer: Batch | PushAnswer | TruecallerError | None = None
        has_begun = False
        try:
            try:
                await durable(job)
            except TruecallerError as error:
                if self._run.recorder.failure is None:
                    self._pause.record_failure(error)
                self._undo(job)
                return
            if job.permit.noted is not None:
                self._pause.record_success()
            # Meanwhile the run may have been stopped, or the token refused or throttled.
            if not self._run.lifecycle.is_running or not self._run.deps.pool.is_usable(job.permit.token_id):
                self._undo(job)
                return
            has_begun = True
            answer = await self._attempt(job)
            try:
                if isinstance(answer, AuthenticationFailed):
                    # Before the record, which starts the next attempts: none may use the refused token.
                    await self._tokens.refused(job.permit.token_id, answer)
            finally:
                self._record_end(job, answer)
        except BaseException as defect:
            if answer is None:
                event = BatchEvent.LOST if has_begun else BatchEvent.NOT_SENT
                self._record_defect(job, event, defect)
            raise
        finally:
            job.permit.cancel()  # does nothing after an attempt

    def _undo(self, job: Job) -> None:
        """Undo the claim: no request was made, and the service is not the cause."""
        run, batch = self._run, job.item.batch
        run.deps.guard.cancel(job.grant)
        job.permit.cancel()
        run.progress.uncount_attempt(batch)
        run.recorder.record(AttemptEnded(batch.seq, batch.attempts, BatchEvent.NOT_SENT, run.deps.clock.wall()))

    def _record_defect(self, job: Job, event: BatchEvent, defect: BaseException) -> None:
        if event is BatchEvent.NOT_SENT:
            self._run.deps.guard.cancel(job.grant)
        detail = f"internal error: {type(defect).__name__}"
        batch = job.item.batch
        entry = AttemptEnded(batch.seq, batch.attempts, event, self._run.deps.clock.wall(), None, detail)
        self._run.recorder.record(entry)

    async def _attempt(self, job: Job) -> Batch | PushAnswer | TruecallerError:
        deps, content = self._run.deps, job.item.batch.sent_content
        failure: BaseException | None = None
        try:
            if job.call == "push":
                return await deps.calls.attempt_push(content.wire_records[0], job.permit)
            return self._check_batch_id(job, await deps.batches.attempt_submit(content.columns, job.permit))
        except TruecallerError as error:
            failure = error
            return error
        except BaseException as error:
            failure = error
            raise
        finally:
            # Also after an internal error: a probe that is never recorded would block all later probes.
            self._run.progress.last_answer_at = now = self._run.now()
            job.seconds = now - job.claimed_at
            deps.record_end(job.grant, failure)

    def _check_batch_id(self, job: Job, answer: Batch) -> Batch:
        """Return the answer. Raises `DecodeError` if its batch id was given before.

        With one id for two batches, their results cannot be distinguished.
        """
        if answer.batch_id in self._run.state.run.recent_batch_ids:
            job.shared_id = answer.batch_id
            raise DecodeError("the answer has the id of another batch", path="$.batch_id", status=200)
        return answer

    def _record_end(self, job: Job, answer: Batch | PushAnswer | TruecallerError) -> None:
        """Record the end of the attempt and what follows for sure."""
        batch = job.item.batch
        if not isinstance(answer, TruecallerError):
            self._tokens.accepted(job.permit.token_id)
        with self._run.recorder.transaction() as transaction:
            transaction.at_end = lambda: self._after_end(job, answer)
            match answer:
                case Batch():
                    transaction.add(self._end_entry(job, BatchEvent.ACCEPTED, answer))
                case PushAnswer():
                    transaction.add(self._end_entry(job, BatchEvent.ACCEPTED, answer))
                    settle_rows(transaction, batch, Outcome.DELIVERED)
                case _:
                    self._record_failed(transaction, job, answer)

    def _record_failed(self, transaction: Transaction, job: Job, error: TruecallerError) -> None:
        run, batch = self._run, job.item.batch
        event = event_of(error, batch.call)
        if event is BatchEvent.NOT_SENT:
            wait = full_jitter(batch.attempts, run.deps.retry.initial, run.deps.retry.cap, run.deps.rng)
            run.queue.delay(batch.seq, run.now() + wait)
        elif isinstance(error, RateLimited):
            self._tokens.throttled(job.permit.token_id, error)
        transaction.add(self._end_entry(job, event, error))
        match event:
            case BatchEvent.REJECTED if batch.call == "push":
                self._isolator.push_rejected(transaction, batch)
            case BatchEvent.REJECTED:
                self._isolator.isolate(transaction, batch, error)
            case BatchEvent.UNTRACKED:
                reason = f"accepted by the server, but the answer has no batch id: {error}"
                settle_rows(transaction, batch, Outcome.UNKNOWN, reason)
            case BatchEvent.LOST:
                self.handle_lost_answer(transaction, batch, f"the answer was lost: {error}")
            case BatchEvent.CALL_FORBIDDEN:
                self._isolator.switch_to_bisect(transaction, batch)
            case BatchEvent.FATAL:
                outcome = Outcome.UNKNOWN if batch.lost_answers else Outcome.UNSENT
                release_batch(transaction, batch, outcome, f"rejected, and the run stopped: {error}")

    def handle_lost_answer(self, transaction: Transaction, batch: CampaignBatch, reason: str) -> None:
        """Apply the policy `on_ambiguous` to a batch whose answer was lost: abandon or resend it."""
        run = self._run
        is_resent = allows_resend(run.options, batch)
        if not is_resent and run.lifecycle.is_running:
            transaction.add(BatchAbandoned(batch.seq))
        if not is_resent or not run.lifecycle.is_running:
            release_batch(transaction, batch, Outcome.UNKNOWN, f"sent, and {reason}")
            return
        if run.options.same_pair == "keep_last":
            content = batch.open_content
            superseded = content.at(run.queue.pairs.superseded(batch.seq, content))
            self._settle_unknown(transaction, batch, superseded, SUPERSEDED)
        wait = full_jitter(batch.lost_answers, run.deps.retry.initial, run.deps.retry.cap, run.deps.rng)
        run.queue.delay(batch.seq, run.now() + wait)

    def _after_end(self, job: Job, answer: Batch | PushAnswer | TruecallerError) -> None:
        """Check whether the run must fail, before a batch is sent that waited for this one.

        At the end of the transaction, because a failing run releases batches.
        """
        run, batch = self._run, job.item.batch
        if not isinstance(answer, TruecallerError):
            return
        event = event_of(answer, batch.call)
        self._isolator.check_refusals(batch)
        never_reached = not run.progress.server_reached
        if event is BatchEvent.NOT_SENT and never_reached:
            if not answer.retryable or batch.attempts >= run.deps.retry.attempts:
                run.lifecycle.fail(answer)
        elif (
            event is BatchEvent.FATAL
            or job.shared_id is not None
            or (event is BatchEvent.UNTRACKED and run.state.run.untracked_in_a_row >= UNTRACKED_MAX)
        ):
            run.lifecycle.fail(answer)

    def _end_entry(self, job: Job, event: BatchEvent, answer: Batch | PushAnswer | TruecallerError) -> AttemptEnded:
        batch, at = job.item.batch, self._run.deps.clock.wall()
        if not isinstance(answer, TruecallerError):
            batch_id = answer.batch_id if isinstance(answer, Batch) else None
            return AttemptEnded(batch.seq, batch.attempts, event, at, batch_id)
        reason, field = rejection_reason(answer) if event is BatchEvent.REJECTED else (None, None)
        detail = f"{type(answer).__name__}: {answer}"[:DETAIL_MAX_CHARS]
        return AttemptEnded(batch.seq, batch.attempts, event, at, job.shared_id, detail, reason, field)


async def durable(job: Job) -> None:
    """Wait until the intent and the note of the permit are durable, and until the permit may be used.

    Raises:
        TruecallerError: One of them cannot be stored.
    """
    if job.intent is not None:
        await job.intent
    if job.permit.noted is not None:
        await job.permit.noted
    if job.permit.at > job.claimed_at:
        await asyncio.sleep(max(0.0, job.permit.at - asyncio.get_running_loop().time()))


def rejection_reason(error: TruecallerError) -> tuple[str, str | None]:
    """Return the reason and the field that the server named."""
    if isinstance(error, PushRejected):
        return error.message or "rejected without a reason", error.field
    if isinstance(error, APIStatusError):
        return error.message or str(error), error.field
    return str(error), None
