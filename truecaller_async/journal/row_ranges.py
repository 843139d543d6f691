"""Row numbers as bytes.

Rows come in runs, so a run is two numbers: how far it begins behind the end of the one before, and its length. Numbers
take seven bits to the byte. A whole batch of neighbours takes a handful of bytes, one row of two about 500.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def pack_rows(rows: Iterable[int]) -> bytes:
    """Ascending rows as bytes."""
    out = bytearray()
    end = 0
    for start, stop in _runs(rows):
        _put(out, start - end)
        _put(out, stop - start)
        end = stop
    return bytes(out)


def unpack_rows(packed_rows: bytes) -> list[int]:
    """The rows again. Raises `ValueError` for bytes that `packed` did not make."""
    rows: list[int] = []
    numbers = _numbers(packed_rows)
    end = 0
    for gap in numbers:
        start = end + gap
        end = start + next(numbers, 0)
        if end == start:
            raise ValueError("packed rows end in the middle")
        rows.extend(range(start, end))
    return rows


def _runs(rows: Iterable[int]) -> Iterator[tuple[int, int]]:
    start = stop = -1
    for row in rows:
        if row == stop:
            stop += 1
            continue
        if stop > start:
            yield start, stop
        start, stop = row, row + 1
    if stop > start:
        yield start, stop


def _put(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


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
