"""Memory used for equal rows."""

from __future__ import annotations

import tracemalloc

import pytest

from tests.campaign.world import record
from truecaller_async.campaign.rows.dedupe import WINDOW_ROWS, Dedupe

SMALL = 20_000
BYTES_A_ROW = 155


@pytest.mark.fault("F46")
def test_dedupe_window_memory_does_not_depend_on_input_size() -> None:
    def held_after(rows: range) -> int:
        for number in rows:
            assert not dedupe.is_repeat(record(number))
        return tracemalloc.get_traced_memory()[0]

    dedupe = Dedupe("window", window=SMALL)
    tracemalloc.start()
    try:
        full = held_after(range(2 * SMALL))
        later = held_after(range(2 * SMALL, 4 * SMALL))
    finally:
        tracemalloc.stop()
    assert full <= SMALL * BYTES_A_ROW
    assert later <= 1.1 * full
    assert WINDOW_ROWS * BYTES_A_ROW <= 15_500_000
