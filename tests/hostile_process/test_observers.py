"""An observer that raises (F62): a campaign does not depend on foreign code."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.campaign.world import World, records
from tests.virtual import run_virtual
from truecaller_async import Summary


class Raising:
    """Observer that fails at every call."""

    def __init__(self) -> None:
        self.told = 0

    def request(self, call: str, token_id: str | None, status: int | None, seconds: float, error: str | None) -> None:
        self.told += 1
        raise ZeroDivisionError

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        self.told += 1
        raise KeyError(name)


def campaign(observer: Raising | None) -> tuple[Summary, list[tuple[float, str, str]]]:
    """Run a campaign; return its results and the times of its requests, without secrets."""

    async def main() -> tuple[Summary, list[tuple[float, str, str]]]:
        world = World(fault=lambda request, n, _: "429:1" if (request.call, n) == ("submit", 2) else None)
        if observer is not None:
            world.client._shared.observer._observer = observer  # type: ignore[attr-defined]
        _, summary, fault = await world.run(records(3_000))
        assert fault is None
        return summary, world.transport.sent

    return run_virtual(main)


@pytest.mark.fault("F62")
def test_raising_observer_changes_nothing_and_is_logged_once_per_kind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    usual, sent = campaign(None)
    caplog.clear()
    observer = Raising()
    disturbed, sent_then = campaign(observer)
    assert disturbed == usual
    assert usual.delivered == 3_000
    assert sent_then == sent
    assert observer.told > 10
    said = [entry for entry in caplog.records if entry.name.startswith("truecaller_async")]
    assert sorted(entry.getMessage() for entry in said) == [
        "the observer Raising raised KeyError",
        "the observer Raising raised ZeroDivisionError",
    ]
