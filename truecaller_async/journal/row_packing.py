"""Encode ascending row numbers as bytes: ranges, as variable-length integers.

Algorithm:
    Each range of consecutive rows is two numbers: the gap since the end of the previous range, and its length. A
    number uses 7 bits per byte, the lowest bits first; the high bit is set in each byte but the last. A batch of
    consecutive rows needs about 6 bytes, 500 rows out of 1,000 that alternate need about 1,000 bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from truecaller_async.campaign.core.row_ranges import ranges_of


def pack_rows(rows: Iterable[int]) -> bytes:
    """Encode ascending rows."""
    packed = bytearray()
    previous_stop = 0
    for start, stop in ranges_of(rows):
        _append_number(packed, start - previous_stop)
        _append_number(packed, stop - start)
        previous_stop = stop
    return bytes(packed)


def unpack_rows(packed_rows: bytes) -> list[int]:
    """Decode what `pack_rows` returned.

    Raises:
        ValueError: The bytes are truncated.
    """
    rows: list[int] = []
    numbers = _numbers(packed_rows)
    previous_stop = 0
    for gap in numbers:
        start = previous_stop + gap
        previous_stop = start + next(numbers, 0)
        if previous_stop == start:
            raise ValueError("packed rows end in the middle")
        rows.extend(range(start, previous_stop))
    return rows


def _append_number(packed: bytearray, number: int) -> None:
    while number > 0x7F:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)


def _numbers(packed_rows: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in packed_rows:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            yield number
            number = shift = 0
    if shift:
        raise ValueError("packed rows end in the middle")
