from __future__ import annotations

import pytest

from .driver import Driver


@pytest.fixture
def driver() -> Driver:
    """A client of a sandbox with the default settings."""
    return Driver()
