"""Fixtures of the source tests."""

from __future__ import annotations

import asyncio
import warnings

import pytest


@pytest.fixture(scope="session", autouse=True)
def _close_plugin_loop() -> None:
    """Close the event loop that a pytest plugin creates and does not close."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            spare = asyncio.get_event_loop()
        except RuntimeError:
            return
    spare.close()
    asyncio.set_event_loop(None)
