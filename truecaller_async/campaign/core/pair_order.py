"""Keep the source order of the records of each (caller, receiver) pair.

The newest record of a pair decides what the phone shows.

Algorithm:
    - A batch with a later record of a pair waits until the batch with the earlier one is settled: accepted, rejected or
      abandoned.
    - Only the pairs of unsettled batches are stored.
    - Fast path: most batches have distinct pairs that occur in no later batch. Such a batch is released without a
      comparison of each pair.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Sequence

from truecaller_async.campaign.core.batch_content import BatchContent
from truecaller_async.models import CallRecord, RecordColumns


def pair_of(record: CallRecord) -> tuple[str, str]:
    """Return the pair of a record: a later record of the same pair replaces it."""
    return record.caller, record.receiver


def earlier_in_batch(records: Sequence[CallRecord], indexes: Collection[int]) -> list[int]:
    """Return the indexes of records that are followed by a record of the same pair at one of `indexes`.

    The given indexes themselves are left out.
    """
    last = {pair_of(records[index]): index for index in sorted(indexes)}
    known = set(indexes)
    return [i for i, record in enumerate(records) if i not in known and i < last.get(pair_of(record), -1)]


def replaced_in_batch(records: Sequence[CallRecord]) -> list[int]:
    """Return the indexes of records that a later, different record of the same pair replaces."""
    last = {pair_of(record): record for record in records}
    indexes = {pair_of(record): index for index, record in enumerate(records)}
    return [
        index
        for index, record in enumerate(records)
        if index < indexes[pair_of(record)] and record != last[pair_of(record)]
    ]


class PairOrder:
    """Store which unsettled batch holds the newest record of each pair."""

    def __init__(self) -> None:
        self._newest: dict[str, dict[str, int]] = {}
        self._pairs_of_batch: dict[int, dict[str, list[str]]] = {}
        self._unshared: set[int] = set()

    def add(self, seq: int, content: BatchContent) -> set[int]:
        """Add the pairs of a batch; return the unsettled batches that hold earlier records of them."""
        self._pairs_of_batch[seq] = by_caller = _by_caller(content.columns)
        different = 0
        earlier: set[int] = set()
        for caller, receivers in by_caller.items():
            newest, added = self._newest.setdefault(caller, {}), dict.fromkeys(receivers, seq)
            if not newest.keys().isdisjoint(added):
                earlier.update(newest[receiver] for receiver in added if receiver in newest)
            newest.update(added)
            different += len(added)
        earlier.discard(seq)
        self._unshared -= earlier
        content.is_distinct = different == len(content)
        if content.is_distinct:
            self._unshared.add(seq)
        return earlier

    def remove(self, seq: int) -> None:
        """Remove the pairs of a batch, except those of a later batch; also pairs of closed rows.

        Nothing happens if the batch has none.
        """
        is_unshared = seq in self._unshared
        self._unshared.discard(seq)
        for caller, receivers in self._pairs_of_batch.pop(seq, {}).items():
            # A later batch that holds all pairs of the caller may have been released first: a batch whose records were
            # all superseded stays queued, and blocks no other batch.
            newest = self._newest.get(caller, {})
            removed = receivers if is_unshared else [one for one in set(receivers) if newest.get(one) == seq]
            deque(map(newest.pop, removed), maxlen=0)  # runs the map without a Python loop
            if not newest:
                self._newest.pop(caller, None)

    def superseded(self, seq: int, content: BatchContent) -> list[int]:
        """Return the indexes of records whose pair has a newer record in a later batch."""
        return [
            index
            for index, record in enumerate(content.wire_records)
            if self._newest.get(record.caller, {}).get(record.receiver, seq) > seq
        ]

    def __len__(self) -> int:
        return sum(map(len, self._newest.values()))


def _by_caller(columns: RecordColumns) -> dict[str, list[str]]:
    callers = columns.caller
    if callers.count(callers[0]) == len(callers):
        return {callers[0]: columns.receiver}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for caller, receiver in zip(callers, columns.receiver, strict=True):
        found[caller].append(receiver)
    return found
