"""Network between the client and the sandbox state: latency, lost answers, failed connections.

A request takes a while to arrive, is answered at that moment of the server clock, and the answer takes a while to come
back. `tests.carriage` says how the real transport handles an answer that is cut, dripped or not HTTP. A request that is
on its way when its process dies arrives or not, at random.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Collection
from random import Random

import attrs

from tests.carriage import carried
from tests.simulation.evidence import ArrivedRequest, ProcessRequests
from tests.simulation.scenario import Network
from tests.simulation.timeline import Timeline
from tests.virtual import BASE
from truecaller_async import NotSent, ResponseLost, Timeouts
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.ports import Write
from truecaller_async.sandbox import SandboxState
from truecaller_async.sandbox.answers import SandboxResponse, http_date


@attrs.define(eq=False)
class SharedNetwork:
    """The server and the network, which survive a process, and all requests that arrived."""

    state: SandboxState
    network: Network
    clock_offset: float
    dice: Random
    timeline: Timeline
    arrivals: list[ArrivedRequest] = attrs.field(factory=list)
    process: int = 0
    on_first_byte: Callable[[Request, str], None] = lambda request, token_id: None
    """Called with each request, and the id of its token, when its first byte is sent."""
    tokens: set[str] = attrs.field(factory=set)

    def deliver(self, request: Request, token: str, at: float) -> tuple[SandboxResponse, float]:
        """Deliver a request to the server; return the reply and the server time."""
        self.tokens.add(token)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        now = BASE + at + self.clock_offset
        reply = self.state.handle(request.method, request.path, headers, request.body or b"", now)
        self.arrivals.append(ArrivedRequest(at, self.process, id_of(token), request.call, reply.status))
        return reply, now

    def is_in_outage(self, at: float) -> bool:
        """Return whether there is an outage at this time."""
        return any(since <= at < until for since, until in self.network.outages)


def id_of(token: str) -> str:
    """Return the id that the pool uses for this token."""
    return hashlib.sha256(token.encode()).hexdigest()[:12] if token else ""


@attrs.define(eq=False)
class SimulatedTransport:
    """The `Transport` port of one process."""

    shared: SharedNetwork
    requests: ProcessRequests
    dead: bool = False
    _outbound: dict[object, tuple[Request, str]] = attrs.field(factory=dict)

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        shared, loop = self.shared, asyncio.get_running_loop()
        token = request.token.reveal() if request.token is not None else ""
        if self.dead:
            raise NotSent("the process is dead")
        self.requests.sent += 1
        if shared.is_in_outage(loop.time()) or shared.dice.random() < shared.network.not_sent:
            await asyncio.sleep(shared.dice.choice((0.0, 0.1, timeouts.connect)))
            shared.timeline.record("not sent", request.call, id_of(token))
            raise NotSent("the network is unreachable")
        reply, now = await self._deliver(request, token)
        shared.timeline.record("arrived", request.call, id_of(token), reply)
        return await self._receive(request, reply, now, timeouts)

    async def _deliver(self, request: Request, token: str) -> tuple[SandboxResponse, float]:
        shared = self.shared
        request_id = object()
        self._outbound[request_id] = request, token
        shared.timeline.record("sent", request.call, id_of(token))
        shared.on_first_byte(request, id_of(token))
        await asyncio.sleep(shared.dice.uniform(*shared.network.latency))
        if self._outbound.pop(request_id, None) is None:
            await asyncio.Event().wait()  # the process died; `die` has decided whether this arrives
        return shared.deliver(request, token, asyncio.get_running_loop().time())

    async def _receive(self, request: Request, reply: SandboxResponse, now: float, timeouts: Timeouts) -> Answer:
        shared = self.shared
        seconds, answer = carried(reply, request.is_read, timeouts, cap=request.body_max_bytes)
        request_id = shared.dice.uniform(*shared.network.latency)
        if shared.dice.random() < shared.network.slow:
            request_id = shared.dice.uniform(request_id, shared.network.slowest)
        if seconds + request_id > timeouts.read and isinstance(answer, Answer):
            seconds, request_id, answer = timeouts.read, 0.0, ResponseLost("the peer fell silent")
        await asyncio.sleep(seconds + request_id)
        if not isinstance(answer, Answer):
            shared.timeline.record("lost", request.call, type(answer).__name__)
            raise answer
        headers = {name.lower(): value for name, value in answer.headers.items()}
        headers.setdefault("date", http_date(now))
        shared.timeline.record("answered", request.call, answer.status)
        return attrs.evolve(answer, headers=headers)

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], max_bytes: int
    ) -> Answer:
        raise AssertionError("no campaign downloads a file")

    def die(self) -> None:
        """Stop sending; each request on its way arrives or not, at random."""
        self.dead = True
        at = asyncio.get_running_loop().time()
        for request, token in self._outbound.values():
            if self.shared.dice.random() < 0.5:
                self.shared.deliver(request, token, at)
                self.shared.timeline.record("arrived after death", request.call)
        self._outbound.clear()

    async def aclose(self) -> None:
        """Do nothing: there is no connection to close."""
