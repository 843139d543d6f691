"""Servers that hold a client to its limit to the letter, in three ways, and one of them on a socket.

No two services count alike. A *sliding log* admits a request while fewer than the limit were admitted in the time up to
it. A *fixed window* counts from one full second, or minute, to the next; where its seconds begin a client cannot know,
so the worst of ten beginnings is told. A *bucket* of a few permits fills at the rate of the limit. None of them charges
a request that it refuses. They are functions of the moments at which requests arrive.

The one on a socket is a sliding log for each token. It speaks just enough HTTP/1.1, answers everything with a success
but what is over the limit, and costs next to nothing, so that what it sees is how well a client keeps time. It runs in
a process and, where that can be chosen, on a core of its own. Where other programs keep it from that core, it sees
requests late, and says by how much.
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

from benchmarks.lean import HEAD_END, LENGTH, PATIENCE, SPAWN, sit_on
from truecaller_async.options import RateLimit
from truecaller_async.sandbox.sliding_log import SlidingLog

BEGINNINGS = 10
BUCKET_PART = 10
"""A bucket holds this part of the limit."""

TOKEN = re.compile(rb"\r\nauthorization: *bearer +(\S+)", re.IGNORECASE)
ROUNDING = 1e-9
"""Of a moment: 1 / 3 of a bucket comes back in thirds."""

TICK = 0.002
"""Seconds between two looks at how late the loop is."""

SUCCESS = msgspec.json.encode({"status_info": {"status": "success"}})
REFUSAL = msgspec.json.encode({"slug": "rate-limit-error", "message": "too many requests"})


def refused_by_log(arrivals: Sequence[float], rule: RateLimit) -> int:
    """How many of these requests a sliding log refuses."""
    log, refused = SlidingLog(rule.limit, rule.per), 0
    for moment in arrivals:
        if log.wait(moment):
            refused += 1
        else:
            log.admit(moment)
    return refused


def refused_by_window(arrivals: Sequence[float], rule: RateLimit) -> int:
    """How many a fixed window refuses, whose beginning is the worst for them."""
    return max(_beyond(arrivals, rule, rule.per * part / BEGINNINGS) for part in range(BEGINNINGS))


def refused_by_bucket(arrivals: Sequence[float], rule: RateLimit) -> int:
    """How many a small bucket refuses."""
    size = max(1, rule.limit // BUCKET_PART)
    rate = rule.limit / rule.per
    filled, before, refused = float(size), arrivals[0], 0
    for moment in arrivals:
        filled, before = min(size, filled + (moment - before) * rate), moment
        if filled < 1 - ROUNDING:
            refused += 1
        else:
            filled -= 1
    return refused


@attrs.frozen
class Seen:
    """What a strict server on a socket saw: when the requests came, by token, and how many it refused.

    `waited`: seconds for which other programs kept it waiting, at most.
    """

    arrivals: dict[bytes, list[float]]
    refused: int
    waited: float

    @property
    def requests(self) -> int:
        """All of them."""
        return sum(map(len, self.arrivals.values()))


@attrs.frozen
class StrictServer:
    """A running one."""

    url: str
    pipe: Connection

    def seen(self) -> Seen:
        """Asked once, at the end: the server stops listening."""
        self.pipe.send("seen")
        seen = _received(self.pipe)
        assert isinstance(seen, Seen)
        return seen


@contextmanager
def strict_server(rule: RateLimit) -> Iterator[StrictServer]:
    """The server in another process, for the length of the block."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(theirs, rule), daemon=True)
    process.start()
    theirs.close()
    try:
        yield StrictServer(str(_received(ours)), ours)
    finally:
        ours.close()
        process.join(PATIENCE)
        if process.is_alive():
            process.terminate()


class Counting:
    """The logs of all tokens."""

    def __init__(self, rule: RateLimit) -> None:
        self._logs = defaultdict[bytes, SlidingLog](lambda: SlidingLog(rule.limit, rule.per))
        self.arrivals = defaultdict[bytes, list[float]](list)
        self.refused = 0

    def admits(self, token: bytes) -> bool:
        """One request of this token came now."""
        now = monotonic()
        self.arrivals[token].append(now)
        log = self._logs[token]
        if log.wait(now):
            self.refused += 1
            return False
        log.admit(now)
        return True


class Connected(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client may send."""
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


async def watched(work: Coroutine[object, object, object]) -> float:
    """Do the work; the longest time by which the loop was late and which was not spent in this process."""
    loop, waited = asyncio.get_running_loop(), 0.0
    task = loop.create_task(work)
    while not task.done():
        due, spent = loop.time() + TICK, process_time()
        await asyncio.sleep(TICK)
        waited = max(waited, loop.time() - due - (process_time() - spent))
    await task
    return waited


def _beyond(arrivals: Sequence[float], rule: RateLimit, begins: float) -> int:
    windows = Counter((moment - begins) // rule.per for moment in arrivals)
    return sum(max(0, count - rule.limit) for count in windows.values())


def _received(pipe: Connection) -> object:
    if not pipe.poll(PATIENCE):
        raise TimeoutError(f"the server did not answer within {PATIENCE:g} seconds")
    return pipe.recv()


def _serve(pipe: Connection, rule: RateLimit) -> None:
    sit_on(-1)
    asyncio.run(_listen(pipe, rule))


async def _listen(pipe: Connection, rule: RateLimit) -> None:
    counting = Counting(rule)
    server = await asyncio.get_running_loop().create_server(lambda: Connected(counting), "127.0.0.1", 0)
    async with server:
        pipe.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        try:
            waited = await watched(asyncio.to_thread(pipe.recv))
        except EOFError:
            return
        pipe.send(Seen(dict(counting.arrivals), counting.refused, waited))
