"""Row numbers are encoded as bytes and decoded again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truecaller_async.journal.row_packing import pack_rows, unpack_rows


@given(st.sets(st.integers(1, 2**40)) | st.sets(st.integers(1, 300)))
def test_row_ranges_round_trip(rows: set[int]) -> None:
    assert unpack_rows(pack_rows(sorted(rows))) == sorted(rows)


def test_consecutive_rows_use_few_bytes_and_alternating_rows_two_each() -> None:
    assert len(pack_rows(range(10_000_001, 10_000_501))) <= 6
    assert len(pack_rows(range(10_000_001, 10_001_001, 2))) <= 1004


@pytest.mark.parametrize("damaged", [b"\x01", b"\x80", b"\x01\x02\x03", b"\x01\x00"])
def test_truncated_bytes_are_no_rows(damaged: bytes) -> None:
    with pytest.raises(ValueError, match="middle"):
        unpack_rows(damaged)
