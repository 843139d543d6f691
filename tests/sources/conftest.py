"""What the tests of this room share."""

from __future__ import annotations

import asyncio
import warnings

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_spare_loop() -> None:
    """Close the loop that a pytest plugin made by asking for the current one, and that nobody else would close."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            spare = asyncio.get_event_loop()
        except RuntimeError:
            return
    spare.close()
    asyncio.set_event_loop(None)
