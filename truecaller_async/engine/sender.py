"""One attempt to send a draft, and what follows from its end.

The order is the whole point: the intent is in the journal before the first byte goes out, the end of the attempt is
in the journal before anything that depends on it. What an end means is said by `planning.batch_state`; this room
only carries it out: put back, hold a token, drop a token, isolate, or settle the records.
"""

from __future__ import annotations

from truecaller_async.engine.isolation import BatchRejection, isolate, isolated_push_refused, switch_to_bisect
from truecaller_async.engine.run import STOPPED_POLLING, Phase, Run, TrackedBatch
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
from truecaller_async.planning.ambiguity import policy_allows_resend
from truecaller_async.planning.batch_state import BatchEvent, event_of
from truecaller_async.planning.outgoing_batch import OutgoingBatch, expiry_times
from truecaller_async.planning.pair_order import earlier_in_batch
from truecaller_async.planning.poll_schedule import PollSchedule
from truecaller_async.resilience.backoff import cooldown_seconds, full_jitter
from truecaller_async.resilience.service_guard import Grant

FAILURE_EVENTS = (BatchEvent.NOT_SENT, BatchEvent.LOST)
"""Ends that speak of the server or of the way to it: the next attempt draws on the retry budget."""

DETAIL_MAX_CHARACTERS = 200
"""Characters of an error that the journal keeps of an attempt."""


class Sender:
    """Posts the drafts of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def prune(self, draft: OutgoingBatch) -> bool:
        """Take out what can no longer be sent; False if nothing is left of the draft."""
        run = self._run
        horizon = run.expiry_now_ms() + int(run.options.expiry_margin * 1000)
        if draft.expires_ms <= horizon:
            await self._remove_expired(
                draft, [i for i, end in enumerate(expiry_times(draft.wire_records)) if end <= horizon]
            )
        if draft.rows:
            return True
        await run.release_pairs(draft)
        return False

    async def _remove_expired(self, draft: OutgoingBatch, late: list[int]) -> None:
        """Where they may have been applied by an answer that was lost, older records of their pairs stay away too."""
        run = self._run
        late_rows = {draft.rows[index] for index in late}
        gone = draft.remove([*late, *(earlier_in_batch(draft.wire_records, late) if draft.lost_answers else ())])
        expired = [(row, given) for row, given in gone if row in late_rows]
        older = [(row, given) for row, given in gone if row not in late_rows]
        reason = "its window closed before it could be sent"
        results = run.removed_results(draft, expired, Outcome.EXPIRED, reason)
        reason = "a later row of its caller and receiver may have been applied, whose window has closed since"
        await run.record_results(results + run.removed_results(draft, older, Outcome.UNKNOWN, reason), draft.seq)

    async def send(self, draft: OutgoingBatch, token: Token, grant: Grant) -> None:
        """One attempt with this token. The permit and the leave for it were taken."""
        run = self._run
        size = len(draft)
        try:
            draft.attempts += 1
            if not await run.append(AttemptStarted(draft.seq, draft.attempts, token.token_id, run.deps.clock.wall())):
                run.deps.guard.cancel(grant)
                await run.requeue(draft)
                return
            draft.apply(BatchEvent.ATTEMPT_STARTED)
            run.counters.requests[draft.call] += 1
            run.counters.retries += draft.attempts > 1
            run.first_sent_at = run.now() if run.first_sent_at is None else run.first_sent_at
            answer = await self._attempt(draft, token, grant)
            await self._ended(draft, answer)
            await self._follow(draft, token, answer)
        finally:
            run.in_flight -= size

    async def _attempt(self, draft: OutgoingBatch, token: Token, grant: Grant) -> Batch | PushAnswer | TruecallerError:
        run = self._run
        core = run.deps
        failure: BaseException | None = None
        try:
            if draft.call == "push":
                return await core.calls.attempt_push(draft.wire_records[0], token)
            return self._tracked(await core.batches.attempt_submit(draft.columns, token))
        except TruecallerError as error:
            failure = error
            return error
        except BaseException as defect:
            failure = defect
            raise
        finally:
            run.last_answer_at = run.now()
            core.record_end(grant, failure)

    def _tracked(self, batch: Batch) -> Batch:
        """An id that was given before tells nothing: two batches would be taken for one, so nothing more is sent."""
        run = self._run
        if batch.batch_id not in run.batch_ids:
            run.batch_ids.add(batch.batch_id)
            return batch
        for accepted in run.accepted.values():
            accepted.is_shared = accepted.is_shared or accepted.batch_id == batch.batch_id
        error = DecodeError("the answer has the id of another batch", path="$.batch_id", status=200)
        run.fail(error)
        raise error

    async def _ended(self, draft: OutgoingBatch, answer: Batch | PushAnswer | TruecallerError) -> None:
        """Bring the draft into its next state and write that down, before anything depends on it."""
        run = self._run
        event = event_of(answer) if isinstance(answer, TruecallerError) else BatchEvent.ACCEPTED
        run.server_reached = run.server_reached or event is not BatchEvent.NOT_SENT
        draft.is_retry = event in FAILURE_EVENTS
        draft.lost_at = run.now() if event is BatchEvent.LOST else draft.lost_at
        draft.count_end(event)
        draft.apply(event)
        at = run.deps.clock.wall()
        if isinstance(answer, TruecallerError):
            reason, field = reason_of(answer) if event is BatchEvent.REJECTED else (None, None)
            detail = f"{type(answer).__name__}: {answer}"[:DETAIL_MAX_CHARACTERS]
            ended = AttemptEnded(draft.seq, draft.attempts, event, at, None, detail, reason, field)
        else:
            batch_id = answer.batch_id if isinstance(answer, Batch) else None
            ended = AttemptEnded(draft.seq, draft.attempts, event, at, batch_id)
        await run.append(ended)

    async def _follow(self, draft: OutgoingBatch, token: Token, answer: Batch | PushAnswer | TruecallerError) -> None:
        match answer:
            case Batch():
                await self._accepted(draft, token, answer)
            case PushAnswer():
                await self._pushed(draft, token)
            case RateLimited():
                await self._throttled(draft, token, answer)
            case AuthenticationFailed():
                await self._unauthorized(draft, token, answer)
            case _:
                await self._failed(draft, answer)

    async def _accepted(self, draft: OutgoingBatch, token: Token, batch: Batch) -> None:
        run = self._run
        run.deps.pool.record_success(token.token_id)
        run.counters.batches += 1
        run.record_sent(len(draft))
        run.last_sent_at = run.now()
        plan = PollSchedule(run.options.poll, run.now(), run.first_poll.delay)
        run.accepted[draft.seq] = accepted = TrackedBatch(draft, batch.batch_id, plan, range(len(draft)))
        await run.release_pairs(draft)
        if run.phase is Phase.ABORTING:
            await run.stop_polling(accepted, STOPPED_POLLING)
        else:
            run.queue.add_poll(draft.seq, run.now() + run.first_poll.delay)

    async def _pushed(self, draft: OutgoingBatch, token: Token) -> None:
        run = self._run
        run.deps.pool.record_success(token.token_id)
        run.record_sent(1)
        isolation = run.isolations.get(draft.root_batch) if draft.root_batch is not None else None
        if isolation is not None:
            isolation.streak = 0
        await self._settle(draft, Outcome.DELIVERED)

    async def _throttled(self, draft: OutgoingBatch, token: Token, error: RateLimited) -> None:
        run = self._run
        run.counters.throttled += 1
        times = run.deps.pool.record_throttled(token.token_id)
        run.deps.pool.start_cooldown(token.token_id, cooldown_seconds(error.retry_after, times, run.deps.rng))
        await run.requeue(draft)

    async def _unauthorized(self, draft: OutgoingBatch, token: Token, error: AuthenticationFailed) -> None:
        run = self._run
        await run.deps.pool.discard(token.token_id, error)
        if run.deps.pool.fatal_error is not None:
            run.fail(run.deps.pool.fatal_error)
        await run.requeue(draft)

    async def _failed(self, draft: OutgoingBatch, error: TruecallerError) -> None:
        match event_of(error):
            case BatchEvent.NOT_SENT:
                await self._not_sent(draft, error)
            case BatchEvent.REJECTED:
                await self._refused(draft, error)
            case BatchEvent.UNTRACKED:
                self._run.count_untracked(error)
                await self._settle(
                    draft, Outcome.UNKNOWN, f"taken by the server, but the answer has no batch id: {error}"
                )
            case BatchEvent.LOST:
                await self.handle_lost_answer(draft, f"the answer was lost: {error}")
            case _:
                await self._fatal(draft, error)

    async def _not_sent(self, draft: OutgoingBatch, error: TruecallerError) -> None:
        run = self._run
        retry = run.deps.retry
        if not run.server_reached and (not error.retryable or draft.attempts >= retry.attempts):
            run.fail(error)
        draft.not_before = run.now() + full_jitter(draft.attempts, retry.initial, retry.cap, run.deps.rng)
        await run.requeue(draft)

    async def handle_lost_answer(self, draft: OutgoingBatch, said: str) -> None:
        """The answer was lost: the stated policy decides, and nothing else."""
        run = self._run
        options = run.options
        if not run.running:
            await self._settle(draft, Outcome.UNKNOWN, f"sent, and {said}", final=False)
            return
        if not policy_allows_resend(draft, options):
            draft.apply(BatchEvent.ABANDON)
            await run.append(BatchAbandoned(draft.seq))
            await self._settle(draft, Outcome.UNKNOWN, f"sent, and {said}", final=False)
            return
        if options.same_pair == "keep_last":
            gone = draft.remove(run.pairs.superseded(draft))
            await run.record_results(
                run.removed_results(draft, gone, Outcome.UNKNOWN, "a later row replaces it"), draft.seq
            )
        draft.apply(BatchEvent.RESEND)
        draft.not_before = run.now() + full_jitter(
            draft.lost_answers, run.deps.retry.initial, run.deps.retry.cap, run.deps.rng
        )
        await run.requeue(draft)

    async def _refused(self, draft: OutgoingBatch, error: TruecallerError) -> None:
        run = self._run
        reason, field = reason_of(error)
        if draft.call == "push":
            await isolated_push_refused(run, draft, reason, field)
        else:
            await isolate(run, draft, BatchRejection(reason, field, error))

    async def _fatal(self, draft: OutgoingBatch, error: TruecallerError) -> None:
        run = self._run
        if isinstance(error, Forbidden) and draft.call == "push":
            await switch_to_bisect(run, draft)
            return
        run.fail(error)
        outcome = Outcome.UNKNOWN if draft.lost_answers else Outcome.UNSENT
        await self._settle(draft, outcome, f"refused, and the run stopped: {error}", final=False)

    async def _settle(
        self, draft: OutgoingBatch, outcome: Outcome, reason: str | None = None, *, final: bool = True
    ) -> None:
        """All records of the draft have the same word, and the order of its pairs is free again."""
        run = self._run
        await run.release_pairs(draft)
        await run.record_results(run.results(draft, range(len(draft)), outcome, reason), draft.seq, final=final)


def reason_of(error: TruecallerError) -> tuple[str, str | None]:
    """What the server said, and the field it named."""
    if isinstance(error, PushRejected):
        return error.message or "refused without a reason", error.field
    if isinstance(error, APIStatusError):
        return error.message or str(error), error.field
    return str(error), None
