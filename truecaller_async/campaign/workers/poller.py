"""Request the status of accepted batches until every record has a final outcome.

Algorithm:
    For each answer: match the status rows to the records (`campaign.rows.correlate`), record the final outcomes, and
    schedule the next request for the rest.

Failure modes:
    Open records become `unknown` if the deadline has passed, the server does not know the batch, two rows contradict
    each other, or no row can be matched to a record reliably.
"""

from __future__ import annotations

from collections.abc import Sequence

from truecaller_async.campaign.core.batch import CampaignBatch
from truecaller_async.campaign.core.poll_schedule import PollSchedule
from truecaller_async.campaign.core.work_queue import QueuedBatch
from truecaller_async.campaign.outcomes import release_batch, settle_results, settle_rows
from truecaller_async.campaign.rows.correlate import Match, RowStatus, correlate, mirrors, names_records
from truecaller_async.campaign.run import Run
from truecaller_async.campaign.workers.sender import Job, durable
from truecaller_async.campaign.workers.token_use import StorePause, TokenUse
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
from truecaller_async.models import BatchResults, Outcome, RecordResult, ResultList
from truecaller_async.models.batches import FINAL_STATUSES
from truecaller_async.protocol.status_summary import StatusView
from truecaller_async.redaction import redact

STATUSES_REPORTED_MAX = 20
"""Different non-final statuses that are reported in one run."""
STATUS_MAX_CHARS = 40
"""Characters of a status that are reported."""
NOT_ATTRIBUTED = "the status rows do not show which record they belong to"
SHARED_ID = f"{NOT_ATTRIBUTED}: the server gave their id to another batch too"


class Poller:
    """Requests the status of the accepted batches of one run.

    Args:
        run: The run.
        tokens: Records what the answers say about the tokens.
        pause: The pause while the token store cannot be used.
    """

    def __init__(self, run: Run, tokens: TokenUse, pause: StorePause) -> None:
        self._run = run
        self._tokens = tokens
        self._pause = pause
        self._foreign_seen = False
        self._statuses_seen: set[str | None] = set()

    async def poll(self, job: Job) -> None:
        """Send one status request for one batch."""
        item = job.item
        try:
            schedule = item.polls
            if schedule is None or not await self._may_begin(job, schedule):
                return
            schedule.polls += 1
            self._run.progress.count_poll(is_retry=schedule.failures > 0)
            try:
                view = await self._attempt(job)
                match = self._match_rows(item.batch, view)
            except TruecallerError as error:
                await self._failed(job, schedule, error)
            else:
                self._tokens.accepted(job.permit.token_id)
                if not item.batch.released:
                    self._apply_match(item, schedule, match)
        finally:
            job.permit.cancel()  # does nothing after an attempt

    async def _may_begin(self, job: Job, schedule: PollSchedule) -> bool:
        """Wait until the request may be sent. If it may not be sent with this permit, schedule the poll again."""
        may_begin = False
        try:
            may_begin = await self._is_ready(job)
        finally:
            if not may_begin:
                self._run.deps.guard.cancel(job.grant)
        if not may_begin:
            self._schedule_next(job.item, schedule, self._run.now())
        return may_begin

    async def _is_ready(self, job: Job) -> bool:
        try:
            await durable(job)
        except TruecallerError as error:
            self._pause.record_failure(error)
        else:
            if job.permit.noted is not None:
                self._pause.record_success()
            # Meanwhile the batch may have been released, or the token refused or throttled.
            return not job.item.batch.released and self._run.deps.pool.is_usable(job.permit.token_id)
        return False

    async def _attempt(self, job: Job) -> StatusView:
        run = self._run
        failure: BaseException | None = None
        try:
            return await run.deps.batches.attempt_status(job.item.batch.batch_id or "", job.permit)
        except BaseException as error:
            failure = error
            raise
        finally:
            run.progress.last_answer_at = now = run.now()
            job.seconds = now - job.claimed_at
            run.deps.record_end(job.grant, failure)

    async def _failed(self, job: Job, schedule: PollSchedule, error: TruecallerError) -> None:
        """Handle a failed status request: permanent error -> stop polling, otherwise schedule the next."""
        run, batch = self._run, job.item.batch
        due = run.now()
        match error:
            case RateLimited():
                run.progress.throttled += 1
                self._tokens.throttled(job.permit.token_id, error)
            case AuthenticationFailed():
                await self._tokens.refused(job.permit.token_id, error)
            case NotFound() if schedule.is_permanently_missing(due):
                self._stop_polling(batch, "the server does not know the batch")
            case BadRequest():
                self._stop_polling(batch, f"the server rejects the status request: {error}")
            case NotSent() | ResponseLost() | ServerError():
                due = schedule.retry_due(due, run.deps.retry, run.deps.rng)
            case _:
                if isinstance(error, Forbidden | UnexpectedRedirect):
                    run.lifecycle.fail(error)
                due = schedule.next_due(due, run.deps.rng)
        self._schedule_next(job.item, schedule, due)

    def _match_rows(self, batch: CampaignBatch, view: StatusView) -> Match | None:
        """Match status rows to records; return None if no row can be attributed to this batch.

        Raises:
            DecodeError: The status rows cannot be decoded.
        """
        content = batch.sent_content
        by_watermark = self._run.options.correlate == "watermark"
        rows = view.summaries
        if rows is not None and not by_watermark and mirrors(content.columns, rows, is_distinct=content.is_distinct):
            return Match(list(rows), statuses=[row.status_info for row in rows])
        status = view.in_full()
        if batch.has_shared_id and not names_records(status.records):
            return None
        match = correlate(content.wire_records, status.records, watermark=by_watermark)
        self._report_foreign(status.batch_id, match.foreign + status.foreign)
        return match

    def _apply_match(self, item: QueuedBatch, schedule: PollSchedule, match: Match | None) -> None:
        run, batch = self._run, item.batch
        schedule.record_answer()
        if match is None:
            self._stop_polling(batch, SHARED_ID)
            return
        if match.unattributed:
            with run.recorder.transaction() as transaction:
                settle_rows(transaction, batch, Outcome.UNKNOWN, NOT_ATTRIBUTED)
            return
        final: ResultList | None = self._all_final(batch, match)
        if final is None:
            self._report_new_statuses(match.statuses or match.rows)
            final = self._newly_final(batch, match)
        run.progress.empty_polls += not final
        self._learn_first_poll_delay(batch, schedule, len(final))
        with run.recorder.transaction() as transaction:
            settle_results(transaction, final, batch.seq)
        self._schedule_next(item, schedule, schedule.next_due(run.now(), run.deps.rng))

    def _all_final(self, batch: CampaignBatch, match: Match) -> BatchResults | None:
        """Return the results of a batch whose records all became final with this answer; otherwise None."""
        content = batch.sent_content
        count = len(content)
        rows = [row for row in match.rows if row is not None]
        if match.conflicts or batch.open_count < count or len(rows) < count:
            return None
        status_rows: Sequence[RowStatus] = match.statuses or rows
        statuses = [row.status for row in status_rows]
        if not FINAL_STATUSES.keys() >= set(statuses):
            return None
        outcomes = [FINAL_STATUSES[status] for status in statuses if status is not None]
        fields = [row.field for row in status_rows]
        all_delivered = outcomes.count(Outcome.DELIVERED) == count
        reasons: list[str | None] = [None] * count
        if not all_delivered:
            pairs = zip(outcomes, status_rows, strict=True)
            reasons = [None if outcome is Outcome.DELIVERED else row.message for outcome, row in pairs]
        return BatchResults(
            content.originals,
            content.rows,
            content.keys,
            outcomes,
            reasons,
            fields,
            [row.id for row in rows],
            batch.batch_id or "",
            batch.maybe_received,
            batch.possibly_duplicated,
            is_plain=all_delivered and fields.count(None) == count,
        )

    def _newly_final(self, batch: CampaignBatch, match: Match) -> list[RecordResult]:
        content, closed = batch.sent_content, batch.closed
        results = []
        for index, number in enumerate(content.rows):
            row = match.rows[index]
            outcome = row.outcome if row is not None else None
            if number in closed or row is None or outcome is None:
                continue
            original = content.originals[index]
            reason, field = row.message, row.field
            if index in match.conflicts:
                outcome, reason, field = Outcome.UNKNOWN, "conflict: the status reports success and failure", None
            elif outcome is Outcome.DELIVERED:
                reason = None
            results.append(
                RecordResult(
                    original,
                    number,
                    original.key,
                    outcome,
                    reason,
                    field,
                    batch.batch_id,
                    row.id,
                    batch.maybe_received,
                    batch.possibly_duplicated,
                )
            )
        return results

    def _schedule_next(self, item: QueuedBatch, schedule: PollSchedule, due: float) -> None:
        """Schedule the next request at `due`, or stop polling if the deadline has passed."""
        run = self._run
        if item.batch.released or not item.batch.open_count:
            return
        if run.now() >= schedule.deadline:
            deadline = run.options.poll.deadline
            reason = f"no final status within {deadline:g} s; the record may still be delivered"
            self._stop_polling(item.batch, reason)
        else:
            run.queue.add_poll(item, due)

    def _stop_polling(self, batch: CampaignBatch, reason: str) -> None:
        """End the polls of a batch in this run; its open records become `unknown`."""
        if not batch.released and batch.open_count:
            with self._run.recorder.transaction() as transaction:
                release_batch(transaction, batch, Outcome.UNKNOWN, reason)

    def _learn_first_poll_delay(self, batch: CampaignBatch, schedule: PollSchedule, final: int) -> None:
        first_poll, now = self._run.queue.first_poll, self._run.now()
        if 2 * final >= len(batch.rows) - len(batch.excluded_rows):
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
