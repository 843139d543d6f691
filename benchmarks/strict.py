"""Servers that enforce a limit exactly, with three counting methods; one of them on a socket.

- *Sliding log*: admits a request if fewer than the limit were admitted in the time before it.
- *Fixed window*: counts per full second or minute. The client cannot know the start, so the worst of ten counts.
- *Bucket*: a few permits, refilled at the rate of the limit.

None of them counts a rejected request. They are functions of the arrival times of requests.

The server on a socket is a sliding log per token. It implements a minimum of HTTP/1.1, answers all requests within the
limit with success, and costs very little, so it measures the timing of the client. It runs in a process and, if
possible, on a core of its own. If other programs keep it from its core, it sees requests late and reports the delay.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from time import monotonic, process_time

import attrs
import msgspec

from benchmarks.minimal_server import HEAD_END, LENGTH, SPAWN, TIMEOUT_SECONDS, pin_to_core
from truecaller_async.options import RateLimit
from truecaller_async.sandbox.sliding_log import SlidingLog

BEGINNINGS = 10
BUCKET_FRACTION = 10
"""Size of the bucket as a fraction of the limit."""

TOKEN = re.compile(rb"\r\nauthorization: *bearer +(\S+)", re.IGNORECASE)
ROUNDING_SECONDS = 1e-9
"""Tolerance for rounding: a third of a bucket is refilled in three parts."""

TICK_SECONDS = 0.002
"""Seconds between two measurements of the loop's delay."""

SUCCESS = msgspec.json.encode({"status_info": {"status": "success"}})
REFUSAL = msgspec.json.encode({"slug": "rate-limit-error", "message": "too many requests"})


def refused_by_log(arrivals: Sequence[float], rule: RateLimit) -> int:
    """Return how many of these requests a sliding log rejects."""
    log, refused = SlidingLog(rule.limit, rule.per), 0
    for moment in arrivals:
        if log.wait(moment):
            refused += 1
        else:
            log.admit(moment)
    return refused


def refused_by_window(arrivals: Sequence[float], rule: RateLimit) -> int:
    """Return how many a fixed window with the worst start rejects."""
    return max(_beyond(arrivals, rule, rule.per * part / BEGINNINGS) for part in range(BEGINNINGS))


def refused_by_bucket(arrivals: Sequence[float], rule: RateLimit) -> int:
    """Return how many a small bucket rejects."""
    size = max(1, rule.limit // BUCKET_FRACTION)
    rate = rule.limit / rule.per
    filled, before, refused = float(size), arrivals[0], 0
    for moment in arrivals:
        filled, before = min(size, filled + (moment - before) * rate), moment
        if filled < 1 - ROUNDING_SECONDS:
            refused += 1
        else:
            filled -= 1
    return refused


@attrs.frozen
class ServerLog:
    """Arrival times by token, and the number of rejections, of a strict server.

    `waited`: longest time in seconds for which other programs kept the server from its core.
    """

    arrivals: dict[bytes, list[float]]
    refused: int
    waited: float

    @property
    def requests(self) -> int:
        """Number of all requests."""
        return sum(map(len, self.arrivals.values()))


@attrs.frozen
class StrictServer:
    """Running strict server."""

    url: str
    pipe: Connection

    def log(self) -> ServerLog:
        """Return the log. Call once, at the end: the server stops listening."""
        self.pipe.send("seen")
        seen = _received(self.pipe)
        assert isinstance(seen, ServerLog)
        return seen


@contextmanager
def strict_server(rule: RateLimit) -> Iterator[StrictServer]:
    """Run the server in another process for the duration of the block."""
    parent_end, child_end = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(child_end, rule), daemon=True)
    process.start()
    child_end.close()
    try:
        yield StrictServer(str(_received(parent_end)), parent_end)
    finally:
        parent_end.close()
        process.join(TIMEOUT_SECONDS)
        if process.is_alive():
            process.terminate()


class TokenLogs:
    """Sliding logs of all tokens."""

    def __init__(self, rule: RateLimit) -> None:
        self._logs = defaultdict[bytes, SlidingLog](lambda: SlidingLog(rule.limit, rule.per))
        self.arrivals = defaultdict[bytes, list[float]](list)
        self.refused = 0

    def admits(self, token: bytes) -> bool:
        """Return whether a request of this token at this time is admitted."""
        now = monotonic()
        self.arrivals[token].append(now)
        log = self._logs[token]
        if log.wait(now):
            self.refused += 1
            return False
        log.admit(now)
        return True


class HttpProtocol(asyncio.Protocol):
    """One connection with one request at a time."""

    def __init__(self, counting: TokenLogs) -> None:
        self._counting = counting
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer the request when it is complete."""
        self._buffer += data
        head, found, body = self._buffer.partition(HEAD_END)
        length = LENGTH.search(head + b"\r\n")
        if found and len(body) >= (int(length[1]) if length else 0):
            self._buffer = b""
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        assert self._transport is not None
        token = TOKEN.search(head)
        status, said = b"200 OK", SUCCESS
        if token is None:
            said = msgspec.json.encode({"token": os.urandom(16).hex(), "created_at": "2026-01-02T03:04:05.67Z"})
        elif not self._counting.admits(token[1]):
            status, said = b"429 Too Many Requests", REFUSAL
        headers = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % (status, len(said))
        self._transport.write(headers + said)


async def measure_loop_delay(work: Coroutine[object, object, object]) -> float:
    """Run the work; return the longest delay of the loop that this process did not cause."""
    loop, waited = asyncio.get_running_loop(), 0.0
    task = loop.create_task(work)
    while not task.done():
        due, spent = loop.time() + TICK_SECONDS, process_time()
        await asyncio.sleep(TICK_SECONDS)
        waited = max(waited, loop.time() - due - (process_time() - spent))
    await task
    return waited


def _beyond(arrivals: Sequence[float], rule: RateLimit, begins: float) -> int:
    windows = Counter((moment - begins) // rule.per for moment in arrivals)
    return sum(max(0, count - rule.limit) for count in windows.values())


def _received(pipe: Connection) -> object:
    if not pipe.poll(TIMEOUT_SECONDS):
        raise TimeoutError(f"the server did not answer within {TIMEOUT_SECONDS:g} seconds")
    return pipe.recv()


def _serve(pipe: Connection, rule: RateLimit) -> None:
    pin_to_core(-1)
    asyncio.run(_listen(pipe, rule))


async def _listen(pipe: Connection, rule: RateLimit) -> None:
    counting = TokenLogs(rule)
    server = await asyncio.get_running_loop().create_server(lambda: HttpProtocol(counting), "127.0.0.1", 0)
    async with server:
        pipe.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            waited = await measure_loop_delay(asyncio.to_thread(pipe.recv))
        except EOFError:
            return
        pipe.send(ServerLog(dict(counting.arrivals), counting.refused, waited))
