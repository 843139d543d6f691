"""The table: each failure of the HTTP library, and what it means to us.

A `FailureMeaning` has three parts. `sent` is "no" or "maybe" and counts only where the trace could not tell (see
`attempt`); `reason` is the plain word for people; `retryable` says whether a request that was not sent may succeed
later without change. A class that is not listed has the meaning of its nearest base, and `Exception` is the last.

The message names the host and the reason, and copies nothing from the raw exception but the operating system's and
the TLS library's own short words: the raw one holds the request, and with it the bearer token.

Some rows surprise. An answer that is not HTTP is reported by the library as status 400, which no server ever sent:
it is a lost answer. A `ConnectionTimeoutError` is a subclass of `ServerTimeoutError`, and means the opposite for us.
One row is our own: `ResponseTooSlowError`, an answer that comes drop by drop.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from socket import gaierror
from ssl import SSLCertVerificationError, SSLError
from types import MappingProxyType
from typing import Literal, TypeAlias

import aiohttp
import attrs
from aiohttp.client_exceptions import UnixClientConnectorError

from truecaller_async.errors import NotSent, ResponseLost
from truecaller_async.options import Timeouts
from truecaller_async.transport.attempt import HttpAttempt
from truecaller_async.transport.deadlines import ResponseTooSlowError

Verdict: TypeAlias = Literal["no", "maybe"]


@attrs.frozen
class FailureMeaning:
    """What a class of failure means: was it `sent`, the `reason` in words, and may it be `retryable` if not sent."""

    sent: Verdict
    reason: str
    retryable: bool = True


_UNREACHED = FailureMeaning("no", "the connection was not made")
_BAD_CERTIFICATE = FailureMeaning("no", "the server's certificate was not accepted", retryable=False)
_BAD_URL = FailureMeaning("no", "the address is not a usable URL; check base_url", retryable=False)
_BROKEN = FailureMeaning("maybe", "the connection broke")
_CLOSED = FailureMeaning("maybe", "the peer closed the connection without a complete answer")
_SILENT = FailureMeaning("maybe", "the peer fell silent")
_NOT_HTTP = FailureMeaning("maybe", "the answer is not HTTP")
_CUT = FailureMeaning("maybe", "the answer was cut short")
_REDIRECTED = FailureMeaning("maybe", "a redirect was followed, which is never wanted")

FAILURES: Mapping[type[BaseException], FailureMeaning] = MappingProxyType(
    {
        aiohttp.ClientConnectorError: _UNREACHED,
        aiohttp.ClientConnectorDNSError: FailureMeaning("no", "the name could not be resolved (DNS)"),
        aiohttp.ClientProxyConnectionError: FailureMeaning("no", "the proxy could not be reached"),
        aiohttp.ClientHttpProxyError: FailureMeaning("no", "the proxy refused to connect"),
        UnixClientConnectorError: _UNREACHED,
        aiohttp.ClientSSLError: FailureMeaning("no", "the TLS handshake failed"),
        aiohttp.ClientConnectorSSLError: FailureMeaning("no", "the TLS handshake failed"),
        aiohttp.ClientConnectorCertificateError: _BAD_CERTIFICATE,
        aiohttp.ServerFingerprintMismatch: _BAD_CERTIFICATE,
        aiohttp.ConnectionTimeoutError: FailureMeaning("no", "no connection was had in time"),
        aiohttp.InvalidURL: _BAD_URL,
        aiohttp.InvalidUrlClientError: _BAD_URL,
        aiohttp.NonHttpUrlClientError: _BAD_URL,
        aiohttp.RedirectClientError: _REDIRECTED,
        aiohttp.InvalidUrlRedirectClientError: _REDIRECTED,
        aiohttp.NonHttpUrlRedirectClientError: _REDIRECTED,
        aiohttp.TooManyRedirects: _REDIRECTED,
        aiohttp.ClientConnectionError: _BROKEN,
        aiohttp.ClientConnectionResetError: _BROKEN,
        aiohttp.ClientOSError: _BROKEN,
        aiohttp.ServerConnectionError: _BROKEN,
        aiohttp.ServerDisconnectedError: _CLOSED,
        aiohttp.ServerTimeoutError: _SILENT,
        aiohttp.SocketTimeoutError: _SILENT,
        aiohttp.ClientResponseError: _NOT_HTTP,
        aiohttp.ContentTypeError: _NOT_HTTP,
        aiohttp.WSServerHandshakeError: _NOT_HTTP,
        aiohttp.WSMessageTypeError: _NOT_HTTP,
        aiohttp.ClientPayloadError: _CUT,
        aiohttp.UploadAbortedError: _BROKEN,
        aiohttp.ClientError: _BROKEN,
        ResponseTooSlowError: FailureMeaning("maybe", "the answer came too slowly"),
        TimeoutError: _SILENT,
        OSError: _BROKEN,
        Exception: FailureMeaning("maybe", "the HTTP library failed in a way nobody expected", retryable=False),
    }
)


def meaning_of(error: BaseException) -> FailureMeaning:
    """The row of the table for this failure, the most specific class first."""
    return next(FAILURES[cls] for cls in type(error).__mro__ if cls in FAILURES)


def explain(error: Exception, target: str, timeouts: Timeouts, attempt: HttpAttempt) -> NotSent | ResponseLost:
    """The error of ours that says what `error` means, free of everything the raw one holds.

    `target` is host and port, and the proxy where there is one, without any credential.
    """
    meaning = meaning_of(error)
    sent = meaning.sent if attempt.acquired is None else ("maybe" if attempt.acquired else "no")
    said = f"{target}: {meaning.reason} ({_detail(error, sent, timeouts, attempt)})"
    if sent == "maybe":
        lost = ResponseLost(f"{said}; the request may or may not have been applied")
        lost.retryable = attempt.is_read
        return lost
    failure = NotSent(f"{said}; nothing was sent")
    failure.retryable = meaning.retryable
    return failure


def _detail(error: Exception, sent: Verdict, timeouts: Timeouts, attempt: HttpAttempt) -> str:
    if isinstance(error, ResponseTooSlowError):
        return str(error)
    if isinstance(error, TimeoutError):
        return _waited(sent, timeouts, attempt)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"it answered HTTP {error.status}"
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return _os_words(cause) or type(error).__name__


def _waited(sent: Verdict, timeouts: Timeouts, attempt: HttpAttempt) -> str:
    if attempt.queued:
        return f"all connections were in use for {timeouts.connect:g} s"
    return f"waited {timeouts.connect if sent == 'no' else timeouts.read:g} s"


def _os_words(cause: object) -> str | None:
    """The short words of the TLS library or the operating system; never those of the HTTP library."""
    if isinstance(cause, SSLCertVerificationError):
        return getattr(cause, "verify_message", None)
    if isinstance(cause, SSLError):
        return getattr(cause, "reason", None)
    if isinstance(cause, gaierror):
        return cause.strerror
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)
    return None
