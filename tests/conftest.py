"""Fixtures and settings for all tests."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import ClientResponse
from aioresponses import aioresponses, core
from hypothesis import HealthCheck, settings

from tests.bounded import bounded, bounded_module, watch

__all__ = ["bounded", "bounded_module", "http", "watch"]

# Deadlines and `too_slow` measure the wall clock, so they fail on a loaded machine. All else is inherited from the
# profile that Hypothesis chose itself: with the variable CI set, that one is derandomised.
# A test that suppresses another health check must repeat `too_slow`: its list replaces the one here.
settings.register_profile("truecaller", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("truecaller")


class _Writer:
    output_size = 0


class _Response(ClientResponse):
    def __init__(self, *args: Any, **settings: Any) -> None:
        settings.setdefault("stream_writer", _Writer())
        super().__init__(*args, **settings)


@pytest.fixture
def http(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses]:
    """Replace the network with programmed answers.

    aioresponses does not pass an argument that newer versions of aiohttp require; this fixture adds it.
    """
    if "stream_writer" in inspect.signature(ClientResponse.__init__).parameters:
        monkeypatch.setattr(core, "ClientResponse", _Response)
    with aioresponses() as answers:
        yield answers


@pytest.fixture(autouse=True)
def only_catalogued_events() -> Iterator[None]:
    """Fail a test in which a client reported an event that the catalogue does not list."""
    yield
    observer = sys.modules.get("tests.campaign.strict_observer")
    assert observer is None or observer.drain_violations() == []
