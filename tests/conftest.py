"""What every test may use."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import ClientResponse
from aioresponses import aioresponses, core

from tests.bounded import bounded, bounded_module, watch

__all__ = ["bounded", "bounded_module", "http", "watch"]


class _Writer:
    output_size = 0


class _Response(ClientResponse):
    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("stream_writer", _Writer())
        super().__init__(*args, **settings)


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Answers in the network's place. aioresponses does not know an argument that newer aiohttp demands: we give it."""
    if "stream_writer" in inspect.signature(ClientResponse.__init__).parameters:
        monkeypatch.setattr(core, "ClientResponse", _Response)
    with aioresponses() as answers:
        yield answers


@pytest.fixture(autouse=True)
def only_catalogued_events() -> Iterator[None]:
    """Fail a test during which a client of the test world reported an event that the catalogue does not list."""
    yield
    observer = sys.modules.get("tests.engine.strict_observer")
    assert observer is None or observer.drain_violations() == []
