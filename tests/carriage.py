"""The table of what the real transport makes of a reply, for a transport without sockets.

A simulation has a reply, no socket, and a virtual clock. `carried` returns how many seconds the exchange takes, from
the moment the request is written, and its result: an `Answer`, or the error that the transport raises.
tests/transport/test_carriage.py compares every row of the table with real sockets.

    delivery mode                            result                            time
    whole                                    the answer                        at once
    reset, close, cut, cut-chunked           lost                              at once
    short-length, two-lengths                lost                              at once
    garbage, not-http, long-header           lost                              at once
    stall, long-length                       lost                              after a silence of `read`
    cut-unmarked                             an answer with half of the body   at once: the cut is not visible
    huge, endless, bomb                      DecodeError, larger than the cap  at once
    drip                                     the answer                        with its last byte
                                             lost                              if not there after 10 x `read`
    drip-headers                             the answer                        with the last byte of the head
                                             lost                              if not there after `connect` + 2 x `read`

"At once" is after the reply's own delay. A delay, or a pace, of `read` or more is a silence, and the answer is lost.
"""

from __future__ import annotations

from truecaller_async.errors import DecodeError, ResponseLost, TruecallerError
from truecaller_async.models import Answer, Request
from truecaller_async.options import Timeouts
from truecaller_async.sandbox import DeliveryMode, SandboxResponse
from truecaller_async.sandbox.faults.raw_http import encode_head

ANSWER_READS = 10.0
"""Number of read timeouts within which the body must be complete."""

MIB = 1024 * 1024
CAP = Request("labels", "GET", "/").body_max_bytes
"""Bytes of an answer that are read at most, unless a call says otherwise."""

BROKEN = {
    DeliveryMode.RESET: "the connection broke",
    DeliveryMode.CLOSE: "the peer closed the connection without a complete answer",
    DeliveryMode.CUT: "the answer was cut short",
    DeliveryMode.CUT_CHUNKED: "the answer was cut short",
    DeliveryMode.SHORT_LENGTH: "the answer is not HTTP",
    DeliveryMode.TWO_LENGTHS: "the answer is not HTTP",
    DeliveryMode.GARBAGE: "the answer is not HTTP",
    DeliveryMode.NOT_HTTP: "the answer is not HTTP",
    DeliveryMode.LONG_HEADER: "the answer is not HTTP",
}
SILENCE = "the peer sent no data"
SLOWNESS = "the answer came too slowly"
TOO_LARGE = (DeliveryMode.HUGE, DeliveryMode.ENDLESS, DeliveryMode.BOMB)


def carried(
    reply: SandboxResponse, request_is_read: bool, timeouts: Timeouts, *, cap: int = CAP
) -> tuple[float, Answer | TruecallerError]:
    """Return the seconds from the writing of the request, and the answer or error of the transport.

    `cap`: that of the request, `Request.body_max_bytes`.
    """
    seconds, reason = _end_of_exchange(reply, timeouts)
    if reason:
        return seconds, lost(reason, request_is_read)
    return seconds, too_large(reply, cap) if reply.mode in TOO_LARGE else answered(reply, cap)


def _end_of_exchange(reply: SandboxResponse, timeouts: Timeouts) -> tuple[float, str]:
    """Return when the exchange ends, and why its answer is lost, if it is."""
    if reply.delay >= timeouts.read or reply.mode is DeliveryMode.STALL:
        return timeouts.read, SILENCE
    if reply.mode is DeliveryMode.LONG_LENGTH:
        return reply.delay + timeouts.read, SILENCE
    if reply.mode is DeliveryMode.DRIP:
        latest = reply.delay + ANSWER_READS * timeouts.read
        return _dripped(reply, len(reply.body), timeouts, latest)
    if reply.mode is DeliveryMode.DRIP_HEADERS:
        return _dripped(reply, len(encode_head(reply)), timeouts, timeouts.connect + 2 * timeouts.read)
    return reply.delay, BROKEN.get(reply.mode, "")


def _dripped(reply: SandboxResponse, drops: int, timeouts: Timeouts, latest: float) -> tuple[float, str]:
    """Return the end of a dripped answer: complete by `latest` and never silent for long, or lost."""
    if drops > 1 and reply.seconds_per_byte >= timeouts.read:
        return reply.delay + timeouts.read, SILENCE
    last = reply.delay + max(drops - 1, 0) * reply.seconds_per_byte
    return (last, "") if last <= latest else (latest, SLOWNESS)


def answered(reply: SandboxResponse, cap: int) -> Answer | DecodeError:
    """Return the answer as the transport gives it."""
    is_cut = reply.mode is DeliveryMode.CUT_UNMARKED
    body = reply.body[: len(reply.body) // 2] if is_cut else reply.body
    if len(body) > cap:
        return too_large(reply, cap)
    return Answer(reply.status, {name.lower(): value for name, value in reply.headers.items()}, body)


def too_large(reply: SandboxResponse, cap: int) -> DecodeError:
    """Return the error for an answer above the cap."""
    size = f"{cap // MIB} MiB" if cap >= MIB else f"{cap // 1024} KiB"
    return DecodeError(f"answer larger than {size}", status=reply.status)


def lost(reason: str, is_read: bool) -> ResponseLost:
    """Return the error for a connection without a complete answer."""
    error = ResponseLost(f"sandbox: {reason}; the request may or may not have been applied")
    error.retryable = is_read
    return error
