"""Check the properties of aiohttp on which the transport relies."""

from __future__ import annotations

import aiohttp
from aiohttp import client_exceptions

from truecaller_async.transport import FAILURES, AiohttpTransport

UNUSED_EXCEPTIONS = {"WebSocketError", "EofStream", "BadContentDispositionHeader", "BadContentDispositionParam"}
"""Exceptions of web sockets, stream internals and the multipart reader, which are not used."""


def exceptions_of(module: object) -> set[type[BaseException]]:
    return {value for value in vars(module).values() if isinstance(value, type) and issubclass(value, BaseException)}


def test_every_aiohttp_exception_is_in_the_table() -> None:
    own = {cls for cls in exceptions_of(client_exceptions) if cls.__module__ == client_exceptions.__name__}
    public = {cls for cls in exceptions_of(aiohttp) if cls.__name__ not in UNUSED_EXCEPTIONS}
    assert len(own) > 20
    assert {cls.__name__ for cls in (own | public) - FAILURES.keys()} == set()


def test_excluded_exceptions_still_exist_and_are_no_client_errors() -> None:
    for name in UNUSED_EXCEPTIONS:
        assert not issubclass(getattr(aiohttp, name), aiohttp.ClientError)


async def test_option_against_silent_resending_still_exists() -> None:
    assert "_retry_connection" in aiohttp.ClientSession.ATTRS
    async with aiohttp.ClientSession() as session:
        assert session._retry_connection is True


async def test_own_session_disables_unwanted_aiohttp_features() -> None:
    transport = AiohttpTransport("https://api.example")
    session = transport._open_session()
    assert session._retry_connection is False
    assert session.trust_env is False
    assert isinstance(session.cookie_jar, aiohttp.DummyCookieJar)
    await transport.aclose()
