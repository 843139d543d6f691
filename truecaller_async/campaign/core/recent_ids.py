"""Recognise a batch id that the server gave before.

Invariants:
    - The last `RECENT_IDS_MAX` ids are recognised, as 64-bit hashes (about 1 MB). An older id that comes again is not.
"""

from __future__ import annotations

from collections import deque

RECENT_IDS_MAX = 10_000


class RecentIds:
    """A set of the hashes of the last ids."""

    __slots__ = ("_hashes", "_order")

    def __init__(self) -> None:
        self._hashes: set[int] = set()
        self._order: deque[int] = deque()

    def __contains__(self, batch_id: str) -> bool:
        return hash(batch_id) in self._hashes

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, batch_id: str) -> None:
        """Add an id, and drop the oldest one beyond the maximum."""
        key = hash(batch_id)
        if key in self._hashes:
            return
        self._hashes.add(key)
        self._order.append(key)
        if len(self._order) > RECENT_IDS_MAX:
            self._hashes.discard(self._order.popleft())
