"""Stream the file behind a link that the server gave.

Invariants:
    - The link leads to a host that is not the API: no token, no redirect, no cookie is sent. A session that the caller
      lent keeps its own headers and cookies.
    - Each piece is written before the next one is read, so a file of any size needs little memory. A file larger than
      the limit, counted after decompression, is aborted.
    - The duration of a file is not limited. Only a pause of `timeouts.read` seconds ends the download.
"""

from __future__ import annotations

from ssl import SSLContext

import aiohttp
import attrs
from yarl import URL

from truecaller_async.errors import DecodeError
from truecaller_async.models import Answer, Secret
from truecaller_async.options import Timeouts
from truecaller_async.ports import Write
from truecaller_async.transport.attempt import HttpAttempt
from truecaller_async.transport.deadlines import DeadlineTimer, head_within, library_timeout


@attrs.frozen(repr=False)  # the URL of the proxy may hold a password
class DownloadSession:
    """Session and settings of one download."""

    session: aiohttp.ClientSession
    """Session of the HTTP library."""
    deadlines: DeadlineTimer
    """Deadlines of the transport."""
    agent: str
    """Value of the header User-Agent."""
    proxy: URL | None
    """URL of the proxy; None for a direct connection."""
    ssl: SSLContext | None
    """Trusted certificates; None for those of the system."""
    attempt: HttpAttempt
    """State that the trace of the session updates."""
    is_borrowed: bool
    """Whether the caller lent the session, so that it has no trace."""


async def fetch(download: DownloadSession, link: Secret, write: Write, timeouts: Timeouts, max_bytes: int) -> Answer:
    """Send one GET and stream the body of a 200 to `write`. Any other body is not read.

    Args:
        download: session and settings.
        link: URL of the file.
        write: receives each piece of the body.
        timeouts: limits of the connection and of a pause.
        max_bytes: Largest size of the file in bytes.

    Returns:
        The answer with an empty body.

    Raises:
        DecodeError: The file is larger than `max_bytes`.

    Errors of `write` and of the HTTP library pass through; the transport explains the latter.
    """
    async with download.deadlines.limit(head_within(timeouts), "head") as deadline:
        response = await download.session.request(
            "GET",
            URL(link.reveal(), encoded=True),
            headers={"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": download.agent},
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=True,
            proxy=download.proxy,
            ssl=download.ssl or True,
            timeout=library_timeout(timeouts),
            trace_request_ctx=None if download.is_borrowed else download.attempt,
        )
        deadline.cancel()
        try:
            if response.status == 200:
                await _stream(response, write, max_bytes)
        finally:
            response.close()
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, b"")


async def _stream(response: aiohttp.ClientResponse, write: Write, max_bytes: int) -> None:
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > max_bytes:
            raise DecodeError(
                f"the file is larger than {max_bytes} bytes. Allow more with max_bytes=", status=response.status
            )
        await write(piece)
