"""Run an action before a certain turn of the loop.

A task can be influenced from outside only between two turns, so trying every turn tries every moment. Time is virtual;
turns are counted until one task, the subject, is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import pytest

from tests.virtual import SwiftLoop
from truecaller_async.campaign import intake
from truecaller_async.campaign.rows.chunker import Chunker


class Turns(SwiftLoop):
    """Loop that counts its turns and runs actions before them."""

    def __init__(self, before: Mapping[int, Callable[[], object]]) -> None:
        super().__init__()
        self.count = 0
        self.subject: asyncio.Task[Any] | None = None
        self._before = before

    def cancel(self) -> None:
        """Cancel the subject."""
        assert self.subject is not None
        self.subject.cancel()

    def _run_once(self) -> None:
        if self.subject is not None and not self.subject.done():
            self.count += 1
            self._before.get(self.count, int)()
        super()._run_once()  # type: ignore[misc]


def make_batches_small(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Limit batches to `size` records, so that a short campaign has many."""
    monkeypatch.setattr(intake, "Chunker", partial(Chunker, size))
