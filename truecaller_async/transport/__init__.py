"""HTTP: send one request and return one complete answer, or a file.

Purpose:
    A transport makes one attempt and decides nothing: no retry, no redirect, no cookie, no reading of the status. For
    each attempt without an answer it reports whether the server may have received the request, because a request must
    not be sent again blindly.

Modules:
    - `aiohttp_transport`: `AiohttpTransport`, one session of one event loop and one process.
    - `download`: stream the file behind a link.
    - `attempt`: the trace that records whether a connection was acquired.
    - `failures`: table of the failures of the HTTP library and their meaning.
    - `deadlines`: time limits of the head and the body of an answer.
    - `headers`: headers of a request, and checks against header injection.
    - `proxies`: choice of the proxy.
    - `pinned_dns`: connections to addresses that were checked, and to no others.
    - `addresses`: table of IP networks that are not public.
    - `diagnostics`: single steps of a connection, for `truecaller doctor`.
"""

from truecaller_async.transport.aiohttp_transport import AiohttpTransport
from truecaller_async.transport.failures import FAILURES, FailureMeaning

__all__ = ["FAILURES", "AiohttpTransport", "FailureMeaning"]
