"""The way between the client and the sandbox's state: latency, lost answers, no connection, and who saw what when.

Each request takes a while to arrive, is answered at that moment of the server's clock, and the answer takes a while to
come back. What the real transport makes of an answer that is cut, dripped or no HTTP is said by `tests.carriage`.
Whatever is on its way when its process dies arrives or does not, as the dice fall.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection
from random import Random

import attrs

from tests.carriage import carried
from tests.simulation.evidence import Arrival, Effort
from tests.simulation.fate import Network
from tests.simulation.timeline import Timeline
from tests.virtual import BASE
from truecaller_async import NotSent, ResponseLost, Timeouts
from truecaller_async.models import Answer, Request, Secret
from truecaller_async.ports import Write
from truecaller_async.sandbox import SandboxState
from truecaller_async.sandbox.answers import SandboxResponse, http_date


@attrs.define(eq=False)
class Ether:
    """What outlives a process: the server, the way to it, and who arrived."""

    state: SandboxState
    network: Network
    ahead: float
    dice: Random
    timeline: Timeline
    arrivals: list[Arrival] = attrs.field(factory=list)
    process: int = 0
    tokens: set[str] = attrs.field(factory=set)

    def reach(self, request: Request, token: str, at: float) -> tuple[SandboxResponse, float]:
        """The request is at the server: its reply, and the server's clock."""
        self.tokens.add(token)
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        now = BASE + at + self.ahead
        reply = self.state.handle(request.method, request.path, headers, request.body or b"", now)
        self.arrivals.append(Arrival(at, self.process, id_of(token), request.call, reply.status))
        return reply, now

    def is_out(self, at: float) -> bool:
        """Whether there is an outage."""
        return any(since <= at < until for since, until in self.network.outages)


def id_of(token: str) -> str:
    """The id by which the pool knows this token."""
    return hashlib.sha256(token.encode()).hexdigest()[:12] if token else ""


@attrs.define(eq=False)
class SimulatedTransport:
    """The `Transport` port of one process."""

    ether: Ether
    cost: Effort
    dead: bool = False
    _outbound: dict[object, tuple[Request, str]] = attrs.field(factory=dict)

    async def send(self, request: Request, timeouts: Timeouts) -> Answer:
        ether, loop = self.ether, asyncio.get_running_loop()
        token = request.token.reveal() if request.token is not None else ""
        if self.dead:
            raise NotSent("the process is dead")
        self.cost.sends += 1
        if ether.is_out(loop.time()) or ether.dice.random() < ether.network.not_sent:
            await asyncio.sleep(ether.dice.choice((0.0, 0.1, timeouts.connect)))
            ether.timeline.tell("not sent", request.call, id_of(token))
            raise NotSent("the network is unreachable")
        reply, now = await self._there(request, token)
        ether.timeline.tell("arrived", request.call, id_of(token), reply)
        return await self._back(request, reply, now, timeouts)

    async def _there(self, request: Request, token: str) -> tuple[SandboxResponse, float]:
        ether = self.ether
        way = object()
        self._outbound[way] = request, token
        ether.timeline.tell("sent", request.call, id_of(token))
        await asyncio.sleep(ether.dice.uniform(*ether.network.latency))
        if self._outbound.pop(way, None) is None:
            await asyncio.Event().wait()  # the process died on the way, and `die` has said whether this arrives
        return ether.reach(request, token, asyncio.get_running_loop().time())

    async def _back(self, request: Request, reply: SandboxResponse, now: float, timeouts: Timeouts) -> Answer:
        ether = self.ether
        seconds, answer = carried(reply, request.is_read, timeouts, cap=request.body_max_bytes)
        way = ether.dice.uniform(*ether.network.latency)
        if ether.dice.random() < ether.network.slow:
            way = ether.dice.uniform(way, ether.network.slowest)
        if seconds + way > timeouts.read and isinstance(answer, Answer):
            seconds, way, answer = timeouts.read, 0.0, ResponseLost("the peer fell silent")
        await asyncio.sleep(seconds + way)
        if not isinstance(answer, Answer):
            ether.timeline.tell("lost", request.call, type(answer).__name__)
            raise answer
        headers = {name.lower(): value for name, value in answer.headers.items()}
        headers.setdefault("date", http_date(now))
        ether.timeline.tell("answered", request.call, answer.status)
        return attrs.evolve(answer, headers=headers)

    async def download(
        self, link: Secret, write: Write, timeouts: Timeouts, *, hosts: Collection[str], cap: int
    ) -> Answer:
        raise AssertionError("no campaign downloads a file")

    def die(self) -> None:
        """Nothing leaves any more; what is on its way arrives or does not."""
        self.dead = True
        at = asyncio.get_running_loop().time()
        for request, token in self._outbound.values():
            if self.ether.dice.random() < 0.5:
                self.ether.reach(request, token, at)
                self.ether.timeline.tell("arrived after death", request.call)
        self._outbound.clear()

    async def aclose(self) -> None:
        """Nothing to close."""
