"""The table of failures: the trace has priority over the class of the exception."""

from __future__ import annotations

import ssl

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from truecaller_async.errors import NotSent, ResponseLost
from truecaller_async.options import Timeouts
from truecaller_async.transport import FAILURES
from truecaller_async.transport.attempt import HttpAttempt
from truecaller_async.transport.failures import explain, meaning_of

TIMEOUTS = Timeouts(connect=7, read=9)
KEY = ConnectionKey("api.example", 443, True, True, None, None, None)
RAISED = sorted((cls for cls in FAILURES if issubclass(cls, Exception)), key=lambda cls: cls.__name__)


def bare(cls: type[Exception]) -> Exception:
    """Return an instance without the arguments that the constructors of the library need."""
    error = cls.__new__(cls)
    if isinstance(error, aiohttp.ClientResponseError):
        error.status = 400
    return error


@pytest.mark.parametrize("cls", RAISED, ids=lambda cls: cls.__name__)
def test_trace_decides_before_the_class(cls: type[Exception]) -> None:
    assert type(explain(bare(cls), "api.example:443", TIMEOUTS, HttpAttempt(acquired=False))) is NotSent
    assert type(explain(bare(cls), "api.example:443", TIMEOUTS, HttpAttempt(acquired=True))) is ResponseLost


@pytest.mark.parametrize("cls", RAISED, ids=lambda cls: cls.__name__)
def test_without_a_trace_the_class_decides(cls: type[Exception]) -> None:
    expected = NotSent if FAILURES[cls].sent == "no" else ResponseLost
    assert type(explain(bare(cls), "api.example:443", TIMEOUTS, HttpAttempt())) is expected


@pytest.mark.parametrize("cls", RAISED, ids=lambda cls: cls.__name__)
def test_every_message_names_the_host(cls: type[Exception]) -> None:
    assert str(explain(bare(cls), "api.example:443", TIMEOUTS, HttpAttempt())).startswith("api.example:443: ")


@pytest.mark.fault("F32")
def test_only_these_are_not_sent_without_a_trace() -> None:
    assert {cls.__name__ for cls in RAISED if FAILURES[cls].sent == "no"} == {
        "ClientConnectorError",
        "ClientConnectorDNSError",
        "ClientProxyConnectionError",
        "ClientHttpProxyError",
        "UnixClientConnectorError",
        "ClientSSLError",
        "ClientConnectorSSLError",
        "ClientConnectorCertificateError",
        "ServerFingerprintMismatch",
        "ConnectionTimeoutError",
        "InvalidURL",
        "InvalidUrlClientError",
        "NonHttpUrlClientError",
    }


def test_connect_timeout_is_not_sent_although_its_base_class_is_lost() -> None:
    assert issubclass(aiohttp.ConnectionTimeoutError, aiohttp.ServerTimeoutError)
    assert isinstance(explain(aiohttp.ConnectionTimeoutError(), "h:1", TIMEOUTS, HttpAttempt()), NotSent)
    assert isinstance(explain(aiohttp.SocketTimeoutError(), "h:1", TIMEOUTS, HttpAttempt()), ResponseLost)


def test_most_specific_class_wins() -> None:
    class Odd(aiohttp.ClientConnectorDNSError):
        pass

    assert meaning_of(bare(Odd)) is FAILURES[aiohttp.ClientConnectorDNSError]


def test_unknown_failure_without_a_trace_is_lost_and_its_text_is_hidden() -> None:
    error = explain(RuntimeError("Bearer canary"), "h:1", TIMEOUTS, HttpAttempt())
    assert isinstance(error, ResponseLost)
    assert "canary" not in str(error)
    assert "RuntimeError" in str(error)


@pytest.mark.fault("F32")
def test_400_generated_by_aiohttp_is_lost_and_no_server_status() -> None:
    error = explain(bare(aiohttp.ClientResponseError), "h:1", TIMEOUTS, HttpAttempt(acquired=True))
    assert isinstance(error, ResponseLost)
    assert "400" not in str(error)


def test_certificate_is_fatal_and_the_rest_of_the_handshake_is_not() -> None:
    certificate = aiohttp.ClientConnectorCertificateError(KEY, ssl.SSLCertVerificationError("self-signed"))
    handshake = aiohttp.ClientConnectorSSLError(KEY, ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER]"))
    refused = explain(certificate, "api.example:443", TIMEOUTS, HttpAttempt(acquired=False))
    failed = explain(handshake, "api.example:443", TIMEOUTS, HttpAttempt(acquired=False))
    assert isinstance(refused, NotSent)
    assert not refused.retryable
    assert isinstance(failed, NotSent)
    assert failed.retryable
