"""Submit single batches of up to 500 records, read their status, and wait until they are final."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from truecaller_async.campaign.core.poll_schedule import NOT_VISIBLE_SECONDS
from truecaller_async.errors import DeadlineExceeded, NotFound, ValidationError
from truecaller_async.models import Answer, Batch, BatchStatus, CallRecord, Problem, RecordColumns, Request
from truecaller_async.options import BATCH_MAX, PollPolicy
from truecaller_async.protocol.arguments import check_poll, check_seconds, raise_problems
from truecaller_async.protocol.requests import batch_size_problem, status_request, submit_request
from truecaller_async.protocol.responses import read_status, read_status_view, read_submit
from truecaller_async.protocol.status_summary import StatusView
from truecaller_async.redaction import shown_value
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.resources.poll_timer import PollTimer
from truecaller_async.tokens import TokenPermit
from truecaller_async.validation.record_rules import preflight


class Batches:
    """`client.batches`: single batches. For more than a few batches use `client.push_many`."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def submit(self, records: Iterable[CallRecord]) -> Batch:
        """Submit 1 to 500 records in one request.

        From "Truecaller for Business: Batch" of the client's version. Version 1 is deprecated and warns
        `TruecallerDeprecationWarning`. The request is never repeated after a lost answer.

        Args:
            records: The records.

        Returns:
            The id of the batch.

        Raises:
            ValidationError: Records are wrong; it has the problems of all of them. Nothing was sent.
            ResponseLost: The answer was lost. The batch may have been accepted.
            ServerError: The server answered 5xx. The batch may have been accepted.
            DecodeError: The batch was accepted, but its id cannot be decoded.
            APIStatusError: The server rejected the batch; see its subclasses.
            TruecallerError: No request could be sent: `NotSent`, `TokenBudgetExhausted`, `WaitTooLong`, `ClientClosed`.
        """
        self._context.warn_version("batches.submit")
        raise_problems(_check_records(records))
        canonical = self._checked(list(islice(records, BATCH_MAX + 1)))
        return await self._context.call(self._submit_request(RecordColumns.of(canonical)), self._read_submit)

    async def status(self, batch_id: str) -> BatchStatus:
        """Return the status of all records of a batch.

        From "Truecaller for Business: Batch status" of the client's version. Version 1 is deprecated and warns
        `TruecallerDeprecationWarning`.

        Args:
            batch_id: The id that `submit` returned.

        Returns:
            The status.

        Raises:
            ValidationError: The id is not 1 to 200 printable ASCII characters, or contains `../`. Nothing was sent.
            NotFound: The server does not know the batch; a new one may be unknown during its first minute.
            APIStatusError: The server answered with another error; see its subclasses.
            DecodeError: The answer has no documented form.
            TruecallerError: No answer: `TransportError`, `TokenBudgetExhausted`, `WaitTooLong`, `ClientClosed`.
        """
        self._context.warn_version("batches.status")
        return await self._status(batch_id, None)

    async def wait(self, batch_id: str, *, timeout: float, poll: PollPolicy | None = None) -> BatchStatus:
        """Poll the status of a batch until all its records are final.

        A 404 during the first 60 seconds means "not visible yet", and polling continues.

        Args:
            batch_id: The id that `submit` returned.
            timeout: The longest wait, in seconds. The deadline of `poll` also ends it.
            poll: When to poll; `PollPolicy()` if None.

        Returns:
            The final status.

        Raises:
            DeadlineExceeded: No further poll fits into the time. The batch may still become final.
            ValidationError: An argument is wrong; `timeout` must be a finite number above 0. Nothing was sent.
            TruecallerError: What `status` raises.
        """
        self._context.warn_version("batches.wait")
        raise_problems(check_seconds("timeout", timeout), check_poll(poll))
        self._status_request(batch_id)
        timer = PollTimer(poll, timeout, self._context.rng)
        async for _ in timer:
            try:
                status = await self._status(batch_id, timer.end)
            except NotFound:
                if timer.age > NOT_VISIBLE_SECONDS:
                    raise
            else:
                if status.records and all(record.outcome is not None for record in status.records):
                    return status
        raise DeadlineExceeded(
            f"the batch is not final, and no further poll fits into {timer.span:g} s. It may still become final; "
            "call wait() again",
            sent="yes",
        )

    async def attempt_submit(self, records: RecordColumns, permit: TokenPermit) -> Batch:
        """Submit canonical records in one attempt, which ends the permit. Raises its error. For campaigns."""
        return await self._context.attempt(self._submit_request(records), permit, self._read_submit)

    async def attempt_status(self, batch_id: str, permit: TokenPermit) -> StatusView:
        """Read the status in one attempt, which ends the permit. Raises its error. For campaigns."""
        context = self._context

        def read(answer: Answer) -> StatusView:
            now, account = context.clock.wall(), context.account
            return read_status_view(context.settings.api_version, answer, batch_id, now=now, account=account)

        return await context.attempt(self._status_request(batch_id), permit, read)

    async def _status(self, batch_id: str, deadline: float | None) -> BatchStatus:
        return await self._context.call(
            self._status_request(batch_id), lambda answer: self._read_status(answer, batch_id), deadline
        )

    def _checked(self, records: list[CallRecord]) -> list[CallRecord]:
        if not 1 <= len(records) <= BATCH_MAX:
            raise ValidationError([batch_size_problem(len(records))])
        now_ms = self._context.now_ms()
        checked = [preflight(record, now_ms) for record in records]
        problems = [
            Problem(f"records[{index}].{problem.field}", problem.rule, problem.message, problem.value, problem.hint)
            for index, (_, found) in enumerate(checked)
            for problem in found
        ]
        if problems:
            raise ValidationError(problems)
        return [canonical for canonical, _ in checked]

    def _submit_request(self, records: RecordColumns) -> Request:
        return submit_request(self._context.settings.api_version, self._context.account, records)

    def _status_request(self, batch_id: str) -> Request:
        return status_request(self._context.settings.api_version, self._context.account, batch_id)

    def _read_submit(self, answer: Answer) -> Batch:
        return read_submit(answer, now=self._context.clock.wall())

    def _read_status(self, answer: Answer, batch_id: str) -> BatchStatus:
        context = self._context
        return read_status(
            context.settings.api_version, answer, batch_id, now=context.clock.wall(), account=context.account
        )


def _check_records(records: object) -> Problem | None:
    if isinstance(records, Iterable) and not isinstance(records, str | bytes | Mapping):
        return None
    hint = "put the records into a list, even a single one"
    return Problem("records", "records.type", "is not a list of records", shown_value(records), hint)
