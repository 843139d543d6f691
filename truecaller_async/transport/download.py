"""A file behind a link, piece by piece.

The link was given by the server and leads to a host that is not the API: what goes there says who we are and nothing
else. No token, no redirect, no cookie (a session that was lent to us keeps its own headers and cookies). Each piece is
handed on before the next is read, so a file of any size takes little memory; what is larger than the cap, counted after
decompression, is broken off. Unlike an answer of the API a file may take its time: only a silence of `timeouts.read`
ends it.
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
from truecaller_async.transport.deadlines import DeadlineTimer, head_within, silences


@attrs.frozen(repr=False)
class DownloadSession:
    """What the connection is made with. The proxy's URL may hold a password."""

    session: aiohttp.ClientSession
    patience: DeadlineTimer
    agent: str
    proxy: URL | None
    ssl: SSLContext | None
    attempt: HttpAttempt
    is_borrowed: bool


async def fetch(line: DownloadSession, link: Secret, write: Write, timeouts: Timeouts, cap: int) -> Answer:
    """One GET. The body of a 200 goes to `write`, any other is left; the answer's own body is empty.

    Raises `DecodeError` where the file is larger than `cap` bytes, what `write` raises, and whatever the HTTP library
    does: it is for the adapter to explain.
    """
    async with line.patience.bound(head_within(timeouts), "not begun") as bound:
        response = await line.session.request(
            "GET",
            URL(link.reveal(), encoded=True),
            headers={"Accept": "*/*", "Accept-Encoding": "gzip, deflate", "User-Agent": line.agent},
            allow_redirects=False,
            raise_for_status=False,
            auto_decompress=True,
            proxy=line.proxy,
            ssl=line.ssl or True,
            timeout=silences(timeouts),
            trace_request_ctx=None if line.is_borrowed else line.attempt,
        )
        bound.cancel()
        try:
            if response.status == 200:
                await _pour(response, write, cap)
        finally:
            response.close()
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, b"")


async def _pour(response: aiohttp.ClientResponse, write: Write, cap: int) -> None:
    taken = 0
    async for piece in response.content.iter_any():
        taken += len(piece)
        if taken > cap:
            raise DecodeError(f"the file is larger than {cap} bytes; allow more with cap=", status=response.status)
        await write(piece)
