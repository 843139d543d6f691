"""Batches by hand: submit up to 500 records, ask for their status, wait until all are final."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

from truecaller_async.errors import DeadlineExceeded, NotFound, ValidationError
from truecaller_async.models import Answer, Batch, BatchStatus, CallRecord, Problem, RecordColumns, Request, Token
from truecaller_async.options import BATCH_MAX, PollPolicy
from truecaller_async.planning.poll_schedule import NOT_VISIBLE_SECONDS
from truecaller_async.protocol.arguments import check_poll, check_seconds, raise_problems, shown_value
from truecaller_async.protocol.requests import batch_size, status_request, submit_request
from truecaller_async.protocol.responses import read_status, read_status_view, read_submit
from truecaller_async.protocol.status_summary import StatusView
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.resources.poll_timer import PollTimer
from truecaller_async.validation.preflight import preflight


class Batches:
    """`client.batches`: batches by hand. For more than a few, `client.push_many` does all of this by itself."""

    def __init__(self, service: ApiContext) -> None:
        self._service = service

    async def submit(self, records: Iterable[CallRecord]) -> Batch:
        """Post 1 to 500 records in one request. From "Truecaller for Business: Batch" of the client's version.

        Never repeated after an answer was lost: `ResponseLost` (or `ServerError`) means the batch may have been
        taken. Raises `ValidationError` before sending, with the problems of all records, and the errors of
        `APIStatusError`; `DecodeError` with `.sent == "yes"` where the batch was taken and its id is not readable.
        Version 1 is deprecated and warns `TruecallerDeprecationWarning`.
        """
        self._service.warn_version("batches.submit")
        raise_problems(_judge_records(records))
        canonical = self._checked(list(islice(records, BATCH_MAX + 1)))
        return await self._service.call(self._submit_request(RecordColumns.of(canonical)), self._read_submit)

    async def status(self, batch_id: str) -> BatchStatus:
        """The status of every record of a batch. From "Truecaller for Business: Batch status" of the version.

        Raises `NotFound` for a batch that the server does not know (yet), the errors of `APIStatusError`, and
        `ValidationError` before sending for an id that is not 1 to 200 printable ASCII characters or holds `../`.
        Version 1 is deprecated and warns `TruecallerDeprecationWarning`.
        """
        self._service.warn_version("batches.status")
        return await self._status(batch_id, None)

    async def wait(self, batch_id: str, *, timeout: float, poll: PollPolicy | None = None) -> BatchStatus:
        """Ask for the status until every record is final, at most `timeout` seconds and until the policy's deadline.

        Raises `DeadlineExceeded` when no poll is left in that time, `ValidationError` where `timeout` is not a finite
        number above 0, and what `status` raises. A 404 in the first minute means "not visible yet".
        """
        self._service.warn_version("batches.wait")
        raise_problems(check_seconds("timeout", timeout), check_poll(poll))
        self._status_request(batch_id)
        looks = PollTimer(poll, timeout, self._service.rng)
        async for _ in looks:
            try:
                status = await self._status(batch_id, looks.end)
            except NotFound:
                if looks.age > NOT_VISIBLE_SECONDS:
                    raise
            else:
                if status.records and all(record.outcome is not None for record in status.records):
                    return status
        raise DeadlineExceeded(f"the batch is not final after {looks.span:g} s; it may still resolve", sent="yes")

    async def attempt_submit(self, records: RecordColumns, token: Token) -> Batch:
        """One try with this token, for records in canonical form; raises its error. For the engine's own policy."""
        return await self._service.attempt(self._submit_request(records), token, self._read_submit)

    async def attempt_status(self, batch_id: str, token: Token) -> StatusView:
        """The status in one try with this token; raises its error. For the engine, which has its own policy."""
        service = self._service

        def read(answer: Answer) -> StatusView:
            now, account = service.clock.wall(), service.account
            return read_status_view(service.settings.api_version, answer, batch_id, now=now, account=account)

        return await service.attempt(self._status_request(batch_id), token, read)

    async def _status(self, batch_id: str, deadline: float | None) -> BatchStatus:
        return await self._service.call(
            self._status_request(batch_id), lambda answer: self._read_status(answer, batch_id), deadline
        )

    def _checked(self, records: list[CallRecord]) -> list[CallRecord]:
        if not 1 <= len(records) <= BATCH_MAX:
            raise ValidationError([batch_size(len(records))])
        now_ms = self._service.now_ms()
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
        return submit_request(self._service.settings.api_version, self._service.account, records)

    def _status_request(self, batch_id: str) -> Request:
        return status_request(self._service.settings.api_version, self._service.account, batch_id)

    def _read_submit(self, answer: Answer) -> Batch:
        return read_submit(answer, now=self._service.clock.wall())

    def _read_status(self, answer: Answer, batch_id: str) -> BatchStatus:
        service = self._service
        return read_status(
            service.settings.api_version, answer, batch_id, now=service.clock.wall(), account=service.account
        )


def _judge_records(records: object) -> Problem | None:
    if isinstance(records, Iterable) and not isinstance(records, str | bytes | Mapping):
        return None
    hint = "put the records into a list, also where it is only one"
    return Problem("records", "records.type", "is not a list of records", shown_value(records), hint)
