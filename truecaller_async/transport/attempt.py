"""Was a connection had? The only sound line between "not sent" and "maybe sent".

The class of an exception lies: a timeout looks the same while waiting for a connection and while waiting for the
answer, and the library reports headers as sent although the peer never read them. So each attempt carries a flag,
and the session's trace raises it at the moment a connection is in hand, fresh or reused. Not raised: the server saw
nothing, whatever was thrown. Raised, and no complete answer: the request may have been applied.

A session that the caller lent us has no trace of ours; there the flag stays None, and `failures.FAILURES` decides.
"""

from __future__ import annotations

from types import SimpleNamespace

import aiohttp
import attrs


@attrs.define
class HttpAttempt:
    """What is known of one attempt: a connection was `acquired`, or it still waits, `queued`, for a free one.

    `is_read`: the request changes nothing at the server, so that a lost answer may be asked for again.
    """

    acquired: bool | None = None
    queued: bool = False
    is_read: bool = False


def trace() -> aiohttp.TraceConfig:
    """The trace that keeps the `Attempt` given as `trace_request_ctx` up to date."""
    config = aiohttp.TraceConfig()
    config.on_connection_queued_start.append(_queued)
    config.on_connection_queued_end.append(_served)
    config.on_connection_create_end.append(_acquired)
    config.on_connection_reuseconn.append(_acquired)
    return config


async def _queued(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.queued = True


async def _served(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.queued = False


async def _acquired(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.acquired = True
