"""Tokens shared by many processes: a crash loop, and many processes that start together; real sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.authentication.workers import LIMITS, NO_TOKEN, PUSHED
from tests.crash.forker import ProcessForker
from truecaller_async.sandbox import Sandbox, SandboxSettings

POOL = 10
RESTARTS = 30
HERD = 20


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with await Sandbox.start(SandboxSettings(limits=LIMITS)) as sandbox:
        yield sandbox


def order_of(sandbox: Sandbox, folder: Path, **more: Any) -> dict[str, Any]:
    environment = dict(sandbox.environment())
    key = environment.pop("TRUECALLER_API_KEY")
    marks = folder / "marks"
    marks.mkdir(exist_ok=True)
    common = {"environment": environment, "key": key, "state": str(folder / "state.db"), "folder": str(marks)}
    return {**common, **more}


@pytest.mark.fault("F07")
async def test_thirty_restarts_mint_no_more_tokens_than_the_pool_size(sandbox: Sandbox, tmp_path: Path) -> None:
    dice, log = Random(7), tmp_path / "log"

    def crash_loop() -> list[bool]:
        with ProcessForker("tests.authentication.workers") as nursery:
            kills = [
                nursery.run(order_of(sandbox, tmp_path, pushes=100_000), log, life=dice.uniform(0.02, 0.5)).killed
                for _ in range(RESTARTS)
            ]
            last = nursery.run(order_of(sandbox, tmp_path, pushes=3), log)
            assert last.code == 0, log.read_text()
        return kills

    kills = await asyncio.to_thread(crash_loop)
    stats = sandbox.stats()
    assert kills == [True] * RESTARTS
    assert stats.mints <= POOL
    assert stats.requests["push"]["200"] > RESTARTS
    assert "401" not in stats.requests["push"]
    assert stats.violations == {}


@pytest.mark.fault("F09")
async def test_twenty_processes_started_together_share_one_mint_budget(sandbox: Sandbox, tmp_path: Path) -> None:
    log = tmp_path / "log"

    def herd() -> int:
        with ProcessForker("tests.authentication.workers") as nursery:
            return nursery.run(order_of(sandbox, tmp_path, herd=HERD, pushes=3), log).code

    code = await asyncio.to_thread(herd)
    assert code == 0, log.read_text()
    stats = sandbox.stats()
    fates = Counter(mark.read_text() for mark in (tmp_path / "marks").iterdir())
    assert fates == {PUSHED: POOL, NO_TOKEN: HERD - POOL}
    assert stats.mints == POOL
    assert stats.requests["mint"] == {"200": POOL}
    assert stats.violations == {}
