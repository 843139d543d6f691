"""Servers that enforce a limit exactly, with three counting methods; one of them on a socket.

- *Sliding log*: admits a request if fewer than the limit were admitted in the time before it.
- *Fixed window*: counts per full second or minute. The client cannot know the start, so the worst of ten counts.
- *Bucket*: a few permits, refilled at the rate of the limit.

None of them counts a rejected request. They are functions of the arrival times of requests.

The server on a socket is a sliding log per token. It answers the calls of a campaign as `minimal_server` does, and
costs very little, so it measures the timing of the client. A request arrives when its last byte was read;
`ServerBehaviour` can add delays before and after. It runs in a process and, if possible, on a core of its own. If other
programs keep it from its core, it sees requests late and reports the delay.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from random import Random
from time import monotonic, process_time

import attrs
import msgspec

from benchmarks import workload
from benchmarks.minimal_server import HOST, SPAWN, TIMEOUT_SECONDS, Answers, HttpProtocol, call_of, pin_to_core
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
class ServerBehaviour:
    """How the server treats requests. Times are in seconds; a pair is the shortest and the longest delay."""

    outward: tuple[float, float] = (0.0, 0.0)
    """Delay of each request before it arrives."""
    backward: tuple[float, float] = (0.0, 0.0)
    """Delay of each answer."""
    compute: float = 0.0
    """Processor time for each request under the limit, before it counts as arrived."""
    service: float = 0.0
    """Time of the only worker for each request under the limit, before it counts as arrived."""
    workload_start: int | None = None
    """Start of the records of a campaign, in ms: their statuses are prepared at the start. None: no campaign."""


@attrs.frozen
class ServerLog:
    """What a strict server saw of the requests under its limit."""

    arrivals: dict[bytes, list[float]]
    """Monotonic times of all requests, by token."""
    accepted: dict[bytes, list[float]]
    """Monotonic times of the requests that were not rejected, by token."""
    early: list[float]
    """For each rejected request, the seconds by which it was too early."""
    waited: float
    """Longest time in seconds for which other programs kept the server from its core."""

    @property
    def requests(self) -> int:
        """Number of all requests."""
        return sum(map(len, self.arrivals.values()))

    @property
    def refused(self) -> int:
        """Number of rejected requests."""
        return len(self.early)


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
def strict_server(rule: RateLimit, behaviour: ServerBehaviour | None = None) -> Iterator[StrictServer]:
    """Run the server in another process for the duration of the block."""
    parent_end, child_end = SPAWN.Pipe()
    process = SPAWN.Process(target=_serve, args=(child_end, rule, behaviour or ServerBehaviour()), daemon=True)
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
        self.rule = rule
        self._logs = defaultdict[bytes, SlidingLog](lambda: SlidingLog(rule.limit, rule.per))
        self._arrivals = defaultdict[bytes, list[float]](list)
        self._accepted = defaultdict[bytes, list[float]](list)
        self._early: list[float] = []

    def admits(self, token: bytes, now: float) -> bool:
        """Return whether a request of this token is admitted at this time, and record it."""
        self._arrivals[token].append(now)
        log = self._logs[token]
        if wait := log.wait(now):
            self._early.append(wait)
            return False
        log.admit(now)
        self._accepted[token].append(now)
        return True

    def seen(self, waited: float) -> ServerLog:
        """Return what was recorded."""
        return ServerLog(dict(self._arrivals), dict(self._accepted), self._early, waited)


class StrictProtocol(HttpProtocol):
    """One connection with one request at a time."""

    def __init__(self, answers: Answers, logs: TokenLogs, behaviour: ServerBehaviour, worker: Worker) -> None:
        super().__init__(answers)
        self._logs = logs
        self._behaviour = behaviour
        self._worker = worker

    def _answer(self, head: bytes, body: bytes) -> None:
        self._worker.delay(self._behaviour.outward, lambda: self._receive(head, body))

    def _receive(self, head: bytes, body: bytes) -> None:
        token = TOKEN.search(head)
        if token is None or not self._logs.rule.counts(call_of(head)):
            self._send(self._answers.respond(head, body))
        else:
            self._worker.serve(self._behaviour, lambda: self._count(token[1], head, body))

    def _count(self, token: bytes, head: bytes, body: bytes) -> None:
        if self._logs.admits(token, monotonic()):
            self._send(self._answers.respond(head, body))
        else:
            self._send(REFUSAL, b"429 Too Many Requests")

    def _send(self, answer: bytes, status: bytes = b"200 OK") -> None:
        self._worker.delay(self._behaviour.backward, lambda: self._reply(answer, status))

    def _reply(self, answer: bytes, status: bytes = b"200 OK") -> None:
        if self._transport is not None and not self._transport.is_closing():
            super()._reply(answer, status)


class Worker:
    """Delays of the network, and the time that requests need in the server."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._random = Random(0)
        self._free_at = 0.0

    def delay(self, between: tuple[float, float], action: Callable[[], None]) -> None:
        """Act after a random delay; at once if there is none."""
        if between[1] > 0:
            self._loop.call_later(self._random.uniform(*between), action)
        else:
            action()

    def serve(self, behaviour: ServerBehaviour, action: Callable[[], None]) -> None:
        """Act after the processor time, and after the only worker has served all earlier requests and this one."""
        end = process_time() + behaviour.compute
        while process_time() < end:
            pass
        if behaviour.service > 0:
            self._free_at = max(self._free_at, self._loop.time()) + behaviour.service
            self._loop.call_at(self._free_at, action)
        else:
            action()


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


def _serve(pipe: Connection, rule: RateLimit, behaviour: ServerBehaviour) -> None:
    pin_to_core(-1)
    asyncio.run(_listen(pipe, rule, behaviour))


async def _listen(pipe: Connection, rule: RateLimit, behaviour: ServerBehaviour) -> None:
    answers, logs, worker = Answers(), TokenLogs(rule), Worker()
    server = await asyncio.get_running_loop().create_server(
        lambda: StrictProtocol(answers, logs, behaviour, worker), HOST, 0
    )
    async with server:
        pipe.send(f"http://{HOST}:{server.sockets[0].getsockname()[1]}")
        # After the address is sent: the client's process starts meanwhile, and its first request waits.
        if behaviour.workload_start is not None:
            _prepare_statuses(answers, behaviour.workload_start)
        try:
            waited = await measure_loop_delay(asyncio.to_thread(pipe.recv))
        except EOFError:
            return
        pipe.send(logs.seen(waited))


def _prepare_statuses(answers: Answers, start: int) -> None:
    for batch in workload.chunks(workload.mappings(workload.CYCLE, start)):
        answers.submit(msgspec.json.encode({"call_records": batch}))
