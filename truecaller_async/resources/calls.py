"""Real-time records: one record, pushed just before the call."""

from __future__ import annotations

from truecaller_async.clock import loop_time
from truecaller_async.errors import ValidationError
from truecaller_async.models import Answer, CallRecord, PushAnswer, Request, Token
from truecaller_async.protocol.arguments import check_seconds, raise_problems
from truecaller_async.protocol.requests import push_request
from truecaller_async.protocol.responses import read_push
from truecaller_async.resources.api_context import ApiContext
from truecaller_async.validation.preflight import preflight


class Calls:
    """`client.calls`: real-time records, pushed one by one just before the call."""

    def __init__(self, service: ApiContext) -> None:
        self._service = service

    async def push(self, record: CallRecord, *, deadline: float | None = None) -> PushAnswer:
        """Push one record. From "Truecaller for Business: Real-time" of the client's version.

        `deadline` is in seconds from now, a finite number above 0; without one the first permit is waited for as long
        as the limits require. With one, a push that would have to wait longer fails at once. Version 1 is deprecated
        and warns `TruecallerDeprecationWarning`.

        Raises `ValidationError` before sending, `PushRejected` when the server says no (in whatever status),
        `ResponseLost` when nobody can know, `DeadlineExceeded`, `TokenBudgetExhausted` (no token can be made before
        the deadline), `RateLimited`, `AuthenticationFailed`, `Forbidden` and the other errors of `APIStatusError`.
        """
        self._service.warn_version("calls.push")
        if deadline is not None:
            raise_problems(check_seconds("deadline", deadline))
        canonical, problems = preflight(record, self._service.now_ms())
        if problems:
            raise ValidationError(problems)
        until = None if deadline is None else loop_time() + deadline
        return await self._service.call(self._request(canonical), self._read, until)

    async def attempt_push(self, record: CallRecord, token: Token) -> PushAnswer:
        """One try with this token, for a record in canonical form; raises its error. For the engine's own policy."""
        return await self._service.attempt(self._request(record), token, self._read)

    def _request(self, record: CallRecord) -> Request:
        return push_request(self._service.settings.api_version, self._service.account, record)

    def _read(self, answer: Answer) -> PushAnswer:
        return read_push(answer, now=self._service.clock.wall())
