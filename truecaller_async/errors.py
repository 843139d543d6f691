"""All errors of the package, one tree.

    TruecallerError
    ├── ConfigError                  a setting is wrong; nothing was sent
    ├── ValidationError              records or arguments refused before sending; .problems
    ├── APIStatusError               the server answered with an error; .status .slug .message .body .field
    │   ├── BadRequest               400, 405-422 and similar
    │   ├── AuthenticationFailed     401, or 500 "Failed to parse token"
    │   ├── Forbidden                403
    │   ├── NotFound                 404
    │   ├── RateLimited              429; .retry_after
    │   ├── UnexpectedRedirect       3xx; .location (never followed)
    │   └── ServerError              5xx
    ├── TransportError               no usable answer
    │   ├── NotSent                  no connection was acquired: the server saw nothing
    │   └── ResponseLost             the connection broke before the answer: the request may have been applied
    ├── DecodeError                  the answer has no documented form; .path .status .body
    ├── PushRejected                 a real-time record was rejected; .field .message .status
    ├── NumberJobIncomplete          one of several requests for many numbers failed; .job .done
    ├── SourceError                  the input cannot be read further; .row
    │   └── SourceChanged            the input of a campaign was changed; .row
    ├── JournalError                 the journal cannot be written or read
    │   └── JournalBusy              another process uses it; .pid
    ├── TokenBudgetExhausted         no token may be created before .retry_at
    ├── WaitTooLong                  a wait is longer than allowed; .seconds .allowed
    ├── DeadlineExceeded             the caller's deadline passed
    └── ClientClosed                 the client is closed, or belongs to another event loop or process

Two attributes of each error replace a table of codes: `.retryable` (the same call may succeed later without a change)
and `.sent` (did the request reach the server: "no", "maybe" or "yes"). `TruecallerDeprecationWarning` is a warning, for
calls that the vendor deprecated. Errors can be pickled, and contain no credential and no full phone number.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from truecaller_async.redaction import BODY_MAX_CHARS

if TYPE_CHECKING:
    from truecaller_async.models import NumberJob, Problem

Sent: TypeAlias = Literal["no", "maybe", "yes"]
"""Whether a request reached the server."""

MESSAGE_BODY_MAX_CHARS = 120
"""The part of the body that the text of an error shows if the answer has no message."""


def _unpickled(cls: type[TruecallerError], args: tuple[object, ...], state: dict[str, object]) -> TruecallerError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class TruecallerDeprecationWarning(DeprecationWarning):
    """Warned when a call is used that the vendor deprecated. The message names the replacement."""


class TruecallerError(Exception):
    """The root of the tree: catch it to catch all errors that the package raises on purpose."""

    retryable: bool = False
    """Whether the same call may succeed later without a change."""

    sent: Sent = "no"
    """Whether the request reached the server. For a write, "maybe" means that it may have been applied."""

    def __reduce__(self) -> tuple[object, ...]:
        # The default would call __init__ with `args`, which is only the message.
        return _unpickled, (type(self), self.args, self.__dict__.copy())


class ConfigError(TruecallerError):
    """Raised if a setting or an argument is missing or wrong, or a file cannot be used.

    Not retryable, nothing was sent. Change what the message names.
    """


class ValidationError(TruecallerError):
    """Raised if records or arguments are refused before sending.

    Not retryable, nothing was sent. Correct all `problems`, then call again.
    """

    problems: tuple[Problem, ...]
    """All problems that were found, each with field, rule, masked value and hint."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems) or "the record is not valid")


class APIStatusError(TruecallerError):
    """Raised if the server answers with an error.

    From "Truecaller for Business: Errors common to all calls". Sent: "yes". Most are raised as one of the subclasses,
    which say what to do.
    """

    sent: Sent = "yes"

    status: int
    """The HTTP status."""

    slug: str | None
    """The error code in the body, such as "authorization-error"."""

    message: str | None
    """The message in the body."""

    body: str
    """The first characters of the body, at most `BODY_MAX_CHARS`."""

    field: str | None
    """The field of the request that the server names."""

    def __init__(
        self,
        status: int,
        slug: str | None = None,
        message: str | None = None,
        body: str = "",
        *,
        field: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        self.status = status
        self.slug = slug
        self.message = message
        self.body = body[:BODY_MAX_CHARS]
        self.field = field
        if retryable is not None:
            self.retryable = retryable
        super().__init__(self._text())

    def _text(self) -> str:
        message = self.message or self.body[:MESSAGE_BODY_MAX_CHARS].strip() or "no explanation in the body"
        slug = f" {self.slug}" if self.slug else ""
        field = f" (field {self.field})" if self.field else ""
        return f"HTTP {self.status}{slug}: {message}{field}"


class BadRequest(APIStatusError):
    """Raised for 400, 405 to 422 and similar: the request itself is wrong.

    Not retryable. Change the request; sending it again has the same result.
    """


class AuthenticationFailed(APIStatusError):
    """Raised for 401, or 500 "Failed to parse token": the server refused the credentials or the token.

    Not retryable: a refused token was already replaced. Check the key on the console page "Manage API Keys".
    """


class Forbidden(APIStatusError):
    """Raised for 403: the key has no access to this feature.

    Not retryable. Ask Truecaller for access; neither a new token nor another try helps.
    """


class NotFound(APIStatusError):
    """Raised for 404: there is no such path, batch or feature set.

    Not retryable. Check the id. A new batch may be unknown during its first minute.
    """


class RateLimited(APIStatusError):
    """Raised for 429, after the retries that the policy allows.

    Retryable after `retry_after`. If it is frequent, lower the `Limits` of the client.
    """

    retryable = True

    retry_after: float | None
    """The wait that the server asks for, in seconds; None if it names none."""

    def __init__(
        self,
        status: int = 429,
        slug: str | None = None,
        message: str | None = None,
        body: str = "",
        *,
        field: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        self.retry_after = retry_after
        super().__init__(status, slug, message, body, field=field)

    def _text(self) -> str:
        wait = f"; retry after {self.retry_after:g} s" if self.retry_after is not None else ""
        return super()._text() + wait


class UnexpectedRedirect(APIStatusError):
    """Raised for 3xx. Redirects are not followed: another host would receive phone numbers.

    Not retryable. Check `base_url`.
    """

    location: str | None
    """The target of the redirect; None if the answer names none."""

    def __init__(
        self,
        status: int,
        slug: str | None = None,
        message: str | None = None,
        body: str = "",
        *,
        field: str | None = None,
        location: str | None = None,
    ) -> None:
        self.location = location
        super().__init__(status, slug, message, body, field=field)

    def _text(self) -> str:
        advice = self.message or "check base_url"
        return f"HTTP {self.status}: redirected to {self.location or 'nowhere'}, and not followed; {advice}"


class ServerError(APIStatusError):
    """Raised for 5xx, for a read after the retries that the policy allows.

    Retryable for a read. Not for a write, which may have been applied: check its effect before you repeat it.
    """


class TransportError(TruecallerError):
    """Raised if no usable answer came back; always as one of the two subclasses."""

    retryable = True


class NotSent(TransportError):
    """Raised if no connection was acquired, after the retries that the policy allows.

    Sent: "no", so any call may be repeated. Retryable, unless a retry cannot help (a refused certificate).
    """


class ResponseLost(TransportError):
    """Raised if the connection broke before the answer was complete.

    Sent: "maybe". Retryable for a read. Not for a write, which may have been applied: check its effect before you
    repeat it.
    """

    retryable = False
    sent: Sent = "maybe"

    given_up: bool = False
    """Whether the client ended the wait: a timeout passed, or it was closed. False: the connection broke."""


class DecodeError(TruecallerError):
    """Raised if the answer has no documented form.

    Sent: "yes", so a write may have been applied. Not retryable. Report it with `path` and `body`.
    """

    sent: Sent = "yes"

    path: str
    """The JSON path of the unexpected value, such as `$.data[3].id`."""

    status: int | None
    """The HTTP status, if it is known."""

    body: str
    """The first characters of the body, at most `BODY_MAX_CHARS`."""

    def __init__(self, message: str, *, path: str = "$", status: int | None = None, body: str = "") -> None:
        self.path = path
        self.status = status
        self.body = body[:BODY_MAX_CHARS]
        super().__init__(f"{message} (at {path})")


class PushRejected(TruecallerError):
    """Raised if the server rejects a real-time record, whatever the HTTP status.

    Sent: "yes", and not applied. Not retryable. Correct the record.
    """

    sent: Sent = "yes"

    field: str | None
    """The field that the server names."""

    message: str | None
    """The reason that the server gives."""

    status: int | None
    """The HTTP status."""

    def __init__(self, field: str | None, message: str | None, *, status: int | None = None) -> None:
        self.field = field
        self.message = message
        self.status = status
        super().__init__(f"record rejected: {message or 'no reason given'}" + (f" (field {field})" if field else ""))


class NumberJobIncomplete(TruecallerError):
    """Raised if one of several requests for many numbers fails after an earlier one was answered.

    `.sent` and `.retryable` are those of the failed request, whose error is `__cause__`. Call again with the numbers
    from index `done` on.
    """

    job: NumberJob
    """The answers so far, merged."""

    done: int
    """How many numbers were answered for, counted without duplicates and in the order given."""

    def __init__(self, job: NumberJob, done: int, total: int, cause: TruecallerError) -> None:
        self.job = job
        self.done = done
        self.sent = cause.sent
        self.retryable = cause.retryable
        super().__init__(
            f"{done} of {total} numbers were answered for, then the next request failed: "
            f"{type(cause).__name__}: {cause}"
        )


class SourceError(TruecallerError):
    """Raised if the input of a campaign cannot be read further; the rows before are processed.

    Not retryable. Correct the input, then resume the campaign.
    """

    row: int
    """The last data row that was read, counted from 1; 0 if none."""

    def __init__(self, message: str, *, row: int = 0) -> None:
        self.row = row
        super().__init__(message)


class SourceChanged(SourceError):
    """Raised by a resumed campaign if its input is not the one with which it began.

    Not retryable, nothing was sent. Resume with the original input. `row` is the first data row that differs.
    """


class JournalError(TruecallerError):
    """Raised if a journal cannot be written or read. A running campaign stops; nothing is sent unrecorded.

    Not retryable. Do what the message says, then resume the campaign.
    """


class JournalBusy(JournalError):
    """Raised if another process uses the journal.

    Not retryable. Wait until that process ends, or stop it.
    """

    pid: int | None
    """The id of that process; None if it is not known."""

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        self.pid = pid
        super().__init__(message)


class TokenBudgetExhausted(TruecallerError):
    """Raised if a new token is needed, and the account's budget of new tokens is spent.

    Retryable after `retry_at`, nothing was sent. Keep tokens across restarts with `state="sqlite:///path"`.
    """

    retryable = True

    retry_at: datetime
    """The time from which a token may be created again."""

    def __init__(self, retry_at: datetime) -> None:
        self.retry_at = retry_at
        super().__init__(
            f"no token may be created before {retry_at.isoformat(timespec='seconds')}: the budget of new tokens "
            "is spent. Wait, and keep tokens across restarts with state='sqlite:///path'."
        )


class WaitTooLong(TruecallerError):
    """Raised if the server, a limit or the circuit breaker requires a longer wait than allowed.

    Retryable after `seconds`, nothing was applied.
    """

    retryable = True

    seconds: float
    """The required wait, in seconds."""

    allowed: float
    """The longest wait that is allowed, in seconds."""

    def __init__(self, seconds: float, allowed: float) -> None:
        self.seconds = seconds
        self.allowed = allowed
        super().__init__(f"a wait of {seconds:.0f} s is required, and at most {allowed:.0f} s are allowed")


class DeadlineExceeded(TruecallerError):
    """Raised if the caller's deadline passes, or certainly would.

    Retryable with a later deadline. For a write with `.sent` "maybe", check its effect before you repeat it.
    """

    retryable = True

    def __init__(self, message: str, *, sent: Sent = "no") -> None:
        self.sent = sent
        super().__init__(message)


class ClientClosed(TruecallerError):
    """Raised if the client is closed, or belongs to another event loop or process.

    Not retryable, nothing was sent. Make one client for each event loop and process.
    """
