"""Store sets of row numbers as ranges of consecutive rows.

Purpose:
    The rows of nearly every batch are consecutive, so a `range` costs the same for 500 rows as for one.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from operator import lt


def is_ascending(rows: Sequence[int]) -> bool:
    """Return whether each row number is larger than the previous one."""
    return (isinstance(rows, range) and rows.step == 1) or all(map(lt, rows, rows[1:]))


def as_rows(rows: Sequence[int]) -> Sequence[int]:
    """Convert ascending row numbers to a range if they are consecutive, otherwise to a tuple."""
    if isinstance(rows, range) and rows.step == 1:
        return rows
    if rows and rows[-1] - rows[0] + 1 == len(rows):
        return range(rows[0], rows[-1] + 1)
    return tuple(rows)


def ranges_of(rows: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield the first row and the row after the last one, for each range of ascending rows."""
    if isinstance(rows, range) and rows.step == 1:
        if rows:
            yield rows.start, rows.stop
        return
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


class RowRanges:
    """A set of rows: ascending disjoint ranges, each as its first row and the row after its last one."""

    __slots__ = ("_starts", "_stops")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        for start, stop in ranges:
            self.add(range(start, stop))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._stops, strict=True)

    def __len__(self) -> int:
        return len(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RowRanges) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # the ranges change

    def is_disjoint(self, rows: Sequence[int]) -> bool:
        """Return whether none of these ascending rows is in the set."""
        return not self._starts or all(self._is_free(start, stop) for start, stop in ranges_of(rows))

    def add(self, rows: Sequence[int]) -> None:
        """Add ascending rows, none of which is in the set."""
        for start, stop in ranges_of(rows):
            self._add_range(start, stop)

    def clear(self) -> None:
        """Remove all rows."""
        self._starts.clear()
        self._stops.clear()

    def _is_free(self, start: int, stop: int) -> bool:
        index = bisect_right(self._stops, start)
        return index == len(self._starts) or self._starts[index] >= stop

    def _add_range(self, start: int, stop: int) -> None:
        index = bisect_left(self._starts, start)
        joins_previous = index > 0 and self._stops[index - 1] == start
        joins_next = index < len(self._starts) and self._starts[index] == stop
        if joins_previous and joins_next:
            self._stops[index - 1] = self._stops.pop(index)
            del self._starts[index]
        elif joins_previous:
            self._stops[index - 1] = stop
        elif joins_next:
            self._starts[index] = start
        else:
            self._starts.insert(index, start)
            self._stops.insert(index, stop)
