"""`AiohttpTransport`: send one request, return one complete answer.

Invariants:
    - The session is opened at the first request, because a client can be created without an event loop. It belongs to
      the event loop and the process of that moment. Sockets that two loops, or a parent and its fork, share would mix
      up answers. Use from elsewhere, or after the close, is a `ClientClosed`.
    - Redirects are not followed (they would send phone numbers to another host). A GET is never silently sent twice
      (the limiter counted one). Cookies, the environment and ~/.netrc are not used. The size of an answer is limited,
      counted after decompression.
    - The exceptions of the HTTP library hold the headers of the request. So a new error is raised after the handler
      has ended, without cause and context, and no local variable of these functions holds the token.

Algorithm:
    There is no total timeout, because it would not tell what it interrupted. `timeouts.connect` limits the time until
    a connection is acquired (a free place in the pool, DNS, TCP, TLS, the proxy). `timeouts.read` limits each pause of
    the peer, but the library starts it only when the request is written. So the head of the answer must also arrive
    within connect + 2 x read, and its body within 10 x read; see `deadlines`.
"""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Collection, Coroutine
from ssl import SSLContext, VerifyMode
from typing import Any

import aiohttp
from yarl import URL

from truecaller_async.cancellation import is_being_cancelled
from truecaller_async.clock import loop_time
from truecaller_async.errors import ClientClosed, ConfigError, DecodeError, NotSent, ResponseLost, TruecallerError
from truecaller_async.loop_binding import LoopBinding
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.options import Timeouts
from truecaller_async.ports import Write
from truecaller_async.protocol.links import check_link
from truecaller_async.transport import attempt as attempts
from truecaller_async.transport import download, failures, headers, proxies
from truecaller_async.transport.attempt import HttpAttempt
from truecaller_async.transport.deadlines import DeadlineTimer, body_within, head_within, library_timeout
from truecaller_async.user_warnings import stacklevel_of_caller

CONNECTIONS_MAX = 128
"""Connections that may be open at once."""

KEEP_ALIVE_SECONDS = 10.0
"""Time that an idle connection is kept. Shorter than the limit of any server, so that few are closed when reused."""

UNCHECKED_CERTIFICATE = (
    "the context given as ssl= does not check certificates: an attacker on the network can read the tokens and the "
    "phone numbers; set check_hostname = True and verify_mode = ssl.CERT_REQUIRED"
)

PATH = re.compile(r"/[!-\"$-~]*", re.ASCII)


class AiohttpTransport:
    """Adapter of the `Transport` port for aiohttp."""

    def __init__(
        self,
        base_url: str,
        *,
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ssl: SSLContext | None = None,
        user_agent: str | None = None,
        connections: int = CONNECTIONS_MAX,
    ) -> None:
        """Check the settings. Nothing is opened, and no event loop is needed.

        Args:
            base_url: scheme, host and optional path; the caller has checked it.
            session: session that the caller lends. It keeps its own cookies, trace and proxy settings, and is never
                closed. Whether a request was sent is then decided by the class of the failure alone. It may send a GET
                twice for one permit, if a kept connection turns out to be closed.
            proxy: URL of a proxy; has priority over the environment.
            ssl: context with the trusted certificates; those of the system by default.
            user_agent: text that follows the User-Agent of the package.
            connections: connections that may be open at once.

        Raises:
            ConfigError: A setting cannot be used.
        """
        if ssl is not None and not isinstance(ssl, SSLContext):
            raise ConfigError("ssl must be an ssl.SSLContext; load the certificates to trust into one")
        if ssl is not None and not (ssl.check_hostname and ssl.verify_mode is VerifyMode.CERT_REQUIRED):
            warnings.warn(UNCHECKED_CERTIFICATE, RuntimeWarning, stacklevel=stacklevel_of_caller())
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise ConfigError("session must be an aiohttp.ClientSession; leave it out, and the client opens one")
        if isinstance(connections, bool) or not isinstance(connections, int) or connections < 1:
            raise ConfigError(f"connections is {connections!r}: it must be a whole number from 1")
        self._base = URL(base_url)
        self._root = str(self._base).rstrip("/")
        self._session = session
        self._borrowed = session is not None
        self._proxy = proxies.parse(proxy, "proxy") if proxy is not None else None
        self._given_proxy = self._proxy
        self._ssl = ssl
        self._agent = headers.user_agent(user_agent)
        self._connections = connections
        self._deadlines = DeadlineTimer()
        self._binding = LoopBinding()

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        """Make one attempt and return the complete answer, whatever its status. A redirect is an answer too.

        If a header is repeated, its first value is kept.

        Args:
            request: the request.
            timeouts: limits of the connection and of a pause of the peer, in seconds.

        Raises:
            NotSent: No connection was acquired.
            ResponseLost: A connection was acquired, and no complete answer was received.
            DecodeError: The answer is larger than `request.body_max_bytes`.
            ConfigError: The request cannot be written safely.
            ClientClosed: The transport is closed, or belongs to another event loop or process.
        """
        headers.check(request)
        url = self._url(request)
        session = self._open_session()
        attempt = HttpAttempt(acquired=None if self._borrowed else False, is_read=request.is_read)
        exchange = self._exchange(session, request, url, timeouts, attempt)
        return await self._explained(exchange, self._target(), timeouts, attempt)

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], max_bytes: int
    ) -> Answer:
        """Send one GET to a link of the server, without token, and stream the body of a 200 to `write`.

        Args:
            link: the link.
            write: receives each piece of the body.
            timeouts: limits of the connection and of a pause of the peer, in seconds.
            hosts: hosts that are allowed in addition to those of Truecaller.
            max_bytes: Largest size of the file in bytes.

        Returns:
            The answer with an empty body.

        Raises:
            DecodeError: The link does not have the plain form (nothing was sent), or the file exceeds `max_bytes`.
            ConfigError: The link leads to a host that is not allowed (nothing was sent).

        Errors of `send` and of `write` are raised too.
        """
        host = check_link(link, str(self._base), hosts)
        session = self._open_session()
        attempt = HttpAttempt(acquired=None if self._borrowed else False, is_read=True)
        proxy = self._proxy_to(link)
        settings = download.DownloadSession(
            session, self._deadlines, self._agent, proxy, self._ssl, attempt, self._borrowed
        )
        work = download.fetch(settings, link, write, timeouts, max_bytes)
        return await self._explained(work, str(host), timeouts, attempt)

    async def aclose(self) -> None:
        """Close the session unless the caller lent it. A second call does nothing.

        In a forked child nothing is closed: the sockets belong to the parent.

        Raises:
            ClientClosed: The call is from another event loop, and the loop of the session, which alone can close it,
                is still open.
        """
        if self._session is None or self._borrowed:
            self._binding.closed = True  # nothing to close, so it may be done in any event loop
        elif self._binding.close():
            await self._session.close()

    async def _explained(
        self, work: Coroutine[Any, Any, Answer], target: str, timeouts: Timeouts, attempt: HttpAttempt
    ) -> Answer:
        """Await the work and replace an error of the HTTP library by one that holds nothing of the request."""
        try:
            return await work
        except TruecallerError as error:
            raise error.with_traceback(None)  # noqa: B904 - the frames of the traceback hold the answer and its URL
        except asyncio.CancelledError:
            # The library cancels its waiters when the session is closed. That is no cancellation by the caller.
            if is_being_cancelled() or not self._binding.closed:
                raise
            failure = self._closed_during_request(target, attempt)
        except Exception as error:  # noqa: BLE001 - any error of the library holds the token
            failure = failures.explain(error, target, timeouts, attempt)
            if isinstance(failure, ResponseLost) and self._binding.closed:
                failure.given_up = True
        # Raised outside the handler, so that the error has no context. `del` ends the cycle of error and frame.
        try:
            raise failure
        finally:
            del failure

    async def _exchange(
        self, session: aiohttp.ClientSession, request: Request, url: URL, timeouts: Timeouts, attempt: HttpAttempt
    ) -> Answer:
        async with self._deadlines.limit(head_within(timeouts), "head") as deadline:
            response = await session.request(
                request.method,
                url,
                data=request.body,
                headers=headers.build(request, self._agent),
                allow_redirects=False,
                raise_for_status=False,
                auto_decompress=True,
                proxy=self._proxy,
                ssl=self._ssl or True,
                timeout=library_timeout(timeouts),
                trace_request_ctx=None if self._borrowed else attempt,
            )
            headers_at = loop_time()
            deadline.restart(body_within(timeouts), "body")
            try:
                body = await _read(response, request.body_max_bytes)
            finally:
                # After a complete body the connection is back in the pool already. Otherwise this closes it.
                response.close()
        if body is None:
            raise DecodeError(f"answer larger than {_size(request.body_max_bytes)}", status=response.status)
        return Answer(response.status, _first_values(response), body, headers_at)

    def _url(self, request: Request) -> URL:
        if not PATH.fullmatch(request.path):
            raise ConfigError(
                f"the path of the {request.call} request is refused: it must begin with a slash and be percent-encoded"
            )
        return URL(self._root + request.path, encoded=True)

    def _open_session(self) -> aiohttp.ClientSession:
        self._binding.bind()
        if self._session is None:
            self._session = self._new_session()
        if self._session.closed:
            raise ClientClosed("the session given as session= is closed; keep it open as long as the client")
        return self._session

    def _new_session(self) -> aiohttp.ClientSession:
        self._proxy = self._proxy or proxies.from_environment(self._base)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            trace_configs=[attempts.trace()],
        )
        session._retry_connection = False  # noqa: SLF001 - no public switch; an architecture test checks it
        return session

    def _proxy_to(self, link: Secret) -> URL | None:
        # Not the proxy of the base URL: NO_PROXY can name only one of the two hosts.
        if self._given_proxy is not None or self._borrowed:
            return self._given_proxy
        return proxies.from_environment(URL(link.reveal(), encoded=True))

    def _target(self) -> str:
        target = f"{self._base.host}:{self._base.port}"
        return f"{target} through the proxy {self._proxy.host}:{self._proxy.port}" if self._proxy else target

    def _closed_during_request(self, target: str, attempt: HttpAttempt) -> ClientClosed | NotSent | ResponseLost:
        if attempt.acquired is False:
            return ClientClosed("the client was closed while this request waited for a connection; nothing was sent")
        lost = ResponseLost(f"{target}: the client was closed; the request may or may not have been applied")
        lost.given_up = True
        return lost


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes | None:
    """Return the whole body; None as soon as it is larger than `max_bytes` bytes."""
    pieces, size = [], 0
    while piece := await response.content.readany():
        size += len(piece)
        if size > max_bytes:
            return None
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)  # most bodies are one piece and are not copied


def _size(count: int) -> str:
    # With a unit, such as "8 MiB": a plain 8388608 would be masked as a phone number.
    for unit, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if count and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count:,} bytes"


def _first_values(response: aiohttp.ClientResponse) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in response.headers.items():
        values.setdefault(name.lower(), value)
    return values
