"""Shared helpers for tests of long campaigns."""

from __future__ import annotations

from functools import partial

import pytest

from truecaller_async.campaign import intake
from truecaller_async.campaign.rows.chunker import Chunker

SMALL = 2


def make_batches_small(patch: pytest.MonkeyPatch) -> None:
    """Limit batches to two records, so that a campaign of an hour needs few rows."""
    patch.setattr(intake, "Chunker", partial(Chunker, SMALL))


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit batches to two records in one test."""
    make_batches_small(monkeypatch)
