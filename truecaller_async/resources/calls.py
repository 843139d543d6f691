"""Push real-time records: one record, just before its call."""

from __future__ import annotations

from truecaller_async.clock import loop_time
from truecaller_async.errors import ValidationError
from truecaller_async.models import Answer, CallRecord, PushAnswer, Request
from truecaller_async.protocol.arguments import check_seconds, raise_problems
from truecaller_async.protocol.requests import push_request
from truecaller_async.protocol.responses import read_push
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.tokens import TokenPermit
from truecaller_async.validation.record_rules import preflight


class Calls:
    """`client.calls`: real-time records, each pushed just before its call."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context

    async def push(self, record: CallRecord, *, deadline: float | None = None) -> PushAnswer:
        """Push one record.

        From "Truecaller for Business: Real-time" of the client's version. Version 1 is deprecated and warns
        `TruecallerDeprecationWarning`. The request is never repeated after a lost answer.

        Args:
            record: The record.
            deadline: Seconds from now, a finite number above 0. A push that would have to wait longer fails at once.
                Without a deadline it waits for its permit as long as the limits require.

        Returns:
            The answer of the server.

        Raises:
            ValidationError: The record or the deadline is wrong. Nothing was sent.
            PushRejected: The server rejected the record.
            ResponseLost: The answer was lost. The record may have been applied.
            DeadlineExceeded: The deadline passed, or would.
            TokenBudgetExhausted: There is no token, and none can be made before the deadline.
            APIStatusError: Another error of the server: `RateLimited`, `AuthenticationFailed`, `Forbidden`,
                `ServerError` (the record may have been applied) and others.
            TruecallerError: No request could be sent: `NotSent`, `WaitTooLong`, `ClientClosed`.
        """
        self._context.warn_version("calls.push")
        if deadline is not None:
            raise_problems(check_seconds("deadline", deadline))
        canonical, problems = preflight(record, self._context.now_ms())
        if problems:
            raise ValidationError(problems)
        until = None if deadline is None else loop_time() + deadline
        return await self._context.call(self._request(canonical), self._read, until)

    async def attempt_push(self, record: CallRecord, permit: TokenPermit) -> PushAnswer:
        """Push a canonical record in one attempt, which ends the permit. Raises its error. For campaigns."""
        return await self._context.attempt(self._request(record), permit, self._read)

    def _request(self, record: CallRecord) -> Request:
        return push_request(self._context.settings.api_version, self._context.account, record)

    def _read(self, answer: Answer) -> PushAnswer:
        return read_push(answer, now=self._context.clock.wall())
