"""Single steps of a connection to the server, for a diagnosis: name, proxy, TLS handshake, answer.

Algorithm:
    Each function makes one step, sends no credential, and returns within its timeout: facts, or a `ProbeFailure` that
    says what happened. The caller judges the facts. The steps use the same proxy and certificates as the transport,
    and the last one uses the transport itself.

Failure modes:
    - The resolver of the system cannot be interrupted. A name is resolved in a daemon thread that is abandoned after
      the timeout.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

import attrs
from yarl import URL

from truecaller_async.errors import ConfigError, DecodeError, TruecallerError
from truecaller_async.models import Request
from truecaller_async.options import Timeouts
from truecaller_async.transport import proxies
from truecaller_async.transport.aiohttp_transport import AiohttpTransport
from truecaller_async.validation.timestamps import parse_http_date

PROXY_HEAD_MAX_BYTES = 64 * 1024
"""Largest head of an answer of a proxy."""

HAPPY_EYEBALLS_SECONDS = 0.25
"""Delay until the next address of a host is tried too; the transport has the same delay."""


@attrs.frozen
class ProbeFailure:
    """A step that failed."""

    why: str
    """Cause in plain text."""


@attrs.frozen
class ProbeTarget:
    """Address of the server."""

    host: str
    """Name or IP address."""
    port: int
    """TCP port."""
    is_tls: bool
    """Whether the scheme is https."""

    @property
    def is_loopback(self) -> bool:
        """Return whether the server is on this machine."""
        return proxies.is_loopback(self.host)


@attrs.frozen(repr=False)
class ProbeProxy:
    """Proxy of the requests."""

    url: URL
    """URL of the proxy; it can hold a password."""
    source: str
    """Setting that names the proxy."""

    @property
    def shown(self) -> str:
        """Return host and port."""
        return f"{self.url.host}:{self.url.port}"

    def __repr__(self) -> str:
        return f"Proxy({self.shown!r}, {self.source!r})"


@attrs.frozen
class Handshake:
    """A connection that was made. Without TLS all attributes are None."""

    protocol: str | None = None
    """Version of TLS."""
    issuer: str | None = None
    """Issuer of the certificate."""
    expires: datetime | None = None
    """Expiry of the certificate."""


@attrs.frozen
class ProbeAnswer:
    """HTTP answer to a request without a token."""

    status: int
    """HTTP status."""
    date: datetime | None = None
    """Time of the server."""
    location: str | None = None
    """Target of a redirect."""


def target_of(base_url: str) -> ProbeTarget | ProbeFailure:
    """Return host and port of a base URL."""
    try:
        url = URL(base_url)
        port = url.port
    except (ValueError, TypeError):
        return ProbeFailure("it is not a URL")
    if url.scheme not in ("http", "https") or not url.raw_host or port is None:
        return ProbeFailure("it is not of the form https://host")
    return ProbeTarget(url.raw_host, port, url.scheme == "https")


def proxy_for(base_url: str, environ: Mapping[str, str] = os.environ) -> ProbeProxy | ProbeFailure | None:
    """Return the proxy of the environment for this base URL.

    Args:
        base_url: URL of the server.
        environ: environment that names the source of the setting.

    Returns:
        None if there is no proxy, or if NO_PROXY names the host.
    """
    base = URL(base_url)
    try:
        url = proxies.from_environment(base)
    except ConfigError as error:
        return ProbeFailure(str(error))
    if url is None:
        return None
    names = (f"{base.scheme}_proxy", f"{base.scheme.upper()}_PROXY")
    return ProbeProxy(url, next((name for name in names if environ.get(name)), "the system's settings"))


async def resolve(target: ProbeTarget, timeout: float) -> tuple[str, ...] | ProbeFailure:
    """Return the addresses of the host in the order in which they are tried; the timeout is in seconds."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[tuple[str, ...] | ProbeFailure] = loop.create_future()

    def set_result(result: tuple[str, ...] | ProbeFailure) -> None:
        if not found.done():
            found.set_result(result)

    def look_up() -> None:
        result = _addresses(target)
        with suppress(RuntimeError):  # the timeout has passed, and the loop is closed
            loop.call_soon_threadsafe(set_result, result)

    threading.Thread(target=look_up, name="truecaller-resolve", daemon=True).start()
    try:
        async with asyncio.timeout(timeout):
            return await found
    except TimeoutError:
        return ProbeFailure(f"the resolver gave no answer in {timeout:g} s")


async def tls_handshake(
    target: ProbeTarget, timeout: float, *, proxy: ProbeProxy | None = None, context: ssl.SSLContext | None = None
) -> Handshake | ProbeFailure:
    """Connect, through the proxy if there is one, make the TLS handshake, and close the connection.

    Args:
        target: the server.
        timeout: limit of the whole step in seconds.
        proxy: proxy to use.
        context: context with the trusted certificates; those of the system by default.
    """
    context = context or ssl.create_default_context()
    try:
        async with asyncio.timeout(timeout):
            if proxy is None:
                return await _direct(target, context)
            return await _through(proxy, target, context)
    except TimeoutError:
        return ProbeFailure(f"no connection was made in {timeout:g} s")
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        return ProbeFailure(_reason(error))


async def request_once(base_url: str, timeouts: Timeouts) -> ProbeAnswer | ProbeFailure:
    """Send one GET of `/` without a token. Any HTTP answer means that the server was reached."""
    transport = AiohttpTransport(base_url)
    try:
        answer = await transport.send(Request("labels", "GET", "/"), timeouts)
    except DecodeError as error:
        return ProbeAnswer(error.status or 200)  # too large, but an answer
    except TruecallerError as error:
        return ProbeFailure(str(error))
    finally:
        await transport.aclose()
    return ProbeAnswer(answer.status, parse_http_date(answer.headers.get("date") or ""), answer.headers.get("location"))


def _addresses(target: ProbeTarget) -> tuple[str, ...] | ProbeFailure:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return ProbeFailure(_reason(error))
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _direct(target: ProbeTarget, context: ssl.SSLContext) -> Handshake:
    tls = context if target.is_tls else None
    _, writer = await asyncio.open_connection(
        target.host, target.port, ssl=tls, happy_eyeballs_delay=HAPPY_EYEBALLS_SECONDS
    )
    return _facts_and_close(writer)


async def _through(proxy: ProbeProxy, target: ProbeTarget, context: ssl.SSLContext) -> Handshake | ProbeFailure:
    """Open a tunnel for TLS, as the transport does. For plain HTTP connect only to the proxy."""
    tls = context if proxy.url.scheme == "https" else None
    reader, writer = await asyncio.open_connection(proxy.url.host, proxy.url.port, ssl=tls, limit=PROXY_HEAD_MAX_BYTES)
    if not target.is_tls:
        return _facts_and_close(writer)
    try:
        writer.write(_connect(proxy, target))
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0].split(b" ")[1:2]
        if status != [b"200"]:
            answer = status[0].decode("ascii", "replace") if status else "no HTTP"
            return ProbeFailure(f"the proxy {proxy.shown} refused to connect: it answered {answer}")
        await writer.start_tls(context, server_hostname=target.host)
        return _facts(writer)
    finally:
        writer.close()


def _connect(proxy: ProbeProxy, target: ProbeTarget) -> bytes:
    address = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
    login = ""
    if proxy.url.user is not None:
        pair = b64encode(f"{proxy.url.user}:{proxy.url.password or ''}".encode()).decode()
        login = f"Proxy-Authorization: Basic {pair}\r\n"
    return f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n{login}\r\n".encode()


def _facts_and_close(writer: asyncio.StreamWriter) -> Handshake:
    try:
        return _facts(writer)
    finally:
        writer.close()


def _facts(writer: asyncio.StreamWriter) -> Handshake:
    tls: ssl.SSLObject | None = writer.get_extra_info("ssl_object")
    if tls is None:
        return Handshake()
    certificate = tls.getpeercert() or {}
    expires = certificate.get("notAfter")
    return Handshake(
        tls.version(),
        _issuer(certificate),
        datetime.fromtimestamp(ssl.cert_time_to_seconds(expires), UTC) if isinstance(expires, str) else None,
    )


def _issuer(certificate: Mapping[str, object]) -> str | None:
    """Return the organisation of the issuer, or its common name."""
    parts = certificate.get("issuer")
    named = {pair[0]: pair[1] for part in parts for pair in part} if isinstance(parts, tuple) else {}
    return named.get("organizationName") or named.get("commonName")


def _reason(error: Exception) -> str:
    """Return the short text of the operating system or the TLS library."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate was not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"the TLS handshake failed: {error.reason or 'no reason given'}"
    if isinstance(error, socket.gaierror):
        return f"the name could not be resolved: {error.strerror}"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    if isinstance(error, EOFError | ConnectionError):
        return "the peer closed the connection"
    return (
        "no connection could be made to any of its addresses" if isinstance(error, OSError) else "it did not speak HTTP"
    )
