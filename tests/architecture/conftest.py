"""The plugin for virtual time asks for the current event loop before each test; without this, a test that needs none
would be given one that nobody closes, and the session would end with a warning about it."""

from __future__ import annotations

import asyncio


def pytest_sessionstart() -> None:
    asyncio.set_event_loop(None)
