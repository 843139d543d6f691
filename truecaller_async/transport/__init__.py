"""The one place that speaks HTTP. It carries a request to the server and brings one complete answer back, or a file.

It makes one attempt and decides nothing: no retry, no redirect, no cookie, no reading of the status. What it does
say, for every attempt that brings no answer, is whether the server may have seen the request, because law 3 (no
blind resend) rests on that one word.

    adapter.py    `AiohttpTransport`: one session, of one event loop and one process
    download.py   a file behind a link, piece by piece
    attempt.py    was a connection had? the trace that knows
    failures.py   the table: each failure of the HTTP library, and what it means
    slowness.py   how long an answer may take that is never silent
    headers.py    what goes on the wire beside the body, and what must not
    proxies.py    which proxy, if any
    pinned.py     a connection to an address that was looked at before, and to no other
    addresses.py  which IP addresses are public, from an own table of networks
    probe.py      is it there at all? names, handshakes and a knock, for a doctor
"""

from truecaller_async.transport.aiohttp_transport import AiohttpTransport
from truecaller_async.transport.failures import FAILURES, FailureMeaning

__all__ = ["FAILURES", "AiohttpTransport", "FailureMeaning"]
