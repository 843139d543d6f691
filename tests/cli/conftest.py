from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from truecaller_async.sandbox import SPEEDS, Sandbox, SandboxSettings

from .shell import Shell


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Yield a sandbox without limits that resolves batches after 0.1 s."""
    async with await Sandbox.start(SandboxSettings(limits=SPEEDS["off"], resolve_after=0.1, list_after=0.1)) as sandbox:
        yield sandbox


@pytest.fixture
def shell(sandbox: Sandbox, tmp_path: Path) -> Shell:
    """Return a shell with the account of the sandbox."""
    return Shell(tmp_path, sandbox.environment())
