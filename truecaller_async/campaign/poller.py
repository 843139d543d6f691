"""Request the status of accepted batches until every record has a final outcome.

Algorithm:
    For each answer: match the status rows to the records (`campaign.core.correlate`), record the final outcomes, and
    schedule the next request for the rest.

Failure modes:
    Open records become `unknown` if the deadline has passed, the server does not know the batch, two rows contradict
    each other, or no row can be matched to a record reliably.
"""

from __future__ import annotations

from collections.abc import Sequence

from truecaller_async.campaign.core.correlate import Match, RowStatus, correlate, mirrors, names_records
from truecaller_async.campaign.run import Run, TrackedBatch
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
from truecaller_async.protocol.status_summary import StatusView
from truecaller_async.redaction import redact
from truecaller_async.resilience.backoff import cooldown_seconds
from truecaller_async.resilience.service_guard import Grant
from truecaller_async.tokens import TokenPermit

STATUSES_REPORTED_MAX = 20
"""Different non-final statuses that are reported in one run."""
STATUS_MAX_CHARS = 40
"""Characters of a status that are reported."""


class Poller:
    """Requests the status of the accepted batches of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._foreign_seen = False
        self._statuses_seen: set[str | None] = set()

    async def poll(self, seq: int, permit: TokenPermit, grant: Grant) -> None:
        """Send one status request for one batch, which ends the permit."""
        run, token = self._run, permit.token
        tracked = run.accepted.get(seq)
        if tracked is None:
            permit.cancel()
            run.deps.guard.cancel(grant)
            return
        tracked.polls.polls += 1
        run.counters.requests["status"] += 1
        run.counters.retries += tracked.polls.failures > 0
        try:
            view = await self._attempt(tracked.batch_id, permit, grant)
            match = self._match_rows(tracked, view)
        except TruecallerError as error:
            await self._failed(tracked, token, error)
        else:
            run.deps.pool.record_success(token.token_id)
            if seq in run.accepted:
                await self._apply_match(tracked, match)

    async def _attempt(self, batch_id: str, permit: TokenPermit, grant: Grant) -> StatusView:
        run = self._run
        failure: BaseException | None = None
        try:
            return await run.deps.batches.attempt_status(batch_id, permit)
        except BaseException as error:
            failure = error
            raise
        finally:
            run.last_answer_at = run.now()
            run.deps.record_end(grant, failure)

    async def _failed(self, tracked: TrackedBatch, token: Token, error: TruecallerError) -> None:
        """Handle a failed status request: permanent error -> stop polling, otherwise schedule the next."""
        run, schedule = self._run, tracked.polls
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
            case NotFound() if schedule.is_permanently_missing(due):
                await run.stop_polling(tracked, "the server does not know the batch")
            case BadRequest():
                await run.stop_polling(tracked, f"the server rejects the status request: {error}")
            case NotSent() | ResponseLost() | ServerError():
                due = schedule.retry_due(due, run.deps.retry, run.deps.rng)
            case _:
                if isinstance(error, Forbidden | UnexpectedRedirect):
                    run.fail(error)
                due = schedule.next_due(due, run.deps.rng)
        await self._schedule_next(tracked, due)

    def _match_rows(self, tracked: TrackedBatch, view: StatusView) -> Match | None:
        """Match status rows to records; return None if no row can be attributed to this batch.

        Raises:
            DecodeError: The status rows cannot be decoded.
        """
        batch = tracked.batch
        by_watermark = self._run.options.correlate == "watermark"
        rows = view.summaries
        if rows is not None and not by_watermark and mirrors(batch.columns, rows, is_distinct=batch.is_distinct):
            return Match(list(rows), statuses=[row.status_info for row in rows])
        status = view.in_full()
        if tracked.is_shared and not names_records(status.records):
            return None
        match = correlate(batch.wire_records, status.records, watermark=by_watermark)
        self._report_foreign(status.batch_id, match.foreign + status.foreign)
        return match

    async def _apply_match(self, tracked: TrackedBatch, match: Match | None) -> None:
        run = self._run
        batch = tracked.batch
        tracked.polls.record_answer()
        if match is None:
            reason = (
                "the status rows do not show which record they belong to: the server gave their id to another batch too"
            )
            await run.stop_polling(tracked, reason)
            return
        if match.unattributed:
            reason = "the status rows do not show which record they belong to"
            await run.stop_polling(tracked, reason, final=True)
            return
        final: ResultList | None = self._all_final(tracked, match)
        if final is None:
            self._report_new_statuses(match.statuses or match.rows)
            final = self._newly_final(tracked, match)
        run.counters.empty_polls += not final
        self._learn_first_poll_delay(tracked, len(final))
        await run.record_results(final, batch.seq)
        if tracked.open:
            await self._schedule_next(tracked, tracked.polls.next_due(run.now(), run.deps.rng))
        else:
            run.accepted.pop(batch.seq, None)

    def _all_final(self, tracked: TrackedBatch, match: Match) -> BatchResults | None:
        """Return the results of a batch whose records all became final with this answer; otherwise None."""
        batch, count = tracked.batch, len(tracked.batch)
        rows = [row for row in match.rows if row is not None]
        if match.conflicts or len(tracked.open) < count or len(rows) < count:
            return None
        status_rows: Sequence[RowStatus] = match.statuses or rows
        statuses = [row.status for row in status_rows]
        if not FINAL_STATUSES.keys() >= set(statuses):
            return None
        tracked.open = ()
        outcomes = [FINAL_STATUSES[status] for status in statuses if status is not None]
        fields = [row.field for row in status_rows]
        all_delivered = outcomes.count(Outcome.DELIVERED) == count
        reasons: list[str | None] = [None] * count
        if not all_delivered:
            pairs = zip(outcomes, status_rows, strict=True)
            reasons = [None if outcome is Outcome.DELIVERED else row.message for outcome, row in pairs]
        return BatchResults(
            batch.originals,
            batch.rows,
            batch.keys,
            outcomes,
            reasons,
            fields,
            [row.id for row in rows],
            tracked.batch_id,
            batch.maybe_received,
            batch.possibly_duplicated,
            is_plain=all_delivered and fields.count(None) == count,
        )

    def _newly_final(self, tracked: TrackedBatch, match: Match) -> list[RecordResult]:
        batch, batch_id = tracked.batch, tracked.batch_id
        maybe_received, possibly_duplicated = batch.maybe_received, batch.possibly_duplicated
        results = []
        still_open = set()
        for index in sorted(tracked.open):
            row = match.rows[index]
            outcome = row.outcome if row is not None else None
            if row is None or outcome is None:
                still_open.add(index)
                continue
            original = batch.originals[index]
            reason, field = row.message, row.field
            if index in match.conflicts:
                outcome, reason, field = Outcome.UNKNOWN, "conflict: the status reports success and failure", None
            elif outcome is Outcome.DELIVERED:
                reason = None
            results.append(
                RecordResult(
                    original,
                    batch.rows[index],
                    original.key,
                    outcome,
                    reason,
                    field,
                    batch_id,
                    row.id,
                    maybe_received,
                    possibly_duplicated,
                )
            )
        tracked.open = still_open
        return results

    async def _schedule_next(self, tracked: TrackedBatch, due: float) -> None:
        """Schedule the next request at `due`, or stop polling if the deadline has passed."""
        run = self._run
        if tracked.batch.seq not in run.accepted:
            return
        if run.now() >= tracked.polls.deadline:
            deadline = run.options.poll.deadline
            reason = f"no final status within {deadline:g} s; the record may still be delivered"
            await run.stop_polling(tracked, reason)
        else:
            run.queue.add_poll(tracked.batch.seq, due)
            run.wakeup.notify_all()

    def _learn_first_poll_delay(self, tracked: TrackedBatch, final: int) -> None:
        first_poll, schedule, now = self._run.first_poll, tracked.polls, self._run.now()
        if 2 * final >= len(tracked.batch):
            if schedule.polls == 1:
                first_poll.record_on_time(schedule.first, now)
            return
        if schedule.polls == 1:
            first_poll.record_early(schedule.first, now)
        first_poll.record_pending(now - schedule.accepted_at)

    def _report_foreign(self, batch_id: str, rows: int) -> None:
        """Report once that status rows matched no record."""
        if rows and not self._foreign_seen:
            self._foreign_seen = True
            self._run.deps.observer.event("status_rows.unmatched", {"batch_id": batch_id, "rows": rows})

    def _report_new_statuses(self, rows: Sequence[RowStatus | None]) -> None:
        """Report each non-final status once."""
        for status in _new_statuses(rows, self._statuses_seen):
            self._run.deps.observer.event("status_value.first_seen", {"status": status})


def _new_statuses(rows: Sequence[RowStatus | None], seen: set[str | None]) -> set[str | None]:
    """Return the statuses to report, and add them to `seen`.

    The number is limited to `STATUSES_REPORTED_MAX`, in case the server invents a status for each record.
    """
    open_statuses = {row.status for row in rows if row is not None} - FINAL_STATUSES.keys()
    shown = {redact(status, STATUS_MAX_CHARS) for status in open_statuses} - seen
    new = set(sorted(shown, key=str)[: STATUSES_REPORTED_MAX - len(seen)])
    seen |= new
    return new
