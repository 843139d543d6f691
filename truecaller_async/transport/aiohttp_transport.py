"""`AiohttpTransport`: one request out, one complete answer in.

The session. It is opened at the first send, because a client must be constructible without a loop, and it belongs to
the event loop and the process of that moment: sockets shared by two loops, or by a parent and its fork, mix up answers.
Used from elsewhere, or after the close, it is a `ClientClosed` that says which. A session that the caller lent us is
used and never closed.

Five habits of the library are switched off: redirects are never followed (they would post a batch of phone numbers to
another host), a GET is never silently sent twice (the limiter counted one), cookies are not kept, the environment and
~/.netrc are not read, and an answer is read in pieces under a cap, counted after decompression.

Time. No total: when a total fires nobody can tell what it interrupted. `timeouts.connect` bounds all it takes to have
a connection (a free place, DNS, TCP, TLS, the proxy). `timeouts.read` bounds each silence of the peer, but the library
starts that clock only when the request is written, and a peer that accepts and never reads would hold it for ever;
so the beginning of the answer must also come within connect + 2 x read. The rest of it must come within 10 x read,
or a peer that sends one byte a second would hold a place for hours: by then the request was sent for certain, so this
end can be classified.

Secrets. What the library throws holds the request's headers. So its exceptions end here: a new error is raised after
the handler is left, with neither cause nor context, and no variable of these functions ever holds the token.
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
from truecaller_async.errors import ClientClosed, ConfigError, DecodeError, NotSent, ResponseLost, TruecallerError
from truecaller_async.loop_binding import LoopBinding
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.options import Timeouts
from truecaller_async.ports import Write
from truecaller_async.protocol.links import check_link
from truecaller_async.transport import attempt as attempts
from truecaller_async.transport import download, failures, headers, proxies
from truecaller_async.transport.attempt import HttpAttempt
from truecaller_async.transport.deadlines import DeadlineTimer, body_within, head_within, silences
from truecaller_async.user_warnings import stacklevel_of_caller

CONNECTIONS = 128
KEEP_ALIVE = 10.0
"""Seconds an idle connection is kept: below any server's own figure, so that few are found dead when reused."""

UNCHECKED = (
    "the context given as ssl= does not check whose certificate it is: anybody on the way can read the tokens and the "
    "phone numbers; set check_hostname = True and verify_mode = ssl.CERT_REQUIRED"
)

PATH = re.compile(r"/[!-\"$-~]*", re.ASCII)


class AiohttpTransport:
    """The `Transport` port over aiohttp.

    `base_url` is scheme, host and perhaps a path; the caller has checked it. `session` is a session to borrow: it
    keeps its own cookies, trace and proxy settings, and whether a request was sent is then judged by the class of the
    failure alone. `proxy` is a URL and wins over the environment. `ssl` is a context with the certificates to trust.
    `user_agent` is put behind our own. `connections` is how many may be open at once.

    Raises `ConfigError` where a setting cannot be used. Opens nothing and needs no event loop.
    """

    def __init__(
        self,
        base_url: str,
        *,
        session: aiohttp.ClientSession | None = None,
        proxy: str | None = None,
        ssl: SSLContext | None = None,
        user_agent: str | None = None,
        connections: int = CONNECTIONS,
    ) -> None:
        if ssl is not None and not isinstance(ssl, SSLContext):
            raise ConfigError("ssl must be an ssl.SSLContext; load the certificates to trust into one")
        if ssl is not None and not (ssl.check_hostname and ssl.verify_mode is VerifyMode.CERT_REQUIRED):
            warnings.warn(UNCHECKED, RuntimeWarning, stacklevel=stacklevel_of_caller())
        if session is not None and not isinstance(session, aiohttp.ClientSession):
            raise ConfigError("session must be an aiohttp.ClientSession; leave it out to have one made")
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
        self._patience = DeadlineTimer()
        self._binding = LoopBinding()

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        """One attempt; the answer is complete, whatever its status, and redirects come back as answers.

        Of a header that comes twice the first value is kept.

        Raises `NotSent` where no connection was had, `ResponseLost` where one was had and no complete answer came,
        `DecodeError` where the answer is larger than `request.cap` bytes, `ConfigError` where the request cannot be
        written safely, `ClientClosed` after the close or from another event loop or process.
        """
        headers.check(request)
        url = self._url(request)
        session = self._open_session()
        attempt = HttpAttempt(acquired=None if self._borrowed else False, is_read=request.is_read)
        exchange = self._exchange(session, request, url, timeouts, attempt)
        return await self._guarded(exchange, self._target(), timeouts, attempt)

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], cap: int
    ) -> Answer:
        """One GET of a link that the server gave us, without token; the answer is without its body.

        The body of a 200 goes to `write` piece by piece, that of any other status is not read.

        Raises `DecodeError` and `ConfigError` before anything is sent where `links.check_link` refuses the link, and
        what `send` raises; `DecodeError` also where the file is larger than `cap` bytes; what `write` raises.
        """
        host = check_link(link, str(self._base), hosts)
        session = self._open_session()
        attempt = HttpAttempt(acquired=None if self._borrowed else False, is_read=True)
        proxy = self._proxy_to(link)
        line = download.DownloadSession(session, self._patience, self._agent, proxy, self._ssl, attempt, self._borrowed)
        return await self._guarded(download.fetch(line, link, write, timeouts, cap), str(host), timeouts, attempt)

    async def aclose(self) -> None:
        """Close the session if it was opened here; a second time does nothing.

        In a forked child nothing is touched: the sockets are the parent's. Raises `ClientClosed` from another event
        loop while the one it was opened in still lives, since only that one can close it.
        """
        if self._session is None or self._borrowed:
            self._binding.closed = True  # nothing to close, so it may be done in any event loop
        elif self._binding.close():
            await self._session.close()

    async def _guarded(
        self, work: Coroutine[Any, Any, Answer], target: str, timeouts: Timeouts, attempt: HttpAttempt
    ) -> Answer:
        """The answer, or an error of the tree that holds nothing of the request."""
        try:
            return await work
        except TruecallerError as error:
            raise error.with_traceback(None)  # noqa: B904 - the frames behind it hold the answer, which shows its URL
        except asyncio.CancelledError:
            if is_being_cancelled() or not self._binding.closed:
                raise
            failure = self._closed_meanwhile(target, attempt)
        except Exception as error:  # noqa: BLE001 - whatever it is, it holds the token and may not leave this room
            failure = failures.explain(error, target, timeouts, attempt)
        try:
            raise failure
        finally:
            del failure

    async def _exchange(
        self, session: aiohttp.ClientSession, request: Request, url: URL, timeouts: Timeouts, attempt: HttpAttempt
    ) -> Answer:
        async with self._patience.bound(head_within(timeouts), "not begun") as bound:
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
                timeout=silences(timeouts),
                trace_request_ctx=None if self._borrowed else attempt,
            )
            bound.restart(body_within(timeouts), "not complete")
            try:
                body = await _read(response, request.body_max_bytes)
            finally:
                # Read to its end, the connection is back in the pool already; otherwise this ends it.
                response.close()
        if body is None:
            raise DecodeError(f"answer larger than {_size(request.body_max_bytes)}", status=response.status)
        return Answer(response.status, _first_values(response), body)

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
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=KEEP_ALIVE),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            trace_configs=[attempts.trace()],
        )
        session._retry_connection = False  # noqa: SLF001 - the library has no public switch; a house test watches it
        return session

    def _proxy_to(self, link: Secret) -> URL | None:
        """The proxy for a link: it may lead to a host that NO_PROXY names, or the base URL's may be one."""
        if self._given_proxy is not None or self._borrowed:
            return self._given_proxy
        return proxies.from_environment(URL(link.reveal(), encoded=True))

    def _target(self) -> str:
        target = f"{self._base.host}:{self._base.port}"
        return f"{target} through the proxy {self._proxy.host}:{self._proxy.port}" if self._proxy else target

    def _closed_meanwhile(self, target: str, attempt: HttpAttempt) -> ClientClosed | NotSent | ResponseLost:
        if attempt.acquired is False:
            return ClientClosed("the client was closed while this request waited for a connection; nothing was sent")
        return ResponseLost(f"{target}: the client was closed; the request may or may not have been applied")


async def _read(response: aiohttp.ClientResponse, cap: int) -> bytes | None:
    """The whole body, or None as soon as it is larger than `cap` bytes. Most come in one piece, and are not copied."""
    pieces, size = [], 0
    while piece := await response.content.readany():
        size += len(piece)
        if size > cap:
            return None
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _size(count: int) -> str:
    """8388608 -> "8 MiB". A bare figure that long would be masked as a phone number."""
    for unit, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if count and count % unit == 0:
            return f"{count // unit} {name}"
    return f"{count:,} bytes"


def _first_values(response: aiohttp.ClientResponse) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in response.headers.items():
        values.setdefault(name.lower(), value)
    return values
