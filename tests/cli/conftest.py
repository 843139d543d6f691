from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

from .driving import Shell


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A quick one without limits in the way."""
    async with await Sandbox.start(SandboxSettings(limits=SPEEDS["off"], resolve_after=0.1, list_after=0.1)) as sandbox:
        yield sandbox


@pytest.fixture
def shell(sandbox: Sandbox, tmp_path: Path) -> Shell:
    """Commands with the sandbox's account."""
    return Shell(tmp_path, sandbox.environment())
