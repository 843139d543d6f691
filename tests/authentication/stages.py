"""An observer that records every event with its time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import attrs

from tests.campaign.world import World


@attrs.define
class EventRecorder:
    """Events of a client, each with the loop time."""

    told: list[tuple[float, str, Mapping[str, object]]] = attrs.field(factory=list)

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        """Ignore requests."""

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        self.told.append((asyncio.get_running_loop().time(), name, fields))

    def times(self, name: str) -> list[float]:
        """Return the times at which this event was reported."""
        return [at for at, told, _ in self.told if told == name]


def record_events(world: World) -> EventRecorder:
    """Record the events of the client of this world from now on."""
    stages = EventRecorder()
    world.client._shared.observer._observer = stages  # type: ignore[attr-defined]
    return stages
