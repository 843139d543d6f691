"""Asking until every record is final.

Each poll gives its rows to the records (`planning.correlate`), settles those that got their final word, and says when
to ask again for the rest. What cannot become final is `unknown`: the deadline has passed, the server does not know the
batch, two rows contradict each other, or no row can be given to a record on evidence.
"""

from __future__ import annotations

from collections.abc import Sequence

from truecaller_async.engine.run import Run, TrackedBatch
from truecaller_async.errors import (
    AuthenticationFailed,
    BadRequest,
    Forbidden,
    NotFound,
    NotSent,
    RateLimited,
    ResponseLost,
    ServerError,
    TruecallerError,
    UnexpectedRedirect,
)
from truecaller_async.models import BatchResults, Outcome, RecordResult, ResultList, Token
from truecaller_async.models.batches import FINAL_STATUSES
from truecaller_async.planning.correlate import Match, RowStatus, correlate, mirrors, names_records
from truecaller_async.protocol.status_summary import StatusView
from truecaller_async.redaction import redact
from truecaller_async.resilience.backoff import cooldown_seconds
from truecaller_async.resilience.service_guard import Grant

STATUSES_REPORTED_MAX = 20
STATUS_MAX_CHARACTERS = 40
"""Characters of a status word that are told of it."""


class Poller:
    """Polls the accepted batches of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._foreign_seen = False
        self._words_seen: set[str | None] = set()

    async def poll(self, seq: int, token: Token, grant: Grant) -> None:
        """One status request for one batch. The permit and the leave for it were taken."""
        run = self._run
        accepted = run.accepted.get(seq)
        if accepted is None:
            run.deps.guard.cancel(grant)
            return
        accepted.polls.polls += 1
        run.counters.requests["status"] += 1
        run.counters.retries += accepted.polls.failures > 0
        try:
            look = await self._attempt(accepted.batch_id, token, grant)
            match = self._matched(accepted, look)
        except TruecallerError as error:
            await self._failed(accepted, token, error)
        else:
            run.deps.pool.record_success(token.token_id)
            if seq in run.accepted:
                await self._read(accepted, match)

    async def _attempt(self, batch_id: str, token: Token, grant: Grant) -> StatusView:
        run = self._run
        failure: BaseException | None = None
        try:
            return await run.deps.batches.attempt_status(batch_id, token)
        except BaseException as error:
            failure = error
            raise
        finally:
            run.last_answer_at = run.now()
            run.deps.record_end(grant, failure)

    async def _failed(self, accepted: TrackedBatch, token: Token, error: TruecallerError) -> None:
        """No answer of use. What is over is over; else the time of the next poll is said by what went wrong."""
        run, plan = self._run, accepted.polls
        due = run.now()
        match error:
            case RateLimited():
                run.counters.throttled += 1
                times = run.deps.pool.record_throttled(token.token_id)
                run.deps.pool.start_cooldown(token.token_id, cooldown_seconds(error.retry_after, times, run.deps.rng))
            case AuthenticationFailed():
                await run.deps.pool.discard(token.token_id, error)
                if run.deps.pool.fatal_error is not None:
                    run.fail(run.deps.pool.fatal_error)
            case NotFound() if plan.is_permanently_missing(due):
                await run.stop_polling(accepted, "the server does not know the batch")
            case BadRequest():
                await run.stop_polling(accepted, f"the server refuses to tell the status: {error}")
            case NotSent() | ResponseLost() | ServerError():
                due = plan.retry_due(due, run.deps.retry, run.deps.rng)
            case _:
                if isinstance(error, Forbidden | UnexpectedRedirect):
                    run.fail(error)
                due = plan.next_due(due, run.deps.rng)
        await self._schedule_next(accepted, due)

    def _matched(self, accepted: TrackedBatch, look: StatusView) -> Match | None:
        """Which row is whose; None where no row can be believed to be this batch's. Raises `DecodeError`."""
        batch = accepted.batch
        by_watermark = self._run.options.correlate == "watermark"
        rows = look.summaries
        if rows is not None and not by_watermark and mirrors(batch.columns, rows, is_distinct=batch.is_distinct):
            return Match(list(rows), statuses=[row.status_info for row in rows])
        status = look.in_full()
        if accepted.is_shared and not names_records(status.records):
            return None
        match = correlate(batch.wire_records, status.records, watermark=by_watermark)
        self._report_foreign(status.batch_id, match.foreign + status.foreign)
        return match

    async def _read(self, accepted: TrackedBatch, match: Match | None) -> None:
        run = self._run
        batch = accepted.batch
        accepted.polls.record_answer()
        if match is None:
            reason = "the server gave the id of the batch to another one as well, and masks the numbers"
            await run.stop_polling(accepted, reason)
            return
        if match.unattributed:
            reason = "unattributed: the status does not say whose result it is"
            await run.stop_polling(accepted, reason, final=True)
            return
        final: ResultList | None = self._all_final(accepted, match)
        if final is None:
            self._report_new_statuses(match.statuses or match.rows)
            final = self._final(accepted, match)
        run.counters.empty_polls += not final
        self._learn(accepted, len(final))
        await run.record_results(final, batch.seq)
        if accepted.open:
            await self._schedule_next(accepted, accepted.polls.next_due(run.now(), run.deps.rng))
        else:
            run.accepted.pop(batch.seq, None)

    def _all_final(self, accepted: TrackedBatch, match: Match) -> BatchResults | None:
        """The results of a batch of which every record has its word and had none before; None if it is not so."""
        batch, count = accepted.batch, len(accepted.batch)
        rows = [row for row in match.rows if row is not None]
        if match.conflicts or len(accepted.open) < count or len(rows) < count:
            return None
        said: Sequence[RowStatus] = match.statuses or rows
        words = [word.status for word in said]
        if not FINAL_STATUSES.keys() >= set(words):
            return None
        accepted.open = ()
        outcomes = [FINAL_STATUSES[word] for word in words if word is not None]
        fields = [word.field for word in said]
        all_delivered = outcomes.count(Outcome.DELIVERED) == count
        reasons: list[str | None] = [None] * count
        if not all_delivered:
            told = zip(outcomes, said, strict=True)
            reasons = [None if outcome is Outcome.DELIVERED else word.message for outcome, word in told]
        return BatchResults(
            batch.originals,
            batch.rows,
            batch.keys,
            outcomes,
            reasons,
            fields,
            [row.id for row in rows],
            accepted.batch_id,
            batch.maybe_received,
            batch.possibly_duplicated,
            is_plain=all_delivered and fields.count(None) == count,
        )

    def _final(self, accepted: TrackedBatch, match: Match) -> list[RecordResult]:
        batch, batch_id = accepted.batch, accepted.batch_id
        sends, possibly_duplicated = batch.maybe_received, batch.possibly_duplicated
        results = []
        left = set()
        for index in sorted(accepted.open):
            row = match.rows[index]
            outcome = row.outcome if row is not None else None
            if row is None or outcome is None:
                left.add(index)
                continue
            given = batch.originals[index]
            reason, field = row.message, row.field
            if index in match.conflicts:
                outcome, reason, field = Outcome.UNKNOWN, "conflict: the status says success and failure", None
            elif outcome is Outcome.DELIVERED:
                reason = None
            results.append(
                RecordResult(
                    given,
                    batch.rows[index],
                    given.key,
                    outcome,
                    reason,
                    field,
                    batch_id,
                    row.id,
                    sends,
                    possibly_duplicated,
                )
            )
        accepted.open = left
        return results

    async def _schedule_next(self, accepted: TrackedBatch, due: float) -> None:
        """Ask once more at that time, or give up at the deadline."""
        run = self._run
        if accepted.batch.seq not in run.accepted:
            return
        if run.now() >= accepted.polls.deadline:
            await run.stop_polling(accepted, "poll_deadline: no final word in time; it may still resolve")
        else:
            run.queue.add_poll(accepted.batch.seq, due)
            run.wakeup.notify_all()

    def _learn(self, accepted: TrackedBatch, final: int) -> None:
        first_poll, plan, now = self._run.first_poll, accepted.polls, self._run.now()
        if 2 * final >= len(accepted.batch):
            if plan.polls == 1:
                first_poll.record_on_time(plan.first, now)
            return
        if plan.polls == 1:
            first_poll.record_early(plan.first, now)
        first_poll.record_pending(now - plan.accepted_at)

    def _report_foreign(self, batch_id: str, rows: int) -> None:
        """Say once that rows came which fit nobody."""
        if rows and not self._foreign_seen:
            self._foreign_seen = True
            self._run.deps.observer.event("status_rows.unmatched", {"batch_id": batch_id, "rows": rows})

    def _report_new_statuses(self, said: Sequence[RowStatus | None]) -> None:
        """Say once of each word that it is not final."""
        for word in _new_words(said, self._words_seen):
            self._run.deps.observer.event("status_value.first_seen", {"status": word})


def _new_words(said: Sequence[RowStatus | None], seen: set[str | None]) -> set[str | None]:
    """Words that are told for the first time; a server that says another one for each record is told of no further."""
    open_words = {word.status for word in said if word is not None} - FINAL_STATUSES.keys()
    words = {redact(word, STATUS_MAX_CHARACTERS) for word in open_words} - seen
    new = set(sorted(words, key=str)[: STATUSES_REPORTED_MAX - len(seen)])
    seen |= new
    return new
