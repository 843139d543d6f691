"""Receiver under kills: is every event that was answered with 200 handled?

A receiver runs in a process of its own and is killed with SIGKILL repeatedly, while four senders send shuffled events,
three of ten of them twice. A sender repeats an event until it is answered with 200, as Truecaller does. The handler
writes the id of each event to a file in one system call, so the handled events are known after a kill. An event can be
handled twice only if a kill happened between its handler and its stored result; the receiver must have counted at least
that many in `possibly_duplicated`.

Then the response time is measured with a handler that never returns.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter

import aiohttp
import attrs

from benchmarks import Figure, at_most, exactly
from benchmarks.server import SPAWN, TIMEOUT_SECONDS
from truecaller_async.webhooks import Event, WebhookOptions, WebhookReceiver, WebhookStats
from truecaller_async.webhooks.server import WebhookServer

EVENTS = 100_000
KILLS = 10
TWICE_SHARE = 0.3
SENDERS = 4
LANES = 20
BLOCKED_EVENTS = 5_000
P99_MS = 500.0
REPEAT_SECONDS = 0.02
"""Seconds before a sender repeats an event."""

KEY = "0nly-f0r-m34sur1ng-0n-l00pb4ck"


@attrs.frozen
class KillRun:
    """Result: `unhandled` were answered with 200 and never handled; `twice` counts repeated handler calls."""

    sent: int
    distinct: int
    unhandled: int
    possibly_duplicated: int
    stats: WebhookStats
    seconds: float


def measure() -> list[Figure]:
    """Run with kills, and measure the answers with a blocked handler."""
    with tempfile.TemporaryDirectory() as folder:
        run = asyncio.run(killed(EVENTS, KILLS, Path(folder)))
        print(f"  {run}", flush=True)
        latencies = sorted(asyncio.run(blocked(BLOCKED_EVENTS, Path(folder))))
    return [
        exactly("webhooks: events sent and answered 200", run.sent, EVENTS),
        exactly("webhooks: answered 200 and not handled", run.unhandled, 0),
        at_most(
            "webhooks: handled twice, of those counted as possible",
            run.possibly_duplicated,
            run.stats.possibly_duplicated,
        ),
        exactly("webhooks: handled, by the receiver's count", run.stats.handled, run.distinct),
        Figure("webhooks: events a second, kills included", f"{run.sent / run.seconds:,.0f}"),
        Figure("webhooks: answer with a blocked handler, median", f"{1000 * latencies[len(latencies) // 2]:.1f} ms"),
        at_most(
            "webhooks: answer with a blocked handler, p99", 1000 * latencies[len(latencies) * 99 // 100], P99_MS, " ms"
        ),
    ]


async def killed(count: int, kills: int, folder: Path, seed: int = 1) -> KillRun:
    """Send `count` events, three of ten twice, and kill the receiver `kills` times meanwhile."""
    rng = random.Random(seed)
    distinct = count - int(count * TWICE_SHARE)
    numbers = [*range(distinct), *rng.sample(range(distinct), count - distinct)]
    rng.shuffle(numbers)
    receiver = Receiver(folder, folder / "handled")
    await receiver.start()
    answered: list[int] = []
    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        work = iter(numbers)
        for _ in range(SENDERS):
            group.create_task(_send(receiver.url, work, answered))
        group.create_task(_kill(receiver, answered, [count * turn // (kills + 1) for turn in range(1, kills + 1)]))
    stats = await receiver.finish(distinct)
    seconds = perf_counter() - start
    handled = Counter((folder / "handled").read_text().split())
    unhandled = {event_id(number) for number in answered} - handled.keys()
    return KillRun(len(answered), distinct, len(unhandled), handled.total() - len(handled), stats, seconds)


async def blocked(count: int, folder: Path) -> list[float]:
    """Return the seconds of each answer while the handler never returns."""
    receiver = Receiver(folder, None)
    await receiver.start()
    seconds: list[float] = []
    work = iter(range(count))
    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(_send(receiver.url, work, [], seconds))
    receiver.kill()
    return seconds


def event_id(number: int) -> str:
    """Return the id of an event."""
    return f"00000000-0000-4000-8000-{number:012d}"


def body(number: int) -> bytes:
    """Return an event as Truecaller sends it, with one of twenty business numbers."""
    payload = {"business_number": f"9100000000{number % LANES:02d}", "client_number": "919900000007"}
    event = {"event_id": event_id(number), "event_type": "cmb", "created_at": str(1_760_000_000 + number)}
    return json.dumps({**event, "cmb_payload": payload}).encode()


class Receiver:
    """Receiver in a process of its own, always with the same port and store."""

    def __init__(self, folder: Path, handled: Path | None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port: int = free.getsockname()[1]
        self._store = folder / f"webhooks-{self._port}.db"
        self._handled = handled
        self.url = f"http://127.0.0.1:{self._port}/hook?key={KEY}"

    async def start(self) -> None:
        """Start the process; return when it listens."""
        self._pipe, theirs = SPAWN.Pipe()
        self._process = SPAWN.Process(target=_serve, args=(theirs, self._port, self._store, self._handled), daemon=True)
        self._process.start()
        theirs.close()
        await asyncio.to_thread(_received, self._pipe)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        self._process.kill()
        self._process.join(TIMEOUT_SECONDS)
        self._pipe.close()

    async def finish(self, handled: int) -> WebhookStats:
        """Wait until this number of events was handled."""
        self._pipe.send(handled)
        stats = await asyncio.to_thread(_received, self._pipe)
        self._process.join(TIMEOUT_SECONDS)
        assert isinstance(stats, WebhookStats)
        return stats


async def _send(url: str, work: Iterator[int], answered: list[int], seconds: list[float] | None = None) -> None:
    async with aiohttp.ClientSession() as http:
        for number in work:
            start = perf_counter()
            while not await _taken(http, url, body(number)):  # noqa: ASYNC110 - each check is a request
                await asyncio.sleep(REPEAT_SECONDS)
            answered.append(number)
            if seconds is not None:
                seconds.append(perf_counter() - start)


async def _taken(http: aiohttp.ClientSession, url: str, event: bytes) -> bool:
    try:
        async with http.post(url, data=event) as answer:
            return answer.status == 200 and await answer.read() == b"{}"
    except (aiohttp.ClientError, ConnectionError):
        return False


async def _kill(receiver: Receiver, answered: list[int], marks: Iterable[int]) -> None:
    """Kill the receiver after this number of answers, and start it again."""
    for mark in marks:
        while len(answered) < mark:  # noqa: ASYNC110 - the list has no event
            await asyncio.sleep(0.001)
        receiver.kill()
        await receiver.start()


def _received(pipe: Connection) -> object:
    if not pipe.poll(10 * TIMEOUT_SECONDS):
        raise TimeoutError("the receiver did not answer")
    return pipe.recv()


def _serve(pipe: Connection, port: int, store: Path, handled: Path | None) -> None:
    asyncio.run(_listen(pipe, port, store, handled))


@asynccontextmanager
async def _served(port: int, store: Path, handled: Path | None) -> AsyncIterator[WebhookReceiver]:
    file = os.open(handled, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600) if handled is not None else -1

    async def write(event: Event) -> None:
        os.write(file, f"{event.event_id}\n".encode())

    async def hang(event: Event) -> None:
        await asyncio.Event().wait()

    receiver = WebhookReceiver(write if handled is not None else hang, [KEY], store, options=WebhookOptions())
    async with await WebhookServer.start(receiver, port=port, path="/hook"):
        yield receiver


async def _listen(pipe: Connection, port: int, store: Path, handled: Path | None) -> None:
    async with _served(port, store, handled) as receiver:
        pipe.send("listening")
        try:
            wanted = await asyncio.to_thread(pipe.recv)
        except EOFError:
            return
        while (stats := await receiver.stats()).handled < wanted:  # noqa: ASYNC110 - each check awaits the store
            await asyncio.sleep(0.02)
        pipe.send(stats)
