"""Source order for each (caller, receiver) pair.

A record is a register, not an increment: the newest one for a pair decides what the phone shows. So a draft that
holds a later record of a pair waits until the draft with the earlier one is settled: accepted, refused or given up.
Only pairs of unsettled drafts are remembered. Nearly every draft is *alone*: no pair comes twice in it, and none came
in a later one. Its pairs are noted and forgotten without a look at each.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Sequence

from truecaller_async.models import CallRecord, RecordColumns
from truecaller_async.planning.outgoing_batch import OutgoingBatch


def pair_of(record: CallRecord) -> tuple[str, str]:
    """What decides whether one record replaces another."""
    return record.caller, record.receiver


def earlier_in_batch(records: Sequence[CallRecord], indexes: Collection[int]) -> list[int]:
    """Places of the records that come before one of these places with the same pair, and are not among them."""
    last = {pair_of(records[index]): index for index in sorted(indexes)}
    gone = set(indexes)
    return [i for i, record in enumerate(records) if i not in gone and i < last.get(pair_of(record), -1)]


class PairOrder:
    """Which unsettled draft holds the newest record of a pair."""

    def __init__(self) -> None:
        self._newest: dict[str, dict[str, int]] = {}
        self._pairs_of_batch: dict[int, dict[str, list[str]]] = {}
        self._unshared: set[int] = set()

    def add(self, batch: OutgoingBatch) -> set[int]:
        """Note the draft's pairs; returns the unsettled drafts that hold earlier records of them."""
        seq = batch.seq
        self._pairs_of_batch[seq] = by_caller = _by_caller(batch.columns)
        different = 0
        earlier: set[int] = set()
        for caller, receivers in by_caller.items():
            newest, mine = self._newest.setdefault(caller, {}), dict.fromkeys(receivers, seq)
            if not newest.keys().isdisjoint(mine):
                earlier.update(newest[receiver] for receiver in mine if receiver in newest)
            newest.update(mine)
            different += len(mine)
        earlier.discard(seq)
        self._unshared -= earlier
        batch.is_distinct = different == len(batch)
        if batch.is_distinct:
            self._unshared.add(seq)
        return earlier

    def release(self, batch: OutgoingBatch) -> None:
        """Forget the pairs of a draft for which no later one has come, also of records that were taken out of it."""
        seq = batch.seq
        is_alone = seq in self._unshared
        self._unshared.discard(seq)
        for caller, receivers in self._pairs_of_batch.pop(seq, {}).items():
            newest = self._newest[caller]
            gone = receivers if is_alone else [one for one in set(receivers) if newest.get(one) == seq]
            deque(map(newest.pop, gone), maxlen=0)
            if not newest:
                del self._newest[caller]

    def superseded(self, batch: OutgoingBatch) -> list[int]:
        """Places in the draft whose pair has a newer record in a later draft."""
        seq = batch.seq
        return [
            index
            for index, record in enumerate(batch.wire_records)
            if self._newest.get(record.caller, {}).get(record.receiver, seq) > seq
        ]

    def __len__(self) -> int:
        return sum(map(len, self._newest.values()))


def _by_caller(columns: RecordColumns) -> dict[str, list[str]]:
    """The receivers of each caller; most drafts have one."""
    callers = columns.caller
    if callers.count(callers[0]) == len(callers):
        return {callers[0]: columns.receiver}
    found: defaultdict[str, list[str]] = defaultdict(list)
    for caller, receiver in zip(callers, columns.receiver, strict=True):
        found[caller].append(receiver)
    return found
