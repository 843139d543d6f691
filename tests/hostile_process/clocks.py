"""A machine whose clocks go wrong.

There are three: the clock of the server, the local wall clock, and the monotonic clock of the loop. Setting the clock
changes the local wall clock only. A suspend advances the server clock and the local wall clock, and stops the monotonic
clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import attrs
import pytest

from tests.authentication.stages import EventRecorder, record_events
from tests.campaign.world import World
from tests.virtual import VirtualClock
from truecaller_async.clock import Clock
from truecaller_async.sandbox import SandboxSettings, SandboxState
from truecaller_async.sandbox.answers import SandboxResponse


class WrongClock(VirtualClock):
    """The local wall clock."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def wall(self) -> float:
        return super().wall() + self.ahead


class ServerState(SandboxState):
    """The sandbox, whose clock continues during a suspend."""

    ahead = 0.0

    def handle(self, method: str, path_qs: str, headers: Mapping[str, str], body: bytes, now: float) -> SandboxResponse:
        return super().handle(method, path_qs, headers, body, now + self.ahead)


@attrs.define
class Machine:
    """A world on a machine whose clocks can be changed, and the events of its client."""

    world: World
    clock: WrongClock
    state: ServerState
    stages: EventRecorder

    def set_clock(self, seconds: float) -> None:
        """Set the local wall clock."""
        self.clock.ahead += seconds

    def suspend(self, seconds: float) -> None:
        """Sleep and wake: time passes on every clock except the monotonic one."""
        self.clock.ahead += seconds
        self.state.ahead += seconds

    def later(self, seconds: float, move: str, by: float) -> None:
        """Schedule `set_clock` or `suspend` in so many seconds."""
        asyncio.get_running_loop().call_later(seconds, getattr(self, move), by)

    @property
    def sent(self) -> list[tuple[str, float]]:
        """Return the requests and their times by the monotonic clock."""
        return [(call, at) for at, _, call in self.world.transport.sent]


def machine(
    patched: pytest.MonkeyPatch, settings: SandboxSettings, *, max_tokens: int = 1, ahead: float = 0.0
) -> Machine:
    """Create a machine inside the loop. `ahead` is the error of the local wall clock from the start."""
    clock, state = WrongClock(), ServerState(settings)
    clock.ahead = ahead

    def wrong() -> Clock:
        return clock

    with patched.context() as here:
        here.setattr("tests.campaign.world.VirtualClock", wrong)
        world = World(state=state, max_tokens=max_tokens, latency=(0.02, 0.02))
    return Machine(world, clock, state, record_events(world))
