"""Table of the failures of the HTTP library and their meaning.

Algorithm:
    `explain` finds the meaning of the most specific class of an exception; a class that is not listed has the meaning
    of its nearest base, and `Exception` is the last. `FailureMeaning.sent` counts only if the trace does not know
    whether a connection was acquired (see `attempt`).

Invariants:
    - An error names the host and the reason. From the exception only the short texts of the operating system and of the
      TLS library are copied: the exception holds the request, and with it the bearer token.

Failure modes:
    - The HTTP library reports an answer that is not HTTP as status 400, which no server sent: it is a lost answer.
    - `ConnectionTimeoutError` is a subclass of `ServerTimeoutError` and means the opposite.
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

MaybeSent: TypeAlias = Literal["no", "maybe"]


@attrs.frozen
class FailureMeaning:
    """Meaning of one class of failure."""

    sent: MaybeSent
    """Whether the request may have been sent, if the trace does not know it."""
    reason: str
    """Cause in plain text."""
    retryable: bool = True
    """Whether a request that was not sent may succeed later without a change."""


_UNREACHED = FailureMeaning("no", "the connection was not made")
_BAD_CERTIFICATE = FailureMeaning("no", "the server's certificate was not accepted", retryable=False)
_BAD_URL = FailureMeaning("no", "the address is not a usable URL; check base_url", retryable=False)
_BROKEN = FailureMeaning("maybe", "the connection broke")
_CLOSED = FailureMeaning("maybe", "the peer closed the connection without a complete answer")
_SILENT = FailureMeaning("maybe", "the peer sent no data")
_NOT_HTTP = FailureMeaning("maybe", "the answer is not HTTP")
_CUT = FailureMeaning("maybe", "the answer was cut short")
_REDIRECTED = FailureMeaning("maybe", "a redirect was followed, which must not happen")

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
        aiohttp.ConnectionTimeoutError: FailureMeaning("no", "no connection was made in time"),
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
        Exception: FailureMeaning("maybe", "the HTTP library failed in an unexpected way", retryable=False),
    }
)


def meaning_of(error: BaseException) -> FailureMeaning:
    """Return the meaning of the most specific class of an exception."""
    return next(FAILURES[cls] for cls in type(error).__mro__ if cls in FAILURES)


def explain(error: Exception, target: str, timeouts: Timeouts, attempt: HttpAttempt) -> NotSent | ResponseLost:
    """Return the error of this package for an exception of the HTTP library.

    The error has no reference to the exception, which holds the request.

    Args:
        error: exception of the HTTP library.
        target: host and port, and those of the proxy, without credentials.
        timeouts: limits of the attempt.
        attempt: state of the attempt.
    """
    meaning = meaning_of(error)
    sent = meaning.sent if attempt.acquired is None else ("maybe" if attempt.acquired else "no")
    what = f"{target}: {meaning.reason} ({_detail(error, sent, timeouts, attempt)})"
    if sent == "maybe":
        lost = ResponseLost(f"{what}; the request may or may not have been applied")
        lost.retryable = attempt.is_read
        lost.given_up = isinstance(error, TimeoutError | ResponseTooSlowError)
        return lost
    failure = NotSent(f"{what}; nothing was sent")
    failure.retryable = meaning.retryable
    return failure


def _detail(error: Exception, sent: MaybeSent, timeouts: Timeouts, attempt: HttpAttempt) -> str:
    if isinstance(error, ResponseTooSlowError):
        return str(error)
    if isinstance(error, TimeoutError):
        return _timeout_detail(sent, timeouts, attempt)
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"it answered HTTP {error.status}"
    cause = getattr(error, "certificate_error", None) or getattr(error, "os_error", None) or error
    return _system_text(cause) or type(error).__name__


def _timeout_detail(sent: MaybeSent, timeouts: Timeouts, attempt: HttpAttempt) -> str:
    if attempt.queued:
        return f"all connections were in use for {timeouts.connect:g} s"
    return f"waited {timeouts.connect if sent == 'no' else timeouts.read:g} s"


def _system_text(cause: object) -> str | None:
    """Return the short text of the TLS library or the operating system; never that of the HTTP library."""
    if isinstance(cause, SSLCertVerificationError):
        return getattr(cause, "verify_message", None)
    if isinstance(cause, SSLError):
        return getattr(cause, "reason", None)
    if isinstance(cause, gaierror):
        return cause.strerror
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
        return os.strerror(cause.errno)
    return None
