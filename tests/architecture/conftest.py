"""Removal of the current event loop at the start of the session.

The plugin for virtual time requests the current event loop before each test. Without this hook, a test that needs no
loop would get a new one that is never closed, and the session would end with a warning.
"""

from __future__ import annotations

import asyncio


def pytest_sessionstart() -> None:
    asyncio.set_event_loop(None)
