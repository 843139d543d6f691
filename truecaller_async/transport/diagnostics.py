"""Looking at the way to the server, one step at a time, when something does not work.

A request that fails says where it failed; a person who mends a network wants to see each step: the name, the proxy,
the connection with its certificate, an answer. Each function here takes one step, sends no credential, and comes back
in its own time with facts, or with a `ProbeFailure` that says in plain words what happened. Judging is for whoever
asks.

The steps are those of the transport: the same proxy, the same certificates, and the last one goes through the
transport itself. A name is looked up in a thread of its own that nobody waits for, because the system's resolver
cannot be interrupted.
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
from email.utils import parsedate_to_datetime

import attrs
from yarl import URL

from truecaller_async.errors import ConfigError, DecodeError, TruecallerError
from truecaller_async.models import Request
from truecaller_async.options import Timeouts
from truecaller_async.transport import proxies
from truecaller_async.transport.aiohttp_transport import AiohttpTransport

PROXY_HEAD_MAX = 64 * 1024
NEXT_AFTER = 0.25
"""Seconds until the next address of a host is tried beside the one before, as the transport does."""


@attrs.frozen
class ProbeFailure:
    """A step that was not made, and why, in words."""

    why: str


@attrs.frozen
class ProbeTarget:
    """Where the server is."""

    host: str
    port: int
    is_tls: bool

    @property
    def is_loopback(self) -> bool:
        """Whether it is this machine."""
        return proxies.is_loopback(self.host)


@attrs.frozen(repr=False)
class ProbeProxy:
    """The proxy that requests go through, and the setting that names it. Its URL may hold a password."""

    url: URL
    source: str

    @property
    def shown(self) -> str:
        """Host and port."""
        return f"{self.url.host}:{self.url.port}"

    def __repr__(self) -> str:
        return f"Proxy({self.shown!r}, {self.source!r})"


@attrs.frozen
class Handshake:
    """A connection that was had. Without TLS the last three are None; `expires` is that of the certificate."""

    protocol: str | None = None
    issuer: str | None = None
    expires: datetime | None = None


@attrs.frozen
class ProbeAnswer:
    """An HTTP answer to a request without a token: `date` by the server's clock, `location` where a redirect leads."""

    status: int
    date: datetime | None = None
    location: str | None = None


def target_of(base_url: str) -> ProbeTarget | ProbeFailure:
    """Host and port of a base URL."""
    try:
        url = URL(base_url)
        port = url.port
    except (ValueError, TypeError):
        return ProbeFailure("it is not a URL")
    if url.scheme not in ("http", "https") or not url.raw_host or port is None:
        return ProbeFailure("it is not of the form https://host")
    return ProbeTarget(url.raw_host, port, url.scheme == "https")


def proxy_for(base_url: str, environ: Mapping[str, str] = os.environ) -> ProbeProxy | ProbeFailure | None:
    """The proxy that the environment names for this base URL, None where there is none or NO_PROXY spares the host."""
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
    """The addresses of the host, in the order in which they are tried."""
    loop = asyncio.get_running_loop()
    found: asyncio.Future[tuple[str, ...] | ProbeFailure] = loop.create_future()

    def tell(result: tuple[str, ...] | ProbeFailure) -> None:
        if not found.done():
            found.set_result(result)

    def look_up() -> None:
        result = _addresses(target)
        with suppress(RuntimeError):  # nobody waits any more, and the loop is closed
            loop.call_soon_threadsafe(tell, result)

    threading.Thread(target=look_up, name="truecaller-resolve", daemon=True).start()
    try:
        async with asyncio.timeout(timeout):
            return await found
    except TimeoutError:
        return ProbeFailure(f"the resolver gave no answer in {timeout:g} s")


async def tls_handshake(
    target: ProbeTarget, timeout: float, *, proxy: ProbeProxy | None = None, context: ssl.SSLContext | None = None
) -> Handshake | ProbeFailure:
    """Connect, through the proxy if there is one, and make the TLS handshake; then close.

    `context` has the certificates to trust, those of the system by default.
    """
    context = context or ssl.create_default_context()
    try:
        async with asyncio.timeout(timeout):
            if proxy is None:
                return await _direct(target, context)
            return await _through(proxy, target, context)
    except TimeoutError:
        return ProbeFailure(f"no connection was had in {timeout:g} s")
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        return ProbeFailure(_words(error))


async def request_once(base_url: str, timeouts: Timeouts) -> ProbeAnswer | ProbeFailure:
    """One request for `/`, without a token: any HTTP answer means that the server was reached."""
    transport = AiohttpTransport(base_url)
    try:
        answer = await transport.send(Request("labels", "GET", "/"), timeouts)
    except DecodeError as error:
        return ProbeAnswer(error.status or 200)  # larger than any answer of the API, and an answer all the same
    except TruecallerError as error:
        return ProbeFailure(str(error))
    finally:
        await transport.aclose()
    return ProbeAnswer(answer.status, _instant(answer.headers.get("date")), answer.headers.get("location"))


def _addresses(target: ProbeTarget) -> tuple[str, ...] | ProbeFailure:
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return ProbeFailure(_words(error))
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _direct(target: ProbeTarget, context: ssl.SSLContext) -> Handshake:
    tls = context if target.is_tls else None
    _, writer = await asyncio.open_connection(target.host, target.port, ssl=tls, happy_eyeballs_delay=NEXT_AFTER)
    return _seen(writer)


async def _through(proxy: ProbeProxy, target: ProbeTarget, context: ssl.SSLContext) -> Handshake | ProbeFailure:
    """As the transport does it: a tunnel for TLS; for plain HTTP only the proxy itself is connected to."""
    tls = context if proxy.url.scheme == "https" else None
    reader, writer = await asyncio.open_connection(proxy.url.host, proxy.url.port, ssl=tls, limit=PROXY_HEAD_MAX)
    if not target.is_tls:
        return _seen(writer)
    try:
        writer.write(_connect(proxy, target))
        head = await reader.readuntil(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0].split(b" ")[1:2]
        if status != [b"200"]:
            said = status[0].decode("ascii", "replace") if status else "no HTTP"
            return ProbeFailure(f"the proxy {proxy.shown} refused to connect: it answered {said}")
        await writer.start_tls(context, server_hostname=target.host)
        return _facts(writer)
    finally:
        writer.close()


def _connect(proxy: ProbeProxy, target: ProbeTarget) -> bytes:
    place = f"[{target.host}]:{target.port}" if ":" in target.host else f"{target.host}:{target.port}"
    login = ""
    if proxy.url.user is not None:
        pair = b64encode(f"{proxy.url.user}:{proxy.url.password or ''}".encode()).decode()
        login = f"Proxy-Authorization: Basic {pair}\r\n"
    return f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n{login}\r\n".encode()


def _seen(writer: asyncio.StreamWriter) -> Handshake:
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
    """Who signed: the organisation, else the common name."""
    parts = certificate.get("issuer")
    named = {pair[0]: pair[1] for part in parts for pair in part} if isinstance(parts, tuple) else {}
    return named.get("organizationName") or named.get("commonName")


def _instant(text: str | None) -> datetime | None:
    try:
        instant = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _words(error: Exception) -> str:
    """The short words of the system."""
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
    return "none of its addresses could be connected to" if isinstance(error, OSError) else "it did not speak HTTP"
