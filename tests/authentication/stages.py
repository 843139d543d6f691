"""An observer that remembers every stage and when it was."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import attrs

from tests.engine.world import World


@attrs.define
class EventRecorder:
    """The stages of a client, each with the loop's time."""

    told: list[tuple[float, str, Mapping[str, object]]] = attrs.field(factory=list)

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        """Of no interest here."""

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        self.told.append((asyncio.get_running_loop().time(), name, fields))

    def times(self, name: str) -> list[float]:
        """When this stage was told."""
        return [at for at, told, _ in self.told if told == name]


def record_events(world: World) -> EventRecorder:
    """From now on the client of this world tells its stages here."""
    stages = EventRecorder()
    world.client._shared.observer._observer = stages  # type: ignore[attr-defined]
    return stages
