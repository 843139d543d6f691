"""Send one batch, and handle the result of the attempt.

Invariants:
    - `AttemptStarted` is in the journal before the first byte is sent.
    - `AttemptEnded` is in the journal before anything that depends on it.

`core.batch_state` defines the state that follows an attempt. This module executes it: requeue the batch, start a token
cooldown, discard the token, isolate bad records, or record outcomes.
"""

from __future__ import annotations

from truecaller_async.campaign.core.ambiguity import policy_allows_resend
from truecaller_async.campaign.core.batch_state import BatchEvent, event_of
from truecaller_async.campaign.core.outgoing_batch import OutgoingBatch, expiry_times
from truecaller_async.campaign.core.pair_order import earlier_in_batch
from truecaller_async.campaign.core.poll_schedule import PollSchedule
from truecaller_async.campaign.isolation import BatchRejection, handle_rejected_push, isolate, switch_to_bisect
from truecaller_async.campaign.run import STOPPED_POLLING, SUPERSEDED, Phase, Run, TrackedBatch
from truecaller_async.errors import (
    APIStatusError,
    AuthenticationFailed,
    DecodeError,
    Forbidden,
    PushRejected,
    RateLimited,
    TruecallerError,
)
from truecaller_async.models import AttemptEnded, AttemptStarted, Batch, BatchAbandoned, Outcome, PushAnswer, Token
from truecaller_async.resilience.backoff import cooldown_seconds, full_jitter
from truecaller_async.resilience.service_guard import Grant
from truecaller_async.tokens import TokenPermit

FAILURE_EVENTS = (BatchEvent.NOT_SENT, BatchEvent.LOST)
"""Failures of the server or the connection: the next attempt uses the retry budget."""

DETAIL_MAX_CHARS = 200
"""Characters of an error that the journal stores for an attempt."""


class Sender:
    """Sends the batches of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def prune(self, batch: OutgoingBatch) -> bool:
        """Remove records that can no longer be sent; return False if the batch is empty."""
        run = self._run
        horizon = run.expiry_now_ms() + int(run.options.expiry_margin * 1000)
        if batch.expires_ms <= horizon:
            await self._remove_expired(
                batch, [i for i, end in enumerate(expiry_times(batch.wire_records)) if end <= horizon]
            )
        if batch.rows:
            return True
        await run.release_pairs(batch)
        return False

    async def _remove_expired(self, batch: OutgoingBatch, late: list[int]) -> None:
        """Remove the expired records.

        If an answer was lost, an expired record may have been applied. Then earlier records of the same pair are
        removed as well: sending them would replace a newer record.
        """
        run = self._run
        late_rows = {batch.rows[index] for index in late}
        removed = batch.remove([*late, *(earlier_in_batch(batch.wire_records, late) if batch.lost_answers else ())])
        expired = [(row, original) for row, original in removed if row in late_rows]
        older = [(row, original) for row, original in removed if row not in late_rows]
        reason = "its window closed before it could be sent"
        results = run.removed_results(batch, expired, Outcome.EXPIRED, reason)
        reason = "a later row of the same caller and receiver may have been applied, and its window has closed"
        await run.record_results(results + run.removed_results(batch, older, Outcome.UNKNOWN, reason), batch.seq)

    async def send(self, batch: OutgoingBatch, permit: TokenPermit, grant: Grant) -> None:
        """Make one attempt, which ends the permit."""
        run, token = self._run, permit.token
        size = len(batch)
        try:
            batch.attempts += 1
            # Before the first byte: after a crash, an attempt without an end counts as a lost answer.
            if not await run.append(AttemptStarted(batch.seq, batch.attempts, token.token_id, run.deps.clock.wall())):
                permit.cancel()
                run.deps.guard.cancel(grant)
                await run.requeue(batch)
                return
            batch.apply(BatchEvent.ATTEMPT_STARTED)
            run.counters.requests[batch.call] += 1
            run.counters.retries += batch.attempts > 1
            run.first_sent_at = run.now() if run.first_sent_at is None else run.first_sent_at
            answer = await self._attempt(batch, permit, grant)
            await self._record_attempt_end(batch, answer)
            await self._handle_answer(batch, token, answer)
        finally:
            # Does nothing after an attempt.
            permit.cancel()
            # Not `len(batch)`: records may have been removed meanwhile.
            run.in_flight -= size

    async def _attempt(
        self, batch: OutgoingBatch, permit: TokenPermit, grant: Grant
    ) -> Batch | PushAnswer | TruecallerError:
        run = self._run
        deps = run.deps
        failure: BaseException | None = None
        try:
            if batch.call == "push":
                return await deps.calls.attempt_push(batch.wire_records[0], permit)
            return self._check_batch_id(await deps.batches.attempt_submit(batch.columns, permit))
        except TruecallerError as error:
            failure = error
            return error
        except BaseException as error:
            failure = error
            raise
        finally:
            # Also after an internal error: a probe that is never recorded would block all later probes.
            run.last_answer_at = run.now()
            deps.record_end(grant, failure)

    def _check_batch_id(self, answer: Batch) -> Batch:
        """Return the answer; fail the run if its batch id was given before.

        With one id for two batches, their results cannot be distinguished.
        """
        run = self._run
        if answer.batch_id not in run.batch_ids:
            run.batch_ids.add(answer.batch_id)
            return answer
        for tracked in run.accepted.values():
            tracked.is_shared = tracked.is_shared or tracked.batch_id == answer.batch_id
        error = DecodeError("the answer has the id of another batch", path="$.batch_id", status=200)
        run.fail(error)
        raise error

    async def _record_attempt_end(self, batch: OutgoingBatch, answer: Batch | PushAnswer | TruecallerError) -> None:
        """Move the batch to its next state and write the end of the attempt to the journal."""
        run = self._run
        event = event_of(answer) if isinstance(answer, TruecallerError) else BatchEvent.ACCEPTED
        run.server_reached = run.server_reached or event is not BatchEvent.NOT_SENT
        batch.is_retry = event in FAILURE_EVENTS
        batch.lost_at = run.now() if event is BatchEvent.LOST else batch.lost_at
        batch.count_end(event)
        batch.apply(event)
        at = run.deps.clock.wall()
        if isinstance(answer, TruecallerError):
            reason, field = rejection_reason(answer) if event is BatchEvent.REJECTED else (None, None)
            detail = f"{type(answer).__name__}: {answer}"[:DETAIL_MAX_CHARS]
            ended = AttemptEnded(batch.seq, batch.attempts, event, at, None, detail, reason, field)
        else:
            batch_id = answer.batch_id if isinstance(answer, Batch) else None
            ended = AttemptEnded(batch.seq, batch.attempts, event, at, batch_id)
        await run.append(ended)

    async def _handle_answer(
        self, batch: OutgoingBatch, token: Token, answer: Batch | PushAnswer | TruecallerError
    ) -> None:
        match answer:
            case Batch():
                await self._accepted(batch, token, answer)
            case PushAnswer():
                await self._pushed(batch, token)
            case RateLimited():
                await self._throttled(batch, token, answer)
            case AuthenticationFailed():
                await self._unauthorized(batch, token, answer)
            case _:
                await self._failed(batch, answer)

    async def _accepted(self, batch: OutgoingBatch, token: Token, answer: Batch) -> None:
        run = self._run
        run.deps.pool.record_success(token.token_id)
        run.counters.batches += 1
        run.record_sent(len(batch))
        run.last_sent_at = run.now()
        schedule = PollSchedule(run.options.poll, run.now(), run.first_poll.delay)
        # Tracked before the await below: if the run aborts there, `stop_polling` records the batch.
        run.accepted[batch.seq] = tracked = TrackedBatch(batch, answer.batch_id, schedule, range(len(batch)))
        await run.release_pairs(batch)
        # The abort may have come before the batch was tracked. A second `stop_polling` does nothing.
        if run.phase is Phase.ABORTING:
            await run.stop_polling(tracked, STOPPED_POLLING)
        else:
            run.queue.add_poll(batch.seq, run.now() + run.first_poll.delay)

    async def _pushed(self, batch: OutgoingBatch, token: Token) -> None:
        run = self._run
        run.deps.pool.record_success(token.token_id)
        run.record_sent(1)
        isolation = run.isolations.get(batch.root_batch) if batch.root_batch is not None else None
        if isolation is not None:
            isolation.streak = 0
        await self._record_common_outcome(batch, Outcome.DELIVERED)

    async def _throttled(self, batch: OutgoingBatch, token: Token, error: RateLimited) -> None:
        run = self._run
        run.counters.throttled += 1
        times = run.deps.pool.record_throttled(token.token_id)
        run.deps.pool.start_cooldown(token.token_id, cooldown_seconds(error.retry_after, times, run.deps.rng))
        await run.requeue(batch)

    async def _unauthorized(self, batch: OutgoingBatch, token: Token, error: AuthenticationFailed) -> None:
        run = self._run
        await run.deps.pool.discard(token.token_id, error)
        if run.deps.pool.fatal_error is not None:
            run.fail(run.deps.pool.fatal_error)
        await run.requeue(batch)

    async def _failed(self, batch: OutgoingBatch, error: TruecallerError) -> None:
        match event_of(error):
            case BatchEvent.NOT_SENT:
                await self._not_sent(batch, error)
            case BatchEvent.REJECTED:
                await self._rejected(batch, error)
            case BatchEvent.UNTRACKED:
                self._run.count_untracked(error)
                await self._record_common_outcome(
                    batch, Outcome.UNKNOWN, f"accepted by the server, but the answer has no batch id: {error}"
                )
            case BatchEvent.LOST:
                await self.handle_lost_answer(batch, f"the answer was lost: {error}")
            case _:
                await self._fatal(batch, error)

    async def _not_sent(self, batch: OutgoingBatch, error: TruecallerError) -> None:
        run = self._run
        retry = run.deps.retry
        if not run.server_reached and (not error.retryable or batch.attempts >= retry.attempts):
            run.fail(error)
        batch.not_before = run.now() + full_jitter(batch.attempts, retry.initial, retry.cap, run.deps.rng)
        await run.requeue(batch)

    async def handle_lost_answer(self, batch: OutgoingBatch, reason: str) -> None:
        """Apply the policy `on_ambiguous` to a batch whose answer was lost: abandon it or send it again."""
        run = self._run
        options = run.options
        if not run.running:
            await self._record_common_outcome(batch, Outcome.UNKNOWN, f"sent, and {reason}", final=False)
            return
        if not policy_allows_resend(batch, options):
            batch.apply(BatchEvent.ABANDON)
            await run.append(BatchAbandoned(batch.seq))
            await self._record_common_outcome(batch, Outcome.UNKNOWN, f"sent, and {reason}", final=False)
            return
        if options.same_pair == "keep_last":
            removed = batch.remove(run.pairs.superseded(batch))
            await run.record_results(run.removed_results(batch, removed, Outcome.UNKNOWN, SUPERSEDED), batch.seq)
        batch.apply(BatchEvent.RESEND)
        batch.not_before = run.now() + full_jitter(
            batch.lost_answers, run.deps.retry.initial, run.deps.retry.cap, run.deps.rng
        )
        await run.requeue(batch)

    async def _rejected(self, batch: OutgoingBatch, error: TruecallerError) -> None:
        run = self._run
        reason, field = rejection_reason(error)
        if batch.call == "push":
            await handle_rejected_push(run, batch, reason, field)
        else:
            await isolate(run, batch, BatchRejection(reason, field, error))

    async def _fatal(self, batch: OutgoingBatch, error: TruecallerError) -> None:
        run = self._run
        if isinstance(error, Forbidden) and batch.call == "push":
            await switch_to_bisect(run, batch)
            return
        run.fail(error)
        outcome = Outcome.UNKNOWN if batch.lost_answers else Outcome.UNSENT
        await self._record_common_outcome(batch, outcome, f"rejected, and the run stopped: {error}", final=False)

    async def _record_common_outcome(
        self, batch: OutgoingBatch, outcome: Outcome, reason: str | None = None, *, final: bool = True
    ) -> None:
        """Release the pair order of the batch and record the same outcome for all its records."""
        run = self._run
        await run.release_pairs(batch)
        await run.record_results(run.results(batch, range(len(batch)), outcome, reason), batch.seq, final=final)


def rejection_reason(error: TruecallerError) -> tuple[str, str | None]:
    """Return the reason and the field that the server named."""
    if isinstance(error, PushRejected):
        return error.message or "rejected without a reason", error.field
    if isinstance(error, APIStatusError):
        return error.message or str(error), error.field
    return str(error), None
