"""Every error of the library, one tree.

    TruecallerError
    ├── ConfigError                  a setting is wrong; nothing was sent
    ├── ValidationError              records or arguments refused before sending; .problems
    ├── APIStatusError               the server answered, and the answer is no; .status .slug .message .body
    │   ├── BadRequest               400, 405-422 and the like
    │   ├── AuthenticationFailed     401, or 500 "Failed to parse token"
    │   ├── Forbidden                403
    │   ├── NotFound                 404
    │   ├── RateLimited              429; .retry_after
    │   ├── UnexpectedRedirect       3xx; .location (never followed)
    │   └── ServerError              5xx
    ├── TransportError               no usable answer came
    │   ├── NotSent                  no connection was had: the server saw nothing
    │   └── ResponseLost             a connection was had and broke: it may have been applied
    ├── DecodeError                  the answer is not what the documentation prints; .path
    ├── PushRejected                 a real-time record was refused; .field .message
    ├── NumberJobIncomplete          some of many numbers were answered for, and then a request failed; .job .done
    ├── SourceError                  the input broke in the middle; .row
    │   └── SourceChanged            the input of a campaign is not what it was; .row
    ├── JournalError                 the journal cannot be written or read
    │   └── JournalBusy              another process has it; .pid
    ├── TokenBudgetExhausted         no token may be created before .retry_at
    ├── WaitTooLong                  the wait asked of us is longer than allowed; .seconds
    ├── DeadlineExceeded             the caller's own deadline passed
    └── ClientClosed                 the client was closed, or is used from another loop or process

Each error answers two questions without a table of codes: `.retryable`, may the same call succeed if it is made
again later without change, and `.sent`, did the request reach the server: "no", "maybe" or "yes". For a write,
"maybe" is the honest state of a connection that broke, and a 5xx on a write is retryable only at the risk of
applying it twice, so its `.retryable` is False there.

Beside the tree stands one warning, `TruecallerDeprecationWarning`, for calls that the vendor deprecated.

Errors survive pickling, and carry no credential and no full phone number.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from truecaller_async.redaction import BODY_MAX_CHARS

if TYPE_CHECKING:
    from truecaller_async.models import NumberJob, Problem

Sent: TypeAlias = Literal["no", "maybe", "yes"]


def _revive(cls: type[TruecallerError], args: tuple[object, ...], state: dict[str, object]) -> TruecallerError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class TruecallerDeprecationWarning(DeprecationWarning):
    """A call that the vendor deprecated was used. The message names what replaces it."""


class TruecallerError(Exception):
    """The root of the tree: catch this to catch everything the library raises on purpose."""

    retryable: bool = False
    sent: Sent = "no"

    def __reduce__(self) -> tuple[object, ...]:
        return _revive, (type(self), self.args, self.__dict__.copy())


class ConfigError(TruecallerError):
    """A setting is missing or wrong. The message names the setting, the rule, and what to do."""


class ValidationError(TruecallerError):
    """Records or arguments were refused; nothing was sent. `.problems` has all of them at once."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("; ".join(str(problem) for problem in self.problems) or "the record is not valid")


class APIStatusError(TruecallerError):
    """The server answered with an error.

    `status` is the HTTP status, `slug` and `message` what the body said (either may be None), `body` the
    beginning of the raw text. From "Truecaller for Business: Errors common to all calls".
    """

    sent: Sent = "yes"

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
        super().__init__(self._sentence())

    def _sentence(self) -> str:
        said = self.message or self.body[:120].strip() or "no explanation in the body"
        slug = f" {self.slug}" if self.slug else ""
        field = f" (field {self.field})" if self.field else ""
        return f"HTTP {self.status}{slug}: {said}{field}"


class BadRequest(APIStatusError):
    """400 and its neighbours: the request itself is wrong; sending it again changes nothing."""


class AuthenticationFailed(APIStatusError):
    """The credentials or the token were refused."""


class Forbidden(APIStatusError):
    """403: the key has no access to this feature; neither a new token nor another try helps."""


class NotFound(APIStatusError):
    """404: no such path, batch or set."""


class RateLimited(APIStatusError):
    """429. `retry_after` is the wait the server asked for in seconds, None where it named none."""

    retryable = True

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

    def _sentence(self) -> str:
        wait = f"; retry after {self.retry_after:g} s" if self.retry_after is not None else ""
        return super()._sentence() + wait


class UnexpectedRedirect(APIStatusError):
    """3xx. Redirects are never followed: they would hand phone numbers to another host. `location` says where to."""

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

    def _sentence(self) -> str:
        advice = self.message or "check base_url"
        return f"HTTP {self.status}: redirected to {self.location or 'nowhere'}, and not followed; {advice}"


class ServerError(APIStatusError):
    """5xx. Safe to repeat for a read; for a write nobody can know whether it was applied."""


class TransportError(TruecallerError):
    """No usable answer came back. `.sent` says whether the server may have taken the request."""

    retryable = True


class NotSent(TransportError):
    """No connection was acquired: the server saw nothing, and sending again is safe."""


class ResponseLost(TransportError):
    """A connection was acquired and no complete answer came: the request may or may not have been applied.

    `.retryable` is True only where the lost answer was that of a read, which does no harm twice.
    """

    retryable = False
    sent: Sent = "maybe"


class DecodeError(TruecallerError):
    """The answer is not in any documented form. `path` is the place inside the body, such as `$.data[3].id`."""

    sent: Sent = "yes"

    def __init__(self, message: str, *, path: str = "$", status: int | None = None, body: str = "") -> None:
        self.path = path
        self.status = status
        self.body = body[:BODY_MAX_CHARS]
        super().__init__(f"{message} (at {path})")


class PushRejected(TruecallerError):
    """The server refused one real-time record, in whatever status it said so. `field` may be None."""

    sent: Sent = "yes"

    def __init__(self, field: str | None, message: str | None, *, status: int | None = None) -> None:
        self.field = field
        self.message = message
        self.status = status
        super().__init__(f"record refused: {message or 'no reason given'}" + (f" (field {field})" if field else ""))


class NumberJobIncomplete(TruecallerError):
    """Many numbers need several requests, and a later one failed after an earlier one was answered.

    `job` is the answers so far, merged. `done` is how many of the numbers, without repetitions and in the order given,
    were answered for; the rest begins there. `.sent` and `.retryable` are those of the failure, which is `__cause__`
    and tells of the one request that failed.
    """

    def __init__(self, job: NumberJob, done: int, total: int, cause: TruecallerError) -> None:
        self.job = job
        self.done = done
        self.sent = cause.sent
        self.retryable = cause.retryable
        super().__init__(
            f"{done} of {total} numbers were answered for, then the request for the next ones failed: "
            f"{type(cause).__name__}: {cause}"
        )


class SourceError(TruecallerError):
    """The input broke in the middle. `row` is the last data row read before it, counted from 1."""

    def __init__(self, message: str, *, row: int = 0) -> None:
        self.row = row
        super().__init__(message)


class SourceChanged(SourceError):
    """The input of a campaign is not what it was when the campaign began, and nothing was sent.

    `row` is the first data row that differs, counted from 1.
    """


class JournalError(TruecallerError):
    """The journal cannot be written or read; sending stopped before anything went out unrecorded."""


class JournalBusy(JournalError):
    """Another process runs on this journal. `pid` is that process, or None where it is not known."""

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        self.pid = pid
        super().__init__(message)


class TokenBudgetExhausted(TruecallerError):
    """The account's budget of new tokens is spent. `retry_at` is the instant at which one may be created again."""

    retryable = True

    def __init__(self, retry_at: datetime) -> None:
        self.retry_at = retry_at
        super().__init__(
            f"no token may be created before {retry_at.isoformat(timespec='seconds')}: the budget of new tokens "
            "is spent; keep tokens over restarts with state='sqlite:///path', or wait"
        )


class WaitTooLong(TruecallerError):
    """The server, or a limit, asks for a wait of `seconds`, longer than `allowed` seconds."""

    retryable = True

    def __init__(self, seconds: float, allowed: float) -> None:
        self.seconds = seconds
        self.allowed = allowed
        super().__init__(f"a wait of {seconds:.0f} s is asked for, and at most {allowed:.0f} s are allowed")


class DeadlineExceeded(TruecallerError):
    """The caller's deadline passed. `.sent` says whether the request may have gone out before it did."""

    retryable = True

    def __init__(self, message: str, *, sent: Sent = "no") -> None:
        self.sent = sent
        super().__init__(message)


class ClientClosed(TruecallerError):
    """The client was closed, or is used from another event loop or process than it was opened in."""
