"""Record whether an attempt acquired a connection.

Purpose:
    This is the only reliable border between "not sent" and "maybe sent". The class of an exception does not tell: a
    timeout looks the same before the connection and while waiting for the answer, and the HTTP library reports headers
    as sent although the peer never read them.

Algorithm:
    Each attempt has a flag. The trace of the session sets it when a connection is available, new or reused. Not set:
    the server received nothing, whatever was raised. Set, and no complete answer: the request may have been applied.

Failure modes:
    - A session that the caller lent has no trace of this package. The flag stays None, and `failures.FAILURES` decides.
"""

from __future__ import annotations

from types import SimpleNamespace

import aiohttp
import attrs


@attrs.define
class HttpAttempt:
    """State of one HTTP attempt."""

    acquired: bool | None = None
    """Whether a connection was acquired; None if it is unknown."""
    queued: bool = False
    """Whether the attempt waits for a free connection of the pool."""
    is_read: bool = False
    """Whether the request changes nothing at the server, so that it may be sent again after a lost answer."""


def trace() -> aiohttp.TraceConfig:
    """Return the trace that updates the `HttpAttempt` given as `trace_request_ctx`."""
    config = aiohttp.TraceConfig()
    config.on_connection_queued_start.append(_set_queued)
    config.on_connection_queued_end.append(_clear_queued)
    config.on_connection_create_end.append(_set_acquired)
    config.on_connection_reuseconn.append(_set_acquired)
    return config


async def _set_queued(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.queued = True


async def _clear_queued(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.queued = False


async def _set_acquired(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.acquired = True
