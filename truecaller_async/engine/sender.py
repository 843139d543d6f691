"""One attempt to send a draft, and what follows from its end.

The order is the whole point: the intent is in the journal before the first byte goes out, the end of the attempt is
in the journal before anything that depends on it. What an end means is said by `planning.batch_state`; this room
only carries it out: put back, hold a token, drop a token, isolate, or settle the records.
"""

from __future__ import annotations

from truecaller_async.engine.isolation import Refusal, isolate, isolated_push_refused, switch_to_bisect
from truecaller_async.engine.run import STOPPED_POLLING, Accepted, Phase, Run
from truecaller_async.errors import (
    APIStatusError,
    AuthenticationFailed,
    DecodeError,
    Forbidden,
    PushRejected,
    RateLimited,
    TruecallerError,
)
from truecaller_async.models import AttemptEnded, Batch, GivenUp, Intent, Outcome, PushAnswer, Token
from truecaller_async.planning.backoff import full_jitter, hold_after
from truecaller_async.planning.batch_state import Event, event_of
from truecaller_async.planning.doubts import may_resend
from truecaller_async.planning.draft import Draft, ends_of
from truecaller_async.planning.pairs import outdone
from truecaller_async.planning.polls import PollPlan
from truecaller_async.planning.restraint import Leave

FAILED = (Event.NOT_SENT, Event.LOST)
"""Ends that speak of the server or of the way to it: the next attempt draws on the retry budget."""

DETAIL_KEPT = 200
"""Characters of an error that the journal keeps of an attempt."""


class Sender:
    """Posts the drafts of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def prune(self, draft: Draft) -> bool:
        """Take out what can no longer be sent; False if nothing is left of the draft."""
        run = self._run
        horizon = run.late_ms() + int(run.options.expiry_margin * 1000)
        if draft.closes <= horizon:
            await self._take_out_late(draft, [i for i, end in enumerate(ends_of(draft.records)) if end <= horizon])
        if draft.rows:
            return True
        await run.release(draft)
        return False

    async def _take_out_late(self, draft: Draft, late: list[int]) -> None:
        """Where they may have been applied by an answer that was lost, older records of their pairs stay away too."""
        run = self._run
        late_rows = {draft.rows[index] for index in late}
        gone = draft.take_out([*late, *(outdone(draft.records, late) if draft.doubts else ())])
        expired = [(row, given) for row, given in gone if row in late_rows]
        older = [(row, given) for row, given in gone if row not in late_rows]
        reason = "its window closed before it could be sent"
        results = run.taken_out(draft, expired, Outcome.EXPIRED, reason)
        reason = "a later row of its caller and receiver may have been applied, whose window has closed since"
        await run.settle(results + run.taken_out(draft, older, Outcome.UNKNOWN, reason), draft.seq)

    async def send(self, draft: Draft, token: Token, leave: Leave) -> None:
        """One attempt with this token. The permit and the leave for it were taken."""
        run = self._run
        size = len(draft)
        try:
            draft.tries += 1
            if not await run.write(Intent(draft.seq, draft.tries, token.token_id, run.core.clock.wall())):
                run.core.restraint.give_back(leave)
                await run.put_back(draft)
                return
            draft.happen(Event.INTENT)
            run.tally.requests[draft.via] += 1
            run.tally.retries += draft.tries > 1
            run.first_sent = run.now() if run.first_sent is None else run.first_sent
            answer = await self._attempt(draft, token, leave)
            await self._ended(draft, answer)
            await self._follow(draft, token, answer)
        finally:
            run.in_flight -= size

    async def _attempt(self, draft: Draft, token: Token, leave: Leave) -> Batch | PushAnswer | TruecallerError:
        run = self._run
        core = run.core
        failure: BaseException | None = None
        try:
            if draft.via == "push":
                return await core.calls.attempt_push(draft.records[0], token)
            return self._tracked(await core.batches.attempt_submit(draft.columns, token))
        except TruecallerError as error:
            failure = error
            return error
        except BaseException as defect:
            failure = defect
            raise
        finally:
            run.heard_at = run.now()
            core.ended(leave, failure)

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

    async def _ended(self, draft: Draft, answer: Batch | PushAnswer | TruecallerError) -> None:
        """Bring the draft into its next state and write that down, before anything depends on it."""
        run = self._run
        event = event_of(answer) if isinstance(answer, TruecallerError) else Event.ACCEPTED
        run.ever_worked = run.ever_worked or event is not Event.NOT_SENT
        draft.again = event in FAILED
        draft.lost_at = run.now() if event is Event.LOST else draft.lost_at
        draft.count_end(event)
        draft.happen(event)
        at = run.core.clock.wall()
        if isinstance(answer, TruecallerError):
            reason, field = reason_of(answer) if event is Event.REFUSED else (None, None)
            detail = f"{type(answer).__name__}: {answer}"[:DETAIL_KEPT]
            ended = AttemptEnded(draft.seq, draft.tries, event, at, None, detail, reason, field)
        else:
            batch_id = answer.batch_id if isinstance(answer, Batch) else None
            ended = AttemptEnded(draft.seq, draft.tries, event, at, batch_id)
        await run.write(ended)

    async def _follow(self, draft: Draft, token: Token, answer: Batch | PushAnswer | TruecallerError) -> None:
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

    async def _accepted(self, draft: Draft, token: Token, batch: Batch) -> None:
        run = self._run
        run.core.pool.worked(token.token_id)
        run.tally.batches += 1
        run.note_sent(len(draft))
        run.last_sent = run.now()
        plan = PollPlan(run.options.poll, run.now(), run.first_poll.delay)
        run.accepted[draft.seq] = accepted = Accepted(draft, batch.batch_id, plan, range(len(draft)))
        await run.release(draft)
        if run.phase is Phase.ABORTING:
            await run.give_up(accepted, STOPPED_POLLING)
        else:
            run.schedule.poll(draft.seq, run.now() + run.first_poll.delay)

    async def _pushed(self, draft: Draft, token: Token) -> None:
        run = self._run
        run.core.pool.worked(token.token_id)
        run.note_sent(1)
        isolation = run.isolations.get(draft.root) if draft.root is not None else None
        if isolation is not None:
            isolation.streak = 0
        await self._settle(draft, Outcome.DELIVERED)

    async def _throttled(self, draft: Draft, token: Token, error: RateLimited) -> None:
        run = self._run
        run.tally.throttled += 1
        times = run.core.pool.throttled(token.token_id)
        run.core.pool.hold(token.token_id, hold_after(error.retry_after, times, run.core.rng))
        await run.put_back(draft)

    async def _unauthorized(self, draft: Draft, token: Token, error: AuthenticationFailed) -> None:
        run = self._run
        await run.core.pool.drop(token.token_id, error)
        if run.core.pool.refused is not None:
            run.fail(run.core.pool.refused)
        await run.put_back(draft)

    async def _failed(self, draft: Draft, error: TruecallerError) -> None:
        match event_of(error):
            case Event.NOT_SENT:
                await self._not_sent(draft, error)
            case Event.REFUSED:
                await self._refused(draft, error)
            case Event.UNTRACKED:
                self._run.untracked_again(error)
                await self._settle(
                    draft, Outcome.UNKNOWN, f"taken by the server, but the answer has no batch id: {error}"
                )
            case Event.LOST:
                await self.in_doubt(draft, f"the answer was lost: {error}")
            case _:
                await self._fatal(draft, error)

    async def _not_sent(self, draft: Draft, error: TruecallerError) -> None:
        run = self._run
        retry = run.core.retry
        if not run.ever_worked and (not error.retryable or draft.tries >= retry.attempts):
            run.fail(error)
        draft.not_before = run.now() + full_jitter(draft.tries, retry.initial, retry.cap, run.core.rng)
        await run.put_back(draft)

    async def in_doubt(self, draft: Draft, said: str) -> None:
        """The answer was lost: the stated policy decides, and nothing else."""
        run = self._run
        options = run.options
        if not run.running:
            await self._settle(draft, Outcome.UNKNOWN, f"sent, and {said}", final=False)
            return
        if not may_resend(draft, options):
            draft.happen(Event.GIVE_UP)
            await run.write(GivenUp(draft.seq))
            await self._settle(draft, Outcome.UNKNOWN, f"sent, and {said}", final=False)
            return
        if options.same_pair == "keep_last":
            gone = draft.take_out(run.pairs.superseded(draft))
            await run.settle(run.taken_out(draft, gone, Outcome.UNKNOWN, "a later row replaces it"), draft.seq)
        draft.happen(Event.RESEND)
        draft.not_before = run.now() + full_jitter(
            draft.doubts, run.core.retry.initial, run.core.retry.cap, run.core.rng
        )
        await run.put_back(draft)

    async def _refused(self, draft: Draft, error: TruecallerError) -> None:
        run = self._run
        reason, field = reason_of(error)
        if draft.via == "push":
            await isolated_push_refused(run, draft, reason, field)
        else:
            await isolate(run, draft, Refusal(reason, field, error))

    async def _fatal(self, draft: Draft, error: TruecallerError) -> None:
        run = self._run
        if isinstance(error, Forbidden) and draft.via == "push":
            await switch_to_bisect(run, draft)
            return
        run.fail(error)
        outcome = Outcome.UNKNOWN if draft.doubts else Outcome.UNSENT
        await self._settle(draft, outcome, f"refused, and the run stopped: {error}", final=False)

    async def _settle(self, draft: Draft, outcome: Outcome, reason: str | None = None, *, final: bool = True) -> None:
        """All records of the draft have the same word, and the order of its pairs is free again."""
        run = self._run
        await run.release(draft)
        await run.settle(run.results(draft, range(len(draft)), outcome, reason), draft.seq, final=final)


def reason_of(error: TruecallerError) -> tuple[str, str | None]:
    """What the server said, and the field it named."""
    if isinstance(error, PushRejected):
        return error.message or "refused without a reason", error.field
    if isinstance(error, APIStatusError):
        return error.message or str(error), error.field
    return str(error), None
